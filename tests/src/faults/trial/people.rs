//! The part of people in a trial: approve, deny, come too late, or use an approval for what it was not given.

use std::time::{Duration, Instant};

use super::{EXPIRE_S, Trial, now};
use crate::faults::product::{Answered, ProductError};
use crate::faults::scenario::Scenario;

/// What the harness has done so far in the part of people.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The plan it answered first, and when that was.
    pub(super) first: Option<(String, Instant)>,
    pub(super) stale_tried: bool,
    pub(super) killed: bool,
    pub(super) wrongly_taken: Vec<String>,
    pub(super) refused: Vec<String>,
}

impl Trial<'_> {
    /// Does what people do in this scenario, as soon as there is something to answer.
    pub(super) fn answer(&mut self) -> Result<(), ProductError> {
        if self.setup.detect_only {
            return Ok(());
        }
        match self.scenario {
            Scenario::Deny => self.deny(),
            Scenario::Expire => self.approve_when_stale(),
            Scenario::Replay => self.replay(),
            Scenario::Mutate => self.mutate(),
            Scenario::KillAgent => {
                self.kill_agent_once()?;
                self.approve()
            }
            Scenario::Plain | Scenario::FixFails | Scenario::Hosts(_) => self.approve(),
        }
    }

    fn approve(&mut self) -> Result<(), ProductError> {
        if !self.scenario.approves(self.entry.expected) {
            return Ok(());
        }
        for track in &mut self.tracks {
            let Some(digest) = track.waiting().map(|plan| plan.digest.clone()) else { continue };
            track.approved(now());
            if let Answered::Refused(why) = self.product.approve(&digest, &digest)? {
                self.answered.refused.push(format!("the approval was refused: {why}"));
            }
        }
        Ok(())
    }

    fn deny(&mut self) -> Result<(), ProductError> {
        let Some(digest) = self.first_waiting() else { return Ok(()) };
        match self.product.deny(&digest, "denied by the harness")? {
            Answered::Taken => {}
            Answered::Refused(why) => self.answered.refused.push(format!("the denial was refused: {why}")),
        }
        let late = self.product.approve(&digest, &digest)?;
        self.must_be_refused("an approval after the denial", late);
        Ok(())
    }

    fn approve_when_stale(&mut self) -> Result<(), ProductError> {
        self.first_waiting();
        let Some((digest, since)) = self.answered.first.clone() else { return Ok(()) };
        let due = since.elapsed() > Duration::from_secs(u64::from(EXPIRE_S) + 5);
        // A plan put forward anew under the same digest may rightly be approved, so it proves nothing.
        if due && !self.answered.stale_tried && !self.tracks[0].waits_for(&digest) {
            self.answered.stale_tried = true;
            let answer = self.product.approve(&digest, &digest)?;
            self.must_be_refused("an approval after the plan's time", answer);
        }
        Ok(())
    }

    /// The first host is the one that must stay untouched; the second one's plan is rightly approved.
    fn replay(&mut self) -> Result<(), ProductError> {
        let other = self.tracks[1].waiting().map(|plan| plan.digest.clone());
        let (Some(other), Some(own)) = (other, self.tracks[0].waiting().map(|plan| plan.digest.clone()))
        else {
            return Ok(());
        };
        if self.first_waiting().is_none() {
            return Ok(());
        }
        if let Answered::Refused(why) = self.product.approve(&other, &other)? {
            self.answered.refused.push(format!("the other host's approval was refused: {why}"));
        }
        let answer = self.product.approve(&own, &other)?;
        self.must_be_refused("another host's approval", answer);
        Ok(())
    }

    fn mutate(&mut self) -> Result<(), ProductError> {
        let Some(digest) = self.first_waiting() else { return Ok(()) };
        let changed = flip_last(&digest);
        let answer = self.product.approve(&changed, &changed)?;
        self.must_be_refused("an approval of a changed plan", answer);
        let answer = self.product.approve(&digest, &changed)?;
        self.must_be_refused("an approval given to a changed plan", answer);
        Ok(())
    }

    fn kill_agent_once(&mut self) -> Result<(), ProductError> {
        if !self.answered.killed && self.tracks[0].under_way() {
            self.answered.killed = true;
            self.product.kill_agent(&self.hosts[0])?;
        }
        Ok(())
    }

    /// Returns the waiting plan the first time that there is one.
    fn first_waiting(&mut self) -> Option<String> {
        if self.answered.first.is_some() {
            return None;
        }
        let digest = self.tracks[0].waiting()?.digest.clone();
        self.answered.first = Some((digest.clone(), Instant::now()));
        Some(digest)
    }

    fn must_be_refused(&mut self, what: &str, answer: Answered) {
        match answer {
            Answered::Taken => self.answered.wrongly_taken.push(what.to_owned()),
            Answered::Refused(why) => self.answered.refused.push(format!("{what} was refused: {why}")),
        }
    }
}

/// Returns another digest of the same form.
fn flip_last(digest: &str) -> String {
    let mut changed = digest.to_owned();
    let last = changed.pop();
    changed.push(if last == Some('0') { '1' } else { '0' });
    changed
}
