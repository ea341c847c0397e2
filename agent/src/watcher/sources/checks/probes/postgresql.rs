//! Asks PostgreSQL about itself by one query of psql: connections left, transactions that are open and do nothing,
//! replication slots that hold the log back, and how far a standby is behind.

use super::rising;
use crate::config::{Kind, Period, PostgresqlProbe, Role};
use crate::watcher::process::{self, Done, Ended};
use crate::watcher::sources::checks::perfdata::Perfdata;
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use sopwith_domain::inspection::Verdict;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most output of psql that is read, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Most replication slots that are looked at.
const SLOTS_MAX: usize = 64;
/// Program that gives up root before psql is started.
const SETPRIV: &str = "/usr/bin/setpriv";

/// Everything in one query, one fact a line. Slots have names of a-z, 0-9 and _ only.
const QUERY: &str = "
SELECT 'sees', pg_has_role(current_user, 'pg_read_all_stats', 'usage')::int::text, '', ''
UNION ALL SELECT 'version', current_setting('server_version_num'), '', ''
UNION ALL SELECT 'max', (current_setting('max_connections')::int
  - current_setting('superuser_reserved_connections')::int)::text, '', ''
UNION ALL SELECT 'used', count(*)::text, '', '' FROM pg_stat_activity WHERE backend_type = 'client backend'
UNION ALL SELECT 'idle-sessions', count(*)::text, '', '' FROM pg_stat_activity LEFT JOIN pg_roles r ON r.oid = usesysid
  WHERE backend_type = 'client backend' AND state = 'idle' AND NOT (r.rolsuper OR r.rolreplication)
UNION ALL (SELECT 'idle', extract(epoch FROM now() - state_change)::bigint::text, pid::text,
    CASE WHEN NOT (r.rolsuper OR r.rolreplication)
      THEN (extract(epoch FROM backend_start) * 1000000)::bigint::text ELSE '' END
  FROM pg_stat_activity LEFT JOIN pg_roles r ON r.oid = usesysid WHERE state LIKE 'idle in transaction%' ORDER BY state_change LIMIT 1)
UNION ALL SELECT 'read-only', (setting = 'on')::int::text, source,
    (coalesce(sourcefile, '') LIKE '%/postgresql.auto.conf')::int::text
  FROM pg_settings WHERE name = 'default_transaction_read_only'
UNION ALL SELECT 'recovery', pg_is_in_recovery()::int::text, '', ''
UNION ALL SELECT 'lag', CASE
  WHEN NOT pg_is_in_recovery() THEN '0'
  WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN '0'
  ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp())::bigint, 0)::text END, '', ''
UNION ALL (SELECT 'slot', slot_name::text, active::int::text, coalesce(pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
    restart_lsn)::bigint, 0)::text
  FROM pg_replication_slots ORDER BY restart_lsn LIMIT 64)
";

pub(in crate::watcher::sources::checks) mod sessions;
pub(in crate::watcher::sources::checks) mod writes;

pub(super) async fn look(probe: &PostgresqlProbe, time_max: Duration) -> Result<Seen, String> {
    let argv = argv(probe, time_max, QUERY);
    let done = process::run(&argv, time_max, OUTPUT_BYTES_MAX).await;
    let done = done.map_err(|e| format!("failed to start {}: {e}", argv[0]))?;
    let text = String::from_utf8_lossy(&done.output);
    match done.ended {
        Ended::Exited(0) => read(probe, &text),
        Ended::TimedOut => Ok(down(Verdict::Critical, format!("no answer within {time_max:?}"), "timeout")),
        Ended::Signalled(signal) => Err(format!("psql was ended by signal {signal}")),
        Ended::Exited(_) => refused(&text),
    }
}

/// Reads what the same check said as another user, whole.
pub(super) fn whole(probe: &PostgresqlProbe, done: &Done) -> Result<Seen, String> {
    let text = String::from_utf8_lossy(&done.output);
    let found = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let kind = Kind::Postgresql(probe).name();
    found.ok_or_else(|| format!("the {kind} probe as another user said nothing: {}", one_line(&text)))
}

fn argv(probe: &PostgresqlProbe, time_max: Duration, query: &str) -> Vec<String> {
    let mut argv: Vec<String> = Vec::new();
    if let Some(account) = &probe.account {
        let account = account.as_str();
        argv.extend([SETPRIV.into(), format!("--reuid={account}"), format!("--regid={account}")]);
        argv.extend(["--init-groups".into(), "--".into()]);
    }
    let mut settings = vec![
        format!("host='{}'", *probe.host),
        format!("port={}", *probe.port),
        format!("dbname='{}'", probe.database.as_str()),
        format!("connect_timeout={}", time_max.as_secs().max(2)),
        "application_name=sopwith-agent".into(),
    ];
    settings.extend(probe.user.as_ref().map(|user| format!("user='{}'", user.as_str())));
    // In a connection string a backslash and a quote are what must not stand there as they are.
    let quoted = |path: &str| path.replace('\\', "\\\\").replace('\'', "\\'");
    settings.extend(probe.passfile.as_ref().map(|file| format!("passfile='{}'", quoted(file.as_str()))));
    argv.push(probe.psql.to_string());
    argv.extend(["-X", "-q", "-A", "-t", "-w", "-F", "|", "-v", "ON_ERROR_STOP=1", "-d"].map(str::to_owned));
    argv.extend([settings.join(" "), "-c".into(), query.into()]);
    argv
}

