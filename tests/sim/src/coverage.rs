//! Which kind of fault fired in which state of the protocol. A run in which a kind never fired has not tested it.

/// Defines the kinds with their names.
macro_rules! kinds {
    ($($name:ident $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind { $($name,)* }
        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    ServerCrashBefore "server dies before a write",
    ServerCrashAfter "server dies after a write",
    ServerTorn "server's last record torn",
    ServerFsync "server's fsync fails",
    ServerFull "server's disk full",
    AgentCrashBefore "agent dies before a write",
    AgentCrashAfter "agent dies after a write",
    AgentTorn "agent's last record torn",
    AgentFsync "agent's fsync fails",
    AgentFull "agent's disk full",
    PowerCut "host's power cut",
    Lost "message lost",
    Doubled "message doubled",
    Delayed "message delayed",
    Cut "host cut off",
    ServerClock "server's wall clock leaps",
    AgentClock "host's wall clock leaps",
    Restored "server restored from a backup",
    SetBack "host set back to an image",
    LyingServer "order forged",
    StepFails "step fails",
    StepHalf "step fails half done",
    StepLies "step says done and does nothing",
    StepHangs "step hangs",
    DiesInStep "agent dies in a step",
    Unknown "probe cannot tell",
    UndoFails "undo fails",
    Flaps "condition comes back by itself",
    Heals "condition goes by itself",
    SlowCapture "capture takes long",
    Stopped "automation stopped",
    StoppedHere "stop set on the host",
    Cancelled "run cancelled",
    Denied "plan denied",
    LateWord "decision comes late or on an old plan",
    Declared "declaration comes or goes",
    Replaced "playbook replaced or retired",
    Epidemic "same fault on all hosts",
    SpoolFull "spool full",
    Silent "host silent for so long that it is told",
    Haunted "what mends one fault brings another about",
}

/// How far the most advanced matter had come when a fault fired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    Quiet,
    Detected,
    Awaiting,
    Approved,
    Stepping,
    Soaking,
    Undoing,
    Watching,
}

impl Stage {
    pub const ALL: [Stage; 8] = [
        Stage::Quiet,
        Stage::Detected,
        Stage::Awaiting,
        Stage::Approved,
        Stage::Stepping,
        Stage::Soaking,
        Stage::Undoing,
        Stage::Watching,
    ];
}

/// Counts of firings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([[u64; Stage::ALL.len()]; Kind::ALL.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([[0; Stage::ALL.len()]; Kind::ALL.len()])
    }
}

impl Coverage {
    pub fn fire(&mut self, kind: Kind, stage: Stage) {
        self.0[kind as usize][stage as usize] += 1;
    }

    pub fn add(&mut self, other: &Coverage) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
    }

    /// Returns the kinds that never fired.
    pub fn never(&self) -> Vec<&'static str> {
        let silent = |kind: &&Kind| self.0[**kind as usize].iter().all(|count| *count == 0);
        Kind::ALL.iter().filter(silent).map(|kind| kind.name()).collect()
    }

    /// Returns the pairs of kind and state that never occurred together.
    pub fn holes(&self) -> Vec<String> {
        let mut holes = Vec::new();
        for kind in Kind::ALL {
            for stage in Stage::ALL {
                if self.0[*kind as usize][stage as usize] == 0 {
                    holes.push(format!("{} while {stage:?}", kind.name()));
                }
            }
        }
        holes
    }

    /// Returns the counts as a table for people.
    pub fn table(&self) -> String {
        let mut text = format!("{:38}", "fault \\ state");
        Stage::ALL.iter().for_each(|stage| text += &format!("{:>9}", format!("{stage:?}")));
        for kind in Kind::ALL {
            text += &format!("\n{:38}", kind.name());
            self.0[*kind as usize].iter().for_each(|count| text += &format!("{count:>9}"));
        }
        text
    }
}
