//! `process.end`: asks one process to end (SIGTERM) and, if it has not after some seconds, ends it (SIGKILL). Known by
//! number and start time, and held by a descriptor, so that a number used again is never hit.

use super::act::{Act, At};
use super::process::{self, Prior};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use sopwith_domain::action::ProcessSignal;
use sopwith_domain::run::Effect;
use sopwith_domain::value::ProcessRef;
use std::os::fd::OwnedFd;

/// How long it may take until a process is dead after SIGKILL; only one that is stuck in the kernel takes longer.
const KILL_S: i64 = 5;

fn over(descriptor: &OwnedFd, within_s: i64) -> bool {
    let timeout = Timespec { tv_sec: within_s, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&timeout)), Ok(1))
}

pub fn perform(process: ProcessRef, grace_s: i64) -> Result<String, String> {
    let descriptor = process::open(process)?;
    let send = |signal| {
        pidfd_send_signal(&descriptor, signal)
            .map_err(|e| format!("failed to signal process {}: {e}", process.pid))
    };
    send(Signal::TERM)?;
    if over(&descriptor, grace_s) {
        return Ok(format!("process {} has ended", process.pid));
    }
    send(Signal::KILL)?;
    match over(&descriptor, KILL_S) {
        true => Ok(format!("process {} did not end in {grace_s} s and was killed", process.pid)),
        false => Err(format!("process {} cannot be killed: it is stuck in the kernel", process.pid)),
    }
}

/// Which process is to end.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub process: ProcessRef,
    pub grace_s: i64,
}

impl Act for End {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        process::capture(self.process)?;
        Ok(format!("process {} would be asked to end, and killed after {} s", self.process.pid, self.grace_s))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        process::capture(self.process)
    }

    fn perform(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        perform(self.process, self.grace_s)
    }

    fn probe(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<Effect, String> {
        Ok(process::probe(self.process, ProcessSignal::Term))
    }

    fn undo(&self, _at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        process::undo(self.process, ProcessSignal::Term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::actions::processes;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn who_does_not_end_is_killed() {
        for (script, grace_s, signal) in
            [("exec sleep 1000", 30, 15), ("trap '' TERM; echo; sleep 1000", 0, 9)]
        {
            let mut child =
                Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("sh");
            if grace_s == 0 {
                // It says when it does not listen any more.
                let mut line = [0];
                std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut line).expect("a line");
            }
            let seen = processes::look(child.id()).expect("it lives");
            let process = ProcessRef { pid: seen.pid, start_ticks: seen.start_ticks };
            perform(process, grace_s).expect("ended");
            assert_eq!(child.wait().expect("ended").signal(), Some(signal), "{script}");
            assert!(perform(process, grace_s).is_err(), "it is gone");
        }
    }
}
