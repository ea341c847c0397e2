//! What programs of running steps say, for who looks on: in memory, the last of it, and only while the run goes on. It
//! enters no journal and nothing is decided by it; the record of the step carries the bounded output as ever.

use sopwith_domain::evolve::ended;
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::state::State;
use sopwith_protocol::api::{IncidentView, LiveView, RunView};
use sopwith_protocol::exchange::LiveOutput;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Bytes of text kept of one step.
const KEPT_BYTES_MAX: usize = 16 * 1024;
/// Most runs that are listened to at a time; of more, those that were heard last are.
const RUNS_MAX: usize = 256;

/// What one run's step has said.
#[derive(Debug, Default)]
struct Said {
    step: usize,
    text: String,
    through: u64,
    /// Bytes before the text that are not kept.
    before: u64,
    /// Counts up; the lowest was heard longest ago.
    heard: u64,
}

impl Said {
    fn take(&mut self, piece: &LiveOutput) {
        if piece.from > self.through {
            let gap = format!("\n… {} bytes left out …\n", piece.from - self.through);
            self.text.push_str(&gap);
        }
        self.text.push_str(&piece.text);
        self.through = piece.through;
        let over = self.text.len().saturating_sub(KEPT_BYTES_MAX);
        let over = (over..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        self.text.drain(..over);
        self.before += over as u64;
    }
}

/// What is heard of all runs.
#[derive(Debug, Default)]
pub struct Live(Mutex<(u64, BTreeMap<Digest, Said>)>);

impl Live {
    /// Takes what a host says of its own running steps, and returns the runs that were heard.
    pub fn take(&self, state: &State, host: &HostId, pieces: &[LiveOutput]) -> Vec<Digest> {
        if pieces.is_empty() {
            return Vec::new();
        }
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, runs) = &mut *guard;
        let goes_on = |digest: &Digest| state.runs.get(digest).is_some_and(|run| ended(run).is_none());
        runs.retain(|digest, _| goes_on(digest));
        let mut heard = Vec::new();
        for piece in pieces {
            let its_own = state.runs.get(&piece.run).is_some_and(|run| run.host == *host);
            if !its_own || !goes_on(&piece.run) || piece.through <= piece.from {
                continue;
            }
            if !runs.contains_key(&piece.run) && runs.len() >= RUNS_MAX {
                let oldest = runs.iter().min_by_key(|(_, said)| said.heard).map(|(digest, _)| *digest);
                oldest.and_then(|oldest| runs.remove(&oldest));
            }
            *count += 1;
            let said = runs.entry(piece.run).or_default();
            // A host says of each step how far it has come; what was told twice is known.
            if said.step != piece.step {
                *said = Said { step: piece.step, ..Said::default() };
            } else if piece.from < said.through {
                continue;
            }
            said.heard = *count;
            said.take(piece);
            heard.push(piece.run);
        }
        heard
    }

    /// Adds to a run that goes on what its running step has said.
    pub fn join(&self, mut view: RunView) -> RunView {
        let last = view.records.iter().rev().find(|record| record.step.is_some());
        let running = last.filter(|last| last.record == "started").and_then(|last| last.step);
        view.live = self.of(&view.run).filter(|said| running == Some(said.step) && view.end.is_none());
        view
    }

    /// Returns what the running step of a run has said.
    /// Adds the same to each run of an incident.
    pub fn join_all(&self, mut view: IncidentView) -> IncidentView {
        view.runs = view.runs.into_iter().map(|run| self.join(run)).collect();
        view
    }

    fn of(&self, run: &Digest) -> Option<LiveView> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = guard.1.get(run)?;
        Some(LiveView {
            step: said.step,
            text: said.text.clone(),
            before: said.before,
            through: said.through,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::incident::Run;
    use sopwith_domain::run::{End, Record, What};
    use sopwith_domain::time::Timestamp;

    fn web() -> HostId {
        HostId::new("web-1").expect("a host")
    }

    fn digest(n: usize) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    fn state(runs: usize) -> State {
        let run =
            Run { host: web(), incident: None, plan: None, records: Vec::new(), cancel_requested: None };
        State { runs: (0..runs).map(|n| (digest(n), run.clone())).collect(), ..State::default() }
    }

    fn piece(n: usize, step: usize, from: u64, text: &str) -> LiveOutput {
        LiveOutput { run: digest(n), step, from, through: from + text.len() as u64, text: text.into() }
    }

    #[test]
    fn what_is_said_is_joined_and_what_is_missing_is_counted() {
        let (live, state) = (Live::default(), state(1));
        let told = |pieces: &[LiveOutput]| live.take(&state, &web(), pieces).len();
        assert_eq!(told(&[piece(0, 0, 0, "one "), piece(0, 0, 4, "two")]), 2);
        assert_eq!(told(&[piece(0, 0, 4, "two")]), 0, "told twice");
        assert_eq!(live.of(&digest(0)).expect("said").text, "one two");
        assert_eq!(told(&[piece(0, 0, 1007, "three")]), 1);
        let said = live.of(&digest(0)).expect("said");
        assert_eq!(said.text, "one two\n… 1000 bytes left out …\nthree");
        assert_eq!((said.before, said.through), (0, 1012));
        told(&[piece(0, 0, 1012, &"ü".repeat(KEPT_BYTES_MAX))]);
        let said = live.of(&digest(0)).expect("said");
        assert!(said.text.len() <= KEPT_BYTES_MAX && said.before > KEPT_BYTES_MAX as u64, "{}", said.before);
        told(&[piece(0, 1, 0, "next")]);
        assert_eq!(live.of(&digest(0)).map(|said| (said.step, said.text)), Some((1, "next".into())));
    }

    #[test]
    fn nobody_speaks_for_another_host_or_after_the_end() {
        let (live, mut state) = (Live::default(), state(2));
        let other = HostId::new("db-1").expect("a host");
        assert!(live.take(&state, &other, &[piece(0, 0, 0, "x")]).is_empty());
        assert!(live.take(&state, &web(), &[piece(7, 0, 0, "no such run")]).is_empty());
        let backwards = LiveOutput { through: 0, ..piece(0, 0, 5, "x") };
        assert!(live.take(&state, &web(), &[backwards]).is_empty());
        assert_eq!(live.take(&state, &web(), &[piece(0, 0, 0, "x")]), [digest(0)]);
        let ended = Record { run: digest(0), at: Timestamp(0), what: What::Ended { end: End::Resolved } };
        state.runs.get_mut(&digest(0)).expect("there").records.push(ended);
        assert_eq!(live.take(&state, &web(), &[piece(0, 0, 1, "y"), piece(1, 0, 0, "z")]), [digest(1)]);
        assert_eq!(live.of(&digest(0)), None, "what ended is forgotten");
    }

    #[test]
    fn so_many_runs_are_listened_to_and_no_more() {
        let (live, state) = (Live::default(), state(RUNS_MAX + 5));
        for n in 0..RUNS_MAX + 5 {
            live.take(&state, &web(), &[piece(n, 0, 0, "x")]);
        }
        assert_eq!(live.0.lock().expect("whole").1.len(), RUNS_MAX);
        assert_eq!(live.of(&digest(0)), None);
        assert!(live.of(&digest(RUNS_MAX + 4)).is_some());
    }
}
