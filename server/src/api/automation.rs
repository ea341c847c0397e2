//! The stop switch, and what the budgets leave for automation.

use crate::app::App;
use crate::auth::Person;
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use crate::views::{self, automation};
use axum::Json;
use axum::extract::State;
use axum::http::Method;
use sopwith_domain::command::Command;
use sopwith_domain::people::Role;
use sopwith_protocol::api::{Automation, BudgetRow, Page, WithReason};

pub fn routes() -> Vec<Route> {
    vec![
        Route::api(Method::GET, "/api/v1/automation", Need::Role(Role::Viewer), show)
            .about("Says whether automation is stopped, by whom and why")
            .gives("Automation"),
        Route::api(Method::POST, "/api/v1/stop", Need::Role(Role::Operator), stop)
            .about("Stops all automation")
            .takes("WithReason")
            .gives("Automation"),
        Route::api(Method::POST, "/api/v1/resume", Need::Role(Role::Admin), resume)
            .about("Lets automation go on")
            .takes("WithReason")
            .gives("Automation"),
        Route::api(Method::GET, "/api/v1/budgets", Need::Role(Role::Viewer), budgets)
            .about("Lists what the budgets leave for automation")
            .gives("Page<BudgetRow>"),
    ]
}

async fn show(State(app): State<App>) -> Json<Automation> {
    Json(automation(&app.ledger.state()))
}

async fn budgets(State(app): State<App>) -> Json<Page<BudgetRow>> {
    let items = views::budget_rows(&app.ledger.state(), app.ledger.now());
    Json(Page { items, next: None })
}

async fn stop(
    State(app): State<App>,
    person: Person,
    Input(body): Input<WithReason>,
) -> Result<Json<Automation>, Fault> {
    app.ledger.decide(Command::Stop { by: person.name, reason: body.reason }).await?;
    Ok(show(State(app)).await)
}

async fn resume(
    State(app): State<App>,
    person: Person,
    Input(body): Input<WithReason>,
) -> Result<Json<Automation>, Fault> {
    app.ledger.decide(Command::Resume { by: person.name, reason: body.reason }).await?;
    Ok(show(State(app)).await)
}
