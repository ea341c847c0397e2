//! What must be as it was after a rollback: read from an entry's `rollback.scope`, taken inside the host before
//! and after, and compared. What a scope says in words that are not known here is named, never passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::{Host, LabError};

const PROBE: &str = include_str!("fingerprint.py");
const PROBE_LIMIT: Duration = Duration::from_secs(30);
/// Differences that a reason names; the rest is counted.
const DIFFERENCES_MAX: usize = 4;

/// The parts of a scope that the probe can look at, and those that nobody understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Arguments of the probe.
    looks: Vec<String>,
    pub unknown: Vec<String>,
}

/// The state of a scope at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Scope {
    /// Reads the scope of an entry.
    pub fn parse(lines: &[String]) -> Scope {
        let mut scope = Scope::default();
        for line in lines {
            match look_of(line) {
                Some(looks) => scope.looks.extend(looks),
                None => scope.unknown.push(line.clone()),
            }
        }
        scope
    }

    pub fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// Adds what a plan says that it touches, as in `path:/etc/x`. What cannot be looked at is known by its files.
    pub fn touch(&mut self, subjects: &[String]) {
        for look in subjects.iter().filter_map(|subject| touched(subject)) {
            if !self.looks.contains(&look) {
                self.looks.push(look);
            }
        }
    }

    /// Takes the fingerprint inside a host.
    pub fn take(&self, host: &Host) -> Result<Fingerprint, LabError> {
        self.take_after(host, &Fingerprint::default())
    }

    /// Takes it for a comparison with an earlier one: a file that a plan touches, and to which somebody has only added
    /// since, as to a log, counts as what it was.
    pub fn take_after(&self, host: &Host, before: &Fingerprint) -> Result<Fingerprint, LabError> {
        let before = serde_json::to_vec(&before.0).unwrap_or_default();
        let mut argv = vec!["python3", "-c", PROBE];
        argv.extend(self.looks.iter().map(String::as_str));
        let what = "take the fingerprint";
        let text = host.run_for(&argv, &before, PROBE_LIMIT)?.expect(what)?;
        let state = serde_json::from_str(&text).map_err(|e| LabError::Failed {
            what: what.to_owned(),
            code: None,
            tail: e.to_string(),
        })?;
        Ok(Fingerprint(state))
    }
}

/// Turns one line into the probe's arguments: a kind, a name without blanks, and then words for people.
fn look_of(line: &str) -> Option<Vec<String>> {
    if line.starts_with("nft ") {
        return Some(vec!["nft:ruleset".to_owned()]);
    }
    let (head, words) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (kind, name) = head.split_once(':').filter(|(_, name)| !name.is_empty())?;
    match kind {
        "file" | "mount" | "link" | "sysctl" => Some(vec![format!("{kind}:{name}")]),
        "tree" | "dir" => Some(vec![format!("tree:{name}")]),
        "unit" if words.contains("MainPID") => Some(vec![format!("unit:{name}"), format!("process:{name}")]),
        "unit" => Some(vec![format!("unit:{name}")]),
        _ => None,
    }
}

/// Turns a subject of a plan into an argument of the probe.
fn touched(subject: &str) -> Option<String> {
    let (kind, name) = subject.split_once(':')?;
    match kind {
        "path" => Some(format!("touched:{name}")),
        "attributes" => Some(format!("file:{name}")),
        "unit" | "mount" | "sysctl" | "process" => {
            Some(format!("{}:{name}", if kind == "process" { "pid" } else { kind }))
        }
        "address" => Some("nft:ruleset".to_owned()),
        "check" => match name.split_once(':') {
            Some(("nft", _)) => Some("nft:ruleset".to_owned()),
            Some(("link", link)) => Some(format!("link:{link}")),
            _ => None,
        },
        _ => None,
    }
}

impl Fingerprint {
    /// Says how a later state differs, in one line; nothing when it is the same.
    pub fn difference(&self, later: &Fingerprint) -> Option<String> {
        let mut found = Vec::new();
        for (what, was) in &self.0 {
            match later.0.get(what) {
                Some(is) if is == was => {}
                Some(is) => found.push(format!("{what}: was {was}, is {is}")),
                None => found.push(format!("{what}: gone")),
            }
        }
        found.extend(
            later.0.keys().filter(|what| !self.0.contains_key(*what)).map(|what| format!("{what}: new")),
        );
        if found.is_empty() {
            return None;
        }
        let more = found.len().saturating_sub(DIFFERENCES_MAX);
        found.truncate(DIFFERENCES_MAX);
        let tail = if more > 0 { format!("; and {more} more") } else { String::new() };
        Some(format!("{}{tail}", found.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scopes_and_names_what_it_cannot() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("file:/etc/x.conf (content, mode, owner, mtime, xattrs)", Some(&["file:/etc/x.conf"])),
            ("tree:/etc/x sha256+mode", Some(&["tree:/etc/x"])),
            ("dir:/var/backups/x", Some(&["tree:/var/backups/x"])),
            ("unit:x.service", Some(&["unit:x.service"])),
            ("unit:x.service (same MainPID)", Some(&["unit:x.service", "process:x.service"])),
            ("mount:/srv/vol options", Some(&["mount:/srv/vol"])),
            ("nft set inet filter blocked", Some(&["nft:ruleset"])),
            ("sysctl:net.ipv4.ip_forward", Some(&["sysctl:net.ipv4.ip_forward"])),
            ("sysctl: the two keys only", None),
            ("list + sha256 of deleted archives", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|looks| looks.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
            assert_eq!(look_of(line), expected, "{line}");
        }
        let scope = Scope::parse(&["file:/a".into(), "the weather".into()]);
        assert_eq!((scope.is_empty(), scope.unknown.as_slice()), (false, &["the weather".to_owned()][..]));
    }

    #[test]
    fn what_a_plan_touches_is_looked_at_once() {
        let mut scope = Scope::parse(&["unit:x.service".into()]);
        let subjects =
            ["unit:x.service", "path:/etc/x", "process:7", "address:192.0.2.1", "check:nft:inet:f"];
        let rest = ["check:link:eth0", "check:clock", "host", "account:alice"];
        scope.touch(&[&subjects[..], &rest[..]].concat().iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(scope.looks, ["unit:x.service", "touched:/etc/x", "pid:7", "nft:ruleset", "link:eth0"]);
    }

    #[test]
    fn tells_every_kind_of_difference() {
        let state = |pairs: &[(&str, &str)]| {
            Fingerprint(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        let before = state(&[("a", "1"), ("b", "2")]);
        let cases = [
            (state(&[("a", "1"), ("b", "2")]), None),
            (state(&[("a", "9"), ("b", "2")]), Some("a: was 1, is 9")),
            (state(&[("a", "1")]), Some("b: gone")),
            (state(&[("a", "1"), ("b", "2"), ("c", "3")]), Some("c: new")),
        ];
        for (after, expected) in cases {
            assert_eq!(before.difference(&after).as_deref(), expected);
        }
        let many: Vec<(String, String)> = (0..9).map(|n| (n.to_string(), String::new())).collect();
        let many = Fingerprint(many.into_iter().collect());
        assert!(many.difference(&Fingerprint::default()).expect("differs").ends_with("and 5 more"));
    }
}
