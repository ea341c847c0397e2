//! `unit.start`, `unit.stop`, `unit.restart`, `unit.reload`, `unit.reset-failed`. Undo brings back whether the unit
//! ran: one that was active is started, one that was not is stopped, and one that is so already is left alone.
//!
//! A unit that had failed is to be `failed` again when its start is undone: stopped it would be `inactive`, and
//! whoever watches for failed units would take the fault for gone. systemd has no word for that but the death of
//! its processes, so they are killed, where systemd does not start the unit again by itself.

use super::act::{Act, At};
use super::systemd::{Job, Systemd, UnitState};
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::UnitName;

/// Longest wait for a job that an interrupted step may have left, in milliseconds.
const LEFT_JOB_MS: i64 = 90_000;
const LEFT_JOB_POLL_MS: u64 = 50;
/// Longest time an undo's job may take where the step's own timeout is shorter, in milliseconds.
const UNDO_MS_MIN: i64 = 30_000;

/// What systemd calls it where a unit was started too often.
const START_LIMIT: &str = "start-limit-hit";

/// What is asked of the unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    Job(Job),
    ResetFailed,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    before: UnitState,
}

impl UnitState {
    /// Says whether the unit runs, or is on its way to.
    fn runs(&self) -> bool {
        matches!(self.active_state.as_str(), "active" | "activating" | "reloading" | "refreshing")
    }
}

pub fn capture(systemd: &mut Systemd, unit: &UnitName, doing: Doing) -> Result<Prior, String> {
    let before = systemd.state(unit)?;
    match before.load_state.as_str() {
        "loaded" => Ok(Prior { before }),
        // What is to be stopped or cleared may have lost its file meanwhile.
        "not-found" if matches!(doing, Doing::Job(Job::Stop) | Doing::ResetFailed) => Ok(Prior { before }),
        state => Err(format!("{unit} cannot be worked with: its load state is {state}")),
    }
}

pub fn perform(
    systemd: &mut Systemd,
    unit: &UnitName,
    doing: Doing,
    timeout_ms: i64,
) -> Result<String, String> {
    match doing {
        Doing::ResetFailed => systemd.reset_failed(unit)?,
        Doing::Job(Job::Start) => start(systemd, unit, timeout_ms)?,
        Doing::Job(job) => systemd.job(job, unit, timeout_ms)?,
    }
    let now = systemd.state(unit)?;
    Ok(format!("{unit} is {} ({})", now.active_state, now.sub_state))
}

/// Starts a unit. One that systemd refuses, because it was started too often, is cleared of that count: whoever approved
/// the start wants it. That is no step of its own, because nothing could make the unit `failed` again after it.
fn start(systemd: &mut Systemd, unit: &UnitName, timeout_ms: i64) -> Result<(), String> {
    let started = systemd.job(Job::Start, unit, timeout_ms);
    if started.is_ok() || systemd.past(unit)?.service.is_none_or(|service| service.result != START_LIMIT) {
        return started;
    }
    systemd.reset_failed(unit)?;
    systemd.job(Job::Start, unit, timeout_ms)
}

/// Waits for a job that was under way when the runner died, and returns what the unit is after it.
fn settled(systemd: &mut Systemd, unit: &UnitName) -> Result<UnitState, String> {
    let began_ms = super::super::clock::boot_ms();
    loop {
        let state = systemd.state(unit)?;
        if state.job == 0 || super::super::clock::boot_ms() - began_ms > LEFT_JOB_MS {
            return Ok(state);
        }
        std::thread::sleep(std::time::Duration::from_millis(LEFT_JOB_POLL_MS));
    }
}

pub fn probe(systemd: &mut Systemd, unit: &UnitName, doing: Doing, prior: &Prior) -> Effect {
    let now = match settled(systemd, unit) {
        Ok(now) => now,
        Err(detail) => return Effect::Unknown { detail },
    };
    effect(doing, &prior.before, &now, &format!("{unit} is {} ({})", now.active_state, now.sub_state))
}

/// Decides from before and now whether the step took effect.
fn effect(doing: Doing, before: &UnitState, now: &UnitState, detail: &str) -> Effect {
    let detail = detail.to_owned();
    let anew = now.invocation != before.invocation;
    match doing {
        Doing::ResetFailed if now.active_state != "failed" => Effect::Took { detail },
        Doing::ResetFailed => Effect::None { detail },
        Doing::Job(Job::Start) if now.runs() && (anew || before.runs()) => Effect::Took { detail },
        Doing::Job(Job::Start) if !anew && !now.runs() => Effect::None { detail },
        Doing::Job(Job::Stop) if !now.runs() => Effect::Took { detail },
        Doing::Job(Job::Stop) if !anew => Effect::None { detail },
        Doing::Job(Job::Restart) if anew && now.runs() => Effect::Took { detail },
        Doing::Job(Job::Restart) if !anew && now.runs() == before.runs() => Effect::None { detail },
        Doing::Job(_) => Effect::Unknown { detail },
    }
}

pub fn undo(
    systemd: &mut Systemd,
    unit: &UnitName,
    doing: Doing,
    prior: &Prior,
    timeout_ms: i64,
) -> Result<String, String> {
    if matches!(doing, Doing::ResetFailed | Doing::Job(Job::Reload)) {
        return Ok(format!("nothing of {unit} is to be put back"));
    }
    let now = settled(systemd, unit)?;
    if now.runs() == prior.before.runs() {
        return Ok(format!("{unit} is {} as it was", now.active_state));
    }
    if matches!(doing, Doing::Job(Job::Start)) && fails_again(&prior.before, &now) {
        systemd.kill(unit)?;
        let now = ended(systemd, unit)?;
        if now.active_state == "failed" {
            return Ok(format!("{unit} is failed again, as it was"));
        }
    }
    let (job, word) = if prior.before.runs() { (Job::Start, "started") } else { (Job::Stop, "stopped") };
    systemd
        .job(job, unit, timeout_ms.max(UNDO_MS_MIN))
        .map_err(|e| format!("it could not be {word} again: {e}"))?;
    Ok(format!("{unit} is {word}, it was {} before", prior.before.active_state))
}

