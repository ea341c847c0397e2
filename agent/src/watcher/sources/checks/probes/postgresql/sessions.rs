//! Ends sessions of PostgreSQL that do nothing, and drops replication slots that nobody reads: by psql, as the account
//! that the check names, with numbers that are numbers and names of slots that are nothing else. Who is ended is chosen
//! by the very statement that ends him, so that a session that has begun to work, or a number that was used again, is
//! never hit; a superuser's and a replication's sessions never are.

use super::{OUTPUT_BYTES_MAX, argv};
use crate::config::PostgresqlProbe;
use crate::watcher::process::{self, Ended};
use crate::watcher::sources::checks::seen::one_line;
use std::time::Duration;

/// How long psql may take for one statement.
const STATEMENT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(1);
/// How long it takes a session that is ended to be gone, at most.
const GONE_TRIES_MAX: usize = 20;
/// Most numbers that are told.
const TOLD_MAX: usize = 20;

/// It is so, or it is not; both with words. An error is that it cannot be told.
type Answer = Result<Result<String, String>, String>;

/// Whom nobody but their owner may miss.
const ORDINARY: &str = "backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND NOT (SELECT rolsuper OR rolreplication FROM pg_roles WHERE oid = usesysid)";

/// One session, by its number and the microsecond at which it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    pub pid: i64,
    pub start_us: i64,
}

impl Session {
    fn is_it(self) -> String {
        let Self { pid, start_us } = self;
        format!("pid = {pid} AND (extract(epoch FROM backend_start) * 1000000)::bigint = {start_us}")
    }
}

/// Ends one session, if it is open and does nothing for so long.
pub async fn terminate(probe: &PostgresqlProbe, session: Session, idle_s: i64) -> Answer {
    let query = format!(
        "SELECT pid::text, pg_terminate_backend(pid)::int::text FROM pg_stat_activity WHERE {} AND {ORDINARY}
         AND state IN ('idle', 'idle in transaction', 'idle in transaction (aborted)')
         AND state_change <= now() - interval '{idle_s} seconds'",
        session.is_it()
    );
    let ended = ended(&rows(probe, &query).await?);
    if ended.is_empty() {
        return Ok(Err(format!(
            "session {} is gone, works again, does nothing for less than {idle_s} s, or is a superuser's or a \
             replication's: it is left alone",
            session.pid
        )));
    }
    for _ in 0..GONE_TRIES_MAX {
        if let Ok(text) = gone(probe, session).await? {
            return Ok(Ok(text));
        }
        tokio::time::sleep(POLL / 4).await;
    }
    Ok(Err(format!("session {} was told to end and is still there", session.pid)))
}

/// Says whether a session is gone.
pub async fn gone(probe: &PostgresqlProbe, session: Session) -> Answer {
    let query = format!("SELECT count(*)::text, '' FROM pg_stat_activity WHERE {}", session.is_it());
    let count = number(&rows(probe, &query).await?, 0)?;
    let pid = session.pid;
    Ok(if count == 0 { Ok(format!("session {pid} is gone")) } else { Err(format!("session {pid} is there")) })
}

/// How idle sessions are ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Idle {
    /// Until less than this share of the connections is in use.
    pub below_percent: i64,
    /// Only who does nothing for so long.
    pub idle_s: i64,
    /// So many at most.
    pub most: i64,
    /// Who is not idle for long enough yet is waited for so long.
    pub wait: Duration,
}

/// Ends sessions that do nothing, the longest idle first, no more than it takes.
pub async fn terminate_idle(probe: &PostgresqlProbe, idle: Idle) -> Answer {
    let Idle { below_percent, idle_s, most, wait } = idle;
    let deadline = tokio::time::Instant::now() + wait;
    let mut all: Vec<String> = Vec::new();
    loop {
        let left = most - i64::try_from(all.len()).unwrap_or(i64::MAX);
        let query = format!(
            "WITH now_used AS (SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'),
             doomed AS (SELECT pid FROM pg_stat_activity WHERE state = 'idle' AND {ORDINARY}
               AND state_change <= now() - interval '{idle_s} seconds' ORDER BY state_change
               LIMIT (SELECT greatest(0, least({left}, n - ceil({MOST} * {below_percent} / 100.0)::bigint + 1))
                 FROM now_used))
             SELECT pid::text, pg_terminate_backend(pid)::int::text FROM doomed"
        );
        all.extend(ended(&rows(probe, &query).await?));
        tokio::time::sleep(POLL).await;
        if let Ok(text) = connections_below(probe, below_percent).await? {
            let told = all.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join(", ");
            return Ok(Ok(format!("{} idle sessions were ended ({told}); {text}", all.len())));
        }
        let over = tokio::time::Instant::now() >= deadline;
        if over || i64::try_from(all.len()).unwrap_or(i64::MAX) >= most {
            let why = if over { "no other does nothing for long enough" } else { "more may not be ended" };
            return Ok(Err(format!("{} idle sessions were ended, and {why}", all.len())));
        }
    }
}

