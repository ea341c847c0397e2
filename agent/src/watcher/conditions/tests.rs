use super::*;
use crate::watcher::report::Tolerance;
use sopwith_domain::signal::Severity;
use sopwith_domain::value::{UnitName, Word};
use std::time::Duration;

const S: u64 = 1000;

fn subject(name: &str) -> Subject {
    match UnitName::new(name) {
        Ok(unit) => Subject::Unit(unit),
        Err(_) => Subject::Check(Word::new(name).expect("a word")),
    }
}

fn fault(rule: &str, name: &str) -> Fault {
    Fault::new(rule, "x.y", subject(name), Severity::Warning, "words")
}

fn seconds(n: u64) -> Tolerance {
    Tolerance::For(Duration::from_secs(n))
}

fn times(count: u32, within_s: u64) -> Tolerance {
    Tolerance::Times { count, within: Duration::from_secs(within_s) }
}

fn told(said: Vec<Emit>) -> String {
    let one = |e: Emit| {
        let what = match (e.condition, e.again) {
            (Condition::Raised, false) => "+",
            (Condition::Raised, true) => "=",
            (Condition::Cleared, _) => "-",
        };
        format!("{what}{}", e.fault.rule)
    };
    said.into_iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Conditions of one source that has settled, driven by lines of a table.
struct Table(Conditions);

impl Table {
    fn new() -> Self {
        let mut conditions = Conditions::default();
        conditions.begin("s");
        conditions.take("s", Report::Settled, 0);
        Self(conditions)
    }
    fn holds(&mut self, at_s: u64, rule: &str, name: &str, tolerance: Tolerance) -> String {
        told(self.0.take("s", Report::holds(fault(rule, name), tolerance), at_s * S))
    }
    fn over(&mut self, at_s: u64, rule: &str, name: &str) -> String {
        told(self.0.take("s", Report::over(rule, subject(name)), at_s * S))
    }
    fn happened(&mut self, at_s: u64, rule: &str, name: &str, quiet_s: u64) -> String {
        let quiet = Duration::from_secs(quiet_s);
        told(self.0.take("s", Report::Happened { fault: Box::new(fault(rule, name)), quiet }, at_s * S))
    }
    fn due(&mut self, at_s: u64) -> String {
        told(self.0.due(at_s * S))
    }
    fn next_s(&self, at_s: u64) -> Option<u64> {
        self.0.next_due_ms(at_s * S).map(|ms| ms / S)
    }
}

#[test]
fn a_condition_is_raised_after_its_time_said_again_each_minute_and_cleared() {
    let mut t = Table::new();
    assert_eq!(t.holds(0, "r", "a", seconds(5)), "");
    assert_eq!(t.next_s(0), Some(5));
    assert_eq!(t.due(4), "");
    assert_eq!(t.holds(4, "r", "a", seconds(5)), "");
    assert_eq!(t.due(5), "+r");
    assert_eq!((t.next_s(5), t.due(64)), (Some(65), String::new()));
    assert_eq!(t.due(65), "=r");
    assert_eq!(t.over(70, "r", "a"), "-r");
    assert_eq!((t.over(71, "r", "a"), t.due(200), t.next_s(200)), (String::new(), String::new(), None));
}

#[test]
fn a_break_begins_the_time_anew() {
    let mut t = Table::new();
    assert_eq!(t.holds(0, "r", "a", seconds(5)), "");
    assert_eq!(t.over(4, "r", "a"), "");
    assert_eq!(t.holds(4, "r", "a", seconds(5)), "");
    assert_eq!((t.due(8), t.due(9)), (String::new(), "+r".into()));
    assert_eq!(t.holds(0, "now", "b", seconds(0)), "+now");
}

#[test]
fn so_many_times_within_a_time() {
    let mut t = Table::new();
    for (at_s, holds, says) in [
        (0, true, ""),
        (10, true, ""),
        (20, false, ""),
        (70, true, ""), // the first has left the window of 60 s
        (75, true, ""),
        (80, true, "+r"),
        (85, true, ""),
        (90, false, ""), // three are still within the window
        (139, false, "-r"),
        (141, true, ""),
        (142, true, "+r"), // with the one at 85
        (300, false, "-r"),
    ] {
        let said = match holds {
            true => t.holds(at_s, "r", "a", times(3, 60)),
            false => t.over(at_s, "r", "a"),
        };
        assert_eq!(said, says, "at {at_s}");
    }
    assert_eq!(t.next_s(300), None);
}

#[test]
fn one_kind_at_a_time_for_a_unit() {
    let mut t = Table::new();
    let unit = "x.service";
    for (at_s, rule, holds, says) in [
        (0, "units.unhealthy", true, "+units.unhealthy"),
        (1, "units.failed", true, "-units.unhealthy +units.failed"),
        (2, "units.inactive", true, ""),
        (3, "units.failed", false, "-units.failed +units.inactive"),
        (4, "units.unhealthy", false, ""),
        (5, "units.flapping", true, ""),
        (6, "units.inactive", false, "-units.inactive +units.flapping"),
        (7, "units.unhealthy", true, ""),
        (8, "units.flapping", false, "-units.flapping +units.unhealthy"),
        (9, "units.unhealthy", false, "-units.unhealthy"),
    ] {
        let said = match holds {
            true => t.holds(at_s, rule, unit, seconds(0)),
            false => t.over(at_s, rule, unit),
        };
        assert_eq!(said, says, "at {at_s}");
    }
    assert_eq!(t.holds(10, "checks.a", "a", seconds(0)), "+checks.a");
    assert_eq!(t.holds(10, "checks.b", "a", seconds(0)), "+checks.b");
}

#[test]
fn a_lower_kind_stays_raised_until_the_higher_one_is_ripe() {
    let mut t = Table::new();
    assert_eq!(t.holds(0, "units.unhealthy", "x.service", seconds(0)), "+units.unhealthy");
    assert_eq!(t.holds(1, "units.failed", "x.service", seconds(5)), "");
    assert_eq!(t.due(6), "-units.unhealthy +units.failed");
    let mut t = Table::new();
    assert_eq!(t.holds(0, "units.failed", "x.service", seconds(5)), "");
    assert_eq!(t.holds(1, "units.unhealthy", "x.service", seconds(0)), "");
    assert_eq!(t.over(2, "units.failed", "x.service"), "+units.unhealthy");
}

#[test]
fn what_happens_is_over_when_it_is_quiet() {
    let mut t = Table::new();
    assert_eq!(t.happened(0, "l", "a", 100), "+l");
    assert_eq!(t.happened(30, "l", "a", 100), "");
    assert_eq!(t.happened(60, "l", "a", 100), "=l");
    assert_eq!((t.next_s(60), t.due(159), t.due(160)), (Some(160), String::new(), "-l".into()));
    assert_eq!(t.happened(161, "l", "a", 100), "+l");
    assert_eq!(told(t.0.take("s", Report::LookedAfresh, 162 * S)), "", "it is not known to go on");
    assert_eq!(t.happened(163, "l", "a", 100), "=l");
}

#[test]
fn after_a_restart_a_source_looks_before_anything_is_said() {
    let mut t = Table::new();
    for rule in ["stays", "went"] {
        t.holds(0, rule, "a", seconds(0));
    }
    t.happened(0, "l", "a", 100);
    let kept: Vec<_> = ["stays", "went", "l"]
        .iter()
        .map(|r| t.0.kept(&subject("a"), &RuleId::new(*r).expect("valid")).expect("it is raised"))
        .collect();
    let mut t = Table(Conditions::default());
    kept.into_iter().for_each(|k| t.0.restore(k, 1000 * S));
    t.0.begin("s");
    assert_eq!((t.due(1099), told(t.0.take("s", Report::LookedAfresh, 1099 * S))), ("".into(), "".into()));
    assert_eq!(t.holds(1099, "stays", "a", seconds(0)), "");
    assert_eq!(told(t.0.take("s", Report::Settled, 1099 * S)), "-went");
    assert_eq!(t.due(1100), "=stays -l".split(' ').rev().collect::<Vec<_>>().join(" "));
}

#[test]
fn all_is_said_again_when_asked_and_sources_that_are_gone_are_cleared() {
    let mut t = Table::new();
    t.holds(0, "a", "a", seconds(0));
    t.holds(0, "unripe", "a", seconds(9));
    assert_eq!(told(t.0.take("other", Report::LookedAfresh, S)), "");
    assert_eq!(told(t.0.take("s", Report::LookedAfresh, S)), "=a");
    assert_eq!(told(t.0.take("other", Report::BeginAgain, S)), "=a");
    t.0.take("about", Report::holds(fault("sources.s", "s"), seconds(0)), 0);
    assert_eq!(told(t.0.retire(&["s"], "about")), "");
    assert_eq!(told(t.0.retire(&["other"], "about")), "-a -sources.s");
    assert_eq!(t.0.raised(), 0);
}

#[test]
fn evidence_outlives_reports_without_it() {
    let mut t = Table::new();
    t.holds(0, "a", "a", seconds(0));
    let shown = vec![crate::watcher::report::evidence("journal", "lines")];
    let rule = RuleId::new("a").expect("valid");
    let said = t.0.take("s", Report::Gathered { rule, subject: subject("a"), evidence: shown.clone() }, S);
    assert_eq!((said[0].fault.evidence.clone(), said[0].again), (shown.clone(), false));
    t.holds(2, "a", "a", seconds(0));
    assert_eq!(t.0.due(100 * S)[0].fault.evidence, shown);
}

#[test]
fn what_becomes_known_later_is_said_but_not_every_number() {
    let mut t = Table::new();
    let mut now = fault("r", "a");
    let mut take =
        |fault: &Fault, at_s: u64| told(t.0.take("s", Report::holds(fault.clone(), seconds(0)), at_s * S));
    assert_eq!(take(&now, 0), "+r");
    now.integer("used_percent", 90);
    assert_eq!((take(&now, 3), take(&now, 6)), (String::new(), String::new()), "it was said just now");
    now.integer("held_inode", 7);
    assert_eq!(take(&now, 7), "+r");
    now.integer("used_percent", 91);
    assert_eq!(take(&now, 14), "");
    now.severity = Severity::Critical;
    assert_eq!(take(&now, 15), "+r");
}
