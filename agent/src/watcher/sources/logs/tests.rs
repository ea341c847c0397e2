use super::watched::Watched;
use super::*;
use crate::watcher::report::Report;
use std::collections::BTreeMap;
use std::io::Write;

const RULES: &str = r"
logs:
- name: auth
  paths: [PATH]
  rules:
  - name: attack
    pattern: 'sshd\[\d+\]: Failed password for .* from (?P<ip>\S+) port \d+ ssh2$'
    captures: {ip: ip}
    rate: {count: 3, within: 1m, by: ip}
    severity: critical
  - name: disk
    pattern: 'I/O error on (?P<dev>\S+)$'
    captures: {dev: word}
    fields: {pool: main}
    quiet: 30s
";

fn log(path: &std::path::Path, metrics: &Metrics) -> Watched {
    let config = Config::parse(&RULES.replace("PATH", &path.display().to_string())).expect("it parses");
    Watched::new(&config.logs[0], &BTreeMap::new(), metrics, 0).expect("small rules")
}

fn told(log: &mut Watched) -> Vec<String> {
    let reports = log.judge().reports.drain(..).map(|report| match report {
        Report::Happened { fault, quiet } => {
            let fields: Vec<_> = fault.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
            format!("{} {} {} {:?} {}", fault.kind, fault.rule, fault.subject, quiet, fields.join(","))
        }
        other => format!("{other:?}"),
    });
    reports.collect()
}

#[test]
fn lines_become_typed_facts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("auth.log");
    let mut file = std::fs::File::create(&path).expect("made");
    let metrics = Metrics::new();
    let mut log = log(&path, &metrics);
    log.look(0);
    let mut write = |text: &str| file.write_all(text.as_bytes()).expect("written");
    for hostile in ["$(touch /tmp/pwned)", "x from 0.0.0.0/0; flush ruleset", "from 127.0.0.1 port 22 ssh2"] {
        write(&format!(
            "Jan 1 sshd[7]: Failed password for invalid user {hostile} from 203.0.113.88 port 4711 ssh2\n"
        ));
    }
    write("Jan 1 sshd[7]: Failed password for root from 203.0.113.9 port 1 ssh2\n");
    write("Jan 1 sshd[7]: Failed password for root from not-an-ip port 1 ssh2\n");
    write("kernel: I/O error on sda\nkernel: I/O error on $(id)\n");
    log.look(2000);
    assert_eq!(
        told(&mut log),
        [
            "log.rate logs.auth.attack address:203.0.113.88 60s count=3,ip=203.0.113.88,within_s=60",
            "log.match logs.auth.disk check:disk 30s dev=sda,pool=main",
        ]
    );
    let rejected = |rule: &str| metrics.captures_rejected.with_label_values(&[rule]).get();
    assert_eq!((rejected("auth.attack"), rejected("auth.disk")), (1, 1));
    assert_eq!(metrics.logs.lines.with_label_values(&["auth"]).get(), 7);
}

#[test]
fn a_flood_is_one_report_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("auth.log");
    std::fs::write(&path, "").expect("made");
    let mut log = log(&path, &Metrics::new());
    log.look(0);
    for second in [2, 4, 6] {
        let line = "x sshd[7]: Failed password for root from 203.0.113.88 port 1 ssh2\n";
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(line.repeat(1000).as_bytes()).expect("written");
        log.look(second * 1000);
        assert_eq!(told(&mut log).len(), 1);
    }
}