fn down(verdict: Verdict, words: String, reason: &str) -> Seen {
    Seen::wrong(Finding::new("postgresql.down", verdict, words).word("reason", reason))
}

/// Tells a server that is not well from an agent that is not let in.
fn refused(text: &str) -> Result<Seen, String> {
    let line = text.lines().find(|line| line.contains("FATAL") || line.contains("failed")).unwrap_or(text);
    let said = one_line(line.trim_start_matches("psql: "));
    let has = |what: &str| text.contains(what);
    if has("too many clients") || has("remaining connection slots are reserved") {
        let finding = Finding::new("postgresql.connections", Verdict::Critical, "no connection is left");
        return Ok(Seen::wrong(finding.word("reason", "exhausted").integer("used_percent", 100)));
    }
    let reason = if has("starting up") || has("not yet accepting connections") {
        "starting"
    } else if has("shutting down") {
        "stopping"
    } else if has("in recovery mode") {
        "recovering"
    } else if has("timeout expired") {
        "timeout"
    } else if has("Connection refused") || has("No such file or directory") {
        "refused"
    } else if has("closed the connection unexpectedly") {
        "closed"
    } else {
        return Err(format!("psql cannot ask: {said}"));
    };
    let verdict = if reason == "starting" { Verdict::Warning } else { Verdict::Critical };
    Ok(down(verdict, said, reason))
}

