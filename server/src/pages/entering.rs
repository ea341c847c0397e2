//! Signing in and out, with name and password or once by a link made on the server's machine.

use super::answer::{Fields, on_to, plain_fault, refusal, show_bare};
use super::frame::{Notice, notice_box};
use super::more;
use crate::api::{session_cookie, spent_cookie};
use crate::app::App;
use crate::auth::login::login;
use crate::auth::{Person, Via, one_time, session};
use crate::problem::Fault;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum_extra::extract::CookieJar;
use maud::html;
use serde::Deserialize;
use std::net::SocketAddr;

#[derive(Debug, Default, Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// Returns the path if it is one of this server, else the overview.
fn own(path: &str) -> &str {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if path.starts_with('/') && !path.starts_with("//") && plain { path } else { "/" }
}

pub async fn form(person: Option<axum::Extension<Person>>, Query(query): Query<Next>) -> Response {
    match person {
        Some(_) => on_to(own(&query.next)),
        None => shown(StatusCode::OK, None, "", own(&query.next)),
    }
}

fn shown(status: StatusCode, notice: Option<&Notice>, name: &str, next: &str) -> Response {
    (status, Html(more::login(notice, name, next).into_string())).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginFields {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub async fn enter(
    State(app): State<App>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    Fields(fields): Fields<LoginFields>,
) -> Response {
    match login(&app, from.ip(), fields.name.trim(), fields.password).await {
        Ok((_, session)) => {
            let jar = jar.add(session_cookie(&app, session.token));
            (jar, on_to(own(&fields.next))).into_response()
        }
        Err(failed) => {
            let fault = Fault::from(failed);
            shown(fault.status(), Some(&refusal(&fault)), fields.name.trim(), own(&fields.next))
        }
    }
}

/// Asks before the link is used up, so that a preview of it does not use it.
pub async fn once_form(Path(token): Path<String>) -> Response {
    let content = html! {
        h1 { "Sign in with a one-time link" }
        p { "It works once, for ten minutes after it was made." }
        form method="post" action={ "/login/once/" (token) } {
            div.actions { button.primary autofocus { "Sign in" } }
        }
    };
    show_bare(StatusCode::OK, "Sign in", content)
}

pub async fn once(State(app): State<App>, jar: CookieJar, Path(token): Path<String>) -> Response {
    match one_time::spend(&app, &token).await {
        Ok((_, session)) => (jar.add(session_cookie(&app, session.token)), on_to("/")).into_response(),
        Err(failed) => {
            let fault = Fault::from(failed);
            let content = html! {
                h1 { "The link does not work" }
                (notice_box(&refusal(&fault)))
                p { a href="/login" { "Sign in with name and password" } }
            };
            show_bare(fault.status(), "Sign in", content)
        }
    }
}

pub async fn leave(State(app): State<App>, person: Person, jar: CookieJar) -> Response {
    if let Via::Session(hash) = person.via
        && let Err(failed) = session::end(&app, &person.name, hash).await
    {
        return plain_fault(&failed.into());
    }
    (jar.add(spent_cookie(&app)), on_to("/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn only_paths_of_this_server_are_followed() {
        let table = [
            ("/incidents/7?did=x", "/incidents/7?did=x"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("javascript:alert(1)", "/"),
        ];
        for (asked, followed) in table {
            assert_eq!(own(asked), followed, "{asked:?}");
        }
    }
}
