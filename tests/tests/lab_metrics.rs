//! Our `/metrics` beside Debian's node_exporter on one real host: the same families, types, labels and, where they can
//! be equal, values. Every difference that is accepted stands in one table, with its reason.

use sopwith_tests::installation::agent;
use sopwith_tests::lab::{Host, Lab};
use sopwith_tests::rig::{LIMIT, binaries};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const FIXTURE: &[u8] = include_bytes!("../lab/exporter.sh");
const CONFIG: &str = "metrics: {node_compat: on}\n";
const TEXTFILE: &str =
    "# HELP lab_jobs Jobs by kind.\n# TYPE lab_jobs gauge\nlab_jobs{kind=\"a \\\"b\\\"\"} 3\nlab_plain 0.5\n";
/// Where both read files of others.
const TEXTFILES: &str = "/var/lib/prometheus/node-exporter";
/// Pages are compared until every value was equal once; one that never is, in so many, is different. A gauge that goes
/// up and down lies between two looks by chance only, so there are many.
const TRIES: usize = 60;

/// How ours may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// The family is theirs only.
    Lack,
    /// The family is ours only.
    Add,
    /// We may have more series of the family.
    AddSeries,
    /// They may have more series of the family.
    LackSeries,
    /// Values need not be equal.
    Differ,
}
use May::{Add, AddSeries, Differ, Lack, LackSeries};

/// The accepted differences: families (`*` at the end: all that begin so), how they differ, and why.
const ACCEPTED: &[(&str, May, &str)] = &[
    ("node_exporter_build_info", Lack, "we are no node_exporter; ours is sopwith_agent_build_info"),
    ("node_time_zone_offset_seconds", Lack, "no dashboard or rule asks for it; all our times are UTC"),
    ("node_netstat_TcpExt_TCPOFOQueue", Add, "newer node_exporters have it, and dashboards ask for it"),
    ("node_netstat_TcpExt_TCPRcvQDrop", Add, "newer node_exporters have it, and dashboards ask for it"),
    ("node_pressure_irq_stalled_seconds_total", Add, "newer node_exporters have it, where the kernel does"),
    ("node_processes_max_*", Lack, "limits, which the agent's own source of full tables judges"),
    (
        "node_processes_threads_state",
        Lack,
        "would take a look at every thread; states of processes are there",
    ),
    ("node_network_receive_*", AddSeries, "Debian's package leaves the device lo out; upstream does not"),
    ("node_network_transmit_*", AddSeries, "Debian's package leaves the device lo out; upstream does not"),
    ("node_filesystem_*", AddSeries, "Debian's package leaves /run, /mnt and /media out; upstream does not"),
    ("node_filesystem_*", LackSeries, "of several mounts at one place only the visible one is told"),
    (
        "node_tcp_connection_states",
        Lack,
        "off by default there; the kernel goes through its whole table for it",
    ),
    ("node_processes_state", AddSeries, "looked at every few seconds, not for each page"),
    ("node_processes_state", LackSeries, "looked at every few seconds, not for each page"),
    ("node_processes_*", Differ, "looked at every few seconds, not for each page"),
    ("node_scrape_collector_*", LackSeries, "collectors of hardware that this host has not are not there"),
    (
        "node_scrape_collector_*",
        AddSeries,
        "ours are named like theirs, but not all of these are on by default",
    ),
    ("node_scrape_collector_duration_seconds", Differ, "how long each takes"),
    ("node_scrape_collector_success", Differ, "theirs fails where it has nothing to tell"),
    ("node_systemd_unit_state", AddSeries, "units come and go between two pages"),
    ("node_systemd_unit_state", LackSeries, "units come and go between two pages"),
    ("node_systemd_timer_last_trigger_seconds", Differ, "asked every half minute, not for each page"),
    ("node_systemd_socket_*", Differ, "asked every half minute, not for each page"),
    ("node_sockstat_*", Differ, "the connection that asks for the page is one of the sockets"),
    ("node_time_seconds", Differ, "time goes on"),
    ("node_timex_*", Differ, "the kernel's estimates of the clock's error go on"),
    ("node_load*", Differ, "averaged anew every few seconds"),
];

