//! What a unit's state means: failed, not running, unhealthy, flapping, or none of these. Pure.

use super::wellness::Unwell;
use crate::config::{Expect, Failed, Flapping, Service, listed};
use crate::watcher::report::Fault;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, UnitName, Value};
use std::collections::VecDeque;

pub(super) const FAILED: &str = "units.failed";
pub(super) const INACTIVE: &str = "units.inactive";
pub(super) const DISABLED: &str = "units.disabled";
pub(super) const UNHEALTHY: &str = "units.unhealthy";
pub(super) const FLAPPING: &str = "units.flapping";

/// Time over which `starts_10m` counts, in milliseconds.
const STARTS_MS: u64 = 600_000;
/// Most starts of one unit that are remembered.
const STARTS_MAX: usize = 64;

/// A unit as systemd tells it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct UnitView {
    pub load_state: String,
    pub active_state: String,
    pub sub_state: String,
    pub unit_file_state: String,
    pub result: String,
    /// Units without which it cannot run, as systemd has it.
    pub requires: Vec<UnitName>,
    /// A job that runs once and ends, not a service.
    pub oneshot: bool,
    /// How the main process ended (`si_code`), 0 while it never ran.
    pub exit_code: i32,
    pub exit_status: i32,
    pub main_pid: u32,
    pub restarts: u32,
    /// When the main process started, in microseconds of the monotonic clock.
    pub started_us: u64,
    /// When its state last changed, by the same clock; 0 while that is not known.
    pub changed_us: u64,
    /// How long it may take to start and to stop, in microseconds; the highest number means for ever.
    pub timeout_start_us: Option<u64>,
    pub timeout_stop_us: Option<u64>,
}

impl UnitView {
    pub(super) fn masked(&self) -> bool {
        self.load_state == "masked" || self.unit_file_state.starts_with("masked")
    }
    pub(super) fn active(&self) -> bool {
        matches!(self.active_state.as_str(), "active" | "reloading" | "refreshing")
    }
}

/// Whether something is the case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Holds,
    Over,
    /// On the way from one to the other: what was said before stays.
    Unsettled,
}

/// Says whether a unit has failed. One that systemd itself is about to start again has not; one that should run, was
/// said to have failed and was only reset since still does not run, and nothing is over.
pub(super) fn failed(
    unit: &UnitName,
    view: &UnitView,
    config: &Failed,
    service: Option<&Service>,
    said: bool,
) -> Verdict {
    let watched = config.watch.takes(unit.as_str()) && !listed(&config.ignore, unit.as_str());
    match view.active_state.as_str() {
        _ if !watched || view.masked() => Verdict::Over,
        // It is being started: how the last run ended is forgotten first.
        "failed" if view.result == "success" => Verdict::Unsettled,
        "failed" => Verdict::Holds,
        "activating" | "deactivating" => Verdict::Unsettled,
        "inactive" if said && inactive(view, service) == Verdict::Holds => Verdict::Unsettled,
        _ => Verdict::Over,
    }
}

/// Says whether a service that should run does not. What is masked or disabled was stopped on purpose.
pub(super) fn inactive(view: &UnitView, service: Option<&Service>) -> Verdict {
    let expected = service.is_some_and(|s| *s.expect == Expect::Active);
    match view.active_state.as_str() {
        _ if !expected || view.masked() || view.unit_file_state == "disabled" => Verdict::Over,
        "inactive" => Verdict::Holds,
        "activating" | "deactivating" => Verdict::Unsettled,
        _ => Verdict::Over,
    }
}

/// Says whether a unit that must start with the host would not. Who masks it says so on purpose.
pub(super) fn disabled(view: &UnitView, service: Option<&Service>) -> Verdict {
    let demanded = service.is_some_and(|s| *s.enabled);
    match view.unit_file_state.as_str() {
        "" => Verdict::Unsettled,
        "disabled" if demanded && !view.masked() => Verdict::Holds,
        _ => Verdict::Over,
    }
}

/// Starts of one unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Starts {
    all_ms: VecDeque<u64>,
    /// Those that followed a failure, or were systemd's own.
    again_ms: VecDeque<u64>,
}

