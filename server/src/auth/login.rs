//! Log-in by name and password, the same for pages and API.

use super::password;
use super::session::{self, NewSession};
use crate::app::App;
use crate::ledger::Failed;
use crate::problem::Fault;
use crate::readers::ReadFailed;
use axum::http::StatusCode;
use rusqlite::OptionalExtension;
use sopwith_domain::ids::AccountName;
use std::net::IpAddr;

/// Why a log-in did not succeed. What was wrong about name or password is never said.
#[derive(Debug, thiserror::Error)]
pub enum LoginFailed {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many failed log-ins; try again in {} s", .wait_ms / 1000 + 1)]
    Wait { wait_ms: i64 },
    #[error(transparent)]
    Read(#[from] ReadFailed),
    #[error(transparent)]
    Ledger(#[from] Failed),
}

impl From<LoginFailed> for Fault {
    fn from(failed: LoginFailed) -> Self {
        let text = failed.to_string();
        match failed {
            LoginFailed::Wrong => Fault::new(StatusCode::UNAUTHORIZED, "wrong-login", "Not logged in", text),
            LoginFailed::Wait { wait_ms } => {
                let mut fault =
                    Fault::new(StatusCode::TOO_MANY_REQUESTS, "too-many-logins", "Not logged in", text);
                fault.retry_after_s = u64::try_from(wait_ms / 1000 + 1).ok();
                fault
            }
            LoginFailed::Read(error) => error.into(),
            LoginFailed::Ledger(error) => error.into(),
        }
    }
}

/// Checks name and password and begins a session.
///
/// # Errors
/// Says that they are wrong, or that too many tries went before.
pub async fn login(
    app: &App,
    address: IpAddr,
    name: &str,
    password: String,
) -> Result<(AccountName, NewSession), LoginFailed> {
    let name = prove(app, address, name, password).await?;
    let session = session::begin(app, &name, &format!("from {address}")).await?;
    Ok((name, session))
}

/// Checks name and password.
///
/// # Errors
/// Says that they are wrong, or that too many tries went before.
pub async fn prove(
    app: &App,
    address: IpAddr,
    name: &str,
    password: String,
) -> Result<AccountName, LoginFailed> {
    let now_ms = crate::clock::Reading::take().boot_ms;
    if let Some(wait_ms) = app.throttle.wait_ms(address, name, now_ms) {
        app.metrics.login("throttled");
        return Err(LoginFailed::Wait { wait_ms });
    }
    // Counted before it is tried, so that many tries at once are many.
    app.throttle.failed(address, name, now_ms);
    let known = AccountName::new(name).ok();
    let known = known.filter(|name| app.ledger.state().people.get(name).is_some_and(|p| !p.disabled));
    let stored = match &known {
        Some(name) => stored_hash(app, name.clone()).await?,
        None => None,
    };
    let right = password::verify(password, stored).await;
    let Some(name) = known.filter(|_| right) else {
        app.metrics.login("wrong");
        return Err(LoginFailed::Wrong);
    };
    app.throttle.succeeded(address, name.as_str());
    app.metrics.login("ok");
    Ok(name)
}

async fn stored_hash(app: &App, name: AccountName) -> Result<Option<String>, ReadFailed> {
    app.readers
        .read(move |db| {
            let mut select = db.prepare_cached("SELECT password_hash FROM accounts WHERE name = ?1")?;
            Ok(select.query_row([name.as_str()], |row| row.get(0)).optional()?)
        })
        .await
}