/// A page: types by family, and values by series.
struct Page {
    types: BTreeMap<String, String>,
    values: BTreeMap<(String, String), f64>,
}

impl Page {
    fn of(text: &str) -> Page {
        let mut page = Page { types: BTreeMap::new(), values: BTreeMap::new() };
        for line in text.lines() {
            if let Some(about) = line.strip_prefix("# TYPE ") {
                let (name, kind) = about.split_once(' ').expect("a type");
                let twice = page.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(twice, None, "{name} is there twice");
            } else if !line.starts_with('#') && !line.is_empty() {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let value = value.parse().expect("a number");
                page.values.insert((name.to_owned(), labels.to_owned()), value);
            }
        }
        page
    }

    /// Returns the families that both are to have.
    fn families(&self) -> BTreeSet<&str> {
        let ours = |name: &&str| name.starts_with("node_") || name.starts_with("lab_");
        self.types.keys().map(String::as_str).filter(ours).collect()
    }
}

fn accepted(family: &str, may: May) -> bool {
    ACCEPTED.iter().any(|(pattern, how, _)| {
        let fits = match pattern.strip_suffix('*') {
            Some(start) => family.starts_with(start),
            None => family == *pattern,
        };
        fits && *how == may
    })
}

/// Theirs, ours, and theirs again, so that what moves meanwhile lies between.
fn pages(host: &Host) -> [Page; 3] {
    let script = "curl -sf http://127.0.0.1:9100/metrics; echo @@@; curl -sf http://127.0.0.1:9631/metrics; \
                  echo @@@; curl -sf http://127.0.0.1:9100/metrics";
    let text = host.sh(script).and_then(|done| done.expect("ask for the pages")).expect("pages");
    let mut parts = text.split("@@@\n").map(Page::of);
    [parts.next(), parts.next(), parts.next()].map(|page| page.expect("three pages"))
}

