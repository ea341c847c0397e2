//! What every handler has at hand. Cheap to clone; holds no decision: beside the ledger's handle there are keys,
//! what hosts said last, counters and locks, all of which may be forgotten at a restart.

use crate::auth::throttle::Throttle;
use crate::config::Config;
use crate::documents::RefusedFile;
use crate::keys::{KeyError, Keys};
use crate::ledger::{BootError, Handle};
use crate::live::Live;
use crate::presence::PresenceBook;
use crate::readers::Readers;
use crate::signers::Signers;
use crate::telemetry::Metrics;
use rustix::fs::{FlockOperation, flock};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::JoinToken;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Name of the database in the data folder.
pub const DATABASE: &str = "sopwith.db";

/// The server's parts, shared by all handlers.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    pub config: Config,
    pub ledger: Handle,
    pub readers: Readers,
    pub keys: Keys,
    pub signers: Signers,
    pub presence: PresenceBook,
    pub throttle: Throttle,
    /// What programs of running steps say.
    pub live: Live,
    pub metrics: Metrics,
    /// Cancelled when the server drains: long polls answer, event streams end.
    pub shutdown: CancellationToken,
    /// The ledger's time at the start.
    pub started_at: Timestamp,
    refused_files: Mutex<Vec<RefusedFile>>,
    /// Held as long as this process may write the database.
    _lock: File,
}

/// Why the server's parts could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    #[error("failed to use the data folder {path}: {error}")]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("failed to lock the data folder {0}: another sopwith-server is using it")]
    Locked(PathBuf),
    #[error(transparent)]
    Ledger(#[from] BootError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("failed to set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Takes the data folder for this process alone, making it when it is missing.
///
/// # Errors
/// Says that another process has it, or what is wrong with it.
pub fn lock(data: &Path) -> Result<File, OpenFailed> {
    let failed = |error| OpenFailed::Folder { path: data.into(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    let path = data.join("lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenFailed::Locked(data.into()))?;
    Ok(file)
}

impl App {
    /// Opens everything in the data folder and starts the ledger.
    ///
    /// # Errors
    /// Says which part is in the way.
    pub fn open(config: Config) -> Result<Self, OpenFailed> {
        let lock = lock(&config.data_dir)?;
        let keys = Keys::open(&config.data_dir, &config.names)?;
        let database = config.data_dir.join(DATABASE);
        let (ledger, _thread) = crate::ledger::start(&database)?;
        let started_at = ledger.now();
        let signers = Signers::at(&config.data_dir);
        Ok(Self(Arc::new(Parts {
            ledger,
            readers: Readers::new(database),
            keys,
            signers,
            presence: PresenceBook::default(),
            throttle: Throttle::default(),
            live: Live::default(),
            metrics: Metrics::new()?,
            shutdown: CancellationToken::new(),
            started_at,
            refused_files: Mutex::default(),
            config,
            _lock: lock,
        })))
    }

    /// Returns the name of the session cookie. The prefix binds it to TLS and this host; without TLS, on a loopback
    /// address, browsers would not keep it.
    pub fn cookie_name(&self) -> &'static str {
        if self.config.operator_tls { "__Host-sopwith" } else { "sopwith" }
    }

    /// Returns a join token as it is shown, with the whole line to type on the host.
    pub fn join_line(&self, token: &str, expires_at: Timestamp) -> JoinToken {
        let ca_sha256 = self.keys.ca_sha256;
        let server = self.config.agent_url();
        JoinToken {
            token: token.into(),
            expires_at: expires_at.to_string(),
            ca_sha256,
            command: format!("sopwith-agent join --server {server} --token {token} --ca-sha256 {ca_sha256}"),
        }
    }

    pub(crate) fn refused_files(&self, files: Vec<RefusedFile>) {
        *self.refused_files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Returns the signed documents that could not be used, with their reasons.
    pub fn documents_refused(&self) -> Vec<RefusedFile> {
        self.refused_files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
