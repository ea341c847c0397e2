//! The watching half of the agent, unprivileged: its [`sources`] look at units, logs, file systems and what the
//! administrator named; the [`keeper`] decides by [`conditions`] what is to be said and writes it to the [`spool`];
//! the [`uplink`] tells the server and hands its answers to the runner. It never acts on the host.

pub mod clock;
pub mod conditions;
mod evidence;
mod facts;
mod family;
mod files;
pub(crate) mod glob;
mod http;
pub mod identity;
mod join;
pub mod keeper;
pub mod metrics;
mod mounts;
pub mod node;
mod notices;
mod notify;
mod process;
mod renewal;
pub mod report;
mod rounds;
mod server_clock;
mod shared;
pub mod sink;
pub mod sources;
pub mod spool;
mod status;
mod stopping;
mod tasks;
mod unit_facts;
mod up;
pub mod uplink;
mod wake;
mod watch;

pub use join::{JoinArguments, join};
pub use sources::{BackupArguments, CheckArguments, HandArguments, backup, check, hand};
pub use sources::{NormsArguments, norms_command};
pub(crate) use sources::{Owners, listeners};
pub use sources::{Trial, try_log};
pub use status::status;
pub use stopping::{resume, stop};
pub(crate) use tasks::Proc;
pub use up::{end_with_parent, up};
pub use watch::watch;
