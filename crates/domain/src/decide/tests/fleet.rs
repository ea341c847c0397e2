//! Decision tables of one fault on many hosts: one incident, one host first, others after it has lasted, and at which
//! failure it stops.

use super::*;
use crate::incident::{Phase, WhyNot};

/// Hosts with a server: what they raise and how their runs end.
pub struct Many {
    pub told: Told,
}

impl Many {
    pub fn new(hosts: usize, rest: &str) -> Self {
        let mut told = Told::new();
        let wide =
            "at_once: {overall: 99, per_host: 9, per_playbook: 99}\nper_hour: 9999\nattempts_per_day: 2\n";
        told.policy(&format!("{wide}{rest}"));
        for n in 0..hosts {
            told.does(Command::Enrol { host: host(n), epoch: Epoch(1) });
        }
        Self { told }
    }

    fn says(&mut self, n: usize, item: Item) -> String {
        let seq = self.told.state.hosts[&host(n)].items_through + 1;
        self.told.does(Command::Observe { host: host(n), epoch: Epoch(1), seq, item })
    }

    pub fn signal(&mut self, n: usize, kind: &str, unit: &str, condition: Condition) -> String {
        let signal = Signal {
            host: host(n),
            epoch: Epoch(1),
            rule: RuleId::new("rule").unwrap(),
            kind: SignalKind::new(format!("svc.{kind}")).unwrap(),
            subject: Subject::Unit(UnitName::new(format!("{unit}.service")).unwrap()),
            condition,
            severity: Severity::Critical,
            summary: "down".into(),
            fields: BTreeMap::new(),
            evidence: vec![],
            observed_at: self.told.now,
            cause: None,
            depends_on: vec![],
        };
        self.says(n, Item::Signal { signal: Box::new(signal) })
    }

    /// The fault with an automatic fix.
    pub fn raise(&mut self, n: usize) -> String {
        self.signal(n, "stuck", "a", Condition::Raised)
    }

    fn domain(&mut self, n: usize, domain: &str) {
        let (name, value) = (Word::new("failure-domain").unwrap(), Word::new(domain).unwrap());
        let declarations = Declarations { stated: vec![Declaration::Fact { name, value }], broken: vec![] };
        self.says(n, Item::Declarations { declarations });
    }

    fn record(&mut self, n: usize, run: Digest, what: What) -> String {
        let seq = self.told.state.hosts[&host(n)].records_through + 1;
        let record = Box::new(Record { run, at: self.told.now, what });
        self.told.does(Command::ReportRun { host: host(n), epoch: Epoch(1), seq, record })
    }

    /// Ends the run of a host that has an order.
    fn ends(&mut self, n: usize, end: End) -> String {
        let order = owed(&self.told.state, &host(n)).remove(0);
        let run = order.plan;
        self.record(n, run, What::Accepted { order: Box::new(order) });
        self.record(n, run, What::Ended { end })
    }

    /// The fix works on a host, and the host says so.
    fn mends(&mut self, n: usize) {
        self.ends(n, End::Resolved);
        self.signal(n, "stuck", "a", Condition::Cleared);
    }

    fn fails(&mut self, n: usize) -> String {
        self.ends(n, End::RolledBack { reason: "it failed".into() })
    }

    pub fn orders(&self, hosts: usize) -> Vec<usize> {
        (0..hosts).filter(|n| !owed(&self.told.state, &host(*n)).is_empty()).collect()
    }

    pub fn pages(&self) -> usize {
        let open = self.told.state.open.values().map(|id| &self.told.state.incidents[id]);
        open.filter(|incident| matches!(incident.phase, Phase::NeedsPerson { .. })).count()
    }

    fn later_raises(&mut self, ms: i64, hosts: std::ops::Range<usize>) {
        self.told.later(ms);
        for n in hosts {
            self.raise(n);
        }
    }
}

pub fn host(n: usize) -> HostId {
    HostId::new(format!("h-{n}")).unwrap()
}

const BAKE_MS: i64 = 120_000;

#[test]
fn one_symptom_on_many_hosts_is_one_page_and_one_canary() {
    let mut many = Many::new(6, "");
    assert!(many.raise(0).ends_with("order_released"), "the first host is the canary");
    assert!(many.raise(1).ends_with("refrained"), "the second waits for it");
    assert_eq!(
        many.raise(2),
        "item_taken incident_opened incident_opened escalated refrained matched refrained"
    );
    for n in 3..6 {
        assert!(many.raise(n).ends_with("matched refrained"));
    }
    assert_eq!((many.orders(6), many.pages()), (vec![0], 1));
    // Its fix does not work: twice, and then nothing more is tried on any host.
    many.fails(0);
    many.later_raises(60_000, 0..6);
    assert_eq!(many.orders(6), vec![0], "only the canary tries again");
    many.fails(0);
    for _ in 0..5 {
        many.later_raises(60_000, 0..6);
    }
    assert_eq!(many.orders(6), Vec::<usize>::new());
    assert_eq!(many.pages(), 2, "the common fault, and the host on which something was done");
    for incident in many.told.state.incidents.values().filter(|i| i.phase == Phase::Detected) {
        assert!(matches!(incident.why_not, Some(WhyNot::OneOfMany { .. })), "{incident:?}");
    }
}

