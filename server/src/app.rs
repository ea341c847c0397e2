//! What every handler has at hand. Cheap to clone; holds no state of its own beside what the world said last
//! (when a host was heard, its facts), which may be forgotten at a restart.

use crate::config::Config;
use crate::ledger::Handle;
use crate::readers::Readers;
use std::sync::Arc;

/// The server's parts, shared by all handlers.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    pub config: Config,
    pub ledger: Handle,
    pub readers: Readers,
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}