fn until(what: &str, host: &Host, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        if Instant::now() > deadline {
            let log = host.sh("journalctl -u sopwith-agent -n 40 -o cat --no-pager; sopwith-agent status");
            panic!(
                "it never came to this: {what}\n{}",
                log.map_or_else(|e| e.to_string(), |done| done.stdout)
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn holds(host: &Host, script: &str) -> bool {
    host.sh(script).is_ok_and(|done| done.ok())
}

#[test]
fn node_exporter_and_we_tell_the_same() {
    let Some(lab) = Lab::open_or_skip("node_exporter_and_we_tell_the_same") else { return };
    let packages = lab.packages(&["prometheus-node-exporter"]).expect("packages");
    let root = lab.layer_with(FIXTURE, &packages).expect("the exporter's layer");
    let host = Host::up(&lab, "metrics", &root).expect("boot a host");
    agent::place(&binaries(), &host, CONFIG).expect("place the agent");
    host.write(&format!("{TEXTFILES}/lab.prom"), TEXTFILE.as_bytes(), 0o644).expect("write");
    host.run(&["systemctl", "start", "sopwith-agent"]).expect("start the agent");
    for port in [9100, 9631] {
        until("both answer", &host, || holds(&host, &format!("curl -sf http://127.0.0.1:{port}/metrics")));
    }
    // Units and processes are looked at soon after the start, and told from then on.
    until("processes are told", &host, || pages(&host)[1].types.contains_key("node_processes_pids"));

    same_families_and_values(&host);
    stays_away_where_a_node_exporter_is(&host);
    names_a_bad_file(&host);
}

fn same_families_and_values(host: &Host) {
    let mut different: Option<BTreeMap<(String, String), String>> = None;
    for _ in 0..TRIES {
        let [before, ours, after] = pages(host);
        for family in ours.families().intersection(&before.families()) {
            assert_eq!(ours.types[*family], before.types[*family], "type of {family}");
        }
        let now = differences(&before, &ours, &after);
        let still = |(series, how): (_, _)| match &different {
            Some(earlier) if !earlier.contains_key(&series) => None,
            _ => Some((series, how)),
        };
        different = Some(now.into_iter().filter_map(still).collect());
        if different.as_ref().is_some_and(BTreeMap::is_empty) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("different in every page: {:#?}", different.unwrap_or_default());
}

/// Returns the series that one page lacks, and the values that lie apart.
fn differences(before: &Page, ours: &Page, after: &Page) -> BTreeMap<(String, String), String> {
    let both: BTreeSet<&str> = ours.families().intersection(&before.families()).copied().collect();
    let mut found = BTreeMap::new();
    let families = |a: &Page, b: &Page, may: May, how: &str| {
        let (a, b) = (a.families(), b.families());
        let only = a.difference(&b).filter(|family| !accepted(family, may));
        only.map(|family| (((*family).to_owned(), "family".to_owned()), how.to_owned())).collect::<Vec<_>>()
    };
    found.extend(families(before, ours, Lack, "we do not tell it"));
    found.extend(families(ours, before, Add, "only we tell it"));
    for (series, theirs) in before.values.iter().filter(|((name, _), _)| both.contains(name.as_str())) {
        match ours.values.get(series) {
            None if accepted(&series.0, LackSeries) => {}
            None => drop(found.insert(series.clone(), "we lack it".to_owned())),
            Some(_) if accepted(&series.0, Differ) => {}
            Some(value) => {
                let later = after.values.get(series).copied().unwrap_or(*theirs);
                // Counters and gauges alike: what we saw in between lies between, but for rounding.
                let (least, most) = (theirs.min(later), theirs.max(later));
                let slack = 1e-9 * most.abs();
                if *value < least - slack || *value > most + slack {
                    found.insert(series.clone(), format!("theirs {theirs}, then {later}; ours {value}"));
                }
            }
        }
    }
    for (series, _) in ours.values.iter().filter(|((name, _), _)| both.contains(name.as_str())) {
        if !before.values.contains_key(series) && !accepted(&series.0, AddSeries) {
            found.insert(series.clone(), "only we have it".to_owned());
        }
    }
    found
}

/// `node_compat: auto` leaves the families to a node_exporter as long as one runs, and says so.
fn stays_away_where_a_node_exporter_is(host: &Host) {
    host.write("/etc/sopwith/agent.yaml", b"metrics: {node_compat: auto}\n", 0o644).expect("write");
    host.run(&["systemctl", "reload", "sopwith-agent"]).expect("reload");
    let told = || pages(host)[1].types.contains_key("node_load1");
    until("the families are left to node_exporter", host, || !told());
    let page = &pages(host)[1];
    assert!(page.types.contains_key("sopwith_unit_memory_bytes"), "our own stay");
    let status = host.run(&["sopwith-agent", "status"]).expect("status");
    assert!(status.contains("node_* of this host: not told: node_* metrics are left to"), "{status}");
    host.run(&["systemctl", "stop", "prometheus-node-exporter"]).expect("stop node_exporter");
    let alone = "curl -sf http://127.0.0.1:9631/metrics | grep -q '^node_load1 '";
    until("the families are told again", host, || holds(host, alone));
}

/// A file that is not well formed is named, in a state and by the metric that rules for node_exporter ask for.
fn names_a_bad_file(host: &Host) {
    host.write(&format!("{TEXTFILES}/bad.prom"), b"lab_bad{ 1\n", 0o644).expect("write");
    let error = "curl -sf http://127.0.0.1:9631/metrics | grep -qx 'node_textfile_scrape_error 1'";
    until("the metric tells of it", host, || holds(host, error));
    let named = "sopwith-agent status | grep -q 'metrics_rules: broken: .*bad.prom: line 1'";
    until("the state names it", host, || holds(host, named));
    assert!(
        holds(host, "curl -sf http://127.0.0.1:9631/metrics | grep -q '^lab_plain 0.5$'"),
        "the good one stays"
    );
    host.run(&["rm", &format!("{TEXTFILES}/bad.prom")]).expect("remove");
    until("the source is well again", host, || {
        holds(host, "sopwith-agent status | grep -q 'metrics_rules: ok'")
    });
}
