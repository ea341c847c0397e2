//! When hosts are left alone: maintenance and holds that their administrators declared.

use sopwith_domain::declaration::Declaration;
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;

/// A time in which nothing is started in a scope of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    pub host: String,
    /// As in `maintenance MW-1`.
    pub what: String,
    pub scope: Vec<String>,
    pub by: String,
    pub reason: String,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Whether it holds at this moment.
    pub now: bool,
}

/// Returns the windows that are open or to come, the open ones first.
pub fn windows(state: &State, now: Timestamp) -> Vec<Window> {
    let live = state.hosts.iter().filter(|(_, host)| !host.revoked);
    let stated = live.flat_map(|(id, host)| host.declarations.stated.iter().map(move |one| (id, one)));
    let texts = |scope: &[sopwith_domain::signal::Subject]| scope.iter().map(ToString::to_string).collect();
    let windows = stated.filter_map(|(host, declaration)| {
        let (what, scope, by, reason, from, until) = match declaration {
            Declaration::Maintenance { id, scope, from, to, by, reason } => {
                (format!("maintenance {id}"), scope, by, reason, Some(*from), Some(*to))
            }
            Declaration::Hold { scope, by, reason, until } => {
                ("hold".to_owned(), scope, by, reason, None, *until)
            }
            _ => return None,
        };
        let window = Window {
            host: host.to_string(),
            what,
            scope: texts(scope),
            by: by.clone(),
            reason: reason.clone(),
            from,
            until,
            now: from.is_none_or(|from| from <= now),
        };
        until.is_none_or(|until| until > now).then_some(window)
    });
    let mut windows: Vec<Window> = windows.collect();
    windows.sort_by_key(|window| (!window.now, window.from, window.until));
    windows
}
