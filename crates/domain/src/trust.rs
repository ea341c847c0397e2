//! Trust that is earned: a playbook that the signed policy would let run by itself begins lower, rises by its record
//! in one environment, and falls by one failure. The policy is the ceiling: nothing here ever permits what it does
//! not, and where it says nothing of promotion this module says nothing at all.

use crate::declaration::Declarations;
use crate::ids::{Digest, PlaybookId};
use crate::mutant::{self, Mutant};
use crate::policy::Policy;
use crate::time::Timestamp;
use crate::value::Word;
use serde::{Deserialize, Serialize};

/// The environment of all hosts, where the policy names no fact to tell them apart by.
pub const EVERYWHERE: &str = "all";
/// The environment of hosts that do not state the fact.
pub const UNSTATED: &str = "unstated";
/// Most runs that a policy may ask for.
pub const RUNS_MAX: u32 = 1000;

/// How far a playbook is trusted; each may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its plan is shown and may be tried dry; nobody can approve it, and a person is called.
    Shadow,
    /// People approve each plan.
    Suggest,
    /// It runs by itself, as the policy permits.
    Auto,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Suggest => "suggest",
            Self::Auto => "auto",
        }
    }

    fn up(self) -> Self {
        match self {
            Self::Shadow => Self::Suggest,
            Self::Suggest | Self::Auto => Self::Auto,
        }
    }

    fn down(self) -> Self {
        match self {
            Self::Auto => Self::Suggest,
            Self::Suggest | Self::Shadow => Self::Shadow,
        }
    }
}

/// What the policy asks of a playbook before it runs by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Verified runs, or in shadow dry runs that found nothing in the way, that lift it by one stage.
    pub runs: u32,
    /// Where it begins.
    #[serde(default = "shadow")]
    pub from: Stage,
    /// The fact of a host's declarations that tells environments apart; without it there is one.
    #[serde(default)]
    pub by: Option<Word>,
}

fn shadow() -> Stage {
    Stage::Shadow
}

/// How a playbook stands in one environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The text that earned it; another text has earned nothing yet.
    pub text: Digest,
    pub stage: Stage,
    /// What it has to show at this stage.
    pub count: u32,
    pub since: Timestamp,
    /// What brought it here.
    pub reason: String,
}

/// What tells for or against a playbook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// A run passed its checks, and again after its soak.
    Verified,
    /// A dry run found that every step could start.
    Looked,
    Failed {
        reason: String,
    },
}

/// Returns the environment of a host that declares this.
pub fn environment(promotion: &Promotion, declarations: &Declarations) -> String {
    let Some(by) = &promotion.by else { return EVERYWHERE.into() };
    declarations.fact(by).map_or_else(|| UNSTATED.into(), ToString::to_string)
}

/// Returns the stage of a playbook whose standing is known, or not.
pub fn stage(promotion: &Promotion, text: &Digest, standing: Option<&Standing>) -> Stage {
    match standing {
        None => promotion.from,
        Some(standing) if standing.text == *text => standing.stage,
        // A changed text has to earn again what it may do by itself.
        Some(standing) => standing.stage.min(Stage::Suggest),
    }
}

/// Returns the standing after a proof, or nothing where it changes nothing.
pub fn after(
    promotion: &Promotion,
    text: &Digest,
    standing: Option<&Standing>,
    proof: &Proof,
    now: Timestamp,
) -> Option<Standing> {
    let before = stage(promotion, text, standing);
    let same = standing.filter(|standing| standing.text == *text);
    let (count, since) = same.map_or((0, now), |standing| (standing.count, standing.since));
    let moved = |stage, reason: String| Some(Standing { text: *text, stage, count: 0, since: now, reason });
    let what = match (proof, before) {
        (Proof::Failed { .. }, _) if mutant::is(Mutant::KeepTrust) => return None,
        (Proof::Failed { reason }, Stage::Shadow) => return moved(Stage::Shadow, reason.clone()),
        (Proof::Failed { reason }, stage) => return moved(stage.down(), format!("one failure: {reason}")),
        (Proof::Looked, Stage::Shadow) => "dry runs with nothing in the way",
        // What runs is judged by its runs.
        (Proof::Looked, _) => return None,
        (Proof::Verified, _) => "verified runs",
    };
    let count = count.saturating_add(1);
    let early = u32::from(mutant::is(Mutant::PromoteEarly));
    if before < Stage::Auto && count + early >= promotion.runs {
        return moved(before.up(), format!("{count} {what}"));
    }
    let reason = same.map_or_else(|| "it begins here".to_owned(), |standing| standing.reason.clone());
    Some(Standing { text: *text, stage: before, count, since, reason })
}

