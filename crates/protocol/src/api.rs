//! What the REST API answers, shared by server, command line and tests. All under `/api/v1`, JSON; times are RFC
//! 3339 in UTC; errors are [`Problem`] (RFC 9457). Fields are only ever added.
//!
//! | method and path                          | role     | body → answer |
//! |------------------------------------------|----------|---------------|
//! | `POST /session` (login)                  | none     | [`Login`] → [`Session`]; cookie set for browsers |
//! | `DELETE /session`                        | viewer   | |
//! | `GET /whoami`                            | viewer   | → [`WhoAmI`] |
//! | `GET /incidents?open=&limit=&after=`     | viewer   | → [`Page`]<[`IncidentSummary`]> |
//! | `GET /incidents/{id}`                    | viewer   | → [`IncidentView`]; `ETag` is the current plan's digest |
//! | `POST /incidents/{id}/close`             | operator | [`WithReason`] |
//! | `POST /backtest`                         | operator | [`BacktestBody`] → [`BacktestView`] |
//! | `POST /incidents/{id}/dry-run` · `GET …` | operator · viewer | → [`DryRunView`] |
//! | `GET /plans/{digest}`                    | viewer   | → [`PlanView`] |
//! | `POST /plans/{digest}/approve` / `deny`  | approver | [`DecisionBody`]; `If-Match: "<digest>"` required; 412 if the plan changed |
//! | `GET /runs?limit=` · `GET /runs/{digest}`| viewer   | → [`Page`]<[`RunView`]> · [`RunView`] |
//! | `POST /runs/{digest}/cancel`             | operator | |
//! | `GET /problems?open=` · `GET /problems/{id}` | viewer | → [`Page`]<[`ProblemView`]> · [`ProblemView`] |
//! | `POST /problems/{id}/close`              | operator | [`WithRootCause`] → [`ProblemView`] |
//! | `GET /playbooks` · `GET /playbooks/{id}` | viewer   | → [`PlaybookView`] |
//! | `POST /playbooks` · `DELETE /playbooks/{id}` | admin | [`SignedText`](sopwith_domain::order::SignedText) |
//! | `GET /policy` · `PUT /policy`            | viewer · admin | [`SignedText`](sopwith_domain::order::SignedText) |
//! | `GET /hosts` · `POST /hosts/{id}/revoke` | viewer · admin | → [`Page`]<[`HostView`]> |
//! | `GET /hosts/{id}/inspection?date=`       | viewer   | → [`InspectionView`] of a day, or the newest |
//! | `POST /join-tokens`                      | admin    | [`JoinTokenBody`] → [`JoinToken`] |
//! | `GET /automation` · `POST /stop` · `POST /resume` | viewer · operator · admin | [`WithReason`] → [`Automation`] |
//! | `GET /budgets`                           | viewer   | → [`Page`]<[`BudgetRow`]>: what automation may still do |
//! | `GET /people` · `POST /people` · `PATCH /people/{name}` | admin | [`PersonBody`] |
//! | `POST /tokens` · `GET /tokens` · `DELETE /tokens/{id}` | viewer (own) | [`TokenBody`] → [`NewToken`] |
//! | `GET /audit?after=&limit=`               | viewer   | → [`Page`]<[`AuditEntry`]> |
//! | `GET /audit/export`                      | admin    | → JSON Lines of [`AuditEntry`] |
//! | `GET /events` (SSE)                      | viewer   | `id:` is the journal seq, `data:` [`Change`] |
//! | `GET /sd`                                | viewer   | http_sd for Prometheus |
//!
//! POSTs take an `Idempotency-Key`. Outside `/api/v1`: `/healthz`, `/readyz`, `/metrics`, `/api/v1/openapi.json`.

mod live;
mod problem;
mod trust;

pub use live::LiveView;
pub use problem::{ProblemClosedView, ProblemView, WithRootCause};
pub use trust::{AskedView, BacktestBody, BacktestRow, BacktestView, DryRunStepView, DryRunView, TrustView};

