//! `process.signal`: signals one process, known by number and start time, through a descriptor of it, so that a
//! number used again is never hit. The agent itself is no target.

use super::act::{Act, At};
use super::processes::{self, look};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use sopwith_domain::action::ProcessSignal;
use sopwith_domain::run::Effect;
use sopwith_domain::value::ProcessRef;
use std::os::fd::OwnedFd;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    state: char,
    parent: u32,
}

/// Opens the very process, or says why not.
pub(super) fn open(process: ProcessRef) -> Result<OwnedFd, String> {
    let gone = || format!("process {} that started at tick {} is gone", process.pid, process.start_ticks);
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // Looked at after it was opened: if it is right now, the descriptor is of this process and stays so.
    if !processes::lives(process) {
        return Err(gone());
    }
    Ok(descriptor)
}

pub fn capture(process: ProcessRef) -> Result<Prior, String> {
    open(process)?;
    let own = std::process::id();
    let exe = |pid: u32| processes::identity(format!("/proc/{pid}/exe").as_ref());
    if process.pid == own || process.pid == 1 || (exe(process.pid).is_some() && exe(process.pid) == exe(own))
    {
        return Err(format!("process {} is the agent itself or the host's first", process.pid));
    }
    let seen = look(process.pid).ok_or_else(|| format!("process {} is gone", process.pid))?;
    Ok(Prior { state: seen.state, parent: seen.parent })
}

pub fn perform(process: ProcessRef, signal: ProcessSignal, timeout_ms: i64) -> Result<String, String> {
    let descriptor = open(process)?;
    pidfd_send_signal(&descriptor, raw(signal))
        .map_err(|e| format!("failed to signal process {}: {e}", process.pid))?;
    if !ends(signal) {
        return Ok(format!("{signal:?} is sent"));
    }
    let timeout = Timespec { tv_sec: timeout_ms / 1000, tv_nsec: (timeout_ms % 1000) * 1_000_000 };
    let mut over = [PollFd::new(&descriptor, PollFlags::IN)];
    match poll(&mut over, Some(&timeout)) {
        Ok(1) => Ok(format!("process {} has ended", process.pid)),
        _ => Ok(format!("{signal:?} is sent; process {} has not ended yet", process.pid)),
    }
}

pub fn probe(process: ProcessRef, signal: ProcessSignal) -> Effect {
    if ends(signal) && !processes::lives(process) {
        return Effect::Took { detail: format!("process {} has ended", process.pid) };
    }
    Effect::Unknown { detail: format!("nothing tells whether process {} was signalled", process.pid) }
}

pub fn undo(process: ProcessRef, signal: ProcessSignal) -> Result<String, String> {
    match (ends(signal), processes::lives(process)) {
        (true, false) => Err(format!("process {} has ended and cannot be brought back", process.pid)),
        _ => Ok(format!("a signal to process {} leaves nothing to put back", process.pid)),
    }
}

fn ends(signal: ProcessSignal) -> bool {
    matches!(signal, ProcessSignal::Term | ProcessSignal::Kill)
}

fn raw(signal: ProcessSignal) -> Signal {
    match signal {
        ProcessSignal::Hup => Signal::HUP,
        ProcessSignal::Term => Signal::TERM,
        ProcessSignal::Kill => Signal::KILL,
        ProcessSignal::Cont => Signal::CONT,
        ProcessSignal::Usr1 => Signal::USR1,
        ProcessSignal::Usr2 => Signal::USR2,
    }
}

/// Which signal to which process.
#[derive(Clone, Copy, Debug)]
pub struct Signalled {
    pub process: ProcessRef,
    pub signal: ProcessSignal,
}

impl Act for Signalled {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let Prior { state, .. } = capture(self.process)?;
        Ok(format!("process {} (state {state}) would be sent {:?}", self.process.pid, self.signal))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        capture(self.process)
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        perform(self.process, self.signal, at.timeout_ms())
    }

    fn probe(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<Effect, String> {
        Ok(probe(self.process, self.signal))
    }

    fn undo(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        undo(self.process, self.signal)
    }
}
