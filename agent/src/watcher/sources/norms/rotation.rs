//! Logs: whether logrotate understands its configuration and really runs, whether each log was rotated, and whether
//! what is kept reaches back far enough.

use super::host::{Asked, Host, Looked};
use super::norm::{self, Breach};
use crate::watcher::glob;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

/// Where logrotate notes when it rotated what; the older place too.
const STATES: &[&str] =
    &["/var/lib/logrotate/status", "/var/lib/logrotate.status", "/var/lib/logrotate/logrotate.status"];
/// logrotate runs daily; after so long without it, it does not.
const STOPPED_S: i64 = 50 * 3600;
/// A log is rotated monthly at least, in all that Debian ships; after so long it is not.
const UNROTATED_S: i64 = 40 * 86_400;
/// How deep logs are looked for below /var/log, and how many.
const DEPTH_MAX: usize = 3;
const LOGS_MAX: usize = 5_000;
/// Most logs that are told of.
const TOLD_MAX: usize = 20;

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    let rotates = host.is_there("/etc/logrotate.conf");
    if rotates {
        if !host.elsewhere.rotation {
            configuration(host, looked);
        }
        states(host, looked);
    }
    big(host, looked);
    retention(host, looked);
}

/// What `logrotate -d` says, which changes nothing.
fn configuration(host: &Host<'_>, looked: &mut Looked) {
    let Some((_, output, errors)) = host.answer(Asked::Logrotate, looked) else { return };
    let said = format!("{output}\n{errors}");
    let is_error = |line: &&str| line.trim_start().to_ascii_lowercase().starts_with("error:");
    // What we may not read, or what is not there, is not wrong in the configuration.
    let ours = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        [
            "permission denied",
            super::ask::SWITCHING,
            "no such file",
            "could not be determined",
            "failed to compress",
            "error opening state",
            "error creating",
        ]
        .iter()
        .any(|sign| lower.contains(sign))
    };
    let errors: Vec<&str> = said.lines().filter(is_error).filter(|line| !ours(line)).collect();
    let mut told = BTreeSet::new();
    for line in &errors {
        let path = place(line).unwrap_or("/etc/logrotate.conf");
        if !told.insert(path) {
            continue;
        }
        let text = format!("logrotate does not understand {path}: {}", line.trim());
        let breach = Breach::new(norm::ROTATION_INVALID, norm::file(path), text).path("path", path);
        looked.breach(breach.unit("unit", "logrotate.service").show(errors.join("\n")));
    }
}

/// Returns the file of `error: PATH:LINE what` or `error: found error in PATH …`, wherever it stands.
fn place(line: &str) -> Option<&str> {
    let from = line.find("/etc/")?;
    let rest = &line[from..];
    let end = rest.find(|c: char| c == ':' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches(['"', '\'']))
}

fn states(host: &Host<'_>, looked: &mut Looked) {
    let Some(path) = STATES.iter().find(|path| host.is_there(path)) else { return };
    let Some(metadata) = host.metadata(path, looked) else { return };
    let age_s = host.now_s - metadata.mtime();
    if age_s > STOPPED_S {
        if !host.elsewhere.rotation {
            let text = format!("logrotate has not run for {} hours", age_s / 3600);
            let breach = Breach::new(norm::ROTATION_STOPPED, norm::file(path), text).path("path", path);
            looked.breach(breach.unit("unit", "logrotate.timer").integer("age_s", age_s));
        }
        // Nothing is rotated then, which needs no further words.
        return;
    }
    let Some(text) = host.text(path, looked) else { return };
    let late = text.lines().filter_map(state).filter(|(_, at_s)| host.now_s - at_s > UNROTATED_S);
    for (log, at_s) in late.take(TOLD_MAX) {
        let is_full = std::fs::metadata(host.at(log))
            .is_ok_and(|m| m.size() > 0 && host.now_s - m.mtime() < UNROTATED_S);
        if is_full {
            let days = (host.now_s - at_s) / 86_400;
            let text = format!("{log} was last rotated {days} days ago and is still written");
            looked.breach(
                Breach::new(norm::LOG_UNROTATED, norm::file(log), text)
                    .path("path", log)
                    .integer("age_days", days),
            );
        }
    }
}

