//! A certificate on disk, at a port, or both: how long it is good for, whether it fits its key, its chain and its
//! name, and whether the port serves what lies on disk (renewed, and the service not reloaded).

use super::tls::{self, Wanted};
use super::{reason, spelled};
use crate::config::{At, CertificateProbe};
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sopwith_domain::inspection::Verdict;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Part of the time that a handshake may take; the rest is for reading and judging.
const HANDSHAKE_SHARE: u32 = 10;

pub(super) async fn look(probe: &CertificateProbe, time_max: Duration) -> Result<Seen, String> {
    let probe = probe.clone();
    let looked = tokio::task::spawn_blocking(move || look_now(&probe, time_max, SystemTime::now()));
    looked.await.map_err(|e| e.to_string())?
}

fn look_now(probe: &CertificateProbe, time_max: Duration, now: SystemTime) -> Result<Seen, String> {
    let roots = match *probe.trusted {
        true => Some(tls::roots(probe.ca.as_ref().map(At::path))?),
        false => None,
    };
    let of_host = probe.connect.as_ref().map(|to| to.host.clone());
    let by_ip = of_host.as_ref().is_some_and(|host| host.parse::<std::net::IpAddr>().is_ok());
    let name = probe.name.as_ref().map(|name| name.0.clone()).or(of_host.filter(|_| !by_ip));
    let server_name = name.map(|name| server_name(&name)).transpose()?;
    let wanted = Wanted { name: server_name, roots, days: &probe.days, now };
    let mut seen = Seen::well(String::new());
    let on_disk = probe.file.as_ref().map(|_| file(probe, &wanted, &mut seen)).transpose()?.flatten();
    let at_port = probe.connect.as_ref().and_then(|_| port(probe, &wanted, time_max, &mut seen));
    if let (Some(disk), Some(port)) =
        (on_disk.as_ref().and_then(|c| c.first()), at_port.as_ref().and_then(|c| c.first()))
        && disk != port
    {
        let words = "the port serves another certificate than lies on disk; was the service reloaded?";
        let finding =
            Finding::new("certificate.mismatch", Verdict::Warning, words).word("reason", "not-reloaded");
        seen.find(named(probe, finding));
    }
    let good = on_disk.or(at_port).as_deref().and_then(<[_]>::first).map_or_else(String::new, until);
    seen.line = one_line(&format!("good until {good}"));
    seen.line_from_findings();
    Ok(seen)
}

/// Adds what names the certificate.
fn named(probe: &CertificateProbe, finding: Finding) -> Finding {
    let finding = match &probe.file {
        Some(file) => finding.path("certificate_path", file),
        None => finding,
    };
    match &probe.connect {
        Some(to) => finding.word("connect", &to.to_string()),
        None => finding,
    }
}

fn file(
    probe: &CertificateProbe,
    wanted: &Wanted<'_>,
    seen: &mut Seen,
) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    let Some(file) = &probe.file else { return Ok(None) };
    let path = file.path();
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let words = format!("{} is not there", path.display());
            let finding =
                Finding::new("certificate.invalid", Verdict::Critical, words).word("reason", "missing");
            seen.find(named(probe, finding));
            return Ok(None);
        }
        Err(e) => return Err(format!("failed to read {}: {e}", path.display())),
        Ok(_) => {}
    }
    // That it may not be read is a state of the agent; that it is no certificate is a fault of the host.
    if let Err(e) = tls::read(path) {
        return Err(format!("failed to read {}: {e}", path.display()));
    }
    let chain = match tls::chain(path) {
        Ok(chain) => chain,
        Err(words) => {
            let finding =
                Finding::new("certificate.invalid", Verdict::Critical, words).word("reason", "unreadable");
            seen.find(named(probe, finding));
            return Ok(None);
        }
    };
    tls::judge(&chain, wanted, |finding| named(probe, finding), seen);
    if let Some(words) = broken_chain(&chain) {
        let finding = Finding::new("certificate.mismatch", Verdict::Critical, words).word("reason", "chain");
        seen.find(named(probe, finding));
    }
    if let Some(key) = &probe.key
        && !fits(&chain, key.path())?
    {
        let words = format!("{} is not the key of the certificate", key.as_str());
        let finding = Finding::new("certificate.mismatch", Verdict::Critical, words).word("reason", "key");
        seen.find(named(probe, finding));
    }
    Ok(Some(chain))
}

/// Says where a chain is not one: each certificate is to be issued by the next.
fn broken_chain(chain: &[CertificateDer<'static>]) -> Option<String> {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|one| x509_parser::parse_x509_certificate(one).ok())
        .map(|(_, one)| one)
        .collect();
    let broken =
        parsed.windows(2).position(|pair| pair[0].issuer().as_raw() != pair[1].subject().as_raw())?;
    Some(format!("certificate {} of the file is not issued by number {}", broken + 1, broken + 2))
}

/// Says whether a key is the certificate's.
fn fits(chain: &[CertificateDer<'static>], key: &Path) -> Result<bool, String> {
    let unreadable = |e: &dyn std::fmt::Display| format!("failed to read the key {}: {e}", key.display());
    let bytes = tls::read(key).map_err(|e| unreadable(&e))?;
    let parsed = PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| unreadable(&e))?;
    let provider = rustls::crypto::ring::default_provider();
    let signer = provider.key_provider.load_private_key(parsed).map_err(|e| unreadable(&e))?;
    let failed = |e: &dyn std::fmt::Display| format!("failed to hold the key against the certificate: {e}");
    // By their public halves: the usual way of holding one against the other refuses certificates of version 1.
    let of_key =
        signer.public_key().ok_or_else(|| failed(&"the kind of key does not tell its public half"))?;
    let leaf = chain.first().ok_or_else(|| failed(&"there is none"))?;
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|e| failed(&e))?;
    Ok(leaf.public_key().raw == of_key.as_ref())
}

fn port(
    probe: &CertificateProbe,
    wanted: &Wanted<'_>,
    time_max: Duration,
    seen: &mut Seen,
) -> Option<Vec<CertificateDer<'static>>> {
    let to = probe.connect.as_ref()?;
    let by_host = || server_name(&to.host).ok();
    let name = wanted.name.clone().or_else(by_host)?;
    let time_max = time_max - time_max / HANDSHAKE_SHARE;
    match tls::shown(to, &name, time_max) {
        Ok(chain) => {
            // What lies on disk was judged already, if the port shows the same.
            if probe.file.is_none() || !seen.findings.iter().any(|f| f.kind.starts_with("certificate.")) {
                seen.perfdata.clear();
                tls::judge(&chain, wanted, |finding| named(probe, finding), seen);
            }
            Some(chain)
        }
        Err(e) => {
            let words = format!("no handshake with {} within {}: {e}", **to, spelled(time_max));
            let finding =
                Finding::new("certificate.invalid", Verdict::Critical, words).word("reason", reason(&e));
            seen.find(named(probe, finding));
            None
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name:?} is no name that a certificate can have"))
}

fn until(certificate: &CertificateDer<'static>) -> String {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.map_or_else(
        |_| String::new(),
        |(_, parsed)| {
            let at = parsed.validity().not_after.timestamp();
            sopwith_domain::time::Timestamp(at.saturating_mul(1000)).to_string()
        },
    )
}

#[cfg(test)]
mod tests;
