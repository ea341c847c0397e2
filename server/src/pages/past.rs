//! Plans that are no longer current, looked up in the journal.

use crate::app::App;
use crate::ledger::STREAM;
use crate::readers::ReadFailed;
use sopwith_domain::event::{Event, Versioned};
use sopwith_domain::ids::Digest;
use sopwith_domain::plan::Plan;
use sopwith_journal::sqlite::read_in;

/// Entries that are looked back through. What somebody has on his screen was proposed lately.
const BACK_MAX: u64 = 20_000;
/// Entries read at once.
const CHUNK: u64 = 500;

/// Returns a plan that was proposed lately, or nothing.
///
/// # Errors
/// Returns the journal's failure.
pub async fn plan(app: &App, digest: Digest) -> Result<Option<Plan>, ReadFailed> {
    let mut last = app.ledger.head().seq;
    let oldest = last.saturating_sub(BACK_MAX);
    while last > oldest {
        let first = last.saturating_sub(CHUNK).max(oldest);
        let limit = usize::try_from(last - first).unwrap_or(0);
        let entries = app.readers.read(move |db| Ok(read_in(db, STREAM, first, limit)?)).await?;
        let found = entries.iter().rev().find_map(|entry| proposed(&entry.body, digest));
        if found.is_some() {
            return Ok(found);
        }
        last = first;
    }
    Ok(None)
}

fn proposed(body: &[u8], digest: Digest) -> Option<Plan> {
    match serde_json::from_slice::<Versioned>(body).ok()?.event {
        Event::PlanProposed { plan, .. } if plan.digest() == digest => Some(*plan),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::samples;

    #[test]
    fn a_proposal_is_known_by_its_digest_and_nothing_else_is() {
        let world = samples::ordinary();
        let bodies: Vec<String> = world.audit().into_iter().map(|entry| entry.body).collect();
        let current = world.state.incidents.values().find_map(|incident| incident.proposal.as_ref());
        let digest = current.expect("the sample world has a plan").plan.digest();
        let found: Vec<Plan> = bodies.iter().filter_map(|body| proposed(body.as_bytes(), digest)).collect();
        assert_eq!(found.len(), 1);
        assert!(bodies.iter().all(|body| proposed(body.as_bytes(), Digest([0; 32])).is_none()));
        assert!(proposed(b"not json", digest).is_none());
    }
}
