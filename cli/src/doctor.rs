//! Looks at everything between the person and the hosts, one line a thing, with what to do about it. It changes nothing.

use crate::automation;
use crate::client::Client;
use crate::failure::Failure;
use crate::session::{Session, Trust};
use crate::ui::{Tone, Ui};
use crate::words;
use serde::Serialize;
use sopwith_domain::time::{HOUR_MS, Timestamp};
use sopwith_protocol::api;

/// Clocks further apart than this make relative times lie and short approvals expire early.
const CLOCK_DIFFERENCE_MS_WARN: i64 = 5_000;
const CLOCK_DIFFERENCE_MS_FAIL: i64 = 60_000;
/// Hosts that are looked at.
const HOSTS_MAX: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    what: &'static str,
    verdict: Verdict,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

fn line(what: &'static str, verdict: Verdict, text: impl Into<String>, todo: Option<&str>) -> Line {
    Line { what, verdict, text: text.into(), todo: todo.map(str::to_owned) }
}

/// Runs all checks that can be run and prints them.
pub async fn doctor(ui: &Ui) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let end = look(&mut lines, ui).await;
    ui.show(&lines, || text(&lines, ui))?;
    end?;
    if lines.iter().any(|l| l.verdict == Verdict::Fail) { Err(Failure::told()) } else { Ok(()) }
}

/// Goes from near to far and stops where nothing further can be reached.
async fn look(lines: &mut Vec<Line>, ui: &Ui) -> Result<(), Failure> {
    let session = match Session::load() {
        Ok(session) => session,
        Err(failure) => {
            lines.push(line("session", Verdict::Fail, failure.text, failure.help.as_deref()));
            return Err(Failure::told());
        }
    };
    lines.push(trust(&session));
    let client = Client::new(&session.url, Some(session.token.clone()), &session.trust)?;
    let asked = crate::ui::now();
    match client.probe("/readyz").await {
        Err(failure) => {
            lines.push(line("server", Verdict::Fail, failure.text.clone(), failure.help.as_deref()));
            return Err(Failure { text: String::new(), ..failure });
        }
        Ok((status, date, text)) => {
            lines.push(line("server", Verdict::Ok, format!("{} answers", session.url), None));
            lines.push(ready(status, &text));
            lines.extend(date.and_then(|date| clock(&date, asked)));
        }
    }
    match client.get::<api::WhoAmI>("/whoami").await {
        Err(failure) => {
            lines.push(line("session", Verdict::Fail, failure.text, failure.help.as_deref()));
            return Err(Failure::told());
        }
        Ok(who) => lines.push(session_line(&session, &who.view, ui)),
    }
    lines.push(automation_line(client.get("/automation").await, ui));
    lines.push(hosts_line(client.list("/hosts", "", HOSTS_MAX).await));
    lines.push(incidents_line(client.list("/incidents", "&open=true", HOSTS_MAX).await));
    Ok(())
}

fn trust(session: &Session) -> Line {
    match &session.trust {
        Trust::Pem(_) => line("CA", Verdict::Ok, "pinned by its certificate", None),
        Trust::Sha256(digest) => {
            line("CA", Verdict::Ok, format!("pinned by SHA-256 {}…", digest.short()), None)
        }
        Trust::System if session.url.starts_with("http://") => {
            line("CA", Verdict::Warn, "no TLS, loopback only", Some("use the server's https:// address"))
        }
        Trust::System => line("CA", Verdict::Ok, "this machine's roots decide", None),
    }
}

fn ready(status: u16, text: &str) -> Line {
    match status {
        200..=299 => line("ready", Verdict::Ok, "the server is ready", None),
        404 => line(
            "ready",
            Verdict::Fail,
            "there is no Sopwith server at this address",
            Some("check the address"),
        ),
        _ => line(
            "ready",
            Verdict::Fail,
            format!("the server is not ready ({status}): {}", text.trim()),
            Some("look at its journal: journalctl -u sopwith-server"),
        ),
    }
}