impl Starts {
    /// Compares two views of a unit and counts the starts between them.
    pub(super) fn note(&mut self, before: &UnitView, after: &UnitView, now_ms: u64) {
        if after.started_us == 0 || after.started_us == before.started_us {
            return;
        }
        let by_systemd = after.restarts.saturating_sub(before.restarts);
        let after_failure = !matches!(before.result.as_str(), "" | "success");
        push(&mut self.all_ms, now_ms, by_systemd.max(1));
        push(&mut self.again_ms, now_ms, by_systemd.max(u32::from(after_failure)));
    }

    pub(super) fn in_10m(&self, now_ms: u64) -> usize {
        within(&self.all_ms, STARTS_MS, now_ms)
    }

    /// Returns how many starts count as flapping, if they are too many.
    pub(super) fn flapping(&self, config: &Flapping, now_ms: u64) -> Option<usize> {
        let count = within(&self.again_ms, config.within.ms(), now_ms);
        (*config.times > 0 && count >= *config.times as usize).then_some(count)
    }

    /// Says whether any start is remembered that counts towards flapping, or did.
    pub(super) fn any(&self) -> bool {
        !self.again_ms.is_empty()
    }

    /// Says whether nothing of it counts any more.
    pub(super) fn spent(&self, config: &Flapping, now_ms: u64) -> bool {
        self.in_10m(now_ms) == 0 && within(&self.again_ms, config.within.ms(), now_ms) == 0
    }
}

fn push(times_ms: &mut VecDeque<u64>, now_ms: u64, count: u32) {
    (0..count.min(STARTS_MAX as u32)).for_each(|_| times_ms.push_back(now_ms));
    while times_ms.len() > STARTS_MAX {
        times_ms.pop_front();
    }
}

fn within(times_ms: &VecDeque<u64>, within_ms: u64, now_ms: u64) -> usize {
    times_ms.iter().filter(|at_ms| at_ms.saturating_add(within_ms) > now_ms).count()
}

/// Says in words how a unit ended.
fn ending(view: &UnitView) -> String {
    match view.result.as_str() {
        "" | "success" => "for a reason that systemd does not tell".into(),
        "signal" | "core-dump" => format!("{} {}", view.result, view.exit_status),
        "exit-code" => format!("exit code {}", view.exit_status),
        other => other.to_owned(),
    }
}

/// Makes the fault of a failed unit.
pub(super) fn failed_fault(unit: &UnitName, view: &UnitView, starts: usize) -> Fault {
    let text = format!("{unit} failed: {}", ending(view));
    let mut fault = Fault::new(FAILED, "unit.failed", Subject::Unit(unit.clone()), Severity::Critical, text);
    fault.word("unit_result", &view.result);
    if view.exit_code != 0 {
        fault.integer("exit_status", view.exit_status);
    }
    fault.field("enabled", Value::Boolean(view.unit_file_state.starts_with("enabled")));
    fault.word("load_state", &view.load_state);
    fault.integer("starts_10m", starts);
    add_oneshot(&mut fault, view);
    fault
}

/// Adds what a unit cannot run without: other services, and the mounts that its files lie on.
pub(super) fn add_required(fault: &mut Fault, view: &UnitView) {
    for unit in &view.requires {
        match unit.as_str().rsplit_once('.') {
            Some((name, "mount")) => {
                if let Ok(point) = AbsPath::new(format!("/{}", unescaped(name))) {
                    fault.depends_on(Subject::Mount(point));
                }
            }
            Some((_, "service" | "socket")) => fault.depends_on(Subject::Unit(unit.clone())),
            // Groups of units, slices and the like are no service that fails by itself.
            _ => {}
        }
    }
}

