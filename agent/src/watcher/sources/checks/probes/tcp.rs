//! Whether a port takes connections, and says first what it is to say.

use super::connect;
use super::{numbers, reason, rising, spelled};
use crate::config::TcpProbe;
use crate::watcher::sources::checks::perfdata::Perfdata;
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use sopwith_domain::inspection::Verdict;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// Longest banner, in bytes.
const BANNER_BYTES_MAX: usize = 4096;

pub(super) async fn look(probe: &TcpProbe) -> Result<Seen, String> {
    let began = Instant::now();
    let target = (probe.connect.host.as_str(), probe.connect.port);
    let failed = |verdict, words: String, reason: &str| {
        Finding::new("tcp.failed", verdict, words)
            .word("reason", reason)
            .word("connect", &probe.connect.to_string())
            .integer("port", probe.connect.port)
    };
    let addresses = match tokio::net::lookup_host(target).await {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(e) => {
            let words = format!("{} cannot be resolved: {e}", probe.connect.host);
            return Ok(Seen::wrong(failed(Verdict::Critical, words, "dns")));
        }
    };
    let mut stream = match connect::connect(&addresses, probe.banner.is_some()).await {
        Ok(stream) => stream,
        Err(e) => {
            let words = format!("no connection to {}: {e}", *probe.connect);
            return Ok(Seen::wrong(failed(Verdict::Critical, words, reason(&e))));
        }
    };
    let connected = began.elapsed();
    let mut said = String::new();
    let mut seen = Seen::well(String::new());
    if let (Some(pattern), Some(stream)) = (&probe.banner, &mut stream) {
        let mut bytes = Vec::new();
        let met = loop {
            if pattern.regex().is_match(&bytes) {
                break true;
            }
            let mut chunk = [0; 512];
            match stream.read(&mut chunk).await {
                Ok(count @ 1..) if bytes.len() < BANNER_BYTES_MAX => bytes.extend_from_slice(&chunk[..count]),
                _ => break false,
            }
        };
        said = one_line(&String::from_utf8_lossy(&bytes));
        if !met {
            let words = match said.is_empty() {
                true => format!("{} says nothing", *probe.connect),
                false => format!("{} says something else: {said}", *probe.connect),
            };
            seen.find(failed(Verdict::Critical, words, "banner"));
        }
    }
    let took = began.elapsed();
    let slow = rising(&probe.time, &crate::config::Period(took));
    if slow != Verdict::Ok {
        let words = format!("{} takes {}", *probe.connect, spelled(took));
        seen.find(failed(slow, words, "slow").integer("took_ms", took.as_millis()));
    }
    let quote = if said.is_empty() { String::new() } else { format!(", says {said}") };
    seen.line = one_line(&format!("{} takes connections in {}{quote}", *probe.connect, spelled(connected)));
    seen.line_from_findings();
    let (warning, critical) = numbers(&probe.time, |time| time.0.as_secs_f64());
    seen.measure(Perfdata::new("time", took.as_secs_f64(), "s").limits(warning, critical));
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn seen(text: &str) -> Seen {
        let text = format!("checks:\n- {{name: c, timeout: 2s, tcp: {{{text}}}}}\n");
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        super::super::look(&config.checks[0], &super::super::By::Us).await.expect("it can look")
    }

    fn told(seen: &Seen) -> String {
        let fields = seen.findings.iter().flat_map(|f| &f.fields);
        let reason = fields.filter(|(name, _)| name.as_str() == "reason").map(|(_, v)| v.to_string());
        format!("{} {}", seen.verdict.word(), reason.collect::<Vec<_>>().join(","))
    }

    #[tokio::test]
    async fn ports() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Whoever asks may be gone by then.
                let _ = stream.write_all(b"SSH-2.0-Test\r\n").await;
            }
        });
        for (text, expected) in [
            (format!("connect: '127.0.0.1:{port}'"), "ok "),
            (format!("connect: '127.0.0.1:{port}', banner: '^SSH-2'"), "ok "),
            (format!("connect: '127.0.0.1:{port}', banner: '^220 '"), "critical banner"),
            (format!("connect: '127.0.0.1:{port}', time: {{warning: 0s}}"), "warning slow"),
            ("connect: 'no-such-name.invalid:80'".into(), "critical dns"),
        ] {
            let seen = seen(&text).await;
            assert_eq!(told(&seen), expected, "{text}: {seen:?}");
        }
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = closed.local_addr().expect("an address").port();
        drop(closed);
        let gone = seen(&format!("connect: '127.0.0.1:{port}'")).await;
        assert_eq!(told(&gone), "critical refused", "{gone:?}");
        // Takes connections, and never says a word: the time of the check ends it.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let text = format!(
            "checks:\n- {{name: c, timeout: 150ms, tcp: {{connect: '127.0.0.1:{port}', banner: x}}}}\n"
        );
        let config = Config::parse(&text).expect("it can be used");
        let hung = super::super::look(&config.checks[0], &super::super::By::Us).await.expect("it can look");
        assert_eq!(told(&hung), "critical timeout", "{hung:?}");
    }
}
