//! A person's own API tokens.

use crate::app::App;
use crate::auth::Person;
use crate::auth::token::{self, LABEL_BYTES_MAX, TokenRow};
use crate::input::Input;
use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use sopwith_domain::people::Role;
use sopwith_domain::time::SECOND_MS;
use sopwith_protocol::api::{NewToken, Page, TokenBody};

/// Longest life that can be asked for, in seconds: ten years.
const VALID_S_MAX: u64 = 10 * 365 * 86_400;

pub fn routes() -> Vec<Route> {
    let viewer = Need::Role(Role::Viewer);
    vec![
        Route::api(Method::POST, "/api/v1/tokens", viewer, make)
            .about("Makes an API token with one's own role; it is shown once")
            .takes("TokenBody")
            .gives("NewToken")
            .secret(),
        Route::api(Method::GET, "/api/v1/tokens", viewer, list)
            .about("Lists one's own tokens")
            .gives("PageOfTokenRow"),
        Route::api(Method::DELETE, "/api/v1/tokens/{id}", viewer, revoke)
            .about("Revokes one of one's own tokens"),
    ]
}

async fn make(
    State(app): State<App>,
    person: Person,
    Input(body): Input<TokenBody>,
) -> Result<(StatusCode, Json<NewToken>), Fault> {
    if body.name.is_empty() || body.name.len() > LABEL_BYTES_MAX {
        return Err(Fault::invalid(format!("name is empty or has more than {LABEL_BYTES_MAX} bytes")));
    }
    let expires_at = match body.valid_s {
        Some(s) if s == 0 || s > VALID_S_MAX => {
            return Err(Fault::invalid(format!("valid_s is {s}, must be 1 to {VALID_S_MAX}")));
        }
        Some(s) => i64::try_from(s).ok().map(|s| app.ledger.now().plus(s.saturating_mul(SECOND_MS))),
        None => None,
    };
    let (id, token) = token::make(&app, &person.name, body.name, expires_at).await?;
    let made = NewToken { id, token, expires_at: expires_at.map(|at| at.to_string()) };
    Ok((StatusCode::CREATED, Json(made)))
}

async fn list(State(app): State<App>, person: Person) -> Result<Json<Page<TokenRow>>, Fault> {
    let items = app.readers.read(move |db| token::list(db, &person.name)).await?;
    Ok(Json(Page { items, next: None }))
}

async fn revoke(State(app): State<App>, person: Person, Path(id): Path<String>) -> Result<StatusCode, Fault> {
    token::revoke(&app, &person.name, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
