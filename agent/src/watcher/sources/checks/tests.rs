use super::*;
use crate::config::Config;
use crate::watcher::report::Tolerance;
use sopwith_domain::signal::Severity;

fn configured(text: &str) -> Check {
    let text = format!("checks:\n- {{name: c, {text}}}\n");
    Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).checks.remove(0)
}

fn command(script: &str, more: &str) -> Check {
    configured(&format!("argv: [/bin/sh, -c, '{script}'], timeout: 300ms, unit: x.service{more}"))
}

async fn look(check: &Check) -> Result<Vec<Report>, String> {
    let seen = probes::look(check, &By::Us).await?;
    Ok(reports(check, &seen::faults(check, &seen)))
}

/// Returns the reports as one text.
fn told(reports: &[Report]) -> String {
    let one = |report: &Report| match report {
        Report::Holds { fault, .. } => {
            let fields: Vec<_> = fault.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let shown = fault.evidence.first().map_or("", |e| e.text.trim());
            format!("{} {} {shown}", fault.summary, fields.join(",")).trim_end().to_owned()
        }
        Report::Over { rule, .. } => format!("over {rule}"),
        other => format!("{other:?}"),
    };
    reports.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn what_a_command_says() {
    for (script, says) in [
        ("exit 0", "over checks.c"),
        ("echo why; exit 3", "check c failed: exit code 3 check=c,exit_status=3,unit=x.service why"),
        ("kill -9 $$", "check c failed: ended by signal 9 check=c,unit=x.service"),
        ("sleep 100", "check c failed: not done within 300ms check=c,unit=x.service"),
    ] {
        let reports = look(&command(script, "")).await.expect("it was run");
        assert_eq!(told(&reports), says, "{script}");
        let immediate =
            |r: &Report| !matches!(r, Report::Holds { tolerance, .. } if *tolerance != Tolerance::NONE);
        assert!(reports.iter().all(immediate));
    }
}

#[tokio::test]
async fn a_check_that_cannot_be_started_is_not_a_failed_check() {
    for kind in ["argv", "plugin"] {
        let missing = configured(&format!("{kind}: [/does/not/exist]"));
        let reason = look(&missing).await.expect_err("there is no such program");
        assert!(reason.starts_with("failed to start /does/not/exist"), "{reason}");
    }
}

#[tokio::test]
async fn a_plugin_raises_by_its_own_word() {
    let says =
        |verdict: &str, code: u8| format!("plugin: [/bin/sh, -c, 'echo {verdict} / x=7;5;9; exit {code}']");
    for (code, severity) in [(1, Severity::Warning), (2, Severity::Critical), (3, Severity::Warning)] {
        let check = configured(&says("SAYS", code));
        let reports = look(&check).await.expect("it was run");
        let [Report::Holds { fault, .. }] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!((fault.severity, fault.kind.as_str()), (severity, "check.failed"));
    }
    let lowered = configured(&format!("{}, severity: information", says("SAYS", 2)));
    let reports = look(&lowered).await.expect("it was run");
    let [Report::Holds { fault, .. }] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(fault.severity, Severity::Information, "the administrator knows better");
}

#[test]
fn tolerances() {
    let times = seen::tolerance(&command("exit 1", ", failures: {count: 3, within: 5m}"));
    assert_eq!(times, Tolerance::Times { count: 3, within: Duration::from_secs(300) });
    let time = seen::tolerance(&command("exit 1", ", for: 10s"));
    assert_eq!(time, Tolerance::For(Duration::from_secs(10)));
}

#[test]
fn what_does_not_answer_ends_nothing_else() {
    let check = configured("redis: {}");
    let finding = |kind: &str| seen::Finding::new(kind, Verdict::Critical, "x");
    let said = |kinds: &[&str]| {
        let mut seen = Seen::well("x");
        kinds.iter().for_each(|kind| seen.find(finding(kind)));
        told(&reports(&check, &seen::faults(&check, &seen)))
    };
    assert_eq!(
        said(&[]),
        "over checks.c.down; over checks.c.persistence; over checks.c.memory; over checks.c.replication"
    );
    assert_eq!(said(&["redis.down"]), "c: x check=c");
    assert_eq!(
        said(&["redis.memory", "redis.memory"]),
        "over checks.c.down; over checks.c.persistence; over checks.c.replication; c: x check=c"
    );
}

#[test]
fn who_looks() {
    for (text, by_runner, argv) in [
        ("argv: [/bin/true]", true, Some("/bin/true")),
        ("plugin: [/bin/true, -x]", false, Some("/bin/true -x")),
        ("plugin: [/bin/true], root: true", true, Some("/bin/true")),
        ("nginx: {}", true, Some("/usr/sbin/nginx -t -q")),
        ("nginx: {file: /x.conf}", true, Some("/usr/sbin/nginx -t -q -c /x.conf")),
        ("postgresql: {}", false, None),
        ("postgresql: {as: postgres}", true, None),
        ("redis: {}", false, None),
    ] {
        let check = configured(text);
        let argv_now = check.argv().map(|argv| argv.join(" "));
        assert_eq!((check.by_runner(), argv_now.as_deref()), (by_runner, argv), "{text}");
    }
}
