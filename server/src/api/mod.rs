//! The REST API, one file per resource. Handlers turn requests into commands and state into answers; they decide
//! nothing.

mod audit;
mod automation;
mod backtest;
mod dry_run;
mod events;
mod hosts;
mod incidents;
pub mod openapi;
mod people;
mod plans;
mod playbooks;
mod policy;
mod problems;
mod runs;
mod session;
mod tokens;

pub use audit::{audit_entry, line as audit_line};
pub use dry_run::ask_and_wait;
pub use plans::{Chosen, decide_on};
pub use session::{session_cookie, spent_cookie};

use crate::problem::Fault;
use crate::routes::Route;
use serde::Deserialize;
use sopwith_protocol::api::Page;

/// Entries of a page where the request does not say, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

/// Returns the API's rows of the route table.
pub fn routes() -> Vec<Route> {
    let mut routes = session::routes();
    routes.extend(incidents::routes());
    routes.extend(backtest::routes());
    routes.extend(dry_run::routes());
    routes.extend(plans::routes());
    routes.extend(runs::routes());
    routes.extend(problems::routes());
    routes.extend(playbooks::routes());
    routes.extend(policy::routes());
    routes.extend(hosts::routes());
    routes.extend(automation::routes());
    routes.extend(people::routes());
    routes.extend(tokens::routes());
    routes.extend(audit::routes());
    routes.extend(events::routes());
    routes.extend(openapi::routes());
    routes
}

/// Which part of a list is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wanted {
    limit: Option<usize>,
    after: Option<String>,
    open: Option<bool>,
}

impl Wanted {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Fault> {
        let parse =
            |text: &str| text.parse().map_err(|_| Fault::malformed(format!("after={text:?} is no position")));
        self.after.as_deref().map(parse).transpose()
    }
}

/// Makes one page of what follows; `position` names an entry for the next page to begin after.
fn page<T>(entries: impl Iterator<Item = T>, limit: usize, position: impl Fn(&T) -> String) -> Page<T> {
    let mut items: Vec<T> = entries.take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(position);
    Page { items, next }
}