/// Reads `"/var/log/x" 2026-11-24-0:0:0`, in days only.
fn state(line: &str) -> Option<(&str, i64)> {
    let (path, date) = line.strip_prefix('"')?.rsplit_once("\" ")?;
    let mut numbers = date.split(['-', ':']).map(|number| number.parse::<i64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((path, days(year, month, day) * 86_400))
}

/// Returns the days from 1970 to a date of the calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = y.div_euclid(400);
    let of_era =
        (y.rem_euclid(400)) * 365 + y.rem_euclid(400) / 4 - y.rem_euclid(400) / 100 + (153 * m + 2) / 5 + day
            - 1;
    era * 146_097 + of_era - 719_468
}

/// Logs that have grown beyond everything.
fn big(host: &Host<'_>, looked: &mut Looked) {
    let (mut todo, mut seen) = (vec![("/var/log".to_owned(), 0)], 0);
    while let Some((folder, depth)) = todo.pop() {
        for name in host.names(&folder, looked) {
            seen += 1;
            if seen > LOGS_MAX {
                return;
            }
            let path = format!("{folder}/{name}");
            let Ok(metadata) = std::fs::symlink_metadata(host.at(&path)) else { continue };
            // The journal keeps its own bounds; lastlog is as long as its greatest number, and nearly all holes.
            if metadata.is_dir() && depth < DEPTH_MAX && name != "journal" {
                todo.push((path, depth + 1));
            } else if metadata.is_file()
                && metadata.blocks() * 512 > host.norms.log_max.0
                && looked.breaches.len() < TOLD_MAX
            {
                let bytes = metadata.blocks() * 512;
                let text = format!("{path} takes {} MiB", bytes >> 20);
                let breach = Breach::new(norm::LOG_UNROTATED, norm::file(&path), text).path("path", &path);
                looked.breach(breach.integer("bytes", bytes).integer("limit_bytes", host.norms.log_max.0));
            }
        }
    }
}

