//! Operators and their roles.

use crate::app::App;
use crate::auth::Person;
use crate::auth::accounts::{self, AccountFailed};
use crate::input::Input;
use crate::ledger::Failed;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use sopwith_domain::command::Refusal;
use sopwith_domain::ids::AccountName;
use sopwith_domain::people::{self, Role};
use sopwith_protocol::api::{Page, PersonBody};

pub fn routes() -> Vec<Route> {
    let admin = Need::Role(Role::Admin);
    vec![
        Route::api(Method::GET, "/api/v1/people", admin, list)
            .about("Lists operators; passwords are never shown")
            .gives("PageOfPersonBody"),
        Route::api(Method::POST, "/api/v1/people", admin, add)
            .about("Adds an operator")
            .takes("PersonBody")
            .gives("PersonBody"),
        Route::api(Method::PATCH, "/api/v1/people/{name}", admin, change)
            .about("Changes role or password, or disables an operator")
            .takes("PersonBody")
            .gives("PersonBody"),
    ]
}

impl From<AccountFailed> for Fault {
    fn from(failed: AccountFailed) -> Self {
        match failed {
            AccountFailed::Password(error) => Self::invalid(error.to_string()),
            AccountFailed::Ledger(error) => error.into(),
        }
    }
}

async fn list(State(app): State<App>) -> Json<Page<PersonBody>> {
    let state = app.ledger.state();
    Json(Page { items: state.people.iter().map(|(name, person)| view(name, person)).collect(), next: None })
}

fn view(name: &AccountName, person: &people::Person) -> PersonBody {
    PersonBody {
        name: Some(name.to_string()),
        role: Some(person.role.to_string()),
        password: None,
        disabled: Some(person.disabled),
    }
}

fn shown(app: &App, name: &AccountName) -> Result<Json<PersonBody>, Fault> {
    let state = app.ledger.state();
    let person = state.people.get(name);
    person
        .map(|person| Json(view(name, person)))
        .ok_or_else(|| Fault::not_found(format!("there is no operator {name}")))
}

fn named(name: Option<String>) -> Result<AccountName, Fault> {
    let name = name.ok_or_else(|| Fault::invalid("name is missing"))?;
    AccountName::new(name).map_err(|error| Fault::invalid(error.to_string()))
}

fn role(text: &str) -> Result<Role, Fault> {
    text.parse().map_err(|error: sopwith_domain::ids::InvalidName| Fault::invalid(error.to_string()))
}

async fn add(
    State(app): State<App>,
    person: Person,
    Input(body): Input<PersonBody>,
) -> Result<(StatusCode, Json<PersonBody>), Fault> {
    let name = named(body.name)?;
    let role = role(&body.role.ok_or_else(|| Fault::invalid("role is missing"))?)?;
    let password = body.password.ok_or_else(|| Fault::invalid("password is missing"))?;
    accounts::add(&app, person.name, name.clone(), role, password).await?;
    Ok((StatusCode::CREATED, shown(&app, &name)?))
}

async fn change(
    State(app): State<App>,
    person: Person,
    Path(name): Path<String>,
    Input(body): Input<PersonBody>,
) -> Result<Json<PersonBody>, Fault> {
    let name = named(Some(name))?;
    if !app.ledger.state().people.contains_key(&name) {
        return Err(Fault::not_found(format!("there is no operator {name}")));
    }
    if body.name.is_some_and(|other| other != name.as_str()) {
        return Err(Fault::invalid("an account's name never changes: add another one"));
    }
    if let Some(text) = &body.role {
        let role = role(text)?;
        unchanged_is_fine(accounts::change_role(&app, person.name.clone(), name.clone(), role).await)?;
    }
    if let Some(password) = body.password {
        accounts::set_password(&app, person.name.clone(), name.clone(), password).await?;
    }
    match body.disabled {
        Some(true) => unchanged_is_fine(accounts::disable(&app, person.name, name.clone()).await)?,
        Some(false) if is_disabled(&app, &name) => {
            return Err(Fault::invalid("a disabled account stays disabled: add another one"));
        }
        _ => {}
    }
    shown(&app, &name)
}

fn is_disabled(app: &App, name: &AccountName) -> bool {
    app.ledger.state().people.get(name).is_some_and(|person| person.disabled)
}

fn unchanged_is_fine(result: Result<(), Failed>) -> Result<(), Fault> {
    match result {
        Ok(()) | Err(Failed::Refused(Refusal::Unchanged(_))) => Ok(()),
        Err(other) => Err(other.into()),
    }
}
