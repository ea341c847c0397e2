//! What the browser tests need: a real browser spoken to over WebDriver, a host that exists on the wire only, and
//! this machine as a real one.

mod agent;
mod checks;
mod driver;
mod host;

pub use agent::{Agent, AgentError, now};
pub use checks::{LOOK_MISTAKES, mistakes};
pub use driver::{Browser, BrowserError, Scheme, missing};
pub use host::{HostError, RealHost};
