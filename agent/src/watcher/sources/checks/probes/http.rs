//! Asks for a page and holds the answer against what is expected: status, text, time, and the certificate. It follows
//! no redirection, and sends nothing but the request.

use super::tls::{self, Recorder, Wanted};
use super::{numbers, rising, spelled};
use crate::config::{At, HttpProbe, Period};
use crate::watcher::sources::checks::perfdata::Perfdata;
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use rustls::pki_types::ServerName;
use sopwith_domain::inspection::Verdict;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How much of an answer is read, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn look(probe: &HttpProbe) -> Result<Seen, String> {
    let recorder = Arc::new(Recorder::default());
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client(&recorder)?)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("sopwith-agent")
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|e| format!("failed to prepare the request: {e}"))?;
    let began = Instant::now();
    let mut seen = Seen::well(String::new());
    match client.get(probe.url.as_str()).send().await {
        Err(e) => seen.find(no_answer(probe, &e)),
        Ok(answer) => take(probe, answer, began, &mut seen).await,
    }
    if probe.url.as_str().starts_with("https://") {
        certificate(probe, &recorder, &mut seen)?;
    }
    seen.line_from_findings();
    Ok(seen)
}

fn failed(probe: &HttpProbe, verdict: Verdict, words: String, reason: &str) -> Finding {
    Finding::new("http.failed", verdict, words).word("reason", reason).url("url", &probe.url)
}

fn no_answer(probe: &HttpProbe, error: &reqwest::Error) -> Finding {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    let (mut io_reason, mut tls) = (None, false);
    while let Some(source) = innermost.source() {
        innermost = source;
        io_reason = innermost.downcast_ref::<std::io::Error>().map(super::reason).or(io_reason);
        tls |= of_tls(innermost);
    }
    let said = innermost.to_string();
    let reason = match io_reason {
        _ if error.source().is_some_and(|e| format!("{e:?}").contains("dns error")) => "dns",
        _ if tls => "tls",
        Some(reason) => reason,
        None => "other",
    };
    failed(probe, Verdict::Critical, format!("{} does not answer: {said}", probe.url.as_str()), reason)
}

/// Says whether an error is one of TLS. It comes wrapped in errors of input and output that do not name it as their
/// source.
fn of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| of_tls(inner))
}

async fn take(probe: &HttpProbe, mut answer: reqwest::Response, began: Instant, seen: &mut Seen) {
    let status = answer.status();
    let code = u32::from(status.as_u16());
    let expected = match probe.status.is_empty() {
        true => status.is_success(),
        false => probe.status.iter().any(|wanted| **wanted == code),
    };
    if !expected {
        let words = format!("{} answers {status}", probe.url.as_str());
        seen.find(failed(probe, Verdict::Critical, words, "status").integer("status", code));
    }
    let mut body = Vec::new();
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() < BODY_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(_) => break None,
            Err(e) => break Some(e),
        }
    };
    let took = began.elapsed();
    if let Some(e) = broken {
        let words = format!("the answer of {} breaks off: {e}", probe.url.as_str());
        seen.find(failed(probe, Verdict::Critical, words, "closed"));
    } else if let Some(pattern) =
        probe.body.as_ref().filter(|pattern| expected && !pattern.regex().is_match(&body))
    {
        let words = format!("{} answers {status}, but not with {:?}", probe.url.as_str(), pattern.as_str());
        seen.find(failed(probe, Verdict::Critical, words, "body").integer("status", code));
    }
    let slow = rising(&probe.time, &Period(took));
    if slow != Verdict::Ok {
        let words = format!("{} takes {}", probe.url.as_str(), spelled(took));
        seen.find(failed(probe, slow, words, "slow").integer("took_ms", took.as_millis()));
    }
    seen.line = one_line(&format!("{} answers {status} in {}", probe.url.as_str(), spelled(took)));
    measure(probe, took, body.len(), code, seen);
}

fn measure(probe: &HttpProbe, took: Duration, bytes: usize, code: u32, seen: &mut Seen) {
    let (warning, critical) = numbers(&probe.time, |time| time.0.as_secs_f64());
    seen.measure(Perfdata::new("time", took.as_secs_f64(), "s").limits(warning, critical));
    #[expect(clippy::cast_precision_loss, reason = "a page has at most a megabyte here")]
    seen.measure(Perfdata::new("size", bytes as f64, "B"));
    seen.measure(Perfdata::new("status", f64::from(code), ""));
}

fn certificate(probe: &HttpProbe, recorder: &Recorder, seen: &mut Seen) -> Result<(), String> {
    let chain = recorder.chain();
    // Where there was no handshake there is nothing to judge, and that was said.
    if chain.is_empty() {
        return Ok(());
    }
    let host = reqwest::Url::parse(probe.url.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = host.map(|host| host.trim_matches(['[', ']']).to_owned());
    let name = host.and_then(|host| ServerName::try_from(host).ok());
    let roots = Some(tls::roots(probe.ca.as_ref().map(At::path))?);
    let wanted = Wanted { name, roots, days: &probe.days, now: SystemTime::now() };
    tls::judge(&chain, &wanted, |finding| finding.url("url", &probe.url), seen);
    Ok(())
}

#[cfg(test)]
mod tests;
