//! A service that neither starts nor stops nor reloads: on its way for longer than it may be.

use super::facts::add_process;
use super::judge::{self, UnitView};
use super::{Known, Watched};
use crate::config::listed;
use crate::watcher::clock;
use crate::watcher::report::{Fault, Tolerance};
use crate::watcher::sources::SourceFailed;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{UnitName, Value};

pub(super) const STUCK: &str = "units.stuck";

/// Within its own time systemd ends it by itself; so long after that it has not.
const GRACE_S: u64 = 30;
/// Where systemd would wait for ever: longer than its own 90 s for whoever says nothing.
const ENDLESS_S: u64 = 120;

/// Says whether a unit is on its way from one state to another.
pub(super) fn passing(active_state: &str) -> bool {
    matches!(active_state, "activating" | "deactivating" | "reloading")
}

/// Returns for how long a unit may be on its way, in seconds; nothing where that is not known or is its work.
fn limit_s(view: &UnitView) -> Option<u64> {
    let starts = view.active_state != "deactivating";
    let timeout_us = if starts { view.timeout_start_us } else { view.timeout_stop_us }?;
    match timeout_us {
        // A job that runs once is at work as long as it starts.
        u64::MAX if view.oneshot && starts => None,
        u64::MAX => Some(ENDLESS_S),
        us => Some(us / 1_000_000 + GRACE_S),
    }
}

/// Makes the fault of a unit that has been on its way for too long.
pub(super) fn stuck(unit: &UnitName, view: &UnitView, now_us: u64) -> Option<Fault> {
    // Between two tries it waits because it was told to.
    if !passing(&view.active_state) || view.sub_state.starts_with("auto-restart") || view.changed_us == 0 {
        return None;
    }
    let limit_s = limit_s(view)?;
    if now_us.saturating_sub(view.changed_us) < limit_s * 1_000_000 {
        return None;
    }
    let state = &view.active_state;
    let text = format!("{unit} has been {state} ({}) for more than {limit_s} s", view.sub_state);
    let mut fault = Fault::new(STUCK, "unit.stuck", Subject::Unit(unit.clone()), Severity::Warning, text);
    fault.word("active_state", state);
    fault.word("sub_state", &view.sub_state);
    fault.integer("limit_s", limit_s);
    if view.oneshot {
        fault.field("oneshot", Value::Boolean(true));
    }
    Some(fault)
}

impl Watched {
    /// Asks of units on their way whether they have become stuck by time alone.
    pub(super) async fn age_stuck(&mut self) -> Result<(), SourceFailed> {
        let now_us = clock::monotonic_us();
        let news = |(unit, known): &(&UnitName, &Known)| {
            known.passes() && !known.said.contains(&STUCK) && stuck(unit, &known.view, now_us).is_some()
        };
        let units: Vec<_> = self.known.iter().filter(news).map(|(unit, _)| unit.clone()).collect();
        for unit in units {
            self.judge_stuck(&unit).await?;
        }
        Ok(())
    }

    /// What is left out of `failed` is left out here.
    pub(super) async fn judge_stuck(&mut self, unit: &UnitName) -> Result<(), SourceFailed> {
        let Some(known) = self.known.get(unit) else { return Ok(()) };
        let failed = &self.units.failed;
        let watched = failed.watch.takes(unit.as_str()) && !listed(&failed.ignore, unit.as_str());
        match stuck(unit, &known.view, clock::monotonic_us()).filter(|_| watched && !known.view.masked()) {
            None => self.over(unit, STUCK).await,
            Some(mut fault) => {
                add_process(&mut fault, known.view.main_pid);
                judge::add_required(&mut fault, &known.view);
                self.holds(unit, STUCK, fault, Tolerance::NONE).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_unit_may_be_on_its_way() {
        const S: u64 = 1_000_000;
        let endless = Some(u64::MAX);
        for (active, sub, oneshot, start_us, stop_us, for_s, limit_s) in [
            ("activating", "start", false, endless, None, 119, None),
            ("activating", "start", false, endless, None, 120, Some(120)),
            ("activating", "start", false, Some(90 * S), None, 119, None),
            ("activating", "start-post", false, Some(90 * S), None, 120, Some(120)),
            ("activating", "start", true, endless, None, 99_999, None),
            ("activating", "start", true, Some(600 * S), None, 630, Some(630)),
            ("activating", "auto-restart", false, Some(90 * S), None, 9_999, None),
            ("activating", "mounting", false, None, None, 9_999, None),
            ("deactivating", "stop-sigterm", false, endless, Some(90 * S), 119, None),
            ("deactivating", "final-sigkill", true, endless, Some(90 * S), 120, Some(120)),
            ("deactivating", "stop", false, None, endless, 120, Some(120)),
            ("reloading", "reload", false, Some(60 * S), None, 90, Some(90)),
            ("active", "running", false, Some(90 * S), Some(90 * S), 99_999, None),
            ("failed", "failed", false, Some(90 * S), Some(90 * S), 99_999, None),
        ] {
            let view = UnitView {
                active_state: active.into(),
                sub_state: sub.into(),
                oneshot,
                timeout_start_us: start_us,
                timeout_stop_us: stop_us,
                changed_us: 5 * S,
                ..UnitView::default()
            };
            let unit = UnitName::new("x.service").expect("a unit");
            let fault = stuck(&unit, &view, (5 + for_s) * S);
            let told = fault.map(|fault| {
                fault.fields.iter().find(|(name, _)| name.as_str() == "limit_s").map(|(_, v)| v.to_string())
            });
            let wanted = limit_s.map(|s: u64| Some(s.to_string()));
            assert_eq!(told, wanted, "{active} {sub} {oneshot} {for_s}");
            let unknown = UnitView { changed_us: 0, ..view };
            assert_eq!(stuck(&unit, &unknown, u64::MAX), None);
        }
    }
}
