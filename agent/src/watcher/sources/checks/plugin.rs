//! The plugin contract, both ways: what a plugin of Nagios' kind printed and how it ended becomes what was seen, and
//! what a check of ours saw is printed so that Nagios or Icinga can call it.

use super::perfdata::{self, Perfdata};
use super::seen::{Finding, MORE_BYTES_MAX, PERFDATA_MAX, Seen, one_line};
use crate::config::Check;
use crate::watcher::process::{Done, Ended};
use crate::watcher::report::bounded;
use sopwith_domain::inspection::Verdict;

/// Reads what a plugin of the contract printed.
pub fn read(check: &Check, done: &Done) -> Seen {
    let text = String::from_utf8_lossy(&done.output);
    let Parts { line, more, perfdata } = parts(&text);
    let (verdict, how) = match done.ended {
        Ended::Exited(code @ 0..=3) => (Verdict::of_exit_code(code), None),
        Ended::Exited(code @ (126 | 127)) => (Verdict::Unknown, Some(format!("exit code {code}"))),
        Ended::Exited(code) => {
            (Verdict::Unknown, Some(format!("exit code {code} is not of the plugin contract")))
        }
        Ended::Signalled(signal) => (Verdict::Unknown, Some(format!("ended by signal {signal}"))),
        Ended::TimedOut => (Verdict::Unknown, Some(format!("not done within {:?}", check.timeout.0))),
    };
    let line = match (how, line.is_empty()) {
        (None, false) => line,
        (None, true) => format!("{} (it printed nothing)", verdict.word()),
        (Some(how), true) => how,
        (Some(how), false) => format!("{how}: {line}"),
    };
    let mut seen = Seen::well(line);
    (seen.verdict, seen.perfdata) = (verdict, perfdata);
    seen.more = evidence(&more, done.cut);
    if verdict != Verdict::Ok {
        seen.findings.push(finding(&seen, done));
    }
    seen
}

/// Reads what a command of the administrator's printed: anything but exit code 0 is a failure.
pub fn read_command(check: &Check, done: &Done) -> Seen {
    let how = match done.ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signalled(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => format!("not done within {:?}", check.timeout.0),
    };
    let text = String::from_utf8_lossy(&done.output);
    if done.ended == Ended::Exited(0) {
        return Seen::well(text.lines().next().unwrap_or("well"));
    }
    let severe = check.severity.as_ref().is_some_and(|s| **s == sopwith_domain::signal::Severity::Critical);
    let verdict = if severe { Verdict::Critical } else { Verdict::Warning };
    let mut finding = Finding::new("check.failed", verdict, how);
    if let Ended::Exited(code) = done.ended {
        finding = finding.integer("exit_status", code);
    }
    let mut seen = Seen::wrong(finding);
    seen.more = evidence(&text, done.cut);
    if let Some(said) = text.lines().rfind(|line| !line.trim().is_empty()) {
        seen.line = one_line(&format!("{}: {said}", seen.line));
    }
    seen
}

fn finding(seen: &Seen, done: &Done) -> Finding {
    let mut finding = Finding::new("check.failed", seen.verdict, seen.line.clone());
    finding = finding.word("verdict", seen.verdict.word());
    if let Ended::Exited(code) = done.ended {
        finding = finding.integer("exit_status", code);
    }
    // The number that the plugin itself holds to be beyond its limit.
    let critical = seen.perfdata.iter().find(|one| one.beyond(one.critical.as_ref()));
    let beyond = critical.or_else(|| seen.perfdata.iter().find(|one| one.beyond(one.warning.as_ref())));
    if let Some((one, value)) = beyond.and_then(|one| Some((one, one.value?))) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number is enough for people and playbooks"
        )]
        let whole = value.round() as i64;
        finding = finding.word("metric", &one.label).integer("metric_value", whole);
    }
    finding
}

fn evidence(text: &str, cut: u64) -> String {
    let mut kept = bounded(text.trim_end(), MORE_BYTES_MAX);
    if cut > 0 {
        kept.push_str(&format!("\n({cut} bytes more were cut)"));
    }
    kept
}

/// A plugin's output, taken apart.
struct Parts {
    line: String,
    more: String,
    perfdata: Vec<Perfdata>,
}

/// Takes apart: `TEXT | numbers` in the first line, further text, and after a bar in it nothing but numbers.
fn parts(text: &str) -> Parts {
    let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let (line, mut numbers) = match first.split_once('|') {
        Some((line, numbers)) => (line, numbers.to_owned()),
        None => (first, String::new()),
    };
    let mut more = String::from(line.trim_end());
    let mut only_numbers = false;
    for line in lines {
        let (said, measured) = match (only_numbers, line.split_once('|')) {
            (true, _) => ("", line),
            (false, Some((said, measured))) => (said, measured),
            (false, None) => (line, ""),
        };
        only_numbers |= !only_numbers && line.contains('|');
        if !said.is_empty() {
            more.push('\n');
            more.push_str(said.trim_end());
        }
        if !measured.is_empty() {
            numbers.push(' ');
            numbers.push_str(measured);
        }
    }
    Parts { line: one_line(line), more, perfdata: perfdata::parse_all(&numbers, PERFDATA_MAX) }
}

/// Returns what is printed by the contract. A bar in a text would begin the numbers too early.
pub fn written(name: &str, seen: &Seen) -> String {
    let plain = |text: &str| text.replace('|', "/");
    let mut out = format!("{} {} - {}", plain(name), seen.verdict.word().to_uppercase(), plain(&seen.line));
    if !seen.perfdata.is_empty() {
        let numbers: Vec<_> = seen.perfdata.iter().map(ToString::to_string).collect();
        out.push_str(&format!(" | {}", numbers.join(" ")));
    }
    out.push('\n');
    // What only repeats the line is not said twice.
    let more = seen.more.trim();
    if !more.is_empty() && one_line(more) != seen.line {
        out.push_str(&plain(more));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
