//! Whether names can be resolved here: the resolver's settings are there and name servers, each of the servers
//! answers, and with what is expected.

use super::{numbers, reason, rising, spelled};
use crate::config::{DnsProbe, Period};
use crate::watcher::sources::checks::perfdata::Perfdata;
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use message::{Answer, Code};
use sopwith_domain::inspection::Verdict;
use sopwith_domain::value::Value;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

mod message;

/// Most name servers that the system's resolver uses.
const SERVERS_MAX: usize = 3;
/// Longest file with the resolver's settings, in bytes.
const CONF_BYTES_MAX: usize = 64 * 1024;
/// Longest answer by UDP, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;
const PORT: u16 = 53;

pub(super) async fn look(probe: &DnsProbe, time_max: Duration) -> Result<Seen, String> {
    look_at(probe, time_max, PORT).await
}

async fn look_at(probe: &DnsProbe, time_max: Duration, port: u16) -> Result<Seen, String> {
    let servers = match servers(probe) {
        Ok(servers) => servers,
        Err(finding) => return Ok(Seen::wrong(finding)),
    };
    // Each may use up its part of the time, so that one that is silent does not hide the others.
    let parts = u32::try_from(servers.len() + 1).unwrap_or(1);
    let each = time_max / parts;
    let mut seen = Seen::well(String::new());
    let mut answered = 0;
    let mut slowest = Duration::ZERO;
    for server in &servers {
        let began = Instant::now();
        match asked(probe, SocketAddr::new(*server, port), each).await {
            Ok(Answer { code: Code::None, addresses }) => {
                answered += 1;
                slowest = slowest.max(began.elapsed());
                if let Some(finding) = unexpected(probe, *server, &addresses) {
                    seen.find(finding);
                }
            }
            Ok(Answer { code, .. }) => {
                let (word, words) = code.words();
                let words = format!("name server {server} answers that {words} {}", probe.name.0);
                seen.find(failed(probe, Verdict::Warning, words, word).field("ip", Value::Ip(*server)));
            }
            Err(e) => {
                let words = format!("name server {server} does not answer: {e}");
                seen.find(failed(probe, Verdict::Warning, words, reason(&e)).field("ip", Value::Ip(*server)));
            }
        }
    }
    finish(probe, &servers, answered, slowest, &mut seen);
    Ok(seen)
}

/// Judges the whole: where no server helps, nothing on this host resolves.
fn finish(probe: &DnsProbe, servers: &[IpAddr], answered: usize, slowest: Duration, seen: &mut Seen) {
    if answered == 0 {
        for finding in &mut seen.findings {
            finding.verdict = Verdict::Critical;
        }
        seen.verdict = Verdict::Critical;
    }
    let slow = rising(&probe.time, &Period(slowest));
    if answered > 0 && slow != Verdict::Ok {
        let words = format!("resolving {} takes {}", probe.name.0, spelled(slowest));
        seen.find(failed(probe, slow, words, "slow").integer("took_ms", slowest.as_millis()));
    }
    let counted = |finding: Finding| finding.integer("servers", servers.len()).integer("answered", answered);
    seen.findings = std::mem::take(&mut seen.findings).into_iter().map(counted).collect();
    seen.line = one_line(&format!(
        "{answered} of {} name servers resolve {} in {}",
        servers.len(),
        probe.name.0,
        spelled(slowest)
    ));
    seen.line_from_findings();
    let (warning, critical) = numbers(&probe.time, |time| time.0.as_secs_f64());
    if answered > 0 {
        seen.measure(Perfdata::new("time", slowest.as_secs_f64(), "s").limits(warning, critical));
    }
    #[expect(clippy::cast_precision_loss, reason = "there are three at most")]
    seen.measure(Perfdata::new("answered", answered as f64, ""));
}

fn failed(probe: &DnsProbe, verdict: Verdict, words: String, reason: &str) -> Finding {
    Finding::new("dns.failed", verdict, words)
        .word("reason", reason)
        .word("name", &probe.name.0)
        .path("resolv_conf", &probe.resolv_conf)
}

/// Reads the name servers of the resolver's settings, or says what is wrong with them.
fn servers(probe: &DnsProbe) -> Result<Vec<IpAddr>, Finding> {
    let file = probe.resolv_conf.path();
    let wrong = |words: String, reason: &str| failed(probe, Verdict::Critical, words, reason);
    let bytes = std::fs::read(file).map_err(|e| {
        let reason = if e.kind() == io::ErrorKind::NotFound { "no-resolv-conf" } else { "unreadable" };
        wrong(format!("{} cannot be read: {e}", file.display()), reason)
    })?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(CONF_BYTES_MAX)]).into_owned();
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().unwrap_or_default().to_owned())
    });
    let mut found = Vec::new();
    for name in named.take(SERVERS_MAX) {
        // An address with a zone, as in fe80::1%eth0, is asked without it only where that is possible.
        let address = name.split('%').next().unwrap_or_default();
        match address.parse::<IpAddr>() {
            Ok(ip) => found.push(ip),
            Err(_) => {
                let words = format!("{}: {name:?} is no name server", file.display());
                return Err(wrong(words, "bad-nameserver"));
            }
        }
    }
    match found.is_empty() {
        true => Err(wrong(format!("{} names no name server", file.display()), "no-nameserver")),
        false => Ok(found),
    }
}

/// Asks one server for the addresses of the name: of both kinds, where it has none of the first.
async fn asked(probe: &DnsProbe, server: SocketAddr, time_max: Duration) -> io::Result<Answer> {
    let both = async {
        let first = exchange(probe, server, message::A).await?;
        match first.code == Code::None && first.addresses.is_empty() {
            true => exchange(probe, server, message::AAAA).await,
            false => Ok(first),
        }
    };
    tokio::time::timeout(time_max, both).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn exchange(probe: &DnsProbe, server: SocketAddr, kind: u16) -> io::Result<Answer> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Only what comes from the server itself is taken.
    socket.connect(server).await?;
    let id = rand::random();
    socket.send(&message::question(id, &probe.name.0, kind)).await?;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = message::answer(&buffer[..length], id) {
            return Ok(answer);
        }
    }
}

fn unexpected(probe: &DnsProbe, server: IpAddr, addresses: &[IpAddr]) -> Option<Finding> {
    let name = &probe.name.0;
    if addresses.is_empty() {
        let words = format!("name server {server} knows no address of {name}");
        return Some(failed(probe, Verdict::Critical, words, "no-address").field("ip", Value::Ip(server)));
    }
    let expected = probe.expect.is_empty() || probe.expect.iter().any(|ip| addresses.contains(ip));
    (!expected).then(|| {
        let said: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let words = format!("name server {server} says that {name} is {}", said.join(", "));
        failed(probe, Verdict::Critical, words, "unexpected").field("ip", Value::Ip(server))
    })
}

#[cfg(test)]
mod tests;
