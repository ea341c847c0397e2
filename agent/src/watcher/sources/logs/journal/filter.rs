//! Which entries of the journal belong to which log, as a question to journalctl and as one to an entry. Pure.

use super::export::Entry;
use crate::config::{JournalFilter, Log};

/// What one log wants of the journal.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Kernel,
    Entries(JournalFilter),
}

impl Wanted {
    pub(super) fn of(log: &Log) -> Option<Self> {
        if *log.kernel { Some(Self::Kernel) } else { log.journal.clone().map(Self::Entries) }
    }

    pub(super) fn takes(&self, entry: &Entry) -> bool {
        match self {
            Self::Kernel => entry.transport == "kernel",
            Self::Entries(filter) => {
                let any = filter.units.is_empty() && filter.identifiers.is_empty();
                let unit = |unit: &str| unit == entry.unit || entry.pid == "1" && unit == entry.about_unit;
                let named = any
                    || filter.units.iter().any(|u| unit(u.as_str()))
                    || filter.identifiers.iter().any(|i| i.as_str() == entry.identifier);
                let least = filter.priority.as_ref().map(|least| least.0);
                named && least.is_none_or(|least| entry.priority.is_none_or(|p| p <= least))
            }
        }
    }

    /// Returns the terms by which journalctl finds the entries, in groups of which one must fit; nothing where all
    /// are wanted.
    fn groups(&self) -> Option<Vec<Vec<String>>> {
        let Self::Entries(filter) = self else { return Some(vec![vec!["_TRANSPORT=kernel".into()]]) };
        let least = filter.priority.as_ref().map(|least| least.0);
        let priorities: Vec<String> =
            least.map_or(Vec::new(), |l| (0..=l).map(|p| format!("PRIORITY={p}")).collect());
        let mut groups: Vec<Vec<String>> = Vec::new();
        let units = filter.units.iter().map(|u| u.as_str());
        groups.extend(units.clone().map(|unit| vec![format!("_SYSTEMD_UNIT={unit}")]));
        groups.extend(units.map(|unit| vec![format!("UNIT={unit}"), "_PID=1".into()]));
        groups.extend(filter.identifiers.iter().map(|i| vec![format!("SYSLOG_IDENTIFIER={}", i.as_str())]));
        if groups.is_empty() && priorities.is_empty() {
            return None;
        }
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        groups.iter_mut().for_each(|group| group.extend(priorities.iter().cloned()));
        Some(groups)
    }
}

/// Returns the terms for all logs together, of what this machine wrote itself.
pub(super) fn terms(wanted: &[(usize, Wanted)], machine: Option<&str>) -> Vec<String> {
    let each: Option<Vec<_>> = wanted.iter().map(|(_, wanted)| wanted.groups()).collect();
    let groups = each.map_or_else(|| vec![Vec::new()], |each| each.concat());
    let own = machine.filter(|id| !id.is_empty()).map(|id| format!("_MACHINE_ID={id}"));
    let mut terms = Vec::new();
    for group in groups {
        if !terms.is_empty() {
            terms.push("+".to_owned());
        }
        terms.extend(group);
        terms.extend(own.clone());
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn wanted(text: &str) -> Vec<(usize, Wanted)> {
        let log = |text: &str| format!("- {{name: l, {text}, rules: [{{name: r, pattern: x}}]}}\n");
        let config = Config::parse(&format!("logs:\n{}", log(text))).unwrap_or_else(|e| panic!("{e:?}"));
        config.logs.iter().enumerate().filter_map(|(n, log)| Some((n, Wanted::of(log)?))).collect()
    }

    #[test]
    fn entries_are_asked_for_and_told_apart_alike() {
        let entry = |unit: &str, identifier: &str, transport: &str, priority| Entry {
            unit: unit.into(),
            identifier: identifier.into(),
            transport: transport.into(),
            priority,
            ..Entry::default()
        };
        let ssh = entry("ssh.service", "sshd", "syslog", Some(6));
        let kernel = entry("", "kernel", "kernel", Some(3));
        let about = Entry { pid: "1".into(), about_unit: "ssh.service".into(), ..Entry::default() };
        let forged = Entry { pid: "12".into(), ..about.clone() };
        for (text, terms_expected, takes) in [
            ("kernel: true", "_TRANSPORT=kernel", [false, true, false, false]),
            ("journal: {}", "", [true, true, true, true]),
            (
                "journal: {units: [ssh.service]}",
                "_SYSTEMD_UNIT=ssh.service + UNIT=ssh.service _PID=1",
                [true, false, true, false],
            ),
            ("journal: {priority: crit}", "PRIORITY=0 PRIORITY=1 PRIORITY=2", [false, false, true, true]),
            (
                "journal: {identifiers: [sshd, su], priority: emerg}",
                "SYSLOG_IDENTIFIER=sshd PRIORITY=0 + SYSLOG_IDENTIFIER=su PRIORITY=0",
                [false, false, false, false],
            ),
        ] {
            let wanted = wanted(text);
            assert_eq!(terms(&wanted, None).join(" "), terms_expected, "{text}");
            let own = match terms_expected {
                "" => "_MACHINE_ID=ab".to_owned(),
                some => format!("{} _MACHINE_ID=ab", some.replace(" +", " _MACHINE_ID=ab +")),
            };
            assert_eq!(terms(&wanted, Some("ab")).join(" "), own, "{text}");
            let told = [&ssh, &kernel, &about, &forged].map(|entry| wanted[0].1.takes(entry));
            assert_eq!(told, takes, "{text}");
        }
    }
}
