//! Handlers of the pages about accounts: what an admin does with others'. Each form becomes one command, on the same
//! way as through the API.

use super::answer::{Did, Fields, frame, missing, on_to, refusal, show, show_as};
use super::frame::{Frame, Place};
use super::people::{self, MadePassword};
use crate::app::App;
use crate::auth::{Person, access, accounts, secret, session, token};
use crate::ledger::Failed;
use crate::problem::Fault;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use sopwith_domain::ids::AccountName;
use sopwith_domain::people::Role;

pub async fn list(State(app): State<App>, person: Person, Query(did): Query<Did>) -> Response {
    let frame = Frame { notice: did.notice(), ..frame(&app, &person, "People", Place::More) };
    shown(&app, frame, None, None).await
}

/// Shows all people, with a password that was made or what was refused.
async fn shown(app: &App, frame: Frame, made: Option<&MadePassword>, fault: Option<&Fault>) -> Response {
    let now = frame.now;
    let access = match app.readers.read(move |db| access::summaries(db, now)).await {
        Ok(access) => access,
        Err(error) => return super::fault(&error.into()),
    };
    let all = app.ledger.state().people.clone();
    let content = |frame: &Frame| people::list(frame, &all, &access, made);
    match fault {
        None => show(&frame, content(&frame)),
        Some(fault) => {
            let frame = Frame { notice: Some(refusal(fault)), ..frame };
            show_as(fault.status(), &frame, content(&frame))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    name: String,
    role: Role,
}

pub async fn add(State(app): State<App>, person: Person, Fields(new): Fields<NewPerson>) -> Response {
    let frame = frame(&app, &person, "People", Place::More);
    let password = secret::make("pw");
    let added = match AccountName::new(new.name.trim()) {
        Err(invalid) => Err(Fault::invalid(invalid.to_string())),
        Ok(name) => {
            let made = MadePassword { name: name.to_string(), password: password.clone() };
            let added = accounts::add(&app, person.name, name, new.role, password).await;
            added.map(|()| made).map_err(Fault::from)
        }
    };
    match added {
        Ok(made) => shown(&app, frame, Some(&made), None).await,
        Err(fault) => shown(&app, frame, None, Some(&fault)).await,
    }
}

pub async fn one(
    State(app): State<App>,
    person: Person,
    Path(name): Path<String>,
    Query(did): Query<Did>,
) -> Response {
    let frame = Frame { notice: did.notice(), ..frame(&app, &person, name.clone(), Place::More) };
    shown_one(&app, &person, frame, &name, None, None).await
}

/// Shows one person, with a password that was made or what was refused.
async fn shown_one(
    app: &App,
    person: &Person,
    frame: Frame,
    name: &str,
    made: Option<&MadePassword>,
    fault: Option<&Fault>,
) -> Response {
    let known = AccountName::new(name).ok();
    let known = known.and_then(|name| Some((app.ledger.state().people.get(&name)?.clone(), name)));
    let Some((account, name)) = known else {
        return missing(app, person, Place::More, "There is no person of this name.");
    };
    let (whose, now) = (name.clone(), frame.now);
    let this = match person.via {
        crate::auth::Via::Session(hash) => Some(hash),
        crate::auth::Via::Token(_) => None,
    };
    let access = match app.readers.read(move |db| access::of(db, &whose, this, now)).await {
        Ok(access) => access,
        Err(error) => return super::fault(&error.into()),
    };
    let notice = fault.map(refusal).or(frame.notice.clone());
    let frame = Frame { notice, ..frame };
    let content = people::one(&frame, &name, &account, &access, made);
    match fault {
        None => show(&frame, content),
        Some(fault) => show_as(fault.status(), &frame, content),
    }
}

/// Sends on after a deed, or shows the person again with what was refused.
async fn done(app: &App, person: &Person, name: &str, did: &str, outcome: Result<(), Fault>) -> Response {
    match outcome {
        Ok(()) => on_to(&format!("/people/{name}?did={did}")),
        Err(fault) => {
            let frame = frame(app, person, name, Place::More);
            shown_one(app, person, frame, name, None, Some(&fault)).await
        }
    }
}

fn known(app: &App, name: &str) -> Result<AccountName, Fault> {
    let unknown = || Fault::not_found(format!("there is no person {name:.64}"));
    let name = AccountName::new(name).map_err(|_| unknown())?;
    let there = app.ledger.state().people.contains_key(&name);
    if there { Ok(name) } else { Err(unknown()) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    role: Role,
}

pub async fn role(
    State(app): State<App>,
    person: Person,
    Path(name): Path<String>,
    Fields(new): Fields<NewRole>,
) -> Response {
    let outcome = match known(&app, &name) {
        Ok(of) => accounts::change_role(&app, person.name.clone(), of, new.role).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    done(&app, &person, &name, "role", outcome).await
}

pub async fn reset(State(app): State<App>, person: Person, Path(name): Path<String>) -> Response {
    let password = secret::make("pw");
    let outcome = match known(&app, &name) {
        Err(fault) => Err(fault),
        Ok(of) if app.ledger.state().people.get(&of).is_some_and(|p| p.disabled) => {
            Err(Fault::invalid("a disabled account stays disabled: add another one"))
        }
        Ok(of) => {
            let set = accounts::set_password(&app, person.name.clone(), of, password.clone()).await;
            set.map_err(Fault::from)
        }
    };
    match outcome {
        Ok(()) => {
            let made = MadePassword { name: name.clone(), password };
            let frame = frame(&app, &person, name.clone(), Place::More);
            shown_one(&app, &person, frame, &name, Some(&made), None).await
        }
        Err(fault) => done(&app, &person, &name, "", Err(fault)).await,
    }
}

pub async fn disable(State(app): State<App>, person: Person, Path(name): Path<String>) -> Response {
    let outcome = match known(&app, &name) {
        Ok(of) => accounts::disable(&app, person.name.clone(), of).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    done(&app, &person, &name, "disabled", outcome).await
}

pub async fn sign_out(State(app): State<App>, person: Person, Path(name): Path<String>) -> Response {
    let outcome = match known(&app, &name) {
        Ok(of) => session::end_all(&app, &person.name, &of).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    done(&app, &person, &name, "signed-out", outcome).await
}

pub async fn end_session(
    State(app): State<App>,
    person: Person,
    Path((name, id)): Path<(String, String)>,
) -> Response {
    let outcome = match known(&app, &name) {
        Ok(of) => session::end_listed(&app, &person.name, &of, &id).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    done(&app, &person, &name, "session-ended", outcome).await
}

pub async fn revoke_token(
    State(app): State<App>,
    person: Person,
    Path((name, id)): Path<(String, String)>,
) -> Response {
    let outcome = match known(&app, &name) {
        Ok(of) => {
            let revoked: Result<(), Failed> = token::revoke_of(&app, &person.name, &of, &id).await;
            revoked.map_err(Fault::from)
        }
        Err(fault) => Err(fault),
    };
    done(&app, &person, &name, "token-revoked", outcome).await
}