/// Says whether the playbook's plan may be approved by the standing policy, and by people, at this stage.
pub fn may(stage: Stage) -> (bool, bool) {
    (stage >= Stage::Auto, stage >= Stage::Suggest)
}

/// Returns the ladder that the policy sets up for the playbook, or nothing where it stands outside of it.
pub fn ladder<'p>(policy: &'p Policy, playbook: &PlaybookId) -> Option<&'p Promotion> {
    policy.promotion.as_ref().filter(|_| policy.auto.contains(playbook))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Digest = Digest([1; 32]);
    const OTHER: Digest = Digest([2; 32]);

    fn promotion(runs: u32, from: Stage) -> Promotion {
        Promotion { runs, from, by: None }
    }

    /// Returns the stage and count after each proof: `v` verified, `l` looked, `f` failed, `o` another text.
    fn climbs(promotion: &Promotion, proofs: &str) -> String {
        let mut standing: Option<Standing> = None;
        let mut text = TEXT;
        let mut told = Vec::new();
        for proof in proofs.chars() {
            let proof = match proof {
                'v' => Proof::Verified,
                'l' => Proof::Looked,
                'f' => Proof::Failed { reason: "undone".into() },
                _ => {
                    text = OTHER;
                    told.push(stage(promotion, &text, standing.as_ref()).name().to_string());
                    continue;
                }
            };
            let next = after(promotion, &text, standing.as_ref(), &proof, Timestamp(5));
            standing = next.or(standing);
            let count = standing.as_ref().map_or(0, |standing| standing.count);
            told.push(format!("{}{count}", stage(promotion, &text, standing.as_ref()).name()));
        }
        told.join(" ")
    }

    #[test]
    fn trust_is_earned_step_by_step_and_lost_at_once() {
        use Stage::{Auto, Shadow, Suggest};
        for (runs, from, proofs, expected) in [
            (2, Shadow, "llvv", "shadow1 suggest0 suggest1 auto0"),
            (2, Shadow, "lfl", "shadow1 shadow0 shadow1"),
            (1, Suggest, "v", "auto0"),
            (2, Suggest, "vfvv", "suggest1 shadow0 shadow1 suggest0"),
            (2, Auto, "vvv", "auto1 auto2 auto3"),
            (2, Auto, "vf", "auto1 suggest0"),
            (2, Auto, "ffvl", "suggest0 shadow0 shadow1 suggest0"),
            (2, Suggest, "lll", "suggest0 suggest0 suggest0"),
            (1, Suggest, "vovv", "auto0 suggest auto0 auto1"),
            (3, Suggest, "vvov", "suggest1 suggest2 suggest suggest1"),
        ] {
            assert_eq!(climbs(&promotion(runs, from), proofs), expected, "{runs} {from:?} {proofs}");
        }
    }

    #[test]
    fn the_ladder_stands_only_where_the_policy_puts_it() {
        let policy =
            |rest: &str| Policy::parse(&format!("version: 1\nauto: [a]\nhosts: all\n{rest}")).unwrap();
        let id = |text| PlaybookId::new(text).unwrap();
        assert_eq!(ladder(&policy(""), &id("a")), None, "a policy that says nothing changes nothing");
        let with = policy("promotion: {runs: 3}\n");
        assert_eq!(ladder(&with, &id("a")), Some(&promotion(3, Stage::Shadow)));
        assert_eq!(ladder(&with, &id("b")), None, "what people approve anyway");
        for bad in ["promotion: {runs: 0}\n", "promotion: {runs: 1001}\n", "promotion: {from: auto}\n"] {
            assert!(Policy::parse(&format!("version: 1\nauto: [a]\nhosts: all\n{bad}")).is_err(), "{bad}");
        }
    }
}