/// Undoes systemd's writing of a path as a name.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.strip_prefix(b"x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        let escaped = digits.filter(|_| *first == b'\\').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(if *first == b'-' { b'/' } else { *first }));
        rest = if escaped.is_some() { &more[3..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says of a job that it is one: whether it may run twice only its author knows.
fn add_oneshot(fault: &mut Fault, view: &UnitView) {
    if view.oneshot {
        fault.field("oneshot", Value::Boolean(true));
    }
}

pub(super) fn inactive_fault(unit: &UnitName, view: &UnitView) -> Fault {
    let text = format!("{unit} does not run, though it should");
    let mut fault =
        Fault::new(INACTIVE, "unit.inactive", Subject::Unit(unit.clone()), Severity::Critical, text);
    fault.word("unit_file_state", &view.unit_file_state);
    add_oneshot(&mut fault, view);
    fault
}

pub(super) fn disabled_fault(unit: &UnitName, view: &UnitView) -> Fault {
    let text = format!("{unit} is disabled: it does not start with the host, though it should");
    let mut fault =
        Fault::new(DISABLED, "unit.disabled", Subject::Unit(unit.clone()), Severity::Warning, text);
    fault.word("unit_file_state", &view.unit_file_state);
    fault.word("active_state", &view.active_state);
    fault.field("active", Value::Boolean(view.active()));
    add_oneshot(&mut fault, view);
    fault
}

pub(super) fn unhealthy_fault(unit: &UnitName, unwell: &Unwell, starts: usize) -> Fault {
    let text = format!("{unit} runs but is not well: {}", unwell.words);
    let mut fault =
        Fault::new(UNHEALTHY, "unit.unhealthy", Subject::Unit(unit.clone()), Severity::Critical, text);
    fault.word("reason", unwell.reason);
    if let Some(failure) = &unwell.health {
        fault.word("health_failure", failure.kind);
        if let Some(status) = failure.status {
            fault.integer("health_status", status);
        }
    }
    fault.integer("starts_10m", starts);
    fault
}

pub(super) fn flapping_fault(unit: &UnitName, starts: usize, config: &Flapping) -> Fault {
    let within_s = config.within.0.as_secs();
    let text = format!("{unit} was started again {starts} times within {within_s} s");
    let mut fault =
        Fault::new(FLAPPING, "unit.flapping", Subject::Unit(unit.clone()), Severity::Warning, text);
    fault.integer("starts", starts);
    fault.integer("within_s", within_s);
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, Period, Watch};
    use Verdict::{Holds, Over, Unsettled};

    fn view(active: &str, sub: &str, load: &str, file: &str) -> UnitView {
        UnitView {
            active_state: active.into(),
            sub_state: sub.into(),
            load_state: load.into(),
            unit_file_state: file.into(),
            ..UnitView::default()
        }
    }

    #[test]
    fn what_systemd_requires_is_what_a_fault_may_follow_from() {
        let requires = ["system.slice", "db.service", "srv-vol.mount", "srv-a\\x2db.mount", "sysinit.target"];
        let requires = requires.map(|name| UnitName::new(name).expect("a unit")).to_vec();
        let view = UnitView { requires, ..view("failed", "failed", "loaded", "enabled") };
        let mut fault = failed_fault(&UnitName::new("web.service").expect("a unit"), &view, 1);
        add_required(&mut fault, &view);
        let on: Vec<_> = fault.depends_on.iter().map(ToString::to_string).collect();
        assert_eq!(on, ["unit:db.service", "mount:/srv/vol", "mount:/srv/a-b"]);
    }

    #[test]
    fn what_a_state_means() {
        let expected = Service { expect: At::of(Expect::Active), ..Service::default() };
        for (active, sub, load, file, is_failed, is_inactive) in [
            ("active", "running", "loaded", "enabled", Over, Over),
            ("failed", "failed", "loaded", "enabled", Holds, Over),
            ("failed", "failed", "loaded", "disabled", Holds, Over),
            ("failed", "failed", "loaded", "static", Holds, Over),
            ("failed", "failed", "masked", "masked", Over, Over),
            ("failed", "failed", "loaded", "masked-runtime", Over, Over),
            ("activating", "auto-restart", "loaded", "enabled", Unsettled, Unsettled),
            ("activating", "start", "loaded", "enabled", Unsettled, Unsettled),
            ("deactivating", "stop-sigterm", "loaded", "enabled", Unsettled, Unsettled),
            ("inactive", "dead", "loaded", "enabled", Over, Holds),
            ("inactive", "dead", "loaded", "static", Over, Holds),
            ("inactive", "dead", "not-found", "", Over, Holds),
            ("inactive", "dead", "loaded", "disabled", Over, Over),
            ("inactive", "dead", "masked", "masked", Over, Over),
            ("inactive", "dead", "loaded", "masked-runtime", Over, Over),
            ("reloading", "reload", "loaded", "enabled", Over, Over),
        ] {
            let unit = UnitName::new("x.service").expect("a unit");
            let view = view(active, sub, load, file);
            let what = format!("{active} {sub} {load} {file}");
            let failed = |service, said| failed(&unit, &view, &Failed::default(), service, said);
            assert_eq!(failed(None, false), is_failed, "{what}");
            assert_eq!(failed(None, true), is_failed, "{what}");
            assert_eq!(failed(Some(&expected), false), is_failed, "{what}");
            // What should run and was only reset is not over.
            let only_reset = if is_inactive == Holds { Unsettled } else { is_failed };
            assert_eq!(failed(Some(&expected), true), only_reset, "{what}");
            assert_eq!(inactive(&view, Some(&expected)), is_inactive, "{what}");
            assert_eq!(inactive(&view, None), Over, "{what}");
            assert_eq!(inactive(&view, Some(&Service::default())), Over, "{what}");
        }
    }

    #[test]
    fn what_must_start_with_the_host_is_not_disabled() {
        let demanded = Service { enabled: At::of(true), ..Service::default() };
        for (load, file, is) in [
            ("loaded", "enabled", Over),
            ("loaded", "disabled", Holds),
            ("masked", "masked", Over),
            ("loaded", "static", Over),
            ("loaded", "", Unsettled),
        ] {
            for active in ["active", "inactive"] {
                let view = view(active, "", load, file);
                assert_eq!(disabled(&view, Some(&demanded)), is, "{load} {file} {active}");
                assert_ne!(disabled(&view, Some(&Service::default())), Holds);
                assert_ne!(disabled(&view, None), Holds);
            }
        }
    }

    #[test]
    fn only_watched_units_fail() {
        let down = view("failed", "failed", "loaded", "enabled");
        let some = |names: &[&str]| names.iter().map(|n| At::of((*n).to_owned())).collect::<Vec<_>>();
        for (watch, ignore, fails) in [
            (Watch::All, some(&[]), Holds),
            (Watch::All, some(&["x.*"]), Over),
            (Watch::None, some(&[]), Over),
            (Watch::Only(some(&["x.service"])), some(&[]), Holds),
            (Watch::Only(some(&["y.service"])), some(&[]), Over),
        ] {
            let config = Failed { watch, ignore, ..Failed::default() };
            assert_eq!(
                failed(&UnitName::new("x.service").expect("a unit"), &down, &config, None, false),
                fails,
                "{config:?}"
            );
        }
    }

    #[test]
    fn starts_after_a_failure_or_by_systemd_count_as_flapping() {
        let config = Flapping { times: At::of(3), within: At::of(Period::secs(60)) };
        let mut starts = Starts::default();
        let mut now = UnitView::default();
        for (at_s, started_us, result, restarts, all, flaps) in [
            (0, 1, "success", 0, 1, None),     // begun by somebody
            (5, 1, "signal", 0, 1, None),      // it fails
            (6, 2, "success", 0, 2, None),     // begun after a failure: 1
            (7, 2, "success", 0, 2, None),     // nothing new
            (9, 3, "success", 0, 3, None),     // begun anew on purpose
            (10, 4, "success", 1, 4, None),    // by systemd: 2
            (20, 5, "success", 3, 6, Some(4)), // two by systemd since the last view: 4
            (65, 5, "success", 3, 6, Some(4)),
            (66, 5, "success", 3, 6, Some(3)),
            (70, 5, "success", 3, 6, None),
            (700, 5, "success", 3, 0, None),
        ] {
            let next = UnitView { started_us, result: result.into(), restarts, ..UnitView::default() };
            starts.note(&now, &next, at_s * 1000);
            now = next;
            assert_eq!(
                (starts.in_10m(at_s * 1000), starts.flapping(&config, at_s * 1000)),
                (all, flaps),
                "at {at_s}"
            );
        }
        assert!(starts.spent(&config, 700_000));
    }

    #[test]
    fn a_failed_unit_in_fields_and_words() {
        let unit = UnitName::new("x.service").expect("a unit");
        let mut down = view("failed", "failed", "loaded", "enabled");
        (down.result, down.exit_code, down.exit_status) = ("signal".into(), 2, 9);
        let fault = failed_fault(&unit, &down, 2);
        assert_eq!(fault.summary, "x.service failed: signal 9");
        let told: Vec<_> = fault.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            told,
            ["enabled=true", "exit_status=9", "load_state=loaded", "starts_10m=2", "unit_result=signal"]
        );
        down.result = "start-limit-hit".into();
        assert_eq!(failed_fault(&unit, &down, 2).summary, "x.service failed: start-limit-hit");
    }
}
