//! Runs: list, one with its records, and asking for one to be stopped and undone.

use super::{Wanted, page};
use crate::app::App;
use crate::auth::Person;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::run_view;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use sopwith_domain::command::Command;
use sopwith_domain::ids::Digest;
use sopwith_domain::people::Role;
use sopwith_protocol::api::{Page, RunView};

pub fn routes() -> Vec<Route> {
    let viewer = Need::Role(Role::Viewer);
    vec![
        Route::api(Method::GET, "/api/v1/runs", viewer, list)
            .about("Lists runs, newest first")
            .gives("PageOfRunView"),
        Route::api(Method::GET, "/api/v1/runs/{digest}", viewer, show)
            .about("Returns one run")
            .gives("RunView"),
        Route::api(Method::POST, "/api/v1/runs/{digest}/cancel", Need::Role(Role::Operator), cancel)
            .about("Asks for a run to be stopped and undone")
            .gives("RunView"),
    ]
}

fn parse(digest: &str) -> Result<Digest, Fault> {
    digest.parse().map_err(|_| Fault::not_found(format!("there is no run {digest:.80}")))
}

fn find(app: &App, digest: &Digest) -> Result<Json<RunView>, Fault> {
    let state = app.ledger.state();
    let run = state.runs.get(digest);
    let run = run.ok_or_else(|| Fault::not_found(format!("there is no run {}", digest.short())))?;
    Ok(Json(app.live.join(run_view(digest, run))))
}

async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Json<Page<RunView>>, Fault> {
    let state = app.ledger.state();
    let began = |digest: &Digest| {
        let run = state.runs.get(digest);
        (run.and_then(|run| run.records.first()).map(|record| record.at), *digest)
    };
    let mut newest: Vec<&Digest> = state.runs.keys().collect();
    newest.sort_unstable_by_key(|digest| std::cmp::Reverse(began(digest)));
    if let Some(after) = wanted.after::<Digest>()? {
        let position = began(&after);
        newest.retain(|digest| began(digest) < position);
    }
    let runs = newest.into_iter().filter_map(|digest| Some((digest, state.runs.get(digest)?)));
    let views = runs.map(|(digest, run)| run_view(digest, run));
    Ok(Json(page(views, wanted.limit(), |view| view.run.to_string())))
}

async fn show(State(app): State<App>, Path(digest): Path<String>) -> Result<Json<RunView>, Fault> {
    find(&app, &parse(&digest)?)
}

async fn cancel(
    State(app): State<App>,
    person: Person,
    Path(digest): Path<String>,
) -> Result<Json<RunView>, Fault> {
    let run = parse(&digest)?;
    app.ledger.decide(Command::Cancel { run, by: person.name }).await?;
    find(&app, &run)
}
