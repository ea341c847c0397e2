//! From requests to frames and forms, and from markup to answers. What every page's handler needs and no more.

use super::components::Tone;
use super::frame::{Frame, Notice, Place, Viewer, bare, notice_box, page};
use super::more;
use crate::app::App;
use crate::auth::Person;
use crate::input::{BodyLimit, read};
use crate::problem::Fault;
use crate::views;
use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The fields of a form, bounded like every other body.
#[derive(Debug)]
pub struct Fields<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let limit = request.extensions().get::<BodyLimit>().map_or(0, |limit| limit.0);
        let (parts, body) = request.into_parts();
        let bytes = read(body, limit).await.map_err(|fault| super::fault(&fault))?;
        let request = Request::from_parts(parts, Body::from(bytes));
        match Form::<T>::from_request(request, state).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(error) => Err(super::fault(&Fault::malformed(error.to_string()))),
        }
    }
}

/// What was just done, by a name that leads to a sentence of ours.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Did {
    #[serde(default)]
    pub did: String,
}

impl Did {
    pub fn notice(&self) -> Option<Notice> {
        Some(Notice::done(match self.did.as_str() {
            "approved" => "Approved. The run begins as soon as the limits and the host allow.",
            "denied" => "Denied. Nothing runs, and the incident is in people's hands.",
            "voted" => "Your approval counts. It waits for others.",
            "closed" => "Closed.",
            "cause-found" => "The cause is on record, and the problem is closed.",
            "cancelled" => "The host was told to stop before its next step and to put back what was done.",
            "stopped" => "Automation is stopped.",
            "resumed" => "Automation is on again.",
            "revoked" => "The host is revoked.",
            "taken-back" => "The join token is worthless now.",
            "role" => "The role is changed.",
            "disabled" => "The account is disabled.",
            "signed-out" => "All sessions are ended.",
            "session-ended" => "The session is ended.",
            "token-revoked" => "The token is revoked.",
            "password" => "Your password is changed, and your other sessions are ended.",
            _ => return None,
        }))
    }
}

/// Returns the frame of a page for a person.
pub fn frame(app: &App, person: &Person, title: impl Into<String>, place: Place) -> Frame {
    let state = app.ledger.state();
    Frame {
        title: title.into(),
        place,
        viewer: Viewer { name: person.name.to_string(), role: person.role },
        automation: views::automation(&state),
        waiting: state.incidents.values().filter(|i| i.phase.name() == "awaiting_approval").count(),
        now: app.ledger.now(),
        notice: None,
        live: None,
    }
}

/// Answers with a page.
pub fn show(frame: &Frame, content: Markup) -> Response {
    show_as(StatusCode::OK, frame, content)
}

/// Answers with a page and a status.
pub fn show_as(status: StatusCode, frame: &Frame, content: Markup) -> Response {
    (status, Html(page(frame, content).into_string())).into_response()
}

/// Answers with a page without navigation.
pub fn show_bare(status: StatusCode, title: &str, content: Markup) -> Response {
    (status, Html(bare(title, content).into_string())).into_response()
}

/// Sends on to a path of ours, after something was done.
pub fn on_to(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// Returns a refusal as it stands at the top of a page.
pub fn refusal(fault: &Fault) -> Notice {
    let detail = &fault.problem.detail;
    Notice {
        tone: Tone::Critical,
        text: format!("{}: {}.", fault.problem.title, detail.trim_end_matches('.')),
        help: fault.problem.help.clone(),
    }
}

/// Says that there is nothing at an address, inside the frame.
pub fn missing(app: &App, person: &Person, place: Place, what: &str) -> Response {
    let frame = frame(app, person, "Not found", place);
    let content = more::failure(
        "There is no such page",
        what,
        "It may have been removed, or the link may be cut short.",
    );
    show_as(StatusCode::NOT_FOUND, &frame, content)
}

/// Shows a fault to somebody of whom nothing may be known.
pub fn plain_fault(fault: &Fault) -> Response {
    let content = html! {
        h1 { (fault.problem.title) }
        (notice_box(&refusal(fault)))
        p { a href="/" { "To the overview" } }
    };
    show_bare(fault.status(), &fault.problem.title, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_sentences_are_said() {
        assert!(Did { did: "approved".into() }.notice().is_some());
        assert!(Did { did: "<script>".into() }.notice().is_none());
        assert!(Did::default().notice().is_none());
    }
}
