//! Which shipped playbook answers which SOP id of a catalogue: a file of `CATALOGUE-ID: [playbook, …]`.

use std::collections::BTreeMap;

/// The mapping; an id that is missing is answered by no shipped playbook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SopMap {
    playbooks: BTreeMap<String, Vec<String>>,
}

impl SopMap {
    /// Reads the mapping.
    pub fn parse(text: &str) -> Result<SopMap, String> {
        serde_saphyr::from_str(text).map(|playbooks| SopMap { playbooks }).map_err(|e| e.to_string())
    }

    /// Says whether a playbook is one of those that answer a catalogue id.
    pub fn answers(&self, playbook: &str, sop: &str) -> bool {
        playbook == sop || self.playbooks.get(sop).is_some_and(|all| all.iter().any(|one| one == playbook))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_playbooks_may_answer_one_id() {
        let map = SopMap::parse("SOP-A: [unit-down]\nSOP-B: [disk-full, cores-pile-up]\n").expect("valid");
        let cases = [
            ("unit-down", "SOP-A", true),
            ("cores-pile-up", "SOP-B", true),
            ("unit-down", "SOP-B", false),
            ("unit-down", "SOP-C", false),
            ("SOP-C", "SOP-C", true),
        ];
        for (playbook, sop, expected) in cases {
            assert_eq!(map.answers(playbook, sop), expected, "{playbook} {sop}");
        }
    }
}
