//! `command`: starts a program with an argument vector, under a supervisor that ends everything it started. After a
//! crash the supervisor's lock tells when the last of its processes is gone; nothing is decided before that.

use super::Programs;
use super::act::{Act, At};
use crate::runner::clock;
use crate::runner::confine::Confinement;
use crate::runner::profiles;
use crate::runner::step_exec::{Ending, Report};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::{Effect, StepOutcome, StepResult};
use sopwith_domain::signal::Subject;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for the processes of a step that was interrupted, in milliseconds.
const LOCK_MS_MAX: i64 = 20_000;
const LOCK_POLL: Duration = Duration::from_millis(20);
/// How long a probe may take, in milliseconds; it only looks.
const PROBE_MS_MAX: i64 = 30_000;

/// Says in words how a program ended, or nothing where it exited with 0 and all of it is dead.
pub fn fault(report: &Report) -> Option<String> {
    let how = match &report.ending {
        _ if report.survivors > 0 => format!("{} of its processes could not be killed", report.survivors),
        Ending::Exited(0) => return None,
        Ending::Exited(code) => format!("it exited with {code}"),
        Ending::Signalled(number) => format!("signal {number} ended it"),
        Ending::TimedOut => "it took too long and was ended".into(),
        Ending::Cancelled => "the run was cancelled and it was ended".into(),
        Ending::NotStarted(reason) => format!("it could not be started: {reason}"),
    };
    let more = |what: &str, of: &[String]| match of.is_empty() {
        true => String::new(),
        false => format!("; {what}: {}", of.join(", ")),
    };
    Some(format!("{how}{}{}", more("stopped", &report.ended), more("refused to it", &report.refused)))
}

/// Programs that are started with no more rights than a step declares, and those that only look with less.
#[derive(Clone, Debug)]
struct Bound<'a> {
    programs: &'a Programs,
    confinement: Confinement,
}

impl Bound<'_> {
    fn run(&self, argv: &[String], timeout_ms: i64, lock: Option<&Path>) -> Result<Report, String> {
        self.programs.run(&self.confinement, argv, timeout_ms, lock)
    }

    fn look(&self, argv: &[String], timeout_ms: i64) -> Result<Report, String> {
        self.programs.run(&profiles::looking(), argv, timeout_ms.min(PROBE_MS_MAX), None)
    }
}

/// What was so before the step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Prior {
    /// The step's own probe says that what it is to bring about is there already. Then nothing is to be done, and
    /// above all nothing is to be undone: it is not the step's.
    already: bool,
}

/// Asks the probe, where there is one; it only looks.
fn capture(programs: &Bound<'_>, probe_argv: &[String], timeout_ms: i64) -> Result<Prior, String> {
    if probe_argv.is_empty() {
        return Ok(Prior::default());
    }
    let report = programs.look(probe_argv, timeout_ms)?;
    Ok(Prior { already: report.ending == Ending::Exited(0) })
}

fn perform(programs: &Bound<'_>, argv: &[String], timeout_ms: i64, lock: &Path, prior: Prior) -> StepOutcome {
    if prior.already {
        return StepResult::Done { output: "it was so already; the program was not started".into() };
    }
    match programs.run(argv, timeout_ms, Some(lock)) {
        Err(reason) => StepResult::Failed { reason, output: String::new() },
        Ok(report) => match fault(&report) {
            None => StepResult::Done { output: report.output },
            Some(reason) => {
                StepResult::Failed { reason: format!("{}: {reason}", argv[0]), output: report.output }
            }
        },
    }
}

/// Waits until nothing of an interrupted program lives.
pub fn over(lock: &Path) -> Result<(), String> {
    let Ok(file) = File::open(lock) else { return Ok(()) };
    let began_ms = clock::boot_ms();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if clock::boot_ms() - began_ms > LOCK_MS_MAX {
            return Err("processes of the interrupted step still run".into());
        }
        std::thread::sleep(LOCK_POLL);
    }
    Ok(())
}

