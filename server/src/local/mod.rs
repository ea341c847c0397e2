//! Commands on the server's own machine: accounts, one-time log-ins, join tokens. While the server runs they go
//! through a socket in the data folder to its ledger; else this process opens the ledger itself. Never two writers.

mod socket;

pub use socket::{listen, send, unlink};

use crate::app::{App, OpenFailed};
use crate::auth::accounts::{self, AccountFailed};
use crate::auth::one_time;
use crate::config::Config;
use crate::exchange::join::make_token;
use crate::ledger::Failed;
use serde::{Deserialize, Serialize};
use sopwith_domain::command::Refusal;
use sopwith_domain::ids::{AccountName, HostId};
use sopwith_domain::people::{Role, SERVER_ACCOUNT};
use sopwith_domain::time::SECOND_MS;
use sopwith_protocol::api::JoinToken;

/// What a local command asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    AddPerson { name: AccountName, role: Role, password: String },
    ChangeRole { name: AccountName, role: Role },
    DisablePerson { name: AccountName },
    SetPassword { name: AccountName, password: String },
    OneTimeLogin { name: AccountName },
    JoinToken { host: Option<HostId>, valid_s: u32 },
}

/// What it is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Done,
    /// A path on the operators' port.
    OneTimeLogin {
        path: String,
    },
    JoinToken {
        token: JoinToken,
    },
    Refused {
        reason: String,
    },
}

/// Why a local command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum LocalFailed {
    #[error(transparent)]
    Open(#[from] OpenFailed),
    #[error("failed to speak with the running server: {0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Refused(String),
}

/// Carries a command out: by the running server if there is one, else by this process.
///
/// # Errors
/// Says why it was refused, or why nobody could be asked.
pub async fn ask(config: Config, ask: Ask) -> Result<Answer, LocalFailed> {
    let data = config.data_dir.clone();
    let answer = match App::open(config) {
        Ok(app) => perform(&app, ask).await,
        Err(OpenFailed::Locked(_)) => send(&data, &ask).await?,
        Err(other) => return Err(other.into()),
    };
    match answer {
        Answer::Refused { reason } => Err(LocalFailed::Refused(reason)),
        answer => Ok(answer),
    }
}

/// Carries a command out in this process. Whoever reaches this is the server's own user or root.
pub async fn perform(app: &App, ask: Ask) -> Answer {
    match attempt(app, ask).await {
        Ok(answer) => answer,
        Err(error) => Answer::Refused { reason: error.to_string() },
    }
}

async fn attempt(app: &App, ask: Ask) -> Result<Answer, AccountFailed> {
    let by = AccountName::new(SERVER_ACCOUNT).map_err(|e| Failed::from(Refusal::Invalid(e.to_string())))?;
    match ask {
        Ask::AddPerson { name, role, password } => accounts::add(app, by, name, role, password).await?,
        Ask::ChangeRole { name, role } => accounts::change_role(app, by, name, role).await?,
        Ask::DisablePerson { name } => accounts::disable(app, by, name).await?,
        Ask::SetPassword { name, password } => accounts::set_password(app, by, name, password).await?,
        Ask::OneTimeLogin { name } => {
            let token = one_time::make(app, &name).await?;
            return Ok(Answer::OneTimeLogin { path: format!("/login/once/{token}") });
        }
        Ask::JoinToken { host, valid_s } => {
            let made = make_token(app, &by, host, i64::from(valid_s) * SECOND_MS).await?;
            return Ok(Answer::JoinToken { token: app.join_line(&made.token, made.expires_at) });
        }
    }
    Ok(Answer::Done)
}
