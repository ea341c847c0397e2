//! What is to happen at times: cron, which must run where there is something for it, and timers that are enabled.

use super::host::{Asked, Host, Looked};
use super::norm::{self, Breach};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::UnitName;
use std::collections::BTreeMap;

/// Names of processes that carry out crontabs.
const CRONS: &[&str] = &["cron", "crond", "systemd-cron", "bcron-sched"];
/// A timer that should have gone off so long ago does not, in seconds.
const OVERDUE_S: i64 = 600;

/// Any of these has cron start with the host.
const WANTED: &[&str] = &[
    "/etc/systemd/system/multi-user.target.wants/cron.service",
    "/etc/systemd/system/multi-user.target.wants/crond.service",
    "/etc/rc3.d/S01cron",
];

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    cron(host, looked);
    timers(host, looked);
}

fn cron(host: &Host<'_>, looked: &mut Looked) {
    let installed = host.is_there("/usr/sbin/cron") || host.is_there("/usr/sbin/crond");
    let watched = host.known.iter().any(|unit| matches!(unit.as_str(), "cron.service" | "crond.service"));
    // What is disabled is no fault to those who watch units: that jobs wait for it nobody else tells.
    let disabled =
        installed && !WANTED.iter().any(|wanted| std::fs::symlink_metadata(host.at(wanted)).is_ok());
    if !installed
        || watched && !disabled
        || CRONS.iter().any(|name| host.running.iter().any(|runs| runs == name))
    {
        return;
    }
    let masked =
        std::fs::read_link(host.at("/etc/systemd/system/cron.service")).is_ok_and(|to| to.ends_with("null"));
    let jobs = host.names("/var/spool/cron/crontabs", looked).len()
        + host.names("/etc/cron.d", looked).iter().filter(|name| !name.starts_with('.')).count();
    if jobs > 0 && !masked {
        let text = format!("cron does not run; {jobs} crontabs wait for it");
        let subject = UnitName::new("cron.service").map_or(Subject::Host, Subject::Unit);
        let breach = Breach::new(norm::CRON_STOPPED, subject, text).unit("unit", "cron.service");
        let breach = breach.integer("crontabs", jobs);
        looked.breach(match disabled {
            true => breach.with("disabled", sopwith_domain::value::Value::Boolean(true)),
            false => breach,
        });
    }
}

/// Reads what `systemctl show` says of timers, in blocks of `Name=value`.
fn timers(host: &Host<'_>, looked: &mut Looked) {
    let Some((code, output, errors)) = host.answer(Asked::Timers, looked) else { return };
    if code != 0 {
        looked.trouble(format!(
            "systemctl does not say how timers are: {}",
            errors.lines().next().unwrap_or_default()
        ));
        return;
    }
    for block in output.split("\n\n") {
        let values: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |name: &str| values.get(name).copied().unwrap_or_default();
        let (unit, reason) = (of("Id"), stopped(&of, host.now_s));
        let (Some(reason), Ok(name)) = (reason, UnitName::new(unit)) else { continue };
        if host.known.contains(&name) {
            continue;
        }
        let says = match reason {
            "inactive" => "is enabled and does not run",
            "failed" => "has failed",
            _ => "should have gone off and has not",
        };
        let text = format!("timer {unit} {says}");
        looked.breach(
            Breach::new(norm::TIMER_STOPPED, Subject::Unit(name), text)
                .unit("unit", unit)
                .unit("starts", of("Unit"))
                .word("reason", reason)
                .word("result", of("Result")),
        );
    }
}

fn stopped<'a>(of: &impl Fn(&str) -> &'a str, now_s: i64) -> Option<&'static str> {
    if of("LoadState") != "loaded" || of("UnitFileState") != "enabled" {
        return None;
    }
    match of("ActiveState") {
        // What failed altogether is a failed unit, and told as such.
        "failed" => None,
        // Its conditions keep it off this host, which is no fault.
        "inactive" if of("ConditionResult") == "no" && of("ConditionTimestampMonotonic") != "0" => None,
        "inactive" => Some("inactive"),
        "active" => {
            // With --timestamp=unix it is `@SECONDS`; `n/a` where it goes off after something else.
            let next = of("NextElapseUSecRealtime")
                .strip_prefix('@')
                .and_then(|seconds| seconds.parse::<i64>().ok());
            let overdue = next.is_some_and(|next_s| next_s > 0 && next_s + OVERDUE_S < now_s);
            overdue.then_some("overdue")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, NOW_S, fields};
    use super::*;

    #[test]
    fn cron_must_run_where_there_is_something_for_it() {
        let cron = UnitName::new("cron.service").expect("a unit");
        for (files, runs, known, says) in [
            (&["/usr/sbin/cron", "/etc/cron.d/job"][..], "cron", &[][..], ""),
            (&["/usr/sbin/cron", "/etc/cron.d/job"], "", &[], "cron-stopped unit:cron.service"),
            (&["/usr/sbin/cron", "/var/spool/cron/crontabs/a"], "", &[], "cron-stopped unit:cron.service"),
            (&["/usr/sbin/cron", "/etc/cron.d/.placeholder"], "", &[], ""),
            (&["/etc/cron.d/job"], "", &[], ""),
            (&["/usr/sbin/cron", "/etc/cron.d/job", WANTED[0]], "", std::slice::from_ref(&cron), ""),
            // Of one that is disabled those who watch units say nothing.
            (
                &["/usr/sbin/cron", "/etc/cron.d/job"],
                "",
                std::slice::from_ref(&cron),
                "cron-stopped unit:cron.service",
            ),
        ] {
            let mut fixture = Fixture::new("");
            files.iter().for_each(|path| _ = fixture.file(path, ""));
            fixture.running = vec![runs.to_owned()];
            fixture.known = known.to_vec();
            assert_eq!(fixture.told(look), says, "{files:?} {runs}");
        }
    }

    #[test]
    fn timers_that_are_enabled_run() {
        for (file, active, condition, next_s, says) in [
            ("enabled", "active", "yes", NOW_S + 1, None),
            ("enabled", "active", "yes", NOW_S - OVERDUE_S - 1, Some("overdue")),
            ("enabled", "active", "yes", 0, None),
            ("enabled", "inactive", "yes", 0, Some("inactive")),
            ("enabled", "inactive", "no", 0, None),
            ("disabled", "inactive", "yes", 0, None),
            ("masked", "inactive", "yes", 0, None),
            ("enabled", "failed", "yes", 0, None),
        ] {
            let mut fixture = Fixture::new("");
            let block = format!(
                "Id=a.timer\nUnit=a.service\nLoadState=loaded\nUnitFileState={file}\nActiveState={active}\nConditionResult={condition}\nConditionTimestampMonotonic=5\nNextElapseUSecRealtime=@{next_s}\nResult=success\n\nId=b.timer\n"
            );
            fixture.answer(Asked::Timers, 0, &block, "");
            let expected = says.map_or(String::new(), |_| "timer-stopped unit:a.timer".into());
            assert_eq!(fixture.told(look), expected, "{file} {active} {condition} {next_s}");
            if let Some(reason) = says {
                let looked = fixture.looked(look);
                assert_eq!(
                    fields(&looked),
                    format!("unit=a.timer starts=a.service reason={reason} result=success")
                );
            }
        }
    }
}
