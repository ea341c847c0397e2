//! What was running when a program was stopped, and how each process of it was seen to end.

use super::actions::processes::Process;
use rustix::process::{Pid, WaitStatus};
use std::collections::BTreeMap;
use std::fs;

/// Most processes that are told one by one.
const TOLD_MAX: usize = 12;
/// Most processes that are remembered.
const KNOWN_MAX: usize = 4096;

/// Processes by their numbers: a number is not used again while this is about.
#[derive(Debug, Default)]
pub struct Stopped(BTreeMap<u32, Fate>);

#[derive(Debug)]
struct Fate {
    name: String,
    /// How it ended, as the kernel told who took leave of it: this supervisor, or its own parent, who keeps it to himself.
    how: Option<String>,
}

impl Stopped {
    /// Notes what runs.
    pub fn running(&mut self, processes: &[Process]) {
        for process in processes.iter().filter(|p| p.state != 'Z') {
            if self.0.len() < KNOWN_MAX {
                self.0.entry(process.pid).or_insert_with(|| Fate { name: name(process.pid), how: None });
            }
        }
    }

    /// Notes how one ended, if it was running when the program was stopped.
    pub fn dead(&mut self, pid: Pid, status: WaitStatus) {
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        if let Some(fate) = self.0.get_mut(&number) {
            let signal = status.terminating_signal().map(|number| format!("signal {number}"));
            fate.how = signal.or(status.exit_status().map(|code| format!("exit {code}")));
        }
    }

    /// Says of each what became of it; of those that live on that they do.
    pub fn told(&self) -> Vec<String> {
        let one = |(pid, fate): (&u32, &Fate)| {
            let lives = || super::actions::processes::look(*pid).is_some_and(|p| p.state != 'Z');
            let how = match &fate.how {
                Some(how) => how.as_str(),
                None if lives() => "could not be ended",
                None => "seen gone",
            };
            format!("{} ({pid}): {how}", fate.name)
        };
        let mut all: Vec<String> = self.0.iter().take(TOLD_MAX).map(one).collect();
        if self.0.len() > TOLD_MAX {
            all.push(format!("and {} more", self.0.len() - TOLD_MAX));
        }
        all
    }
}

/// A process may call itself anything.
fn name(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.:/".contains(c) { c } else { '?' };
    text.trim().chars().map(plain).collect()
}
