//! What the runner itself must do for an entry: read from the `# harness:` lines of its injection.

use super::catalogue::{Entry, Expected};

/// One way of carrying an entry out, each on hosts of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Inject; approve when a plan waits and the entry says that it is to be approved.
    Plain,
    /// As before, with the entry's `fail_variant`: the fix must fail and the prior state return.
    FixFails,
    /// A person denies the plan.
    Deny,
    /// Nobody answers in time; then the stale plan is approved.
    Expire,
    /// The approval of another host's plan is used for this host's plan.
    Replay,
    /// The approval of a plan is used for a changed plan.
    Mutate,
    /// The same fault on several hosts within seconds.
    Hosts(u32),
    /// The agent is killed as soon as its first step has started.
    KillAgent,
}

impl Scenario {
    /// Returns how the scenario is called in a row's reason.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Plain => "plain",
            Scenario::FixFails => "fix fails",
            Scenario::Deny => "denied",
            Scenario::Expire => "expired",
            Scenario::Replay => "replayed",
            Scenario::Mutate => "mutated",
            Scenario::Hosts(_) => "several hosts",
            Scenario::KillAgent => "agent killed",
        }
    }

    /// Says whether the harness says yes to a plan that waits.
    pub fn approves(self, expected: Expected) -> bool {
        match self {
            Scenario::Plain | Scenario::KillAgent | Scenario::Hosts(_) => {
                matches!(expected, Expected::FixAfterApproval | Expected::Rollback)
            }
            Scenario::FixFails => true,
            Scenario::Deny | Scenario::Expire | Scenario::Replay | Scenario::Mutate => false,
        }
    }
}

/// The most hosts that one entry may ask for; this machine is small.
const HOSTS_MAX: u32 = 8;

/// Returns the scenarios of an entry, and the harness lines that were not understood.
pub fn of(entry: &Entry) -> (Vec<Scenario>, Vec<String>) {
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for line in harness_lines(&entry.inject) {
        let read = read_line(&line.to_lowercase());
        if read.is_empty() {
            unknown.push(line.to_owned());
        }
        found.extend(read);
    }
    if found.is_empty() {
        found.push(Scenario::Plain);
    }
    (found, unknown)
}

fn harness_lines(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter_map(|line| line.trim_start().strip_prefix("# harness:")).map(str::trim)
}

fn read_line(line: &str) -> Vec<Scenario> {
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let mut found = Vec::new();
    if has(&["deny", "denied"]) {
        found.push(Scenario::Deny);
    }
    if has(&["ttl", "expire"]) {
        found.push(Scenario::Expire);
    }
    if has(&["replay", "for host b", "another host"]) {
        found.push(Scenario::Replay);
    }
    if has(&["mutate", "change the plan"]) {
        found.push(Scenario::Mutate);
    }
    if has(&["kill"]) && has(&["agent"]) {
        found.push(Scenario::KillAgent);
    }
    if has(&["containers", "hosts"]) && found.is_empty() {
        found.extend(count_in(line).map(|count| Scenario::Hosts(count.min(HOSTS_MAX))));
    }
    if has(&["approve"]) && found.is_empty() {
        found.push(Scenario::Plain);
    }
    found
}

/// Finds the first whole number of at least two that a line names.
fn count_in(line: &str) -> Option<u32> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).find(|count| *count >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Scenario::*;

    #[test]
    fn reads_what_the_harness_is_asked_to_do() {
        let cases: &[(&str, &[Scenario])] = &[
            ("", &[]),
            (
                "run on >= 5 containers (or 5 simulated agents) within 30 s; the shared dependency broke",
                &[Hosts(5)],
            ),
            ("run on 40 hosts", &[Hosts(8)]),
            (
                "answer with (a) deny, (b) approve after its TTL, (c) replay of an approval for host B, \
                 (d) approve plan hash P1 then mutate the plan",
                &[Deny, Expire, Replay, Mutate],
            ),
            ("kill -9 the agent between step 2 and 3", &[KillAgent]),
            ("approve when asked", &[Plain]),
            ("turn the moon", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(read_line(&line.to_lowercase()), *expected, "{line}");
        }
    }

    #[test]
    fn only_marked_lines_count() {
        let script = "echo deny\n  # harness: deny it\n# harness: turn the moon\n";
        assert_eq!(harness_lines(script).collect::<Vec<_>>(), ["deny it", "turn the moon"]);
    }
}