fn probe(programs: &Bound<'_>, probe_argv: &[String], timeout_ms: i64, lock: &Path, prior: Prior) -> Effect {
    if prior.already {
        return Effect::Took { detail: "it was so before the step".into() };
    }
    if let Err(detail) = over(lock) {
        return Effect::Unknown { detail };
    }
    if probe_argv.is_empty() {
        return Effect::Unknown { detail: "the step names no program that could tell".into() };
    }
    match programs.look(probe_argv, timeout_ms) {
        Ok(Report { ending: Ending::Exited(0), output, .. }) => Effect::Took { detail: output },
        Ok(Report { ending: Ending::Exited(1), output, .. }) => Effect::None { detail: output },
        Ok(report) => {
            let how = fault(&report).unwrap_or_default();
            Effect::Unknown { detail: format!("{}: {how}", probe_argv[0]) }
        }
        Err(detail) => Effect::Unknown { detail },
    }
}

/// Starts the program that undoes the step, unless the probe knows that there is nothing of the step's to undo.
fn undo(
    programs: &Bound<'_>,
    (undo_argv, probe_argv): (&[String], &[String]),
    timeout_ms: i64,
    lock: &Path,
    prior: Prior,
) -> Result<String, String> {
    over(lock)?;
    if prior.already {
        return Ok("it was so before the step and stays so".into());
    }
    if !probe_argv.is_empty()
        && let Effect::None { .. } = probe(programs, probe_argv, timeout_ms, lock, prior)
    {
        return Ok("nothing of the step's is there".into());
    }
    if undo_argv.is_empty() {
        return Ok("the step names no program that undoes it".into());
    }
    let report = programs.run(undo_argv, timeout_ms, Some(lock))?;
    match fault(&report) {
        None => Ok(report.output),
        Some(how) => Err(format!("{}: {how}: {}", undo_argv[0], report.output)),
    }
}

/// The file by which the supervisor of a step shows that it lives.
const LOCK: &str = "lock";

/// A program with what takes it back and what knows whether it took effect.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    pub argv: &'a [String],
    pub undo_argv: &'a [String],
    pub probe_argv: &'a [String],
    /// What the step declares that they change; nothing else do they get to.
    pub touches: &'a [Subject],
}

impl Started<'_> {
    fn bound<'p>(&self, at: &'p At<'_>) -> Bound<'p> {
        Bound { programs: &at.bench.programs, confinement: Confinement::of(self.touches) }
    }
}

/// Returns the file by which the supervisor of the step shows that it lives.
pub(super) fn lock(at: &At<'_>) -> PathBuf {
    at.bench.quarantine.folder(at.step).join(LOCK)
}

/// Makes the step's folder anew, with its lock: what a step needs that starts programs.
pub(super) fn prepare(at: &At<'_>) -> Result<(), String> {
    at.bench.quarantine.fresh_until_boot(at.step)?;
    at.bench.quarantine.place(at.step, LOCK)?.create().map(drop)
}

impl Act for Started<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let Prior { already } = capture(&self.bound(at), self.probe_argv, at.timeout_ms())?;
        Ok(match (already, self.probe_argv.is_empty()) {
            (true, _) => format!("nothing: {} says that it is so already", self.probe_argv[0]),
            (false, true) => format!("{} would be run; what it changes, it alone knows", self.argv.join(" ")),
            (false, false) => format!("{} would be run; it is not so yet", self.argv.join(" ")),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        prepare(at)?;
        capture(&self.bound(at), self.probe_argv, at.timeout_ms())
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        match self.outcome(at, prior) {
            StepResult::Done { output } => Ok(output),
            StepResult::Failed { reason, .. } => Err(reason),
        }
    }

    fn outcome(&self, at: &mut At<'_>, prior: &Prior) -> StepResult {
        perform(&self.bound(at), self.argv, at.timeout_ms(), &lock(at), *prior)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(&self.bound(at), self.probe_argv, at.timeout_ms(), &lock(at), *prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let programs = (self.undo_argv, self.probe_argv);
        undo(&self.bound(at), programs, at.timeout_ms(), &lock(at), *prior)
    }
}
