//! The agent's own probes, one file a service. Each looks once, bounded in time and in what it reads, changes nothing,
//! and says what is wrong in typed fields. That it cannot look at all (no permission, no program) is an error, which
//! shows as a state of the source, and never as a fault of the service.

mod certificate;
mod connect;
mod dns;
mod http;
mod nginx;
mod postgresql;
mod redis;
mod tcp;
mod tls;

pub(super) use postgresql::{sessions, writes};
pub(super) use redis::save::{Wanted, ask as redis_save};

use super::by::By;
use super::plugin;
use super::seen::{Finding, Seen};
use crate::config::{Check, Kind, Levels};
use sopwith_domain::inspection::Verdict;
use std::time::Duration;

/// Returns the kinds of signals that a kind of check can raise; the first is that it is down altogether.
pub fn kinds(kind: Kind<'_>) -> &'static [&'static str] {
    match kind {
        Kind::Command(_) | Kind::Plugin(_) | Kind::Nginx(_) => &["check.failed"],
        Kind::Http(_) => &["http.failed", "certificate.invalid", "certificate.expiring"],
        Kind::Tcp(_) => &["tcp.failed"],
        Kind::Dns(_) => &["dns.failed"],
        Kind::Certificate(_) => &["certificate.invalid", "certificate.expiring", "certificate.mismatch"],
        Kind::Postgresql(_) => &[
            "postgresql.down",
            "postgresql.connections",
            "postgresql.idle-transaction",
            "postgresql.slot",
            "postgresql.replication",
        ],
        Kind::Redis(_) => &["redis.down", "redis.persistence", "redis.memory", "redis.replication"],
    }
}

/// Looks once.
///
/// # Errors
/// Says why it could not look.
pub async fn look(check: &Check, by: &By) -> Result<Seen, String> {
    // Each has memory of its own and only while it looks: otherwise every check, of whatever kind, would hold room for
    // the largest of them for ever, which is more than a hundred kilobytes.
    let run = || Box::pin(by.run(check));
    let probe = async {
        match check.kind() {
            Kind::Http(probe) => Box::pin(http::look(probe)).await,
            Kind::Tcp(probe) => Box::pin(tcp::look(probe)).await,
            Kind::Dns(probe) => Box::pin(dns::look(probe, check.timeout.0)).await,
            Kind::Certificate(probe) => Box::pin(certificate::look(probe, check.timeout.0)).await,
            Kind::Redis(probe) => Box::pin(redis::look(probe)).await,
            // Their programs have the same bound.
            Kind::Command(_) => Ok(plugin::read_command(check, &run().await?)),
            Kind::Plugin(_) => Ok(plugin::read(check, &run().await?)),
            Kind::Nginx(probe) => nginx::read(check, probe, &run().await?),
            Kind::Postgresql(probe) if check.by_runner() && by.is_runner() => {
                postgresql::whole(probe, &run().await?)
            }
            Kind::Postgresql(probe) => Box::pin(postgresql::look(probe, check.timeout.0)).await,
        }
    };
    if check.argv().is_some() || matches!(check.kind(), Kind::Postgresql(_)) {
        return probe.await;
    }
    match tokio::time::timeout(check.timeout.0, probe).await {
        Ok(seen) => seen,
        Err(_) => {
            let words = format!("no answer within {:?}", check.timeout.0);
            let failed = kinds(check.kind()).first().copied().unwrap_or("check.failed");
            Ok(Seen::wrong(Finding::new(failed, Verdict::Critical, words).word("reason", "timeout")))
        }
    }
}

/// Returns how bad a number is that is worse the more it is.
fn rising<T: PartialOrd>(limits: &Levels<T>, value: &T) -> Verdict {
    let reached =
        |limit: &Option<crate::config::At<T>>| limit.as_ref().is_some_and(|limit| *value >= **limit);
    if reached(&limits.critical) {
        Verdict::Critical
    } else if reached(&limits.warning) {
        Verdict::Warning
    } else {
        Verdict::Ok
    }
}

/// Returns limits as numbers, for perfdata.
fn numbers<T>(limits: &Levels<T>, number: impl Fn(&T) -> f64) -> (Option<f64>, Option<f64>) {
    let of = |limit: &Option<crate::config::At<T>>| limit.as_ref().map(|limit| number(limit));
    (of(&limits.warning), of(&limits.critical))
}

/// Says a length of time as people do.
fn spelled(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 1_000 => format!("{ms} ms"),
        ms if ms < 60_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min", time.as_secs() / 60),
    }
}

/// Returns the reason word of a failed connection.
fn reason(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "timeout",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => "unreachable",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => "closed",
        ErrorKind::NotFound => "missing",
        ErrorKind::PermissionDenied => "denied",
        _ => "other",
    }
}
