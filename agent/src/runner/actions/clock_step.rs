//! `clock.step`: has chrony set the wall clock right at once. Only chrony's own measurement counts: a source must be
//! heard, and the offset must be within the bound of the step, so that a source that lies by days sets nothing. The
//! clock is never set from here. A step cannot be undone: by then the time has gone on.

use super::act::{Act, At};
use super::tool;
use super::{Programs, command};
use crate::runner::clock;
use crate::runner::profiles;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use std::time::Duration;

const CHRONYC: &str = "/usr/bin/chronyc";
/// Within this the clock is right, in milliseconds.
const RIGHT_MS: i64 = 100;
const POLL: Duration = Duration::from_millis(200);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// How far off the clock was, in milliseconds.
    offset_ms: i64,
}

/// Returns by how much the clock is off as chrony measures it.
///
/// # Errors
/// chrony does not run or hears no source.
fn offset_ms() -> Result<i64, String> {
    let answer = tool::ask(&profiles::clock(), &[CHRONYC, "-n", "-c", "tracking"])?;
    let text = String::from_utf8_lossy(&answer.out);
    if answer.code != Some(0) {
        return Err(format!("chronyc: {}{}", text.trim(), answer.errors.trim()));
    }
    tracking(&text)
}

/// Reads the fields of `chronyc -c tracking`: the third is the stratum, the fifth the offset in seconds, the last
/// whether it is synchronised.
fn tracking(text: &str) -> Result<i64, String> {
    let fields: Vec<&str> = text.trim().split(',').collect();
    let [_, _, stratum, _, offset_s, .., state] = fields.as_slice() else {
        return Err("chronyc does not say how the clock is".into());
    };
    if *stratum == "0" || *state == "Not synchronised" {
        return Err("chrony hears no time server".into());
    }
    let offset_s: f64 = offset_s.parse().map_err(|_| "chronyc does not say how far off the clock is")?;
    Ok((offset_s * 1000.0) as i64)
}

pub fn capture(max_offset_s: i64) -> Result<Prior, String> {
    let offset_ms = offset_ms()?;
    if offset_ms.saturating_abs() > max_offset_s.saturating_mul(1000) {
        return Err(format!(
            "the clock is off by {} s, more than the {max_offset_s} s of this step",
            offset_ms / 1000
        ));
    }
    Ok(Prior { offset_ms })
}

pub fn perform(programs: &Programs, max_offset_s: i64, timeout_ms: i64) -> Result<String, String> {
    let Prior { offset_ms: before_ms } = capture(max_offset_s)?;
    if before_ms.abs() <= RIGHT_MS {
        return Ok(format!("the clock is off by {before_ms} ms: it is right already"));
    }
    let argv = [CHRONYC, "-n", "makestep"].map(str::to_owned);
    let report = programs.run(&profiles::clock(), &argv, timeout_ms, None)?;
    if let Some(how) = command::fault(&report) {
        return Err(format!("chronyc makestep: {how}: {}", report.output.trim()));
    }
    let began_ms = clock::boot_ms();
    loop {
        match offset_ms() {
            Ok(now_ms) if now_ms.abs() <= RIGHT_MS => {
                return Ok(format!("the clock was off by {before_ms} ms and is right"));
            }
            _ if clock::boot_ms() - began_ms < timeout_ms => std::thread::sleep(POLL),
            Ok(now_ms) => return Err(format!("the clock is off by {now_ms} ms after the step")),
            Err(why) => return Err(format!("after the step {why}")),
        }
    }
}

pub fn probe(prior: &Prior) -> Effect {
    match offset_ms() {
        Err(detail) => Effect::Unknown { detail },
        Ok(_) if prior.offset_ms.abs() <= RIGHT_MS => {
            Effect::None { detail: "the clock was right before".into() }
        }
        Ok(now_ms) => {
            let detail = format!("the clock is off by {now_ms} ms");
            match now_ms.abs() <= RIGHT_MS {
                true => Effect::Took { detail },
                false => Effect::None { detail },
            }
        }
    }
}

pub fn undo(prior: &Prior) -> Result<String, String> {
    match probe(prior) {
        Effect::None { detail } => Ok(detail),
        _ => Err(format!("the clock was off by {} ms and is not set wrong again", prior.offset_ms)),
    }
}

/// Says whether something keeps the clock and hears a source, and the clock is right within so much.
pub fn synchronised(within_ms: i64) -> Result<(), String> {
    if std::path::Path::new(CHRONYC).exists() {
        let offset_ms = offset_ms()?;
        return match offset_ms.saturating_abs() <= within_ms {
            true => Ok(()),
            false => Err(format!("it is off by {offset_ms} ms")),
        };
    }
    // systemd-timesyncd makes this file when it has set the clock by a server, and takes it away when it stops.
    match std::path::Path::new("/run/systemd/timesync/synchronized").exists() {
        true => Ok(()),
        false => Err("neither chrony nor systemd-timesyncd says so".into()),
    }
}

/// By how much the clock may be set.
#[derive(Clone, Copy, Debug)]
pub struct ClockStep {
    pub max_offset_s: i64,
}

impl Act for ClockStep {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        let Prior { offset_ms } = capture(self.max_offset_s)?;
        Ok(match offset_ms.abs() <= RIGHT_MS {
            true => format!("nothing: the clock is off by {offset_ms} ms"),
            false => format!("the clock would be set by {offset_ms} ms"),
        })
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        capture(self.max_offset_s)
    }

    fn perform(&self, at: &mut At<'_>, _prior: &Prior) -> Result<String, String> {
        perform(&at.bench.programs, self.max_offset_s, at.timeout_ms())
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(probe(prior))
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        undo(prior)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_chrony_says_it() {
        let line = |stratum: &str, offset: &str, state: &str| {
            format!(
                "C0000201,192.0.2.1,{stratum},1770119000.1,{offset},0.0001,0.0002,1.5,0.01,0.1,0.02,0.0003,64.2,{state}\n"
            )
        };
        for (text, is) in [
            (line("2", "0.000012", "Normal"), Some(0)),
            (line("2", "-420.5", "Normal"), Some(-420_500)),
            (line("3", "12.25", "Insert second"), Some(12_250)),
            (line("0", "0.0", "Not synchronised"), None),
            (line("2", "x", "Normal"), None),
            ("506 Cannot talk to daemon\n".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(tracking(&text).ok(), is, "{text}");
        }
    }
}
