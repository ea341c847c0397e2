//! What the runner has a process of its own do to a service that a configured check knows, or ask of it: so that root's
//! long-lived half neither opens a connection nor reads what a service answers. Exit code 0: done, or it is so; 1: not;
//! 3: it cannot be told.

use super::probes::{Wanted, redis_save, sessions, writes};
use crate::config::{Check, Config, Kind};
use clap::{Args, Subcommand};
use sessions::{Idle, Session};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long one question may take; what takes longer waits by itself.
const QUESTION: Duration = Duration::from_secs(30);
/// Longest that a snapshot of Redis is waited for; the step's own time ends it sooner.
const SAVE: Duration = Duration::from_secs(3600);

#[derive(Args, Debug)]
pub struct HandArguments {
    /// Name of the check.
    check: String,
    #[command(subcommand)]
    deed: Deed,
}

/// What is done or asked. Everything is a number but for a slot's name.
#[derive(Subcommand, Debug)]
enum Deed {
    RedisSave,
    RedisPersisting,
    PostgresqlTerminate { pid: i64, start_us: i64, idle_s: i64 },
    PostgresqlGone { pid: i64, start_us: i64 },
    PostgresqlTerminateIdle { below_percent: i64, idle_s: i64, most: i64, wait_s: u64 },
    PostgresqlConnectionsBelow { percent: i64 },
    PostgresqlDropSlot { slot: String, retained_mb: i64 },
    PostgresqlSlotAbsent { slot: String },
    PostgresqlAllowWrites,
    PostgresqlForbidWrites,
    PostgresqlWritable,
}

/// It is so, or it is not; both with words. An error is that it cannot be told.
type Answer = Result<Result<String, String>, String>;

pub fn hand(config: &Path, arguments: &HandArguments) -> ExitCode {
    let (code, text) = match done(config, arguments) {
        Ok(Ok(text)) => (0, text),
        Ok(Err(text)) => (1, text),
        Err(reason) => (3, reason),
    };
    println!("{}", super::seen::one_line(&text));
    ExitCode::from(code)
}

fn done(file: &Path, arguments: &HandArguments) -> Answer {
    let config = Config::load(file).map_err(|e| e.to_string())?;
    let named = |check: &&Check| check.name.as_str() == arguments.check;
    let check = config.checks.iter().find(named);
    let check = check.ok_or_else(|| format!("the configuration has no check {}", arguments.check))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("failed to start: {e}"))?;
    let (work, time_max) = (work(check.kind(), &arguments.deed), time_max(&arguments.deed));
    let answer = runtime.block_on(async { tokio::time::timeout(time_max, work).await });
    answer.unwrap_or_else(|_| Err(format!("no answer within {time_max:?}")))
}

fn time_max(deed: &Deed) -> Duration {
    match deed {
        Deed::RedisSave => SAVE,
        Deed::PostgresqlTerminateIdle { wait_s, .. } => Duration::from_secs(*wait_s) + 2 * QUESTION,
        _ => QUESTION,
    }
}

async fn work(kind: Kind<'_>, deed: &Deed) -> Answer {
    match (kind, deed) {
        (Kind::Redis(probe), Deed::RedisSave) => redis_save(probe, Wanted::Save).await,
        (Kind::Redis(probe), Deed::RedisPersisting) => redis_save(probe, Wanted::Tell).await,
        (Kind::Postgresql(probe), Deed::PostgresqlTerminate { pid, start_us, idle_s }) => {
            sessions::terminate(probe, Session { pid: *pid, start_us: *start_us }, *idle_s).await
        }
        (Kind::Postgresql(probe), Deed::PostgresqlGone { pid, start_us }) => {
            sessions::gone(probe, Session { pid: *pid, start_us: *start_us }).await
        }
        (Kind::Postgresql(probe), Deed::PostgresqlTerminateIdle { below_percent, idle_s, most, wait_s }) => {
            let (below_percent, wait) = (*below_percent, Duration::from_secs(*wait_s));
            sessions::terminate_idle(probe, Idle { below_percent, idle_s: *idle_s, most: *most, wait }).await
        }
        (Kind::Postgresql(probe), Deed::PostgresqlConnectionsBelow { percent }) => {
            sessions::connections_below(probe, *percent).await
        }
        (Kind::Postgresql(probe), Deed::PostgresqlDropSlot { slot, retained_mb }) => {
            sessions::drop_slot(probe, slot, *retained_mb).await
        }
        (Kind::Postgresql(probe), Deed::PostgresqlSlotAbsent { slot }) => {
            sessions::slot_absent(probe, slot).await
        }
        (Kind::Postgresql(probe), Deed::PostgresqlAllowWrites) => writes::allow(probe).await,
        (Kind::Postgresql(probe), Deed::PostgresqlForbidWrites) => writes::forbid(probe).await,
        (Kind::Postgresql(probe), Deed::PostgresqlWritable) => writes::writable(probe).await,
        (kind, _) => Err(format!("the check is of another kind: {}", kind.name())),
    }
}
