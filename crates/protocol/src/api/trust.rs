//! Trust before autonomy: what a plan would change, what would have become of the past, how far an SOP is trusted.

use serde::{Deserialize, Serialize};
use sopwith_domain::ids::{Digest, IncidentId};
use std::collections::BTreeMap;

/// What a plan would change on its host, found out by looking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DryRunView {
    pub plan: Digest,
    pub asked_by: String,
    pub asked_at: String,
    /// asked, looked, refused, unanswered.
    pub state: String,
    pub looked_at: Option<String>,
    /// Why the host did not look.
    pub reason: Option<String>,
    /// Why the host would refuse the order as things stand.
    pub against: Option<String>,
    pub steps: Vec<DryRunStepView>,
    /// The plan's verification as it stands before the plan.
    pub verify: Vec<AskedView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DryRunStepView {
    pub sentence: String,
    pub require: Vec<AskedView>,
    pub would: Vec<String>,
    /// Why the step could not start as things stand, or why it could not be found out.
    pub cannot: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskedView {
    pub check: String,
    /// Nothing where it was not asked because asking starts a program.
    pub holds: Option<bool>,
    pub detail: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BacktestBody {
    /// How far back, in seconds.
    pub since_s: u64,
    /// Texts of playbooks that stand in for those in force with the same id; unsigned, for nothing is run by them.
    #[serde(default)]
    pub playbooks: Vec<String>,
    #[serde(default)]
    pub policy: Option<String>,
}

/// What today's SOPs, policy and brakes would have made of the incidents of the past.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BacktestView {
    pub since: String,
    pub until: String,
    pub rows: Vec<BacktestRow>,
    /// Incidents beyond those told.
    pub left_out: u64,
    /// Incidents by `would`, and by the brake that would have held them.
    pub would: BTreeMap<String, u64>,
    pub brakes: BTreeMap<String, u64>,
    /// Incidents for which another SOP would be chosen than was then.
    pub chosen_otherwise: u64,
    pub automatic_runs: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BacktestRow {
    pub incident: IncidentId,
    pub at: String,
    pub host: String,
    pub kind: String,
    pub subject: String,
    pub then_playbook: Option<String>,
    /// What became of it then.
    pub then: String,
    pub playbook: Option<String>,
    /// run, ask, hold, person, fold.
    pub would: String,
    pub brake: Option<String>,
    pub reason: String,
    /// How long it would have been held before it ran.
    pub after_ms: Option<i64>,
    pub runs: u32,
}

/// How an SOP stands in one environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrustView {
    pub environment: String,
    /// shadow, suggest, auto.
    pub stage: String,
    /// What it has to show at this stage, and what lifts it by one.
    pub count: u32,
    pub runs: u32,
    pub since: Option<String>,
    /// What brought it here.
    pub reason: String,
}
