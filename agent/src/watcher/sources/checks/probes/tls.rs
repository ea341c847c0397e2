//! Certificates: what a port serves, what lies on disk, and what is wrong with them. A port's certificate is looked at
//! whatever is wrong with it; that is what this is for, and nothing secret is ever sent over such a connection.

use super::numbers;
use crate::config::{HostPort, Levels};
use crate::watcher::sources::checks::perfdata::Perfdata;
use crate::watcher::sources::checks::seen::{Finding, Seen};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use sopwith_domain::inspection::Verdict;
use std::collections::BTreeMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use x509_parser::prelude::X509Version;

/// Where the system keeps whose certificates count.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longest file of certificates, in bytes.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest chain.
const CHAIN_MAX: usize = 16;
const DAY_S: i64 = 86_400;

/// Root certificates that were read, by file, as long as the file stays the same.
type Read = BTreeMap<PathBuf, (SystemTime, Arc<RootCertStore>)>;
static ROOTS: LazyLock<Mutex<Read>> = LazyLock::new(Mutex::default);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns whose certificates count.
pub(super) fn roots(file: Option<&Path>) -> Result<Arc<RootCertStore>, String> {
    let file = file.unwrap_or(Path::new(SYSTEM_ROOTS));
    let changed = std::fs::metadata(file)
        .and_then(|m| m.modified())
        .map_err(|e| format!("failed to read whose certificates count, {}: {e}", file.display()))?;
    let mut known = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, roots)) = known.get(file).filter(|(read, _)| *read == changed) {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(chain(file)?);
    if added == 0 {
        return Err(format!("{} holds no certificate", file.display()));
    }
    let roots = Arc::new(roots);
    known.insert(file.to_owned(), (changed, Arc::clone(&roots)));
    Ok(roots)
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// It cannot be read, or is none.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file).map_err(|e| format!("failed to read {}: {e}", file.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.map_err(|e| format!("{} is not PEM: {e}", file.display()))
}

pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    opened.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > PEM_BYTES_MAX {
        true => Err(io::Error::other(format!("it is longer than {PEM_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// What a server showed.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Vec<CertificateDer<'static>>>);

impl Recorder {
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(end_entity).chain(intermediates).take(CHAIN_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            shown.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified =
            verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms);
        verified.or_else(|e| unless_of_version_1(cert, e))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified =
            verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms);
        verified.or_else(|e| unless_of_version_1(cert, e))
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Private authorities still issue certificates of version 1, of which the library does not even take the key. Who
/// looks at what is shown can do without the proof that the server has the key; who asks for trust is told by
/// [`judge`] that such a certificate has none.
fn unless_of_version_1(cert: &CertificateDer<'_>, error: Error) -> Result<HandshakeSignatureValid, Error> {
    match x509_parser::parse_x509_certificate(cert) {
        Ok((_, parsed)) if parsed.version == X509Version::V1 => Ok(HandshakeSignatureValid::assertion()),
        _ => Err(error),
    }
}

/// Makes the settings of a connection that only looks at what the server shows.
pub(super) fn client(recorder: &Arc<Recorder>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("failed to prepare TLS: {e}"))?;
    let verifier = Arc::clone(recorder) as Arc<dyn ServerCertVerifier>;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // A session taken up again would show no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Returns what a port shows in a handshake; blocking.
///
/// # Errors
/// There is no connection, or no handshake.
pub(super) fn shown(
    to: &HostPort,
    name: &ServerName<'static>,
    time_max: Duration,
) -> io::Result<Vec<CertificateDer<'static>>> {
    let deadline = Instant::now() + time_max;
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let mut connected = None;
    for address in (to.host.as_str(), to.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(e) => last = e,
        }
    }
    let mut stream = connected.ok_or(last)?;
    let recorder = Arc::new(Recorder::default());
    let config = client(&recorder).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name.clone()).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        stream.set_read_timeout(Some(left()))?;
        stream.set_write_timeout(Some(left()))?;
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let (read, written) = connection.complete_io(&mut stream)?;
        if read + written == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(recorder.chain())
}

/// What a chain is held against.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub name: Option<ServerName<'static>>,
    /// Nothing where it does not matter who signed it.
    pub roots: Option<Arc<RootCertStore>>,
    pub days: &'a Levels<u32>,
    pub now: SystemTime,
}