use serde::{Deserialize, Serialize};
use sopwith_domain::approval::Decision;
use sopwith_domain::ids::{Digest, IncidentId};
use sopwith_domain::matching::Candidate;
use sopwith_domain::plan::Plan;
use sopwith_domain::problem::ProblemId;
use sopwith_domain::run::{End, What};
use sopwith_domain::signal::Evidence;
use std::collections::BTreeMap;

/// Name of the server's journal stream, part of every hash of an [`AuditEntry`].
pub const LEDGER_STREAM: &str = "ledger";

/// An error for machines and people (RFC 9457). `kind` ends in the stable code, as in `/problems/plan-changed`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// What the person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// One page of a list; `next` goes into `after`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub name: String,
    pub password: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    pub token: String,
    pub expires_at: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WhoAmI {
    pub name: String,
    pub role: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentSummary {
    pub id: IncidentId,
    /// `INC-7`.
    pub number: String,
    pub title: String,
    pub host: String,
    pub subject: String,
    pub kind: String,
    pub priority: String,
    /// Name of the phase: detected, awaiting_approval, approved, running, watching, needs_person, closed.
    pub phase: String,
    /// One line for people: what is being done, or why nothing is.
    pub status: String,
    pub opened_at: String,
    pub signals: u64,
    pub playbook: Option<String>,
    /// Digest of the current plan, if there is one.
    pub plan: Option<Digest>,
    /// Whether a decision of a person is waited for.
    pub needs_decision: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentView {
    #[serde(flatten)]
    pub summary: IncidentSummary,
    pub rule: String,
    pub severity: String,
    pub priority_reason: String,
    pub cleared: bool,
    pub fields: BTreeMap<String, String>,
    pub evidence: Vec<Evidence>,
    pub candidates: Vec<Candidate>,
    pub why_not: Option<String>,
    /// What the host was looked at for, where there was no plan; `would` holds what was seen.
    #[serde(default)]
    pub diagnosis: Option<DryRunView>,
    /// Incidents that follow from this one and are folded under it.
    #[serde(default)]
    pub stands_for: Vec<IncidentId>,
    pub plan_view: Option<PlanView>,
    /// The problem behind it, where automation could not mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemId>,
    pub runs: Vec<RunView>,
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub at: String,
    /// `sopwith`, `host NAME` or the person's name.
    pub by: String,
    pub text: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlanView {
    pub digest: Digest,
    pub incident: IncidentId,
    pub host: String,
    pub playbook: String,
    pub version: u32,
    pub title: String,
    pub risk: String,
    pub attempt: u32,
    pub parameters: BTreeMap<String, String>,
    pub steps: Vec<StepView>,
    pub verify: Vec<String>,
    pub soak_s: i64,
    pub proposed_at: String,
    pub expires_at: String,
    pub required_approvals: u32,
    pub decisions: Vec<Decision>,
    pub approved_until: Option<String>,
    /// waiting, approved, released, accepted, void.
    pub state: String,
    /// How earlier runs of this playbook ended.
    #[serde(default)]
    pub record: SopRecord,
    /// What the limits leave; nothing for a plan that is not current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What the host found that the plan would change, if somebody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRunView>,
    /// The plan itself, so that whoever approves can compute its digest from what he reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<Plan>>,
}

/// How all runs of one playbook ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SopRecord {
    pub runs: u64,
    pub resolved: u64,
    pub rolled_back: u64,
    pub parked: u64,
    /// The host would not take the order; nothing was started.
    pub refused: u64,
    pub under_way: u64,
}

/// What is left of the limits that gate a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Budget {
    /// Automatic tries for this host and fault today.
    pub tries_left: u32,
    pub tries_max: u32,
    /// Orders of any kind within the hour.
    pub hour_left: u32,
    pub hour_max: u32,
    /// Runs at the same time, of this playbook and of all.
    pub playbook_left: u32,
    pub playbook_max: u32,
    pub overall_left: u32,
    pub overall_max: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepView {
    pub name: String,
    pub sentence: String,
    pub action: serde_json::Value,
    pub require: Vec<String>,
    pub expect: Vec<String>,
    /// What undoes it, as a sentence.
    pub undo: String,
    /// The step changes something that cannot be put back.
    #[serde(default)]
    pub irreversible: bool,
    pub timeout_s: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunView {
    pub run: Digest,
    pub host: String,
    pub incident: Option<IncidentId>,
    pub playbook: Option<String>,
    pub title: Option<String>,
    /// accepted, running, verifying, soaking, undoing, resolved, rolled_back, parked, refused.
    #[serde(default)]
    pub state: String,
    /// Steps of the plan, where the server knows it.
    #[serde(default)]
    pub steps: Vec<StepView>,
    #[serde(default)]
    pub verify: Vec<String>,
    #[serde(default)]
    pub soak_s: i64,
    pub records: Vec<RunRecordView>,
    pub end: Option<End>,
    pub cancel_requested: Option<String>,
    /// What the program of the running step says; only while it runs, and only the last of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveView>,
}

/// A record without the order it may hold, and without what the host captured before a step, which may be secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunRecordView {
    pub at: String,
    /// Tag of the record: accepted, started, finished, …
    pub record: String,
    pub step: Option<usize>,
    pub sentence: String,
    /// The record itself, but for `accepted`, where it is nothing; `prior` is always null.
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionBody {
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub signature: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithReason {
    pub reason: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlaybookView {
    pub id: String,
    pub version: u32,
    pub title: String,
    pub risk: String,
    pub digest: Digest,
    pub signer: String,
    pub text: String,
    pub signature: String,
    /// How far it is trusted, by environment; empty where the policy has nothing earned.
    #[serde(default)]
    pub trust: Vec<TrustView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostView {
    pub host: String,
    /// connected, silent, revoked.
    pub state: String,
    pub epoch: u64,
    pub enrolled_at: String,
    pub last_seen: Option<String>,
    pub agent_version: Option<String>,
    pub facts: BTreeMap<String, String>,
    pub open_incidents: u64,
    pub declarations: Vec<String>,
    pub items_lost: u64,
}

/// A host's inspection report of one day, what is wrong first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InspectionView {
    pub host: String,
    pub day: String,
    /// Days of which there is a report, newest first.
    pub days: Vec<String>,
    pub made_at: String,
    pub complete: bool,
    pub left_out: u64,
    pub checks: Vec<InspectedView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InspectedView {
    pub check: String,
    pub kind: String,
    pub schedule: String,
    /// ok, warning, critical, unknown, pending.
    pub verdict: String,
    pub line: String,
    pub runs: u64,
    pub warnings: u64,
    pub criticals: u64,
    pub unknowns: u64,
    pub missed: u64,
    pub since: Option<String>,
    pub last_at: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenBody {
    /// Nothing lets any name join once.
    #[serde(default)]
    pub host: Option<String>,
    /// At most 86,400.
    #[serde(default)]
    pub valid_s: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JoinToken {
    pub token: String,
    pub expires_at: String,
    /// SHA-256 of the CA certificate, for the agent to pin.
    pub ca_sha256: Digest,
    /// The whole line to type on the host.
    pub command: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Automation {
    pub stopped: bool,
    pub by: Option<String>,
    pub reason: Option<String>,
    pub since: Option<String>,
}

/// One budget as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BudgetRow {
    /// `overall`, `sop`, `host` or `service`.
    pub of: String,
    pub name: Option<String>,
    /// Of a service: its host.
    pub host: Option<String>,
    pub under_way: Option<u32>,
    pub at_once: Option<u32>,
    pub hour_used: u32,
    pub hour_max: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonBody {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
    pub disabled: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    pub name: String,
    #[serde(default)]
    pub valid_s: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewToken {
    pub id: String,
    /// Shown once; the server keeps its hash.
    pub token: String,
    pub expires_at: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEntry {
    pub seq: u64,
    pub at: String,
    pub at_ms: i64,
    pub prev: Digest,
    pub hash: Digest,
    /// The exact bytes that the hash covers, which are JSON text, unless something is left out.
    pub body: String,
    /// Whether what a step captured of the host, which may be secret, is left out of the body. Exports, which are for
    /// administrators, have all of it.
    #[serde(default)]
    pub left_out: bool,
}

/// What an event stream tells: something changed, ask again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    pub seq: u64,
    pub event: String,
    pub incident: Option<IncidentId>,
    pub run: Option<Digest>,
}
