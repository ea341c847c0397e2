//! What the record of a playbook lets it do, and what a run or a dry run adds to it. The rules are in
//! [`crate::trust`].

use crate::dry_run::{Found, Report, Step};
use crate::event::Event;
use crate::evolve::ended;
use crate::ids::Digest;
use crate::plan::Plan;
use crate::run::End;
use crate::state::State;
use crate::time::Timestamp;
use crate::trust::{self, Proof, Stage};

/// Returns how far a plan is trusted: as the policy says, or less.
pub fn stage(state: &State, plan: &Plan) -> Stage {
    let policy = state.policy();
    let Some(promotion) = trust::ladder(policy, &plan.playbook) else { return Stage::Auto };
    let environment = environment(state, plan, promotion);
    let standing = state.trust.get(&(plan.playbook.clone(), environment));
    trust::stage(promotion, &plan.playbook_digest, standing)
}

/// Returns what the end of a run does to the trust in its playbook, whoever has its incident in hand by now. A run that
/// a person cancelled tells nothing, and neither does an end that a host tells again.
pub fn after_run(state: &State, run: &Digest, end: &End, now: Timestamp) -> Option<Event> {
    let known = state.runs.get(run).filter(|known| ended(known).is_none())?;
    let plan = known.plan.as_ref()?;
    let failed = |reason: &String| Proof::Failed { reason: format!("{}: {reason}", plan.target.incident) };
    let proof = match end {
        End::Resolved => Proof::Verified,
        _ if known.cancel_requested.is_some() => return None,
        End::RolledBack { reason } | End::Parked { reason, .. } => failed(reason),
    };
    moved(state, plan, &proof, now)
}

/// Returns what a dry run does to it: one that found nothing in the way speaks for a playbook in shadow.
pub fn after_look(state: &State, plan: &Plan, report: &Report, now: Timestamp) -> Option<Event> {
    match &report.found {
        Found::Looked { against: None, steps, .. } if steps.iter().all(Step::could_start) => {
            moved(state, plan, &Proof::Looked, now)
        }
        _ => None,
    }
}

fn moved(state: &State, plan: &Plan, proof: &Proof, now: Timestamp) -> Option<Event> {
    let policy = state.policy();
    let promotion = trust::ladder(policy, &plan.playbook)?;
    let environment = environment(state, plan, promotion);
    let before = state.trust.get(&(plan.playbook.clone(), environment.clone()));
    let standing = trust::after(promotion, &plan.playbook_digest, before, proof, now)?;
    Some(Event::TrustMoved { playbook: plan.playbook.clone(), environment, standing })
}

fn environment(state: &State, plan: &Plan, promotion: &trust::Promotion) -> String {
    let declared = state.hosts.get(&plan.target.host).map(|host| &host.declarations);
    declared.map_or_else(|| trust::UNSTATED.into(), |declared| trust::environment(promotion, declared))
}