/// Adds what is wrong with a chain, and how many days it is still good for; `add` adds what names it.
pub(super) fn judge(
    chain: &[CertificateDer<'static>],
    wanted: &Wanted<'_>,
    add: impl Fn(Finding) -> Finding,
    seen: &mut Seen,
) {
    let invalid = |reason: &str, words: String| {
        add(Finding::new("certificate.invalid", Verdict::Critical, words).word("reason", reason))
    };
    let Some((leaf, rest)) = chain.split_first() else {
        seen.find(invalid("missing", "there is no certificate".into()));
        return;
    };
    let parsed = match x509_parser::parse_x509_certificate(leaf) {
        Ok((_, parsed)) => parsed,
        Err(e) => {
            seen.find(invalid("unreadable", format!("the certificate cannot be read: {e}")));
            return;
        }
    };
    let now_s = wanted.now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let (from_s, to_s) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    let days_left = (to_s - now_s).div_euclid(DAY_S);
    let expired = now_s > to_s;
    if expired {
        let words = format!("the certificate expired {} days ago", -days_left - 1);
        seen.find(invalid("expired", words).integer("days_left", days_left));
    } else if now_s < from_s {
        seen.find(invalid("not-yet-valid", "the certificate is not valid yet".into()));
    } else if let Some(verdict) = expiring(wanted.days, days_left) {
        let words = format!("the certificate expires in {days_left} days");
        let finding = Finding::new("certificate.expiring", verdict, words).integer("days_left", days_left);
        seen.find(add(finding));
    }
    if let (Some(name), Ok(parsed)) = (&wanted.name, ParsedCertificate::try_from(leaf))
        && verify_server_name(&parsed, name).is_err()
    {
        seen.find(invalid("name", format!("the certificate is not one for {}", name.to_str())));
    }
    if let Some(roots) = wanted.roots.as_deref().filter(|_| !expired)
        && let Some((reason, words)) = untrusted(leaf, rest, roots, now_s)
    {
        seen.find(invalid(reason, words));
    }
    #[expect(clippy::cast_precision_loss, reason = "days are few")]
    let days = days_left as f64;
    let (warning, critical) = numbers(wanted.days, |days| f64::from(*days));
    seen.measure(Perfdata::new("days_left", days, "").at_least(warning, critical));
}

fn expiring(limits: &Levels<u32>, days_left: i64) -> Option<Verdict> {
    let below = |limit: &Option<crate::config::At<u32>>| {
        limit.as_ref().is_some_and(|limit| days_left < i64::from(**limit))
    };
    if below(&limits.critical) {
        Some(Verdict::Critical)
    } else {
        below(&limits.warning).then_some(Verdict::Warning)
    }
}

/// Returns why nobody whose certificates count answers for a chain, if so.
fn untrusted(
    leaf: &CertificateDer<'_>,
    rest: &[CertificateDer<'static>],
    roots: &RootCertStore,
    now_s: i64,
) -> Option<(&'static str, String)> {
    let parsed = match ParsedCertificate::try_from(leaf) {
        Ok(parsed) => parsed,
        Err(e) => return Some(("unreadable", e.to_string())),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_s).unwrap_or(0)));
    let algorithms = provider().signature_verification_algorithms.all;
    let error = verify_server_cert_signed_by_trust_anchor(&parsed, roots, rest, now, algorithms).err()?;
    // What is wrong with the dates of the certificate itself was said already.
    Some(match &error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => (
            "unknown-issuer",
            "nobody whose certificates count has signed the certificate, or the chain is not whole".into(),
        ),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            ("chain-expired", "a certificate of the chain expired".into())
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => return None,
        other => ("untrusted", other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of version 1, as `openssl x509 -req` makes them of a request without extensions.
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJTCBzQIUfxbJ6N8pKLhgWwyV0/5Ch+RrzZ8wCgYIKoZIzj0EAwIwFjEUMBIG
A1UEAwwLb2xkLmV4YW1wbGUwHhcNMjYxMTI0MTMxNTMzWhcNMjYxMTI3MTMxNTMz
WjAWMRQwEgYDVQQDDAtvbGQuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABLf8EGedbKIjCttX4tXa3chNU7fm4lV+bk7PW5W4PyDY++g+D/t69y44Vky7
r05Xw/DNZjvvQeDJ9/BNtaOPrLIwCgYIKoZIzj0EAwIDRwAwRAIgE3yc/8yE5Hog
hPES6BLhh1+Inq+grGtv4qxHYyvQYxECIHutCcKIe6Wi6re1FwZyVGBOivtL5efS
YIbCCLcFN/Yn
-----END CERTIFICATE-----
";

    #[test]
    fn only_what_the_library_cannot_read_goes_without_proof() {
        let old = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).expect("PEM");
        let key = rcgen::KeyPair::generate().expect("a key");
        let new = rcgen::CertificateParams::new(["new.example".to_owned()]).expect("a name");
        let new = new.self_signed(&key).expect("signed").der().clone();
        for (certificate, taken) in [(old, true), (new, false), (CertificateDer::from(vec![0]), false)] {
            assert_eq!(unless_of_version_1(&certificate, Error::DecryptError).is_ok(), taken);
        }
    }
}