/// Logs that do not reach back as far as is declared, on a host that has been there for so long.
fn retention(host: &Host<'_>, looked: &mut Looked) {
    let born = ["/etc/machine-id", "/etc/hostname", "/lost+found"];
    let born_s =
        born.iter().filter_map(|path| std::fs::metadata(host.at(path)).ok()).map(|m| m.mtime()).min();
    for declared in &host.norms.retention {
        let wanted_s = i64::try_from(declared.at_least.0.as_secs()).unwrap_or(i64::MAX);
        let folder = declared.directory.as_str();
        let names = host.names(folder, looked);
        let fitting = names.iter().filter(|name| glob::fits(declared.pattern.as_str(), name));
        let oldest = fitting
            .filter_map(|name| std::fs::metadata(host.at(&format!("{folder}/{name}"))).ok())
            .map(|m| m.mtime())
            .min();
        let young = born_s.is_some_and(|at_s| host.now_s - at_s < wanted_s);
        let reach_s = oldest.map_or(0, |at_s| host.now_s - at_s);
        // The oldest is closed up to one rotation before it is as old as it must be.
        if young || reach_s + (35 * 86_400).min(wanted_s / 4) >= wanted_s {
            continue;
        }
        let text = format!(
            "{folder}/{} reaches back {} days, declared are {}",
            declared.pattern.as_str(),
            reach_s / 86_400,
            wanted_s / 86_400
        );
        let breach = Breach::new(norm::LOG_RETENTION, norm::file(folder), text).path("path", folder);
        let pattern = sopwith_domain::value::Value::Glob((*declared.pattern).clone());
        looked.breach(
            breach
                .with("pattern", pattern)
                .integer("reach_days", reach_s / 86_400)
                .integer("wanted_days", wanted_s / 86_400),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, NOW_S};
    use super::*;

    fn aged(fixture: &Fixture, path: &str, age_s: i64) {
        let file = std::fs::File::options()
            .append(true)
            .open(fixture.folder.path().join(path.trim_start_matches('/')))
            .expect("opened");
        let at = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(u64::try_from(NOW_S - age_s).expect("after 1970"));
        file.set_modified(at).expect("set");
    }

    #[test]
    fn what_logrotate_understands() {
        for (errors, says) in [
            ("", ""),
            ("warning: logrotate in debug mode does nothing except printing debug messages!\n", ""),
            (
                "error: /etc/logrotate.d/demo:2 unknown unit 'Q'\nerror: found error in /var/log/demo/*.log , skipping\n",
                "rotation-invalid path:/etc/logrotate.d/demo; rotation-invalid path:/etc/logrotate.conf",
            ),
            (
                "error: skipping \"/var/log/x.log\" because parent directory has insecure permissions",
                "rotation-invalid path:/etc/logrotate.conf",
            ),
            (
                "error: error switching euid from 996 to 0 and egid from 996 to 0 (pid 235): Operation not permitted",
                "",
            ),
            ("error: error opening state file /var/lib/logrotate/status: Permission denied", ""),
        ] {
            let mut fixture = Fixture::new("");
            fixture.file("/etc/logrotate.conf", "");
            fixture.answer(Asked::Logrotate, 0, "", errors);
            let told = fixture.told(look);
            assert!(says.starts_with(&told) && told.is_empty() == says.is_empty(), "{errors}: {told}");
        }
    }

    #[test]
    fn rotation_really_happens() {
        for (age_h, rotated, written_d, says) in [
            (1, "2026-01-30", 0, ""),
            (49, "2026-01-30", 0, ""),
            (51, "2026-01-30", 0, "rotation-stopped path:/var/lib/logrotate/status"),
            (1, "2025-12-01", 0, "log-unrotated path:/var/log/a.log"),
            // Nobody writes it any more.
            (1, "2025-12-01", 50, ""),
        ] {
            let fixture = Fixture::new("");
            fixture.file("/etc/logrotate.conf", "").file("/var/log/a.log", "text");
            fixture.file(STATES[0], format!("logrotate state -- version 2\n\"/var/log/a.log\" {rotated}-6:25:1\n\"/var/log/gone\" 2020-1-1-0:0:0\n"));
            aged(&fixture, STATES[0], age_h * 3600);
            aged(&fixture, "/var/log/a.log", written_d * 86_400);
            assert_eq!(fixture.told(look), says, "{age_h} {rotated} {written_d}");
        }
        assert_eq!(days(2026, 2, 3), NOW_S / 86_400);
    }

    #[test]
    fn logs_have_bounds_and_reach_back() {
        let fixture = Fixture::new(", log_max: 64KiB");
        fixture.file("/var/log/app/deep/a.log", vec![1; 200_000]).file("/var/log/b.log", "small");
        assert_eq!(fixture.told(look), "log-unrotated path:/var/log/app/deep/a.log");
        let norms = ", retention: [{directory: /var/log, pattern: 'auth.log*', at_least: 180d}]";
        for (born_d, oldest_d, says) in
            [(400, 179, ""), (400, 40, "log-retention path:/var/log"), (20, 10, "")]
        {
            let fixture = Fixture::new(norms);
            fixture
                .file("/etc/machine-id", "x")
                .file("/var/log/auth.log", "new")
                .file("/var/log/auth.log.9.gz", "old");
            aged(&fixture, "/etc/machine-id", born_d * 86_400);
            aged(&fixture, "/var/log/auth.log.9.gz", oldest_d * 86_400);
            aged(&fixture, "/var/log/auth.log", 0);
            assert_eq!(fixture.told(look), says, "{born_d} {oldest_d}");
        }
    }
}
