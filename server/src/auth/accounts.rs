//! Accounts: a person in the journal with his role, and his password's hash beside it. The same for API and for the
//! commands on the server's own machine.

use super::password::{self, BadPassword};
use crate::app::App;
use crate::ledger::Failed;
use rusqlite::{Transaction, params};
use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::ids::AccountName;
use sopwith_domain::people::Role;
use sopwith_domain::time::Timestamp;

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountFailed {
    #[error(transparent)]
    Password(#[from] BadPassword),
    #[error(transparent)]
    Ledger(#[from] Failed),
}

/// Adds a person with a password.
///
/// # Errors
/// Refuses a bad password, a name that is taken, and whoever may not add people.
pub async fn add(
    app: &App,
    by: AccountName,
    name: AccountName,
    role: Role,
    password: String,
) -> Result<(), AccountFailed> {
    let hash = password::hash(password).await?;
    let row_name = name.to_string();
    let rows = move |tx: &Transaction<'_>, now: Timestamp| {
        tx.execute("INSERT OR REPLACE INTO accounts VALUES (?1, ?2, ?3)", params![row_name, hash, now.0])?;
        Ok(())
    };
    app.ledger.decide_with(Command::AddPerson { name, role, by }, Box::new(rows)).await?;
    Ok(())
}

/// Changes a person's role.
///
/// # Errors
/// Returns the refusal.
pub async fn change_role(app: &App, by: AccountName, name: AccountName, role: Role) -> Result<(), Failed> {
    app.ledger.decide(Command::ChangeRole { name, role, by }).await.map(drop)
}

/// Disables a person and ends his sessions and tokens.
///
/// # Errors
/// Returns the refusal.
pub async fn disable(app: &App, by: AccountName, name: AccountName) -> Result<(), Failed> {
    let row_name = name.to_string();
    let rows = move |tx: &Transaction<'_>, now: Timestamp| {
        tx.execute("DELETE FROM sessions WHERE name = ?1", [&row_name])?;
        tx.execute("DELETE FROM one_time_logins WHERE name = ?1", [&row_name])?;
        tx.execute(
            "UPDATE tokens SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL",
            params![row_name, now.0],
        )?;
        Ok(())
    };
    app.ledger.decide_with(Command::DisablePerson { name, by }, Box::new(rows)).await.map(drop)
}

/// Sets a person's password and ends his sessions.
///
/// # Errors
/// Refuses a bad password and an unknown person.
pub async fn set_password(
    app: &App,
    by: AccountName,
    name: AccountName,
    password: String,
) -> Result<(), AccountFailed> {
    if !app.ledger.state().people.contains_key(&name) {
        return Err(Failed::from(Refusal::UnknownPerson(name)).into());
    }
    let hash = password::hash(password).await?;
    let what = format!("set the password of {name}");
    let row_name = name.to_string();
    let rows = move |tx: &Transaction<'_>, now: Timestamp| {
        let row = params![row_name, hash, now.0];
        tx.execute("INSERT OR REPLACE INTO accounts VALUES (?1, ?2, ?3)", row)?;
        tx.execute("DELETE FROM sessions WHERE name = ?1", [&row_name])?;
        Ok(())
    };
    app.ledger.decide_with(Command::NoteAccess { by, what }, Box::new(rows)).await?;
    Ok(())
}
