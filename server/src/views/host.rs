//! Hosts and the state of automation.

use sopwith_domain::declaration::Declaration;
use sopwith_domain::ids::HostId;
use sopwith_domain::signal::Subject;
use sopwith_domain::state::{Host, State};
use sopwith_domain::time::Timestamp;
use sopwith_protocol::api::{Automation, HostView};
use std::collections::BTreeMap;

/// What is known of a host from its last exchange and is no decision, so not in the journal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Presence {
    pub last_seen: Option<Timestamp>,
    pub agent_version: Option<String>,
    pub facts: BTreeMap<String, String>,
}

/// Returns a host as the list of hosts shows it.
pub fn host_view(state: &State, id: &HostId, host: &Host, presence: &Presence) -> HostView {
    let shown = if host.revoked {
        "revoked"
    } else if host.silent_since.is_some() {
        "silent"
    } else {
        "connected"
    };
    let open = state.incidents.values().filter(|incident| incident.host == *id && incident.open()).count();
    let broken = host.declarations.broken.iter().map(|file| format!("cannot be read, nothing runs: {file}"));
    HostView {
        host: id.to_string(),
        state: shown.into(),
        epoch: host.epoch.0,
        enrolled_at: host.enrolled_at.to_string(),
        last_seen: presence.last_seen.or(host.silent_since).map(|at| at.to_string()),
        agent_version: presence.agent_version.clone(),
        facts: presence.facts.clone(),
        open_incidents: open as u64,
        declarations: broken.chain(host.declarations.stated.iter().map(declaration)).collect(),
        items_lost: host.items_lost,
    }
}

fn declaration(declaration: &Declaration) -> String {
    let scope = |scope: &[Subject]| scope.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match declaration {
        Declaration::Maintenance { id, scope: on, from, to, by, reason } => {
            format!("maintenance {id} of {} by {by}, {from} to {to}: {reason}", scope(on))
        }
        Declaration::Hold { scope: on, by, reason, until } => {
            let until = until.map_or_else(String::new, |until| format!(" until {until}"));
            format!("hold on {} by {by}{until}: {reason}", scope(on))
        }
        Declaration::Expected { scope: on, load, from, to } => {
            format!("expected {load:?} load on {}, {from} to {to}", scope(on))
        }
        Declaration::Allow { ip, account, note } => {
            let what = ip.map(|ip| ip.to_string()).or_else(|| account.as_ref().map(ToString::to_string));
            format!("never block {} {note}", what.unwrap_or_default()).trim_end().to_owned()
        }
        Declaration::Account { name, human } => {
            format!("{name} is {}", if *human { "a person's account" } else { "a machine's account" })
        }
        Declaration::Fact { name, value } => format!("{name} is {value}"),
    }
}

/// Returns whether automation is on, and who stopped it why.
pub fn automation(state: &State) -> Automation {
    let stop = state.stop.as_ref();
    Automation {
        stopped: stop.is_some(),
        by: stop.map(|stop| stop.by.to_string()),
        reason: stop.map(|stop| stop.reason.clone()),
        since: stop.map(|stop| stop.since.to_string()),
    }
}
