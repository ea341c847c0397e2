//! What every part of a simulated world reaches: chance, the trace, the oracles, the counts of faults, and the
//! shelf of what the simulated disks hold.

use super::coverage::{Coverage, Kind, Stage};
use super::oracle::Oracle;
use super::rng::Rng;

/// Adds a line to the trace, if there is one.
macro_rules! note {
    ($shared:expr, $($text:tt)*) => {
        if $shared.tracing { $shared.add_line(format!($($text)*)); }
    };
}
pub(crate) use note;

#[derive(Debug)]
pub struct Shared {
    /// True time, in milliseconds from the schedule's start.
    pub now: i64,
    pub rng: Rng,
    pub oracle: Oracle,
    pub coverage: Coverage,
    /// How far the matter at hand has come, for the coverage.
    pub stage: Stage,
    /// The last content that any step wrote; each is new.
    pub content: u32,
    pub tracing: bool,
    lines: std::cell::RefCell<Vec<String>>,
}

impl Shared {
    pub fn new(seed: u64, oracle: Oracle, tracing: bool) -> Self {
        Self {
            now: 0,
            rng: Rng::new(seed),
            oracle,
            coverage: Coverage::default(),
            stage: Stage::Quiet,
            content: 0,
            tracing,
            lines: std::cell::RefCell::default(),
        }
    }

    pub fn add_line(&self, text: String) {
        self.lines.borrow_mut().push(format!("{:>8} {text}", self.now));
    }

    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(self.lines.get_mut())
    }

    /// Draws whether a fault happens, and counts it.
    pub fn happens(&mut self, permille: u32, kind: Kind) -> bool {
        let yes = self.rng.chance(permille);
        if yes {
            self.fired(kind);
        }
        yes
    }

    pub fn fired(&mut self, kind: Kind) {
        self.coverage.fire(kind, self.stage);
        note!(self, "fault: {}", kind.name());
    }
}