/// Says whether killing what a start made brings the failed state back.
fn fails_again(before: &UnitState, now: &UnitState) -> bool {
    before.active_state == "failed" && now.main_pid != 0 && now.restart == "no"
}

/// Waits until nothing of the unit runs, and returns what it is then.
fn ended(systemd: &mut Systemd, unit: &UnitName) -> Result<UnitState, String> {
    let began_ms = super::super::clock::boot_ms();
    loop {
        let now = systemd.state(unit)?;
        let over = matches!(now.active_state.as_str(), "failed" | "inactive");
        if over || super::super::clock::boot_ms() - began_ms > UNDO_MS_MIN {
            return Ok(now);
        }
        std::thread::sleep(std::time::Duration::from_millis(LEFT_JOB_POLL_MS));
    }
}

/// What is asked of which unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    pub unit: &'a UnitName,
    pub doing: Doing,
}

impl Act for Unit<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let Prior { before } = capture(&mut at.bench.systemd, self.unit, self.doing)?;
        let (unit, now) = (self.unit, format!("{} ({})", before.active_state, before.sub_state));
        Ok(match self.doing {
            Doing::ResetFailed if before.active_state != "failed" => format!("nothing: {unit} is {now}"),
            Doing::ResetFailed => format!("{unit}, now {now}, would no longer count as failed"),
            Doing::Job(Job::Start) if before.runs() => format!("nothing: {unit} is {now}"),
            Doing::Job(Job::Stop) if !before.runs() => format!("nothing: {unit} is {now}"),
            Doing::Job(Job::Start) => format!("{unit}, now {now}, would be started"),
            Doing::Job(Job::Stop) => format!("{unit}, now {now}, would be stopped"),
            Doing::Job(Job::Restart) => format!("{unit}, now {now}, would be ended and started anew"),
            Doing::Job(Job::Reload) => format!("{unit}, now {now}, would read its configuration again"),
        })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        capture(&mut at.bench.systemd, self.unit, self.doing)
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        let timeout_ms = at.timeout_ms();
        perform(&mut at.bench.systemd, self.unit, self.doing, timeout_ms)
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(&mut at.bench.systemd, self.unit, self.doing, prior))
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let timeout_ms = at.timeout_ms();
        undo(&mut at.bench.systemd, self.unit, self.doing, prior, timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(active_state: &str, invocation: &str) -> UnitState {
        UnitState {
            load_state: "loaded".into(),
            active_state: active_state.into(),
            sub_state: String::new(),
            unit_file_state: String::new(),
            main_pid: 0,
            restart: "no".into(),
            invocation: invocation.into(),
            job: 0,
        }
    }

    #[test]
    fn a_start_is_undone_by_a_death_only_where_the_unit_stays_dead() {
        let of = |active_state, main_pid, restart: &str| UnitState {
            main_pid,
            restart: restart.into(),
            ..state(active_state, "b")
        };
        let table = [
            ("failed", of("active", 7, "no"), true),
            ("failed", of("active", 7, "on-failure"), false),
            ("failed", of("active", 0, "no"), false),
            ("inactive", of("active", 7, "no"), false),
        ];
        for (before, now, expected) in table {
            assert_eq!(fails_again(&state(before, "a"), &now), expected, "{before} {now:?}");
        }
    }

    #[test]
    fn an_interrupted_step_is_told_by_the_invocation() {
        use Doing::{Job as J, ResetFailed};
        let table = [
            (J(Job::Start), ("failed", "a"), ("active", "b"), "took"),
            (J(Job::Start), ("failed", "a"), ("failed", "a"), "none"),
            (J(Job::Start), ("active", "a"), ("active", "a"), "took"),
            (J(Job::Start), ("failed", "a"), ("failed", "b"), "unknown"),
            (J(Job::Stop), ("active", "a"), ("inactive", "a"), "took"),
            (J(Job::Stop), ("active", "a"), ("active", "a"), "none"),
            (J(Job::Stop), ("active", "a"), ("active", "b"), "unknown"),
            (J(Job::Restart), ("active", "a"), ("active", "b"), "took"),
            (J(Job::Restart), ("active", "a"), ("active", "a"), "none"),
            (J(Job::Restart), ("active", "a"), ("failed", "b"), "unknown"),
            (J(Job::Restart), ("active", "a"), ("inactive", "a"), "unknown"),
            (J(Job::Reload), ("active", "a"), ("active", "a"), "unknown"),
            (ResetFailed, ("failed", "a"), ("inactive", "a"), "took"),
            (ResetFailed, ("failed", "a"), ("failed", "a"), "none"),
        ];
        for (doing, before, now, expected) in table {
            let seen = effect(doing, &state(before.0, before.1), &state(now.0, now.1), "");
            let seen = match seen {
                Effect::Took { .. } => "took",
                Effect::None { .. } => "none",
                Effect::Unknown { .. } => "unknown",
            };
            assert_eq!(seen, expected, "{doing:?} {before:?} {now:?}");
        }
    }
}
