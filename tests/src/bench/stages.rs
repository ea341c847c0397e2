//! The stages of our own time, read from the server's journal: what was recorded when, by whose clock. The lab hosts
//! share this machine's clock, so that times of both can be compared.

use super::BenchError;
use crate::installation::Client;
use sopwith_domain::event::{Event, Versioned};
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::run::{End, What};
use sopwith_domain::signal::Subject;
use sopwith_protocol::api::{AuditEntry, Page};
use std::time::{Duration, Instant};

const PAGE_MAX: usize = 100;
/// How often the journal is asked while a run's records are waited for; nothing is measured then.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Names of the stages, in order, as [`Trace::stages`] returns their times.
pub const NAMES: [&str; 7] = [
    "signal observed by the agent",
    "incident opened by the server",
    "order released by the server",
    "order accepted by the runner",
    "step started",
    "step finished",
    "verified",
];

/// Times of one incident, in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    stages: [Option<i64>; NAMES.len()],
    /// Steps that were finished, and when the last of them was.
    finished: (usize, i64),
    ended: Option<End>,
    /// Why nothing was done, in the journal's words.
    refrained: Option<String>,
}

impl Trace {
    /// Returns the milliseconds from a point in time to each stage.
    pub fn since(&self, began_ms: f64) -> [Option<f64>; NAMES.len()] {
        self.stages.map(|at| at.map(|at| at as f64 - began_ms))
    }

    pub fn verified(&self) -> bool {
        self.stages[NAMES.len() - 1].is_some()
    }
}

/// What was read of the journal so far.
#[derive(Debug)]
pub struct Journal<'a> {
    client: &'a Client,
    after: u64,
    events: Vec<(i64, Event)>,
}

impl<'a> Journal<'a> {
    pub fn of(client: &'a Client) -> Journal<'a> {
        Journal { client, after: 0, events: Vec::new() }
    }

    /// Waits until the first incident about a subject since a point in time has been verified.
    pub fn verified(&mut self, about: &Subject, since_ms: f64, limit: Duration) -> Result<Trace, BenchError> {
        self.wait(about, since_ms, limit, "verified", Trace::verified)
    }

    /// Waits until its run has ended, and says whether that was well.
    pub fn ended(&mut self, about: &Subject, since_ms: f64, limit: Duration) -> Result<(), BenchError> {
        let trace = self.wait(about, since_ms, limit, "ended", |trace| trace.ended.is_some())?;
        match trace.ended {
            Some(End::Resolved) => Ok(()),
            other => Err(format!("repair {about}: the run ended with {other:?}")),
        }
    }

    /// Waits until the first incident about a subject has been verified, and returns the milliseconds from the start
    /// of its first step to the end of its last, of which there are so many.
    pub fn steps_took(
        &mut self,
        about: &Subject,
        since_ms: f64,
        steps: usize,
        limit: Duration,
    ) -> Result<f64, BenchError> {
        let trace = self.verified(about, since_ms, limit)?;
        match (trace.stages[4], trace.finished) {
            (Some(started), (count, finished)) if count == steps => Ok((finished - started) as f64),
            _ => Err(format!("see {steps} steps of {about}: {trace:?}")),
        }
    }

    fn wait(
        &mut self,
        about: &Subject,
        since_ms: f64,
        limit: Duration,
        what: &str,
        done: impl Fn(&Trace) -> bool,
    ) -> Result<Trace, BenchError> {
        let until = Instant::now() + limit;
        loop {
            self.refresh()?;
            let trace = trace(&self.events, about, since_ms as i64);
            if done(&trace) {
                return Ok(trace);
            }
            if Instant::now() > until {
                let seconds = limit.as_secs();
                return Err(format!("see {about} {what} within {seconds} s; so far: {trace:?}"));
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    fn refresh(&mut self) -> Result<(), BenchError> {
        loop {
            let path = format!("/audit?after={}&limit={PAGE_MAX}", self.after);
            let page: Page<AuditEntry> =
                self.client.get(&path).map_err(|e| format!("read the journal: {e}"))?;
            for entry in &page.items {
                let read: Versioned = serde_json::from_str(&entry.body)
                    .map_err(|e| format!("read entry {} of the journal: {e}", entry.seq))?;
                self.events.push((entry.at_ms, read.event));
                self.after = entry.seq;
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }
}

/// Follows the first incident about a subject that was seen at or after a point in time.
fn trace(events: &[(i64, Event)], about: &Subject, since_ms: i64) -> Trace {
    let mut trace = Trace::default();
    let mut found: Option<IncidentId> = None;
    let mut plan: Option<Digest> = None;
    for (at, event) in events {
        match event {
            Event::IncidentOpened { incident, signal, .. }
                if found.is_none() && signal.subject == *about && signal.observed_at.0 >= since_ms =>
            {
                found = Some(*incident);
                trace.stages[0] = Some(signal.observed_at.0);
                trace.stages[1] = Some(*at);
            }
            Event::Refrained { incident, why_not } if found == Some(*incident) => {
                trace.refrained = Some(format!("{why_not:?}"));
            }
            Event::OrderReleased { incident, plan: released, .. } if found == Some(*incident) => {
                trace.stages[2].get_or_insert(*at);
                plan.get_or_insert(*released);
            }
            Event::RunReported { record, .. } if plan == Some(record.run) => {
                take(&mut trace, &record.what, record.at.0);
            }
            _ => {}
        }
    }
    trace
}

/// Takes a run's record by the host's own time: when it was durable there.
fn take(trace: &mut Trace, what: &What, at: i64) {
    let stage = match what {
        What::Accepted { .. } => 3,
        What::Started { .. } => 4,
        What::Finished { .. } => {
            trace.finished = (trace.finished.0 + 1, at);
            5
        }
        What::Verified { passed: true, .. } => 6,
        What::Ended { end } => {
            trace.ended = Some(end.clone());
            return;
        }
        _ => return,
    };
    trace.stages[stage].get_or_insert(at);
}