#[test]
fn the_next_wave_comes_after_the_canary_has_lasted() {
    let mut many = Many::new(8, "storm: {sick_hosts: 99}\n");
    (0..8).for_each(|n| drop(many.raise(n)));
    many.mends(0);
    many.later_raises(BAKE_MS - 1, 1..8);
    assert_eq!(many.orders(8), Vec::<usize>::new(), "verified, and not yet long enough");
    many.later_raises(1, 1..8);
    assert_eq!(many.orders(8), vec![1, 2], "twice as many as have lasted");
    many.mends(1);
    many.mends(2);
    many.later_raises(BAKE_MS, 3..8);
    assert_eq!(many.orders(8), vec![3, 4, 5, 6, 7]);
    (3..8).for_each(|n| many.mends(n));
    many.told.later(HOUR_MS);
    while !many.told.due().is_empty() {}
    assert_eq!(many.told.state.open.len(), 0, "what stood for all closes with the last");
}

#[test]
fn the_nth_failed_run_stops_it() {
    for (failures, bound) in [(1, 1), (1, 2), (2, 2), (2, 3), (1, 3)] {
        let mut many = Many::new(8, &format!("fleet: {{failures: {bound}}}\n"));
        (0..8).for_each(|n| drop(many.raise(n)));
        many.mends(0);
        many.later_raises(BAKE_MS, 1..8);
        (1..=failures).for_each(|n| drop(many.fails(n)));
        if failures == 1 {
            many.mends(2);
        }
        many.later_raises(BAKE_MS, 3..8);
        let goes_on = !many.orders(8).is_empty();
        assert_eq!(goes_on, failures < bound, "{failures} failures of at most {bound}");
    }
}

#[test]
fn one_failure_domain_at_a_time() {
    let mut many = Many::new(4, "");
    for (n, domain) in ["x", "x", "y", "x"].into_iter().enumerate() {
        many.domain(n, domain);
    }
    (0..4).for_each(|n| drop(many.raise(n)));
    many.mends(0);
    many.later_raises(BAKE_MS, 1..4);
    assert_eq!(many.orders(4), vec![1, 3], "not the second host of the wave, which is elsewhere");
    many.mends(1);
    many.mends(3);
    many.later_raises(BAKE_MS, 2..4);
    assert_eq!(many.orders(4), vec![2]);
}

#[test]
fn a_fix_that_does_not_last_is_a_failure() {
    let mut many = Many::new(3, "fleet: {failures: 1}\n");
    (0..3).for_each(|n| drop(many.raise(n)));
    many.mends(0);
    many.later_raises(30_000, 0..1);
    many.later_raises(BAKE_MS * 2, 1..3);
    assert_eq!(many.orders(3), Vec::<usize>::new());
}

#[test]
fn a_person_who_closes_it_lets_it_begin_afresh() {
    let mut many = Many::new(4, "fleet: {failures: 1}\n");
    (0..4).for_each(|n| drop(many.raise(n)));
    many.fails(0);
    many.later_raises(600_000, 1..4);
    assert_eq!(many.orders(4), Vec::<usize>::new());
    let root = many.told.state.common.values().find_map(|common| common.root).unwrap();
    many.told.does(Command::Close { incident: root, by: name("carol"), reason: "the cache is back".into() });
    many.later_raises(1000, 1..4);
    assert_eq!(many.orders(4).len(), 1, "one host first, again");
}

#[test]
fn other_faults_and_hosts_far_apart_in_time_are_not_common() {
    let mut many = Many::new(4, "");
    many.signal(0, "stuck", "a", Condition::Raised);
    many.signal(1, "stuck", "b", Condition::Raised);
    many.signal(2, "stuck", "c", Condition::Raised);
    assert_eq!((many.orders(4), many.pages()), (vec![0, 1, 2], 0));
    let mut many = Many::new(4, "");
    (0..4).for_each(|n| {
        many.signal(n, "other", "a", Condition::Raised);
        many.told.later(301_000);
    });
    assert_eq!(many.pages(), 4);
}

#[test]
fn a_fault_that_comes_back_during_a_run_counts() {
    let mut many = Many::new(3, "");
    many.raise(0);
    let order = owed(&many.told.state, &host(0)).remove(0);
    many.record(0, order.plan, What::Accepted { order: Box::new(order) });
    many.signal(0, "stuck", "a", Condition::Cleared);
    assert!(!many.raise(1).contains("escalated") && !many.raise(2).contains("escalated"));
    assert_eq!(many.pages(), 0, "two have it");
    assert_eq!(many.raise(0), "item_taken signal_folded incident_opened escalated refrained refrained");
    assert_eq!(many.pages(), 1, "three have it");
    assert_eq!(many.raise(0), "item_taken signal_folded", "and it is told once");
}

#[test]
fn what_no_sop_answers_is_one_page_too() {
    let mut many = Many::new(9, "");
    (0..9).for_each(|n| drop(many.signal(n, "other", "a", Condition::Raised)));
    assert_eq!(many.pages(), 1);
}

#[test]
fn no_host_may_speak_for_others() {
    let mut told = Told::new();
    told.signal_of("server.storm", "stuck", "a", Condition::Raised);
    told.signal_of("server.same-fault:rule", "stuck", "a", Condition::Raised);
    assert!(told.state.storm.is_none() && told.state.incidents.is_empty());
    assert_eq!(told.state.hosts[&web()].items_lost, 2);
}
