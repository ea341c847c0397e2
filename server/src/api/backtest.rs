//! The backtest: the journal of the past once more through the playbooks and the policy in force, or others that
//! somebody thinks of signing. It reads, off the async threads, one at a time, and changes nothing.

use crate::app::App;
use crate::input::Input;
use crate::ledger::{STREAM, decode};
use crate::problem::Fault;
use crate::readers::ReadFailed;
use crate::routes::{Need, Route};
use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use rusqlite::Connection;
use sopwith_domain::backtest::{Backtest, Documents, Past, Report};
use sopwith_domain::event::{Event, Recorded};
use sopwith_domain::people::Role;
use sopwith_domain::playbook::{Finding, PLAYBOOK_BYTES_MAX, Playbook};
use sopwith_domain::policy::Policy;
use sopwith_domain::time::{SECOND_MS, Timestamp};
use sopwith_journal::sqlite::read_in;
use sopwith_protocol::api::{BacktestBody, BacktestRow, BacktestView};
use tokio::sync::Semaphore;

/// Most playbooks that are tried beside those in force.
const PLAYBOOKS_MAX: usize = 64;
/// Largest body of a backtest, in bytes.
const BODY_BYTES_MAX: usize = 8 * PLAYBOOK_BYTES_MAX;
/// Longest time that is looked back, in seconds.
const SINCE_S_MAX: u64 = 400 * 86_400;
/// Entries read at once.
const CHUNK: usize = 1000;

/// Each one reads the whole journal.
static ONE: Semaphore = Semaphore::const_new(1);

pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::POST, "/api/v1/backtest", Need::Role(Role::Operator), backtest)
            .about("Says what today's SOPs, policy and brakes would have made of the incidents of the past")
            .takes("BacktestBody")
            .gives("BacktestView")
            .body_max(BODY_BYTES_MAX),
    ]
}

async fn backtest(
    State(app): State<App>,
    Input(body): Input<BacktestBody>,
) -> Result<Json<BacktestView>, Fault> {
    if body.since_s == 0 || body.since_s > SINCE_S_MAX {
        return Err(Fault::invalid(format!("since_s is {}, must be 1 to {SINCE_S_MAX}", body.since_s)));
    }
    let busy = |_| {
        let detail = "another backtest is under way; try again when it is done";
        Fault::new(StatusCode::TOO_MANY_REQUESTS, "busy", "One at a time", detail)
    };
    let permit = ONE.try_acquire().map_err(busy)?;
    let now = app.ledger.now();
    let since = Timestamp(now.0.saturating_sub(i64::try_from(body.since_s).unwrap_or(i64::MAX) * SECOND_MS));
    let documents = documents(&app, &body)?;
    let report = app.readers.read(move |db| run(db, since, now, documents)).await?;
    drop(permit);
    Ok(Json(view(report, since, now)))
}

/// Returns the documents in force, those of the body in the place of theirs.
fn documents(app: &App, body: &BacktestBody) -> Result<Documents, Fault> {
    if body.playbooks.len() > PLAYBOOKS_MAX {
        let count = body.playbooks.len();
        return Err(Fault::invalid(format!("{count} playbooks at once, at most {PLAYBOOKS_MAX}")));
    }
    let unreadable = |what: String, findings: &[Finding]| {
        let mut fault = Fault::invalid(format!("{what} cannot be read"));
        fault.problem.errors = findings.iter().map(ToString::to_string).collect();
        fault
    };
    let mut tried = Vec::new();
    for (n, text) in body.playbooks.iter().enumerate() {
        let parsed = Playbook::parse(text);
        tried.push(parsed.map_err(|found| unreadable(format!("playbook {}", n + 1), &found))?);
    }
    let policy = body.policy.as_deref().map(Policy::parse).transpose();
    let policy = policy.map_err(|finding| unreadable("the policy".into(), &[finding]))?;
    let mut documents = {
        let state = app.ledger.state();
        let playbooks = state.playbooks.values().cloned().collect();
        Documents { playbooks, policy: state.policy.clone() }
    };
    documents.replace(Documents::unsigned(tried, policy));
    Ok(documents)
}

/// Hands the journal over twice: how runs came out is known only at its end.
fn run(
    db: &Connection,
    since: Timestamp,
    now: Timestamp,
    documents: Documents,
) -> Result<Report, ReadFailed> {
    let mut past = Past::default();
    each(db, now, |recorded| past.take(recorded))?;
    let mut backtest = Backtest::new(since, documents, past);
    each(db, now, |recorded| backtest.take(recorded))?;
    Ok(backtest.finish(now))
}

/// Reads the journal up to a time, in order.
fn each(db: &Connection, until: Timestamp, mut take: impl FnMut(&Recorded<Event>)) -> Result<(), ReadFailed> {
    let mut after = 0;
    loop {
        let entries = read_in(db, STREAM, after, CHUNK)?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.seq;
        for entry in &entries {
            if entry.at_ms > until.0 {
                return Ok(());
            }
            // The ledger has read every entry when it started; what it could not read, it would not have started with.
            if let Ok(recorded) = decode(entry) {
                take(&recorded);
            }
        }
    }
}

fn view(report: Report, since: Timestamp, now: Timestamp) -> BacktestView {
    let rows = report.rows.into_iter().map(|row| BacktestRow {
        incident: row.incident,
        at: row.at.to_string(),
        host: row.host.to_string(),
        kind: row.kind.to_string(),
        subject: row.subject.to_string(),
        then_playbook: row.then_playbook.map(|id| id.to_string()),
        then: row.then,
        playbook: row.playbook.map(|id| id.to_string()),
        would: row.would.name().into(),
        brake: row.brake,
        reason: row.reason,
        after_ms: row.after_ms,
        runs: row.runs,
    });
    BacktestView {
        since: since.to_string(),
        until: now.to_string(),
        rows: rows.collect(),
        left_out: report.left_out,
        would: report.would.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        brakes: report.brakes,
        chosen_otherwise: report.chosen_otherwise,
        automatic_runs: report.automatic_runs,
    }
}