/// What there may be without those that are kept for superusers.
const MOST: &str = "(current_setting('max_connections')::int
  - current_setting('superuser_reserved_connections')::int)";

/// Says whether less than a share of the connections is in use.
pub async fn connections_below(probe: &PostgresqlProbe, percent: i64) -> Answer {
    let query = format!(
        "SELECT count(*)::text, {MOST}::text FROM pg_stat_activity WHERE backend_type = 'client backend'"
    );
    let rows = rows(probe, &query).await?;
    let (used, most) = (number(&rows, 0)?, number(&rows, 1)?);
    let text = format!("{used} of {most} connections are in use");
    Ok(if used * 100 < most * percent { Ok(text) } else { Err(text) })
}

/// Drops a slot that nobody reads and that holds back at least so many megabytes of log.
pub async fn drop_slot(probe: &PostgresqlProbe, slot: &str, retained_mb: i64) -> Answer {
    let slot = slot_name(slot)?;
    let query = format!(
        "SELECT slot_name::text, pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots
         WHERE slot_name = '{slot}' AND NOT active AND NOT pg_is_in_recovery()
         AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) >= {retained_mb}::bigint * 1048576"
    );
    if rows(probe, &query).await?.is_empty() {
        let text = format!("slot {slot} is gone, is read, or holds back less: it is left alone");
        return Ok(Err(text));
    }
    Ok(Ok(format!("slot {slot} is dropped")))
}

/// Says whether there is no such slot.
pub async fn slot_absent(probe: &PostgresqlProbe, slot: &str) -> Answer {
    let slot = slot_name(slot)?;
    let query = format!("SELECT count(*)::text, '' FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let count = number(&rows(probe, &query).await?, 0)?;
    Ok(if count == 0 { Ok(format!("there is no slot {slot}")) } else { Err(format!("slot {slot} is there")) })
}

/// PostgreSQL itself allows nothing else in the name of a slot.
fn slot_name(slot: &str) -> Result<&str, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    match (1..=63).contains(&slot.len()) && slot.bytes().all(fits) {
        true => Ok(slot),
        false => Err("this is no name of a replication slot".into()),
    }
}

pub(super) type Rows = Vec<(String, String)>;

/// Returns the numbers of the sessions that were told to end.
fn ended(rows: &Rows) -> Vec<String> {
    rows.iter().filter(|(_, told)| told == "1").map(|(pid, _)| pid.clone()).collect()
}

fn number(rows: &Rows, at: usize) -> Result<i64, String> {
    let value = rows.first().map(|(first, second)| if at == 0 { first } else { second });
    value.and_then(|value| value.parse().ok()).ok_or_else(|| "psql answered something else".into())
}

pub(super) async fn rows(probe: &PostgresqlProbe, query: &str) -> Result<Rows, String> {
    let argv = argv(probe, STATEMENT, query);
    let done = process::run(&argv, STATEMENT, OUTPUT_BYTES_MAX).await;
    let done = done.map_err(|e| format!("failed to start {}: {e}", argv[0]))?;
    let text = String::from_utf8_lossy(&done.output);
    match done.ended {
        Ended::Exited(0) => {
            let pair = |line: &str| line.split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned()));
            Ok(text.lines().filter_map(pair).collect())
        }
        Ended::Exited(_) => Err(format!("psql cannot do it: {}", one_line(&text))),
        Ended::Signalled(signal) => Err(format!("psql was ended by signal {signal}")),
        Ended::TimedOut => Err(format!("psql did not answer within {STATEMENT:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_slots_are_nothing_else() {
        for good in ["standby_1", "a", "9"] {
            assert_eq!(slot_name(good), Ok(good));
        }
        let long = "a".repeat(64);
        for bad in ["", "A", "a'; DROP", "a b", "a\n", "a-b", "../a", "$a", long.as_str()] {
            assert!(slot_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_session_is_told_by_number_and_beginning() {
        let session = Session { pid: 7, start_us: 1_700_000_000_000_001 };
        assert!(session.is_it().contains("pid = 7 AND"));
        assert!(session.is_it().ends_with("= 1700000000000001"));
    }

    #[test]
    fn only_who_was_told_to_end_is_counted() {
        let rows = vec![("7".to_owned(), "1".to_owned()), ("8".to_owned(), "0".to_owned())];
        assert_eq!(ended(&rows), ["7"]);
        assert_eq!(number(&rows, 0), Ok(7));
        assert!(number(&Vec::new(), 0).is_err());
    }
}
