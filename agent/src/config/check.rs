//! What can be wrong with a configuration beyond its single words.

use super::at::{At, Period};
use super::checks::Check;
use super::types::*;
use sopwith_domain::ids::RuleId;
use sopwith_domain::playbook::Finding;
use sopwith_domain::value::Word;
use std::collections::BTreeSet;
use std::time::Duration;

/// Shortest time between two looks at the same thing.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// Most matches that a rate can count to; their times are kept.
pub const RATE_COUNT_MAX: u32 = 10_000;
/// Longest time that a count can run over.
const WITHIN_MAX: Duration = Duration::from_secs(86_400);

/// Returns everything that is wrong.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    super::packs::findings(config, &mut found);
    units(&config.units, &mut found);
    processes(&config.processes, &mut found);
    checks(&config.checks, &mut found);
    super::commands::findings(&config.commands, &mut found);
    super::logs::findings(&config.logs, &mut found);
    super::logrotate::findings(&config.logrotate, &mut found);
    filesystems(&config.filesystems, &mut found);
    super::backups::findings(&config.backups, &mut found);
    super::metrics::findings(&config.metrics, &mut found);
    super::norms::findings(&config.norms, &mut found);
    found
}

pub(super) fn unique<'a>(names: impl Iterator<Item = &'a At<Word>>, what: &str, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.as_str()) {
            found.push(name.finding(format!("there are two {what} named {}", name.as_str())));
        }
        rule_part(name, found);
    }
}

/// Finds fault with a name that cannot be part of a rule's.
pub(super) fn rule_part(name: &At<Word>, found: &mut Vec<Finding>) {
    if !RuleId::new(format!("x.{}", name.as_str())).is_ok_and(|rule| rule.is_plain()) {
        let why = "no +, no .. and no empty part between slashes";
        found.push(name.finding(format!("{} cannot be part of a rule's name: {why}", name.as_str())));
    }
}

pub(super) fn every(period: &At<Period>, what: &str, found: &mut Vec<Finding>) {
    if period.0 < EVERY_MIN {
        found.push(period.finding(format!("{what} must be at least 100ms")));
    }
}

pub(super) fn count(times: &At<u32>, within: &At<Period>, found: &mut Vec<Finding>) {
    if !(1..=RATE_COUNT_MAX).contains(&**times) {
        found.push(times.finding(format!("must be 1 to {RATE_COUNT_MAX}")));
    }
    if within.0.is_zero() || within.0 > WITHIN_MAX {
        found.push(within.finding("must be more than 0s and at most 1d"));
    }
}

fn units(units: &Units, found: &mut Vec<Finding>) {
    if *units.flapping.times > 0 {
        count(&units.flapping.times, &units.flapping.within, found);
    }
    for service in units.services.values() {
        if let Some(health) = &service.health {
            every(&health.every, "every", found);
            every(&health.timeout, "timeout", found);
            if *health.failures == 0 {
                found.push(health.failures.finding("must be at least 1"));
            }
        }
        if let Some(heartbeat) = &service.heartbeat
            && heartbeat.max_age.0 < Duration::from_secs(1)
        {
            found.push(heartbeat.max_age.finding("max_age must be at least 1s"));
        }
    }
}

fn processes(processes: &[Process], found: &mut Vec<Finding>) {
    unique(processes.iter().map(|p| &p.name), "processes", found);
    for process in processes {
        if process.pidfile.is_some() != process.command.is_empty() {
            found.push(process.name.finding("say either its pidfile or its command"));
        }
    }
}

fn checks(checks: &[Check], found: &mut Vec<Finding>) {
    unique(checks.iter().map(|c| &c.name), "checks", found);
    for check in checks {
        check.findings(found);
        if let Some(period) = &check.every {
            every(period, "every", found);
        }
        every(&check.timeout, "timeout", found);
        if let Some(failures) = &check.failures {
            count(&failures.count, &failures.within, found);
        }
    }
}

fn filesystems(filesystems: &Filesystems, found: &mut Vec<Finding>) {
    every(&filesystems.every, "every", found);
    let general = [&filesystems.used_percent, &filesystems.inodes_percent, &filesystems.clear_percent];
    let own = filesystems.mounts.values();
    let own = own.flat_map(|m| [&m.used_percent, &m.inodes_percent, &m.clear_percent].into_iter().flatten());
    for percent in general.into_iter().chain(own) {
        if !(1..=100).contains(&**percent) {
            found.push(percent.finding("must be 1 to 100"));
        }
    }
    for (path, mount) in &filesystems.mounts {
        let limits = filesystems.limits_of(path);
        if limits.clear_percent >= limits.used_percent.min(limits.inodes_percent) {
            let place = [&mount.clear_percent, &mount.used_percent, &mount.inodes_percent];
            let place = place.into_iter().flatten().next().unwrap_or(&filesystems.clear_percent);
            found.push(place.finding(format!(
                "{path}: clear_percent is {}, must be below used_percent ({}) and inodes_percent ({})",
                limits.clear_percent, limits.used_percent, limits.inodes_percent
            )));
        }
    }
    if *filesystems.clear_percent >= (*filesystems.used_percent).min(*filesystems.inodes_percent) {
        let text = "clear_percent must be below used_percent and inodes_percent";
        found.push(filesystems.clear_percent.finding(text));
    }
}
