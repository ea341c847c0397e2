//! From the ledger's state to what the API and the pages show. Pure functions of state and time; they never decide
//! anything, never read a clock, and pass on nothing that a host captured (it may be secret).

mod dry_run;
mod host;
mod incident;
mod inspection;
mod overview;
mod plan;
mod problem;
mod run;
#[cfg(test)]
mod tests;
mod trust;
mod window;
mod words;

pub use dry_run::dry_run_view;
pub use host::{Presence, automation, host_view};
pub use incident::{incident_summary, incident_view, timeline};
pub use inspection::inspection_view;
pub use overview::{Overview, overview};
pub use plan::{
    budget, budget_rows, current_plan, plan_state, plan_view, playbook_view, proposal_view, risk, sop_record,
    step_view,
};
pub use problem::problem_view;
pub use run::{run_state, run_view};
pub use trust::trust_views;
pub use window::{Window, windows};
pub use words::{event_sentence, title};