/// One line of the answer: name and values.
type Row<'a> = (&'a str, [&'a str; 3]);

fn read(probe: &PostgresqlProbe, text: &str) -> Result<Seen, String> {
    let rows: Vec<Row<'_>> = text.lines().filter_map(row).collect();
    let facts: BTreeMap<&str, [&str; 3]> = rows.iter().filter(|(name, _)| *name != "slot").copied().collect();
    let number = |name: &str, at: usize| {
        let value = facts.get(name).map(|values| values[at]);
        value.and_then(|value| value.parse::<i64>().ok())
    };
    let (Some(used), Some(most)) = (number("used", 0), number("max", 0)) else {
        return Err(format!("psql answered something else: {}", one_line(text)));
    };
    if number("sees", 0) != Some(1) {
        let user = probe.user.as_ref().map_or("the agent's user", |user| user.as_str());
        return Err(format!("{user} does not see the sessions of others: GRANT pg_monitor TO it"));
    }
    let mut seen = Seen::well(String::new());
    connections(probe, (used, number("idle-sessions", 0).unwrap_or(0)), most, &mut seen);
    let idle_s = number("idle", 0).unwrap_or(0).max(0);
    idle(probe, idle_s, (number("idle", 1), number("idle", 2)), &mut seen);
    let slots: Vec<[&str; 3]> =
        rows.iter().filter(|(name, _)| *name == "slot").map(|(_, v)| *v).take(SLOTS_MAX).collect();
    let retained_mb = self::slots(probe, &slots, &mut seen);
    let (standby, lag_s) = (number("recovery", 0) == Some(1), number("lag", 0).unwrap_or(0).max(0));
    replication(probe, standby, lag_s, &mut seen);
    if number("read-only", 0) == Some(1) && !standby {
        let source = facts.get("read-only").map_or("", |values| values[1]);
        seen.find(read_only(source, number("read-only", 2) == Some(1)));
    }
    let role = if standby { "standby" } else { "primary" };
    seen.line = one_line(&format!(
        "{role}, {used} of {most} connections, {} slots hold back {retained_mb} MB{}",
        slots.len(),
        if idle_s > 0 { format!(", a transaction idle for {idle_s} s") } else { String::new() }
    ));
    seen.line_from_findings();
    measure(used, most, idle_s, retained_mb, lag_s, &mut seen);
    Ok(seen)
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut parts = line.split('|');
    let name = parts.next().filter(|name| !name.is_empty())?;
    Some((name, [parts.next()?, parts.next()?, parts.next()?]))
}

/// Of the connections in use some are idle: sessions of ordinary users without a transaction.
fn connections(probe: &PostgresqlProbe, (used, idle): (i64, i64), most: i64, seen: &mut Seen) {
    let percent =
        (used.max(0) * 100).checked_div(most.max(1)).and_then(|n| u32::try_from(n).ok()).unwrap_or(100);
    let full = rising(&probe.connections_percent, &percent);
    if full != Verdict::Ok {
        let words = format!("{used} of {most} connections are in use");
        seen.find(
            Finding::new("postgresql.connections", full, words)
                .word("reason", "many")
                .integer("used", used)
                .integer("max", most)
                .integer("used_percent", percent)
                .integer("idle", idle)
                .integer("idle_percent", (idle.max(0) * 100).checked_div(used.max(1)).unwrap_or(0)),
        );
    }
}

/// Of a superuser's or a replication's session it is not told when it began: nothing is done about those.
fn idle(probe: &PostgresqlProbe, idle_s: i64, (pid, start_us): (Option<i64>, Option<i64>), seen: &mut Seen) {
    let time = Duration::from_secs(idle_s.unsigned_abs());
    let long = rising(&probe.idle_in_transaction, &Period(time));
    if long != Verdict::Ok {
        let words = format!("a transaction is open and does nothing for {idle_s} s");
        let finding = Finding::new("postgresql.idle-transaction", long, words).integer("idle_s", idle_s);
        // From when on it counts is the operator's to say, and what an SOP waits for.
        let limit =
            probe.idle_in_transaction.warning.as_ref().or(probe.idle_in_transaction.critical.as_ref());
        let limit_s = limit.and_then(|limit| i64::try_from(limit.0.as_secs()).ok());
        let finding = limit_s.into_iter().fold(finding, |finding, s| finding.integer("limit_s", s));
        let finding = pid.into_iter().fold(finding, |finding, pid| finding.integer("backend_pid", pid));
        seen.find(start_us.into_iter().fold(finding, |finding, us| finding.integer("backend_start_us", us)));
    }
}

/// Judges the slots, and returns how many megabytes the worst of them holds back.
fn slots(probe: &PostgresqlProbe, slots: &[[&str; 3]], seen: &mut Seen) -> i64 {
    let mut worst_mb = 0;
    for [name, active, bytes] in slots {
        let retained_mb = bytes.parse::<i64>().unwrap_or(0).max(0) >> 20;
        worst_mb = worst_mb.max(retained_mb);
        let much = rising(&probe.slot_retained_mb, &u32::try_from(retained_mb).unwrap_or(u32::MAX));
        if much != Verdict::Ok {
            let unused = if *active == "1" { "" } else { ", and nobody reads it" };
            let words = format!("replication slot {name} holds back {retained_mb} MB of log{unused}");
            let limit = probe.slot_retained_mb.warning.as_ref().or(probe.slot_retained_mb.critical.as_ref());
            let finding = Finding::new("postgresql.slot", much, words)
                .word("slot", name)
                .boolean("active", *active == "1")
                .integer("retained_mb", retained_mb);
            seen.find(
                limit.into_iter().fold(finding, |finding, mb| finding.integer("limit_mb", i64::from(**mb))),
            );
        }
    }
    worst_mb
}

fn replication(probe: &PostgresqlProbe, standby: bool, lag_s: i64, seen: &mut Seen) {
    let other = match *probe.role {
        Role::Primary if standby => Some("this is a standby, and is meant to be the primary"),
        Role::Standby if !standby => Some("this is a primary, and is meant to be a standby"),
        _ => None,
    };
    if let Some(words) = other {
        let finding = Finding::new("postgresql.replication", Verdict::Critical, words);
        seen.find(finding.word("reason", "role").boolean("standby", standby));
    }
    let behind = rising(&probe.replay_lag, &Period(Duration::from_secs(lag_s.unsigned_abs())));
    if standby && behind != Verdict::Ok {
        let words = format!("this standby is {lag_s} s behind");
        let finding = Finding::new("postgresql.replication", behind, words);
        seen.find(finding.word("reason", "lag").boolean("standby", true).integer("lag_s", lag_s));
    }
}

/// A primary whose transactions may not write: somebody has set it so, or what keeps a disk from being filled.
fn read_only(source: &str, by_alter_system: bool) -> Finding {
    let set_in = match (source, by_alter_system) {
        (_, true) => "alter-system",
        ("configuration file", _) => "file",
        ("database" | "user" | "database user", _) => "role-or-database",
        ("command line" | "environment variable", _) => "start",
        _ => "elsewhere",
    };
    let words = "default_transaction_read_only is on: it refuses every write";
    Finding::new("postgresql.read-only", Verdict::Critical, words).word("set_in", set_in)
}

#[expect(clippy::cast_precision_loss, reason = "what is shown needs no last digit")]
fn measure(used: i64, most: i64, idle_s: i64, retained_mb: i64, lag_s: i64, seen: &mut Seen) {
    let mut connections = Perfdata::new("connections", used as f64, "");
    (connections.min, connections.max) = (Some(0.0), Some(most as f64));
    seen.measure(connections);
    seen.measure(Perfdata::new("idle_in_transaction", idle_s as f64, "s"));
    seen.measure(Perfdata::new("slot_retained", retained_mb as f64, "MB"));
    seen.measure(Perfdata::new("replay_lag", lag_s as f64, "s"));
}

#[cfg(test)]
mod tests;
