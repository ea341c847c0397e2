//! How often this host let itself be repaired without a person, counted from its own journal: the server's count
//! does not matter here. Clocks can only make the count larger, never smaller.

use sopwith_domain::ids::Digest;
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::signal::Subject;
use sopwith_domain::time::{DAY_MS, Timestamp};

/// One automatic run that was accepted here.
#[derive(Clone, Debug)]
struct Try {
    fingerprint: Digest,
    playbook: String,
    touches: Vec<Subject>,
    at: Timestamp,
    /// Boot clock, where this process accepted it.
    boot_ms: Option<i64>,
}

/// The automatic runs that this host remembers.
#[derive(Clone, Debug, Default)]
pub struct Budget(Vec<Try>);

impl Budget {
    /// Counts an accepted automatic run.
    pub fn took(&mut self, order: &Order, plan: &Plan, at: Timestamp, boot_ms: Option<i64>) {
        self.0.push(Try {
            fingerprint: order.target.fingerprint,
            playbook: plan.playbook.as_str().to_owned(),
            touches: effects(plan),
            at,
            boot_ms,
        });
    }

    /// Returns how many automatic runs of the last day count against this plan: those for the same fingerprint,
    /// and, since a fingerprint is only the server's claim, those of the same playbook on the same things.
    /// A run counts while either clock has it in the last day; one that lies in the future, because the wall
    /// clock was set back, counts too.
    pub fn tries(&self, order: &Order, plan: &Plan, now: Timestamp, boot_ms: i64) -> u32 {
        let touches = effects(plan);
        let same = |taken: &&Try| {
            taken.fingerprint == order.target.fingerprint
                || (taken.playbook == plan.playbook.as_str()
                    && taken.touches.iter().any(|a| touches.iter().any(|b| a.covers(b) || b.covers(a))))
        };
        let recent = |taken: &&Try| {
            now.since(taken.at) < DAY_MS || taken.boot_ms.is_some_and(|then_ms| boot_ms - then_ms < DAY_MS)
        };
        u32::try_from(self.0.iter().filter(same).filter(recent).count()).unwrap_or(u32::MAX)
    }
}

/// Returns what the plan's steps change, without the subject, which is a claim as well.
fn effects(plan: &Plan) -> Vec<Subject> {
    plan.steps.iter().flat_map(|step| step.action.touches()).collect()
}
