use super::*;
use crate::config::Config;

fn check(more: &str) -> Check {
    let text = format!("checks:\n- {{name: c, plugin: [/bin/true], timeout: 5s{more}}}\n");
    Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).checks.remove(0)
}

fn done(output: &str, ended: Ended) -> Done {
    Done { ended, output: output.as_bytes().to_vec(), cut: 0 }
}

#[test]
fn verdicts() {
    for (ended, output, verdict, line) in [
        (Ended::Exited(0), "DISK OK | /=5MB\n", Verdict::Ok, "DISK OK"),
        (Ended::Exited(1), "W\n", Verdict::Warning, "W"),
        (Ended::Exited(2), "C\n", Verdict::Critical, "C"),
        (Ended::Exited(3), "U\n", Verdict::Unknown, "U"),
        (Ended::Exited(4), "x\n", Verdict::Unknown, "exit code 4 is not of the plugin contract: x"),
        (Ended::Exited(127), "", Verdict::Unknown, "exit code 127"),
        (Ended::Exited(0), "", Verdict::Ok, "ok (it printed nothing)"),
        (Ended::Exited(2), "\n\n", Verdict::Critical, "critical (it printed nothing)"),
        (Ended::Exited(0), "\n\n  late \n", Verdict::Ok, "late"),
        (Ended::Signalled(11), "half", Verdict::Unknown, "ended by signal 11: half"),
        (Ended::TimedOut, "half", Verdict::Unknown, "not done within 5s: half"),
        (Ended::Exited(1), "a\u{1b}[2Jb\tc\n", Verdict::Warning, "a [2Jb c"),
    ] {
        let seen = read(&check(""), &done(output, ended));
        assert_eq!((seen.verdict, seen.line.as_str()), (verdict, line), "{ended:?} {output:?}");
        assert_eq!(seen.findings.is_empty(), verdict == Verdict::Ok);
    }
}

#[test]
fn several_lines_and_two_blocks_of_numbers() {
    // The example of the plugin developers' guide.
    let text = "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n\
                / 15272 MB (77%);\n/boot 68 MB (69%);\n/home 69357 MB (27%);\n\
                /var/log 819 MB (84%); | /boot=68MB;88;93;0;98\n\
                /home=69357MB;253404;253409;0;253414\n/var/log=818MB;970;975;0;980\n";
    let seen = read(&check(""), &done(text, Ended::Exited(0)));
    let labels: Vec<_> = seen.perfdata.iter().map(|one| one.label.as_str()).collect();
    assert_eq!(labels, ["/", "/boot", "/home", "/var/log"]);
    assert_eq!(seen.line, "DISK OK - free space: / 3326 MB (56%);");
    assert_eq!(seen.more.lines().count(), 5, "{}", seen.more);
    assert!(!seen.more.contains("253404"));
}

#[test]
fn what_is_beyond_its_limit_is_named() {
    for (text, metric) in [
        ("x | a=1;5;9 b=6;5;9", Some(("b", 6))),
        ("x | a=6;5;9 b=10;5;9", Some(("b", 10))),
        ("x | a=4;5:;2:", Some(("a", 4))),
        ("x | a=1;5;9", None),
        ("x", None),
    ] {
        let seen = read(&check(""), &done(text, Ended::Exited(2)));
        let fields = &seen.findings[0].fields;
        let field = |name: &str| fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string());
        let named = field("metric").zip(field("metric_value"));
        let expected = metric.map(|(name, value): (&str, i64)| (name.to_owned(), value.to_string()));
        assert_eq!(named, expected, "{text}");
        assert_eq!(field("exit_status").as_deref(), Some("2"));
        assert_eq!(field("verdict").as_deref(), Some("critical"));
    }
}

#[test]
fn what_we_print_a_monitor_can_read() {
    let text = "all | good 'it''s'=0.5s;1;2;0\nsecond | line=3\n";
    let seen = read(&check(""), &done(text, Ended::Exited(0)));
    let printed = written("web|1", &seen);
    assert_eq!(printed, "web/1 OK - all | 'it''s'=0.5s;1;2;0 'line'=3\nall\nsecond\n");
    let again = read(&check(""), &done(&printed, Ended::Exited(0)));
    assert_eq!(again.perfdata, seen.perfdata);
    let mut bare = Seen::well("a | b");
    assert_eq!(written("c", &bare), "c OK - a / b\n");
    bare.more = "a | b".into();
    assert_eq!(written("c", &bare), "c OK - a / b\n", "what only repeats the line is not said twice");
}

#[test]
fn a_flood_is_cut_and_said() {
    let text = format!("{}\n{}", "x".repeat(100_000), "y\n".repeat(100_000));
    let flood = Done { ended: Ended::Exited(1), output: text.into_bytes(), cut: 7 };
    let seen = read(&check(""), &flood);
    assert!(seen.line.len() <= 256 && seen.more.len() < 8 * 1024, "{} {}", seen.line.len(), seen.more.len());
    assert!(seen.more.ends_with("(7 bytes more were cut)"));
    let many: Vec<_> = (0..1000).map(|n| format!("a{n}=1")).collect();
    let seen = read(&check(""), &done(&format!("x | {}", many.join(" ")), Ended::Exited(0)));
    assert_eq!(seen.perfdata.len(), PERFDATA_MAX);
}
