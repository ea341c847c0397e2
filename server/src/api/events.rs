//! Live news for pages and programs: that something changed, over server-sent events. A reader that cannot keep up
//! is told to look at everything anew.

use crate::app::App;
use crate::routes::{Need, Route};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{AppendHeaders, IntoResponse};
use futures_util::{Stream, StreamExt};
use sopwith_domain::people::Role;
use sopwith_protocol::api::Change;
use std::convert::Infallible;
use std::time::Duration;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// How often a quiet stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What tells a reader that it has missed something.
const RESYNC: &str = "resync";

pub fn routes() -> Vec<Route> {
    vec![Route::api(Method::GET, "/api/v1/events", Need::Role(Role::Viewer), events).about(
        "Tells what changes, as server-sent events of Change; `resync` means: look at everything anew",
    )]
}

async fn events(State(app): State<App>, headers: HeaderMap) -> impl IntoResponse {
    let changes = BroadcastStream::new(app.ledger.news().changes());
    let last_seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let head = app.ledger.head().seq;
    let missed = last_seen.is_some_and(|seq| seq != head);
    let first = futures_util::stream::iter(missed.then(|| resync(head)));
    let live = changes.map(move |change| match change {
        Ok(change) => change,
        Err(BroadcastStreamRecvError::Lagged(_)) => resync(head),
    });
    let stream = first.chain(live).map(|change| Ok::<_, Infallible>(told(&change)));
    let stream = stream.take_until(app.shutdown.clone().cancelled_owned());
    let no_buffering = AppendHeaders([(HeaderName::from_static("x-accel-buffering"), "no")]);
    (no_buffering, sse(stream))
}

fn sse<S: Stream<Item = Result<Event, Infallible>> + Send + 'static>(
    stream: S,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive"))
}

fn resync(seq: u64) -> Change {
    Change { seq, event: RESYNC.into(), incident: None, run: None }
}

fn told(change: &Change) -> Event {
    let data = serde_json::to_string(change).unwrap_or_default();
    Event::default().id(change.seq.to_string()).data(data)
}
