//! What the browser test needs: a real browser spoken to over WebDriver, and a host that exists on the wire only.

mod agent;
mod checks;
mod driver;

pub use agent::{Agent, AgentError, now};
pub use checks::{LOOK_MISTAKES, mistakes};
pub use driver::{Browser, BrowserError, Scheme, missing};
