//! Every route there is, in one table: door, method, path, who may, and what answers. What is not in the table
//! cannot be mounted and is 404; what is in it is refused unless its need is met.

use crate::app::App;
use crate::guard::{self, Guard};
use crate::problem::Fault;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use sopwith_domain::people::Role;

/// Largest body of an ordinary request, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Which port a route is served on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Operator,
    Agent,
}

impl Door {
    /// Returns the name by which metrics and log call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Agent => "agent",
        }
    }
}

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Anybody; the handler gives nothing away.
    Nobody,
    /// A host with an enrolled, unrevoked certificate.
    Agent,
    /// A person of at least this role.
    Role(Role),
}

/// Whom a refusal speaks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// Programs: problem details.
    Api,
    /// People: they are sent to log in.
    Page,
}

/// One row of the table.
pub struct Route {
    pub door: Door,
    pub method: Method,
    pub path: &'static str,
    pub need: Need,
    pub face: Face,
    /// One line for the API's documentation.
    pub about: &'static str,
    /// Names of the types of body and answer, for the same.
    pub takes: Option<&'static str>,
    pub gives: Option<&'static str>,
    pub body_bytes_max: usize,
    /// The answer holds a secret, so it is not remembered for a repeated request.
    pub secret: bool,
    handler: MethodRouter<App>,
}

impl Route {
    /// Makes a row for programs on the operators' door.
    pub fn api<H, T>(method: Method, path: &'static str, need: Need, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            door: Door::Operator,
            method,
            path,
            need,
            face: Face::Api,
            about: "",
            takes: None,
            gives: None,
            body_bytes_max: BODY_BYTES_MAX,
            secret: false,
            handler: on(filter, handler),
        }
    }

    /// Makes a row for people on the operators' door.
    pub fn page<H, T>(method: Method, path: &'static str, need: Need, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self { face: Face::Page, ..Self::api(method, path, need, handler) }
    }

    /// Makes a row on the agents' door.
    pub fn agent<H, T>(method: Method, path: &'static str, need: Need, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self { door: Door::Agent, ..Self::api(method, path, need, handler) }
    }

    #[must_use]
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    #[must_use]
    pub fn takes(self, body: &'static str) -> Self {
        Self { takes: Some(body), ..self }
    }

    #[must_use]
    pub fn gives(self, answer: &'static str) -> Self {
        Self { gives: Some(answer), ..self }
    }

    #[must_use]
    pub fn body_max(self, body_bytes_max: usize) -> Self {
        Self { body_bytes_max, ..self }
    }

    #[must_use]
    pub fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// Returns the whole table.
pub fn table() -> Vec<Route> {
    let mut routes = crate::api::routes();
    routes.extend(crate::exchange::routes());
    routes.extend(crate::telemetry::routes());
    routes.extend(crate::pages::routes());
    routes
}

/// Mounts the table's rows for one door, each behind its guard.
pub fn router(app: &App, door: Door) -> Router {
    let mut router = Router::new();
    for route in table().into_iter().filter(|route| route.door == door) {
        let guard = Guard {
            app: app.clone(),
            need: route.need,
            face: route.face,
            body_bytes_max: route.body_bytes_max,
            secret: route.secret,
        };
        let guarded = route.handler.route_layer(from_fn_with_state(guard, guard::guard));
        router = router.route(route.path, guarded);
    }
    router
        .fallback(|| async { Fault::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Fault::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Not this way",
                "this address does not take this method",
            )
        })
        .with_state(app.clone())
}
