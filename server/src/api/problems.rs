//! Problems: what automation could not mend, listed, read, and closed with the cause.

use super::{Wanted, page};
use crate::app::App;
use crate::auth::Person;
use crate::input::Input;
use crate::ledger::Failed;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::problem_view;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::people::Role;
use sopwith_domain::problem::ProblemId;
use sopwith_protocol::api::{Page, ProblemView, WithRootCause};

pub fn routes() -> Vec<Route> {
    let viewer = Need::Role(Role::Viewer);
    vec![
        Route::api(Method::GET, "/api/v1/problems", viewer, list)
            .about("Lists problems, newest first")
            .gives("PageOfProblemView"),
        Route::api(Method::GET, "/api/v1/problems/{id}", viewer, show)
            .about("Returns one problem")
            .gives("ProblemView"),
        Route::api(Method::POST, "/api/v1/problems/{id}/close", Need::Role(Role::Operator), close)
            .about("Closes a problem, with its root cause")
            .takes("WithRootCause")
            .gives("ProblemView"),
    ]
}

/// Reads `7` or `PRB-7`.
fn parse(text: &str) -> Result<ProblemId, Fault> {
    text.parse().map_err(|_| Fault::not_found(format!("there is no problem {text:.40}")))
}

fn find(app: &App, id: ProblemId) -> Result<Json<ProblemView>, Fault> {
    let state = app.ledger.state();
    let problem = state.problems.get(&id).ok_or_else(|| Failed::from(Refusal::UnknownProblem(id)))?;
    Ok(Json(problem_view(&state, problem)))
}

async fn list(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page<ProblemView>>, Fault> {
    let before = wanted.after::<u64>()?.unwrap_or(u64::MAX);
    let state = app.ledger.state();
    let found = state.problems.range(..ProblemId(before)).rev().map(|(_, problem)| problem);
    let found = found.filter(|problem| wanted.open.is_none_or(|open| problem.closed.is_none() == open));
    let views = found.map(|problem| problem_view(&state, problem));
    Ok(Json(page(views, wanted.limit(), |view| view.id.0.to_string())))
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ProblemView>, Fault> {
    find(&app, parse(&id)?)
}

async fn close(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Input(body): Input<WithRootCause>,
) -> Result<Json<ProblemView>, Fault> {
    let problem = parse(&id)?;
    let command = Command::CloseProblem { problem, by: person.name, root_cause: body.root_cause };
    app.ledger.decide(command).await?;
    find(&app, problem)
}
