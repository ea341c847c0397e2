//! `process.renice`: gives every thread of one process, known by number and start time, another niceness. A thread whose
//! niceness somebody else set since keeps it.

use super::act::{Act, At};
use super::process;
use super::processes;
use rustix::process::{Pid, setpriority_process};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::ProcessRef;
use std::collections::BTreeMap;
use std::fs;

/// Most threads of a process that are reniced; above that, capture refuses.
const THREADS_MAX: usize = 4096;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The niceness of each thread.
    threads: BTreeMap<u32, i32>,
}

/// Returns the niceness of every thread, as `/proc/PID/task/TID/stat` says it.
fn threads(process: ProcessRef) -> Result<BTreeMap<u32, i32>, String> {
    let folder = format!("/proc/{}/task", process.pid);
    let entries = fs::read_dir(&folder).map_err(|_| gone(process))?;
    let niceness = |thread: u32| {
        let text = fs::read_to_string(format!("{folder}/{thread}/stat")).ok()?;
        // The name in brackets may hold anything: what counts comes after the last one.
        text[text.rfind(')')? + 1..].split_ascii_whitespace().nth(16)?.parse().ok()
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found: BTreeMap<u32, i32> =
        numbers.filter_map(|thread| niceness(thread).map(|nice| (thread, nice))).collect();
    match processes::lives(process) && !found.is_empty() {
        true => Ok(found),
        false => Err(gone(process)),
    }
}

fn gone(process: ProcessRef) -> String {
    format!("process {} that started at tick {} is gone", process.pid, process.start_ticks)
}

fn set(thread: u32, nice: i32) -> Result<(), String> {
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw).ok_or("no number of a thread")?;
    match setpriority_process(Some(pid), nice) {
        // A thread that is over needs no niceness.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(format!("failed to renice thread {thread}: {e}")),
    }
}

pub fn capture(process: ProcessRef) -> Result<Prior, String> {
    process::capture(process)?;
    let threads = threads(process)?;
    match threads.len() {
        many if many > THREADS_MAX => Err(format!("process {} has {many} threads", process.pid)),
        _ => Ok(Prior { threads }),
    }
}

pub fn perform(process: ProcessRef, nice: i32) -> Result<String, String> {
    // Threads inherit their niceness: those that began meanwhile are found in a second look.
    for _ in 0..2 {
        for (thread, now) in threads(process)? {
            if now != nice {
                set(thread, nice)?;
            }
        }
    }
    Ok(format!("process {} has the niceness {nice}", process.pid))
}

pub fn probe(process: ProcessRef, nice: i32, prior: &Prior) -> Effect {
    match threads(process) {
        // Its niceness ended with it.
        Err(detail) => Effect::None { detail },
        Ok(now) if now.iter().all(|(thread, is)| prior.threads.get(thread).is_some_and(|was| was == is)) => {
            Effect::None { detail: format!("process {} has the niceness that it had", process.pid) }
        }
        Ok(now) if now.values().all(|is| *is == nice) => {
            Effect::Took { detail: format!("process {} has the niceness {nice}", process.pid) }
        }
        Ok(_) => Effect::Unknown { detail: "some of its threads have the niceness, some do not".into() },
    }
}

pub fn undo(process: ProcessRef, nice: i32, prior: &Prior) -> Result<String, String> {
    let Ok(now) = threads(process) else {
        return Ok(format!("{}, and its niceness with it", gone(process)));
    };
    // A thread that is new has what the process gave it.
    let own = prior.threads.get(&process.pid).copied().unwrap_or(0);
    for (thread, is) in now {
        let was = prior.threads.get(&thread).copied().unwrap_or(own);
        if is == nice && is != was {
            set(thread, was)?;
        }
    }
    Ok(format!("process {} has the niceness that it had", process.pid))
}

/// Which process gets which niceness.
#[derive(Clone, Copy, Debug)]
pub struct Renice {
    pub process: ProcessRef,
    pub nice: i32,
}

impl Act for Renice {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let prior = capture(self.process)?;
        let own = prior.threads.get(&self.process.pid).copied().unwrap_or_default();
        let (pid, count) = (self.process.pid, prior.threads.len());
        Ok(format!("process {pid} ({count} threads) would have niceness {}; it has {own}", self.nice))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        capture(self.process)
    }

    fn perform(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        perform(self.process, self.nice)
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.process, self.nice, prior))
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(self.process, self.nice, prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;

    #[test]
    fn every_thread_gets_another_niceness_and_its_own_back() {
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
        let seen = processes::look(child.id()).expect("it lives");
        let process = ProcessRef { pid: seen.pid, start_ticks: seen.start_ticks };
        let niceness = || threads(process).expect("it lives")[&process.pid];
        let was = niceness();
        let prior = capture(process).expect("captured");
        assert!(matches!(probe(process, 19, &prior), Effect::None { .. }));
        perform(process, 19).expect("done");
        perform(process, 19).expect("twice is once");
        assert_eq!(niceness(), 19);
        assert!(matches!(probe(process, 19, &prior), Effect::Took { .. }));
        // Only root may make a process less nice again.
        if geteuid().is_root() {
            for _ in 0..2 {
                undo(process, 19, &prior).expect("undone");
                assert_eq!(niceness(), was);
            }
            set(process.pid, 7).expect("somebody else");
            undo(process, 19, &prior).expect("undone");
            assert_eq!(niceness(), 7, "what somebody else set stays");
        }
        let other = ProcessRef { start_ticks: process.start_ticks + 1, ..process };
        assert!(capture(other).is_err() && perform(other, 19).is_err());
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(undo(process, 19, &prior).is_ok(), "nothing is left to put back");
    }
}
