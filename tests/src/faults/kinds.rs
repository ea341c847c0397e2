//! Which signals are about which SOP id of a catalogue: a file of `CATALOGUE-ID: [{kind, subject}, …]`.
//!
//! An incident that no playbook of ours answers yet still counts as seen if what it says is about the entry's class;
//! an incident of another kind on the same host counts as nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A kind of signal and, where the kind alone is not about the class, of what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    kind: String,
    /// The beginning of the subject, as in `path` or `path:/etc/sudoers`.
    #[serde(default)]
    subject: Option<String>,
}

/// The mapping; an id that is missing is seen only by the playbooks that answer it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kinds {
    classes: BTreeMap<String, Vec<About>>,
}

impl Kinds {
    /// Reads the mapping.
    pub fn parse(text: &str) -> Result<Kinds, String> {
        serde_saphyr::from_str(text).map(|classes| Kinds { classes }).map_err(|e| e.to_string())
    }

    /// Says whether a signal of this kind about this subject is about the class of a catalogue id.
    pub fn about(&self, sop: &str, kind: &str, subject: &str) -> bool {
        let fits = |about: &About| {
            about.kind == kind && about.subject.as_deref().is_none_or(|head| begins(subject, head))
        };
        self.classes.get(sop).is_some_and(|all| all.iter().any(fits))
    }
}

/// Says whether a subject begins so, and is not only a longer word.
fn begins(subject: &str, head: &str) -> bool {
    subject.strip_prefix(head).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
SOP-DOWN: [{kind: unit.failed}, {kind: unit.inactive, subject: unit}]
SOP-KEYS: [{kind: file.drifted, subject: 'path:/etc/sudoers'}]
";

    #[test]
    fn a_kind_counts_for_the_classes_that_name_it_only() {
        let kinds = Kinds::parse(FILE).expect("valid");
        let cases = [
            ("SOP-DOWN", "unit.failed", "unit:a.service", true),
            ("SOP-DOWN", "unit.failed", "process:a", true),
            ("SOP-DOWN", "unit.inactive", "unit:a.service", true),
            ("SOP-DOWN", "unit.inactive", "process:a", false),
            ("SOP-DOWN", "unit.inactive", "units:a", false),
            ("SOP-DOWN", "unit.flapping", "unit:a.service", false),
            ("SOP-KEYS", "unit.failed", "unit:a.service", false),
            ("SOP-KEYS", "file.drifted", "path:/etc/sudoers", true),
            ("SOP-KEYS", "file.drifted", "path:/etc/sudoers.d/x", true),
            ("SOP-KEYS", "file.drifted", "path:/etc/sudoers-old", false),
            ("SOP-KEYS", "file.drifted", "path:/etc/hosts", false),
            ("SOP-NONE", "unit.failed", "unit:a.service", false),
        ];
        for (sop, kind, subject, expected) in cases {
            assert_eq!(kinds.about(sop, kind, subject), expected, "{sop} {kind} {subject}");
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        for wrong in ["A: [unit.failed]", "A: [{subject: unit}]", "A: [{kind: a.b, unit: c}]"] {
            assert!(Kinds::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_shipped_can_be_read() {
        let text = include_str!("../../faults/kinds.yaml");
        let (kinds, handbook) = (Kinds::parse(text).expect("valid"), told());
        for (sop, all) in &kinds.classes {
            assert!(!all.is_empty(), "{sop} names no kind");
            for about in all {
                let valid = sopwith_domain::signal::SignalKind::new(about.kind.as_str());
                assert!(valid.is_ok(), "{sop}: {valid:?}");
                assert!(handbook.contains(&about.kind), "{sop}: no agent says {}", about.kind);
            }
        }
    }

    /// Every kind that the handbook writes out in full or as `.rest` after another of the same row.
    fn told() -> std::collections::BTreeSet<String> {
        let mut kinds = std::collections::BTreeSet::new();
        let texts = [
            include_str!("../../../docs/handbook/signals.md"),
            include_str!("../../../docs/handbook/kernel.md"),
            include_str!("../../../docs/handbook/norms.md"),
            include_str!("../../../docs/handbook/backups.md"),
            include_str!("../../../docs/handbook/metrics.md"),
            include_str!("../../../docs/handbook/logs.md"),
            include_str!("../../../docs/handbook/inspections.md"),
        ];
        for line in texts.iter().flat_map(|text| text.lines()) {
            let mut noun = "";
            for word in line.split('`').skip(1).step_by(2).flat_map(|code| code.split(", ")) {
                match word.split_once('.') {
                    Some(("", rest)) => drop(kinds.insert(format!("{noun}.{rest}"))),
                    Some((head, _)) => {
                        noun = head;
                        kinds.insert(word.to_owned());
                    }
                    None => {}
                }
            }
        }
        kinds
    }
}
