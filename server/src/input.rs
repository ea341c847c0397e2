//! Bodies that people and programs send: bounded, JSON, and understood whole or refused.

use crate::problem::Fault;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

/// Most bytes of this request's body; set by the guard from the route table.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// A JSON body.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        let limit = request.extensions().get::<BodyLimit>().map_or(0, |limit| limit.0);
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()?.split(';').next());
        if kind.map(str::trim) != Some("application/json") {
            return Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "The request cannot be understood",
                "the body must be JSON with content type application/json",
            ));
        }
        let bytes = read(body, limit).await?;
        parse(&bytes).map(Self)
    }
}

/// Reads a body whole, or refuses it when it is longer than the limit.
///
/// # Errors
/// Says that the body is too large or broke off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Fault> {
    to_bytes(body, limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        match source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            true => Fault::too_large(limit),
            false => Fault::malformed(format!("the body broke off: {error}")),
        }
    })
}

/// Parses a JSON object, or says where it goes wrong. A list is refused, though serde would take its entries for the
/// fields in their order.
///
/// # Errors
/// Names line and column.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Fault::malformed("the body is not a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| Fault::malformed(error.to_string()))
}
