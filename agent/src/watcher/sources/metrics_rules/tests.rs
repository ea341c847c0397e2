use super::*;

fn watched(rules: &str) -> Watched {
    let config = Config::parse(&format!("metrics:\n  rules:\n{rules}\n")).expect("rules");
    let (to, _) = tokio::sync::mpsc::channel(1);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spool.db");
    let spool =
        crate::watcher::spool::Spool::open(&path, crate::watcher::spool::Limits::default()).expect("a spool");
    Watched {
        settings: config.metrics,
        metrics: Metrics::new(),
        sink: Sink::new("metrics_rules", to, crate::watcher::sink::SharedSpool::new(spool)),
        held: BTreeMap::new(),
        look: 0,
        forgotten: 0,
        units: builtin::Units::default(),
        runaways: BTreeSet::new(),
        silent: Vec::new(),
        state: SourceState::Well,
        state_ms: 0,
    }
}

/// A name, labels and a value.
type Told<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

fn picked(samples: &[Told<'_>]) -> Picked {
    let mut picked = Picked::default();
    picked.samples = samples
        .iter()
        .map(|(name, labels, value)| Sample {
            name: (*name).to_owned(),
            labels: labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            value: *value,
        })
        .collect();
    picked
}

/// Writes what was said: `+` for what holds, `-` for what is over.
fn told(reports: &[Report]) -> String {
    let one = |report: &Report| match report {
        Report::Holds { fault, .. } => format!("+{} {}", fault.rule, fault.subject),
        Report::Over { rule, subject } => format!("-{rule} {subject}"),
        other => format!("{other:?}"),
    };
    reports.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn each_sample_is_judged_for_itself() {
    let mut watched = watched(
        "    - {name: used, metric: 'used{fstype!=\"tmpfs\"}', per: size, above: 80%}\n    - {name: load, metric: load, above: 4}",
    );
    let disk = |used: f64, other: f64| {
        let (a, b) =
            (&[("fstype", "ext4"), ("mountpoint", "/")], &[("fstype", "ext4"), ("mountpoint", "/srv")]);
        let c = &[("fstype", "tmpfs"), ("mountpoint", "/tmp")];
        picked(&[
            ("used", a, used),
            ("used", b, other),
            ("used", c, 100.0),
            ("size", a, 100.0),
            ("size", b, 1000.0),
            ("size", c, 100.0),
        ])
    };
    for (n, (looked, says)) in [
        (disk(50.0, 850.0), "+metrics.used mount:/srv"),
        (disk(50.0, 850.0), ""),
        (disk(90.0, 700.0), "+metrics.used mount:/, -metrics.used mount:/srv"),
        (disk(90.0, 700.0), ""),
        (picked(&[]), "-metrics.used mount:/"),
        (picked(&[]), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let reports = watched.judge(&looked, n as u64 * 5000, false);
        assert_eq!(told(&reports), says, "{n}");
        assert!(watched.silent.contains(&"load".to_owned()));
    }
    // Every so often the present value is told, and whenever all is looked at afresh.
    let looked = disk(90.0, 0.0);
    for (at_ms, anew, says) in [
        (100_000, false, "+metrics.used mount:/"),
        (105_000, false, ""),
        (105_001, true, "+metrics.used mount:/"),
    ] {
        assert_eq!(told(&watched.judge(&looked, at_ms, anew)), says, "{at_ms}");
    }
    assert_eq!(told(&watched.judge(&looked, 121_000, false)), "+metrics.used mount:/");
}

/// What is counted is told each time it is seen, and as long as it counts after that.
#[test]
fn times_within_a_time() {
    let mut watched = watched("    - {name: load, metric: load, above: 4, times: {count: 2, within: 20s}}");
    let values = [5.0, 5.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let mut line = String::new();
    for (n, value) in values.into_iter().enumerate() {
        let reports = watched.judge(&picked(&[("load", &[], value)]), n as u64 * 10_000, false);
        line.push(told(&reports).chars().next().unwrap_or('.'));
    }
    assert_eq!(line, "++-+---..");
}

#[test]
fn a_whole_is_found_by_labels_or_alone() {
    let settings = watched("    - {name: a, metric: part, per: 'whole{kind=~\"x|y\"}', above: 1}").settings;
    let rule = &settings.rules[0];
    for (samples, is) in [
        (picked(&[("part", &[("d", "1")], 5.0), ("whole", &[("kind", "x")], 10.0)]), Some(0.5)),
        (picked(&[("part", &[("d", "1")], 5.0), ("whole", &[("kind", "z")], 10.0)]), None),
        (
            picked(&[
                ("part", &[], 5.0),
                ("whole", &[("kind", "x")], 10.0),
                ("whole", &[("kind", "y")], 20.0),
            ]),
            None,
        ),
        (
            picked(&[
                ("part", &[("kind", "y")], 5.0),
                ("whole", &[("kind", "x")], 10.0),
                ("whole", &[("kind", "y")], 20.0),
            ]),
            Some(0.25),
        ),
        (picked(&[("part", &[], 5.0), ("whole", &[("kind", "x")], 0.0)]), None),
    ] {
        assert_eq!(divided(rule, &samples.samples[0], &samples.samples), is, "{samples:?}");
    }
}

/// The whole way once: real metrics of this machine, a rule, a report.
#[tokio::test]
async fn the_host_of_this_test_is_judged() {
    let mut watched = watched(
        "    - {name: alive, metric: node_time_seconds, above: 1G}\n    - {name: units, metric: nothing_such, above: 1}",
    );
    let picked = watched
        .metrics
        .node
        .pick(vec!["node_time_seconds".into(), "nothing_such".into()])
        .await
        .expect("read");
    assert_eq!(told(&watched.judge(&picked, 1, false)), "+metrics.alive check:alive");
    assert_eq!(watched.silent, ["units"]);
    let root = user_name(0);
    assert!(root.is_none() || root.as_deref() == Some("root"));
}
