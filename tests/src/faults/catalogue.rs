//! The catalogue file: a list of faults with their proofs. Fields that are not known here are left alone.

use serde::Deserialize;

/// What the product is to do about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    Fix,
    FixAfterApproval,
    Escalate,
    Refrain,
    Rollback,
}

impl Expected {
    pub fn name(self) -> &'static str {
        match self {
            Expected::Fix => "fix",
            Expected::FixAfterApproval => "fix_after_approval",
            Expected::Escalate => "escalate",
            Expected::Refrain => "refrain",
            Expected::Rollback => "rollback",
        }
    }
}

/// Who may let the fix run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    Auto,
    Approval,
    Never,
}

/// One fault: how it is made, how it is told, and what is right to do about it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    pub id: String,
    #[serde(default)]
    pub title: String,
    /// Id of the SOP that answers it, in the catalogue's own numbering.
    pub sop: String,
    /// Others that are as right, where a fault may be seen from several sides.
    #[serde(default)]
    pub also: Vec<String>,
    pub risk: Risk,
    pub expected: Expected,
    /// Where it can run: `nspawn`, `vm`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Shell, run inside the host.
    pub inject: String,
    /// Exits with 0 while the fault is there.
    pub present: String,
    /// Exits with 0 once it is repaired.
    #[serde(default)]
    pub verify: Option<String>,
    #[serde(default)]
    pub rollback: Rollback,
    /// Exits with 0 when harm was done.
    #[serde(default)]
    pub harm: Option<String>,
    /// Shell, run in addition to `inject`, after which the fix must fail.
    #[serde(default)]
    pub fail_variant: Option<String>,
    pub budget: Budget,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Rollback {
    /// What must be as it was, see [`super::fingerprint::Scope`].
    #[serde(default)]
    pub scope: Vec<String>,
}

/// Seconds that the product has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Budget {
    pub detect_s: u32,
    #[serde(default)]
    pub recover_s: Option<u32>,
    #[serde(default)]
    pub observe_s: Option<u32>,
}

impl Budget {
    /// Returns for how long an entry is watched once its fault is there.
    pub fn watch_s(&self) -> u32 {
        self.observe_s.unwrap_or(0).max(self.detect_s + self.recover_s.unwrap_or(0))
    }
}

impl Entry {
    /// Returns the ids of the SOPs that are right, the usual one first.
    pub fn sops(&self) -> Vec<&str> {
        std::iter::once(&self.sop).chain(&self.also).map(String::as_str).collect()
    }

    /// Says why the entry cannot run on a lab host, or nothing.
    pub fn unfit(&self) -> Option<String> {
        if self.env.iter().any(|env| env == "nspawn") {
            return None;
        }
        Some(format!("needs {}, not a container", self.env.join(" or ")))
    }
}

/// Reads a catalogue.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let entries: Vec<Entry> = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    for (position, entry) in entries.iter().enumerate() {
        if entries[..position].iter().any(|other| other.id == entry.id) {
            return Err(format!("entry {} stands twice", entry.id));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "
- id: X-1
  title: A unit is down
  sop: SOP-X
  risk: auto
  expected: fix_after_approval
  env: [nspawn, vm]
  inject: |
    systemctl stop x
  present: '! systemctl is-active -q x'
  some_later_field: {a: 1}
  rollback: {scope: ['unit:x'], steps: [{do: none}]}
  budget: {detect_s: 15, recover_s: 30}
";

    #[test]
    fn reads_an_entry_and_leaves_unknown_fields_alone() {
        let entries = parse(ENTRY).expect("valid");
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        assert_eq!((entry.expected, entry.risk), (Expected::FixAfterApproval, Risk::Auto));
        assert_eq!(entry.inject, "systemctl stop x\n");
        assert_eq!(entry.rollback.scope, ["unit:x"]);
        assert_eq!((entry.harm.as_deref(), entry.budget.watch_s(), entry.unfit()), (None, 45, None));
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            (ENTRY.replace("expected: fix_after_approval", "expected: hope"), "hope"),
            (ENTRY.replace("  present:", "  absent:"), "present"),
            (format!("{ENTRY}{ENTRY}"), "stands twice"),
            (ENTRY.replace("detect_s: 15", "detect_s: soon"), "detect_s"),
        ];
        for (text, word) in cases {
            let error = parse(&text).expect_err(word);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn knows_what_a_container_cannot_hold() {
        let entry = &parse(&ENTRY.replace("[nspawn, vm]", "[vm]")).expect("valid")[0];
        assert_eq!(entry.unfit().as_deref(), Some("needs vm, not a container"));
    }
}