/// Compares this machine's clock with the server's, as far as a header in whole seconds can tell.
fn clock(date: &str, asked: Timestamp) -> Option<Line> {
    let server = http_date(date)?;
    let difference = asked.since(server);
    // The header is cut to whole seconds, so up to one second of difference is none.
    let apart = if difference < 0 { -difference } else { (difference - 1000).max(0) };
    let verdict = match apart {
        _ if apart >= CLOCK_DIFFERENCE_MS_FAIL => Verdict::Fail,
        _ if apart >= CLOCK_DIFFERENCE_MS_WARN => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let todo = (verdict != Verdict::Ok).then_some("synchronise both clocks, for instance with chrony");
    let text = match verdict {
        Verdict::Ok => "this clock and the server's agree".to_owned(),
        _ => format!("this clock and the server's are {} apart", words::duration(apart)),
    };
    Some(line("clock", verdict, text, todo))
}

/// Parses a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|m| m == month)? + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

fn session_line(session: &Session, who: &api::WhoAmI, ui: &Ui) -> Line {
    let text = format!("you are {} ({})", who.name, who.role);
    let expires = session.expires_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    match expires {
        Some(at) if at.since(ui.now) < HOUR_MS => line(
            "session",
            Verdict::Warn,
            format!("{text}; the session ends {}", words::relative(at, ui.now)),
            Some("sopwith login again before you need it"),
        ),
        _ => line("session", Verdict::Ok, text, None),
    }
}

fn automation_line(state: Result<crate::client::Answer<api::Automation>, Failure>, ui: &Ui) -> Line {
    match state {
        Err(failure) => line("automation", Verdict::Fail, failure.text, failure.help.as_deref()),
        Ok(answer) if answer.view.stopped => line(
            "automation",
            Verdict::Warn,
            automation::sentence(&answer.view, ui),
            Some("when it is safe: sopwith resume --reason …"),
        ),
        Ok(_) => line("automation", Verdict::Ok, "on", None),
    }
}

fn hosts_line(hosts: Result<crate::client::Answer<Vec<api::HostView>>, Failure>) -> Line {
    let hosts = match hosts {
        Err(failure) => return line("agents", Verdict::Fail, failure.text, failure.help.as_deref()),
        Ok(answer) => answer.view,
    };
    let named = |state: &str| -> Vec<&str> {
        hosts.iter().filter(|h| h.state == state).map(|h| h.host.as_str()).collect()
    };
    let (connected, silent) = (named("connected"), named("silent"));
    if connected.is_empty() && silent.is_empty() {
        return line("agents", Verdict::Warn, "no host has joined", Some("sopwith host join-token"));
    }
    if silent.is_empty() {
        return line("agents", Verdict::Ok, format!("{} connected", connected.len()), None);
    }
    let some = silent.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let more = if silent.len() > 5 { ", …" } else { "" };
    let text = format!("{} of {} silent: {some}{more}", silent.len(), silent.len() + connected.len());
    line("agents", Verdict::Fail, text, Some("on the host: sopwith-agent status"))
}

fn incidents_line(open: Result<crate::client::Answer<Vec<api::IncidentSummary>>, Failure>) -> Line {
    let open = match open {
        Err(failure) => return line("incidents", Verdict::Fail, failure.text, failure.help.as_deref()),
        Ok(answer) => answer.view,
    };
    let waiting = open.iter().filter(|i| i.needs_decision || i.phase == "needs_person").count();
    match (open.len(), waiting) {
        (0, _) => line("incidents", Verdict::Ok, "none open", None),
        (open, 0) => line("incidents", Verdict::Ok, format!("{open} open, none waits for a person"), None),
        (open, waiting) => line(
            "incidents",
            Verdict::Warn,
            format!("{open} open, {waiting} of them for a person"),
            Some("sopwith incident list"),
        ),
    }
}

fn text(lines: &[Line], ui: &Ui) -> String {
    let mut out = String::new();
    for line in lines {
        let (tone, word) = match line.verdict {
            Verdict::Ok => (Tone::Good, "✓ ok  "),
            Verdict::Warn => (Tone::Attention, "▲ warn"),
            Verdict::Fail => (Tone::Bad, "✗ fail"),
        };
        let mut texts = ui.wrap(&line.text, 20).into_iter();
        let first = texts.next().unwrap_or_default();
        out.push_str(&format!("{}  {:<10}  {first}\n", ui.paint(tone, word), line.what));
        texts.for_each(|text| out.push_str(&format!("{:20}{text}\n", "")));
        if let Some(todo) = &line.todo {
            let todo = format!("→ {todo}");
            ui.wrap(&todo, 20).iter().for_each(|text| out.push_str(&format!("{:20}{text}\n", "")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_to_the_second() {
        let date = "Sat, 31 Jan 2026 03:12:00 GMT";
        let server: Timestamp = "2026-01-31T03:12:00Z".parse().unwrap_or_default();
        let table = [
            (0, Verdict::Ok),
            (900, Verdict::Ok),
            (5_900, Verdict::Ok),
            (6_000, Verdict::Warn),
            (-5_000, Verdict::Warn),
            (61_000, Verdict::Fail),
            (-60_000, Verdict::Fail),
        ];
        for (ms, expected) in table {
            let line = clock(date, server.plus(ms));
            assert_eq!(line.map(|l| l.verdict), Some(expected), "{ms} ms");
        }
        assert!(clock("yesterday", server).is_none());
    }
}
