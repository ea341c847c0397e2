//! Log-in, log-out, and who one is.

use crate::app::App;
use crate::auth::session::{ABSOLUTE_MS, end};
use crate::auth::{Person, Via, login::login};
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, StatusCode};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use sopwith_domain::people::Role;
use sopwith_protocol::api::{Login, Session, WhoAmI};
use std::net::SocketAddr;

pub fn routes() -> Vec<Route> {
    let viewer = Need::Role(Role::Viewer);
    vec![
        Route::api(Method::POST, "/api/v1/session", Need::Nobody, log_in)
            .about("Logs in by name and password")
            .takes("Login")
            .gives("Session")
            .secret(),
        Route::api(Method::DELETE, "/api/v1/session", viewer, log_out).about("Ends this session"),
        Route::api(Method::GET, "/api/v1/whoami", viewer, who_am_i).about("Says who one is").gives("WhoAmI"),
    ]
}

async fn log_in(
    State(app): State<App>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    Input(body): Input<Login>,
) -> Result<(StatusCode, CookieJar, Json<Session>), Fault> {
    let (_, session) = login(&app, from.ip(), &body.name, body.password).await?;
    let jar = jar.add(session_cookie(&app, session.token.clone()));
    let answer = Session { token: session.token, expires_at: session.expires_at.to_string() };
    Ok((StatusCode::CREATED, jar, Json(answer)))
}

async fn log_out(
    State(app): State<App>,
    person: Person,
    jar: CookieJar,
) -> Result<(StatusCode, CookieJar), Fault> {
    match person.via {
        Via::Session(hash) => end(&app, &person.name, hash).await?,
        Via::Token(_) => {
            return Err(Fault::invalid("this is an API token, not a session: revoke it instead"));
        }
    }
    Ok((StatusCode::NO_CONTENT, jar.add(spent_cookie(&app))))
}

async fn who_am_i(person: Person) -> Json<WhoAmI> {
    Json(WhoAmI { name: person.name.to_string(), role: person.role.to_string() })
}

/// Makes the cookie that carries a session's token.
pub fn session_cookie(app: &App, token: String) -> Cookie<'static> {
    Cookie::build((app.cookie_name(), token))
        .path("/")
        .secure(app.config.operator_tls)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(time::Duration::milliseconds(ABSOLUTE_MS))
        .build()
}

/// Makes the cookie that makes a browser forget the session.
pub fn spent_cookie(app: &App) -> Cookie<'static> {
    let mut cookie = session_cookie(app, String::new());
    cookie.make_removal();
    cookie
}
