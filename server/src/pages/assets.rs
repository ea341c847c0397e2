//! The style sheet, the script and the icon, compiled in. Their addresses carry a hash of their content, so that
//! browsers may keep them for ever.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sopwith_domain::ids::Digest;
use std::sync::LazyLock;

const CSS: &str = include_str!("../../assets/app.css");
const JS: &str = include_str!("../../assets/app.js");
const ICON: &str = include_str!("../../assets/icon.svg");

struct Asset {
    url: String,
    hash: String,
    kind: &'static str,
    text: &'static str,
}

static ALL: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |name: &str, kind, text: &'static str| {
        let hash = Digest::of(text.as_bytes()).short();
        Asset { url: format!("/assets/{hash}/{name}"), hash, kind, text }
    };
    [
        asset("app.css", "text/css; charset=utf-8", CSS),
        asset("app.js", "text/javascript; charset=utf-8", JS),
        asset("icon.svg", "image/svg+xml", ICON),
    ]
});

pub fn css_url() -> &'static str {
    &ALL[0].url
}
pub fn js_url() -> &'static str {
    &ALL[1].url
}
pub fn icon_url() -> &'static str {
    &ALL[2].url
}

/// Returns all addresses with their texts.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().map(|asset| (asset.url.as_str(), asset.text))
}

/// Serves an asset under its current hash; any other hash is not found.
pub async fn serve(Path((hash, name)): Path<(String, String)>) -> Response {
    let wanted = format!("/assets/{hash}/{name}");
    match ALL.iter().find(|asset| asset.hash == hash && asset.url == wanted) {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, asset.kind),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            asset.text,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
