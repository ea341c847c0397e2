//! Follows one run live: its records, and what the program of the running step says. The event stream only says that
//! something changed; what is shown is asked for afresh.

use crate::client::Client;
use crate::failure::Failure;
use crate::run;
use crate::sse::Parser;
use crate::ui::{Format, Ui};
use sopwith_domain::ids::Digest;
use sopwith_domain::run::End;
use sopwith_protocol::api::{Change, LiveView, RunView};
use std::time::Duration;

/// Wait before the stream is opened again, and how often that is tried in a row.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);
const RECONNECTS_MAX: usize = 10;

/// What has been shown already.
#[derive(Debug, Default)]
struct Shown {
    records: usize,
    /// The step that speaks, and how far its text was shown.
    spoken: (usize, u64),
    /// Text after the last whole line.
    rest: String,
}

pub async fn watch(digest: Digest, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let mut shown = Shown::default();
    let mut failures = 0;
    loop {
        match follow(digest, &mut shown, &mut failures, client, ui).await {
            Ok(Some(end)) => return end,
            Ok(None) => {}
            Err(failure) if failure.exit_code() != 4 || failures >= RECONNECTS_MAX => return Err(failure),
            Err(failure) => eprintln!("  … {}; trying again", failure.text),
        }
        failures += 1;
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

/// Follows one connection. Returns how the run ended, or nothing if only the connection did.
async fn follow(
    digest: Digest,
    shown: &mut Shown,
    failures: &mut usize,
    client: &Client,
    ui: &Ui,
) -> Result<Option<Result<(), Failure>>, Failure> {
    // The stream is open before the first look, so nothing can happen between the two unseen.
    let mut stream = client.events(None).await?;
    if let Some(end) = look(digest, shown, client, ui).await? {
        return Ok(Some(end));
    }
    let mut parser = Parser::default();
    while let Some(bytes) = stream.chunk().await.map_err(|e| client.unreachable(&e))? {
        *failures = 0;
        let events =
            parser.feed(&bytes).map_err(|_| Failure::failed("the event stream is not understood"))?;
        // What cannot be read, or tells that something was missed, may concern it too.
        let concerns = |data: &str| {
            let other = |change: Change| change.run != Some(digest) && change.event != "resync";
            !serde_json::from_str(data).is_ok_and(other)
        };
        if events.iter().any(|event| concerns(&event.data))
            && let Some(end) = look(digest, shown, client, ui).await?
        {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// Shows what is new, and says how the run ended if it has.
async fn look(
    digest: Digest,
    shown: &mut Shown,
    client: &Client,
    ui: &Ui,
) -> Result<Option<Result<(), Failure>>, Failure> {
    let answer = client.get::<RunView>(&format!("/runs/{digest}")).await?;
    let text = news(&answer.view, shown, ui);
    match ui.format {
        Format::Table if text.is_empty() => {}
        Format::Table => ui.say(text.trim_end())?,
        _ => ui.show(&answer.raw, String::new)?,
    }
    Ok(answer.view.end.map(|end| match end {
        End::Resolved => Ok(()),
        End::RolledBack { reason } => Err(Failure::failed(format!("the run was undone: {reason}"))),
        End::Parked { reason, .. } => Err(Failure::failed(format!("the run needs a person: {reason}"))),
    }))
}

fn news(view: &RunView, shown: &mut Shown, ui: &Ui) -> String {
    let mut out = String::new();
    let fresh = &view.records[shown.records.min(view.records.len())..];
    if !fresh.is_empty() {
        flush(&mut out, shown);
    }
    fresh.iter().for_each(|record| run::told(&mut out, record, ui));
    shown.records = view.records.len();
    if let Some(said) = &view.live {
        spoken(&mut out, said, shown);
    }
    out
}

/// Adds the whole lines that were said since.
fn spoken(out: &mut String, said: &LiveView, shown: &mut Shown) {
    if shown.spoken.0 != said.step {
        shown.spoken = (said.step, 0);
        shown.rest.clear();
    }
    let from = shown.spoken.1.max(said.before);
    if from > shown.spoken.1 {
        flush(out, shown);
        run::says(out, &format!("… {} bytes were said before anybody looked …", from - shown.spoken.1));
    }
    let fresh = usize::try_from(from - said.before).ok().and_then(|skip| said.text.get(skip..));
    shown.rest.push_str(fresh.unwrap_or_default());
    shown.spoken.1 = said.before + said.text.len() as u64;
    if let Some(end) = shown.rest.rfind('\n') {
        let rest = shown.rest.split_off(end + 1);
        shown.rest.lines().for_each(|line| run::says(out, line));
        shown.rest = rest;
    }
}

/// Adds what stands after the last whole line.
fn flush(out: &mut String, shown: &mut Shown) {
    if !shown.rest.is_empty() {
        run::says(out, &std::mem::take(&mut shown.rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_shown_once_and_line_by_line() {
        let mut shown = Shown::default();
        let mut says = |step, before, text: &str| {
            let mut out = String::new();
            let said = LiveView { step, text: text.into(), before, through: 0 };
            spoken(&mut out, &said, &mut shown);
            out.lines().map(|line| line.trim_start().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(says(0, 0, "one\ntw"), ["┆ one"]);
        assert_eq!(says(0, 0, "one\ntw"), [""; 0]);
        assert_eq!(says(0, 4, "two\nthree\n"), ["┆ two", "┆ three"]);
        assert_eq!(says(0, 100, "late\n"), ["┆ … 86 bytes were said before anybody looked …", "┆ late"]);
        assert_eq!(says(1, 0, "next\n"), ["┆ next"]);
    }
}
