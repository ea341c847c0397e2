//! Errors as operators and agents read them: `application/problem+json` (RFC 9457) with a stable code each.

use crate::ledger::Failed;
use crate::readers::ReadFailed;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sopwith_domain::command::Refusal;
use sopwith_protocol::api::Problem;
use sopwith_protocol::plain::visible;

/// A problem on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub problem: Box<Problem>,
    /// Seconds after which a retry makes sense.
    pub retry_after_s: Option<u64>,
    /// What is current, where the request rested on something older.
    pub etag: Option<String>,
}

impl Fault {
    pub fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            kind: format!("/problems/{code}"),
            title: title.into(),
            status: status.as_u16(),
            detail: visible(&detail.into()).into_owned(),
            help: None,
            errors: Vec::new(),
        };
        Self { problem: Box::new(problem), retry_after_s: None, etag: None }
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.problem.help = Some(help.into());
        self
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the stable code, as in `plan-changed`.
    pub fn code(&self) -> &str {
        self.problem.kind.trim_start_matches("/problems/")
    }

    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", what)
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "That cannot be accepted", detail)
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be understood", detail)
    }

    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body has more than {limit} bytes, which is the most that is read here");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail)
    }

    pub fn unauthenticated() -> Self {
        let detail = "no valid session or token came with the request";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Log in first", detail)
            .help("Log in, or send `Authorization: Bearer TOKEN`.")
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not permitted", detail)
    }

    /// Something of ours failed; its text goes to the log, not to whoever asked.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        let detail = "the server failed to answer; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed", detail)
    }
}

impl From<ReadFailed> for Fault {
    fn from(error: ReadFailed) -> Self {
        Self::internal(&error)
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) => refused(&refusal),
            Failed::TurnedAway(reason) => {
                let status = match reason.code {
                    "token-used" | "token-unknown" => StatusCode::FORBIDDEN,
                    "idempotency-key-reused" => StatusCode::UNPROCESSABLE_ENTITY,
                    "not-found" => StatusCode::NOT_FOUND,
                    _ => StatusCode::CONFLICT,
                };
                Self::new(status, reason.code, "That cannot be done", reason.reason)
            }
            Failed::Down => {
                let detail = "the server is shutting down; ask again when it is back";
                let mut fault =
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "Not now", detail);
                fault.retry_after_s = Some(5);
                fault
            }
        }
    }
}

fn refused(refusal: &Refusal) -> Fault {
    let (status, title) = match refusal {
        Refusal::UnknownHost(_)
        | Refusal::UnknownIncident(_)
        | Refusal::UnknownProblem(_)
        | Refusal::UnknownRun(_) => (StatusCode::NOT_FOUND, "There is no such thing"),
        Refusal::HostRevoked(_) | Refusal::UnknownPerson(_) | Refusal::RoleTooLow { .. } => {
            (StatusCode::FORBIDDEN, "This is not permitted")
        }
        Refusal::PlanChanged { .. } => (StatusCode::PRECONDITION_FAILED, "The plan changed"),
        Refusal::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "That cannot be accepted"),
        Refusal::OtherEpoch { .. }
        | Refusal::Hole { .. }
        | Refusal::NothingToDecide { .. }
        | Refusal::AlreadyDecided(_)
        | Refusal::RunEnded(_)
        | Refusal::Unchanged(_) => (StatusCode::CONFLICT, "It is not so any more"),
    };
    let mut fault = Fault::new(status, refusal.code(), title, refusal.to_string());
    if let Refusal::PlanChanged { current, .. } = refusal {
        fault.etag = Some(format!("\"{current}\""));
        fault.problem.help = Some(format!("Read plan {} and decide on that.", current.short()));
        fault.problem.errors = vec![current.to_string()];
    }
    fault
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&*self.problem).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(etag) = self.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
            headers.insert(header::ETAG, etag);
        }
        if self.problem.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
