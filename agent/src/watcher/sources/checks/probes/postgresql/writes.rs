//! Lets PostgreSQL take writes again where `ALTER SYSTEM` has forbidden them, and takes that back. What stands in
//! another file, or belongs to a role or a database, is left alone.

use super::sessions::rows;
use crate::config::PostgresqlProbe;
use std::time::Duration;

/// How often, and how many times at most, it is asked whether what was read anew holds.
const POLL: Duration = Duration::from_millis(200);
const TRIES_MAX: usize = 25;

const STATE: &str = "SELECT setting, CASE WHEN pg_is_in_recovery() THEN 'standby'
    WHEN coalesce(sourcefile, '') LIKE '%/postgresql.auto.conf' THEN 'alter-system' ELSE source END
  FROM pg_settings WHERE name = 'default_transaction_read_only'";
const RELOAD: &str = "SELECT pg_reload_conf()::text, ''";

/// It is so, or it is not; both with words. An error is that it cannot be told.
type Answer = Result<Result<String, String>, String>;

/// Says whether sessions that begin now may write.
pub async fn writable(probe: &PostgresqlProbe) -> Answer {
    let rows = rows(probe, STATE).await?;
    let (setting, set_in) = rows.first().ok_or("psql answered something else")?;
    Ok(match (setting.as_str(), set_in.as_str()) {
        (_, "standby") => Err("this is a standby, which takes no writes".into()),
        ("off", _) => Ok("writes are allowed".into()),
        (_, set_in) => Err(format!("writes are forbidden ({set_in})")),
    })
}

/// Allows writes, if it is `ALTER SYSTEM` that forbids them.
pub async fn allow(probe: &PostgresqlProbe) -> Answer {
    let before = rows(probe, STATE).await?;
    if before.first().is_none_or(|(setting, set_in)| setting != "on" || set_in != "alter-system") {
        return Ok(Err("it is not ALTER SYSTEM that forbids writes: it is left alone".into()));
    }
    set(probe, "ALTER SYSTEM RESET default_transaction_read_only", true).await
}

/// Forbids writes again, as they were.
pub async fn forbid(probe: &PostgresqlProbe) -> Answer {
    set(probe, "ALTER SYSTEM SET default_transaction_read_only = on", false).await
}

/// Changes the setting, has the server read it, and waits until it holds.
async fn set(probe: &PostgresqlProbe, statement: &str, writes: bool) -> Answer {
    // Each by itself: ALTER SYSTEM may not be part of a transaction.
    rows(probe, statement).await?;
    rows(probe, RELOAD).await?;
    for _ in 0..TRIES_MAX {
        match (writable(probe).await?, writes) {
            (Ok(text), true) | (Err(text), false) => return Ok(Ok(text)),
            _ => tokio::time::sleep(POLL).await,
        }
    }
    Ok(Err("the setting was changed, and sessions that begin now do not follow it".into()))
}
