//! Actions and checks of an SOP as sentences, with the parameters still in them.

use maud::{Markup, html};
use serde_json::{Map, Value as Json};

/// Action or check → sentence; names in braces are arguments.
const ACTIONS: &[(&str, &str)] = &[
    ("unit.start", "Start {unit}"),
    ("unit.stop", "Stop {unit}"),
    ("unit.restart", "Restart {unit}"),
    ("unit.reload", "Have {unit} reload its configuration"),
    ("unit.reset-failed", "Clear the failed state of {unit}"),
    ("unit.enable", "Have {unit} start with the host"),
    ("unit.disable", "Have {unit} no longer start with the host"),
    ("unit.mask", "Mask {unit}, so that nothing can start it"),
    ("unit.unmask", "Unmask {unit}"),
    ("unit.read-definitions", "Have systemd read its units again, for what the files of {unit} say now"),
    ("socket.remove", "Remove the socket {path}, at which nobody listens"),
    ("directory.create", "Make the folder {path} with mode {mode} for user {user}, group {group}"),
    ("link.up", "Set the interface {interface} up"),
    ("process.signal", "Send {signal} to process {process}"),
    ("file.truncate", "Empty {path}, keeping a copy where it fits"),
    ("file.rotate", "Rotate {path}, keeping {keep} old files"),
    ("file.prune", "Move {pattern} in {directory} to quarantine, but for the newest {keep_newest}"),
    ("file.quarantine", "Move {path} to quarantine"),
    ("file.restore", "Restore {path} from {from}"),
    ("file.write", "Write {content} to {path}"),
    ("file.edit", "Set {key} to {value} in {path}"),
    ("file.move", "Move {path} to {to}"),
    ("file.mode", "Set the mode of {path} to {mode}"),
    ("file.owner", "Set the owner of {path} to user {user}, group {group}"),
    ("file.reclaim-deleted", "Empty the deleted file {path} that process {process} still holds open"),
    ("account.lock", "Lock the account {account} and let it expire"),
    ("account.unlock", "Unlock the account {account}"),
    ("account.expiry", "Let the account {account} last {days} days more"),
    ("package.configure", "Have dpkg configure {package}"),
    ("operator.command", "Run {command}, a command that the host's administrator named"),
    ("command", "Run {argv}"),
];

const CHECKS: &[(&str, &str)] = &[
    ("unit.active", "{unit} is active"),
    ("unit.not-active", "{unit} is not active"),
    ("unit.not-failed", "{unit} has not failed"),
    ("unit.writes", "{unit} writes to {path}"),
    ("unit.enabled", "{unit} starts with the host"),
    ("unit.not-enabled", "{unit} is disabled"),
    ("http.ok", "{url} answers with success"),
    ("file.exists", "{path} exists"),
    ("file.absent", "{path} does not exist"),
    ("file.same", "{path} holds the same bytes as {other}"),
    ("file.differs", "{path} differs from {other}"),
    ("file.fresh", "{path} was written in the last {within_s} s"),
    ("file.mode-is", "{path} has mode {mode}"),
    ("file.owner-is", "{path} belongs to user {user}, group {group}"),
    ("file.key-is", "{path} says {value} for {key}"),
    ("filesystem.below", "the file system of {path} is used below {used_percent} %"),
    ("filesystem.inodes-below", "the inodes of the file system of {path} are used below {used_percent} %"),
    ("pidfile.stale", "{path} names no living process of {unit}"),
    ("socket.stale", "{path} is a socket at which nobody listens"),
    ("process.not-stopped", "process {process} lives and is not stopped"),
    ("link.is-up", "the interface {interface} is up"),
    ("process.gone", "process {process} is gone"),
    ("process.present", "process {process} is still the same one"),
    ("address.foreign", "{ip} is another machine's address, neither this host's nor the server's"),
    ("account.locked", "no password and no key opens {account}"),
    ("account.usable", "neither {account} nor its password has run out"),
    ("account.unused", "no process runs as {account} and no crontab is its own"),
    ("package.configured", "the package {package} is whole"),
    ("package.manager-free", "nobody is installing packages"),
    ("sudoers.valid", "sudo understands its configuration"),
    ("sshd.valid", "sshd understands its configuration"),
    ("sshd.runs-with", "sshd would run with {key} {value}"),
    ("logrotate.valid", "logrotate understands {path}"),
    ("certificate.valid", "the certificate in {path} is valid for {days} days more"),
    ("check.passes", "the host's check {name} passes"),
];

pub fn action(name: &str, with: &Map<String, Json>) -> Markup {
    sentence(ACTIONS, name, with)
}

pub fn check(name: &str, with: &Map<String, Json>) -> Markup {
    match name {
        "command.ok" => html! { (argument(with.get("argv"))) " exits with 0" },
        _ => sentence(CHECKS, name, with),
    }
}

/// Says how a step is taken back.
pub fn undo(action: &str, with: &Map<String, Json>) -> Markup {
    match action {
        "unit.reload" | "unit.reset-failed" | "process.signal" => {
            html! { "Nothing to put back; it leaves nothing behind" }
        }
        "package.configure" => html! { "Cannot be undone" },
        "command" => html! { "Run " (argument(with.get("undo_argv"))) },
        _ => html! { "Put back what was there before, as captured on the host" },
    }
}

fn sentence(table: &[(&str, &str)], name: &str, with: &Map<String, Json>) -> Markup {
    let Some((_, pattern)) = table.iter().find(|(known, _)| *known == name) else {
        return html! { code { (name) } @for (key, value) in with { " " (key) " " (argument(Some(value))) } };
    };
    html! {
        @for (index, part) in pattern.split(['{', '}']).enumerate() {
            @if index % 2 == 0 { (part) } @else { (argument(with.get(part))) }
        }
    }
}

/// Returns an argument: a parameter by its name, a list as its parts, anything else as it stands.
fn argument(value: Option<&Json>) -> Markup {
    html! {
        @match value {
            None => var { "?" },
            Some(Json::String(text)) => @match text.strip_prefix('$') {
                Some(parameter) => var { (parameter) },
                None => code { (text) },
            },
            Some(Json::Array(parts)) => @for (index, part) in parts.iter().enumerate() {
                @if index > 0 { " " }
                (argument(Some(part)))
            },
            Some(other) => code { (other) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(markup: &Markup) -> String {
        let mut out = String::new();
        let mut inside = false;
        for c in markup.0.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => out.push(c),
                _ => {}
            }
        }
        out
    }

    #[test]
    fn templates_read_as_sentences() {
        let with = |json: &str| serde_json::from_str::<Map<String, Json>>(json).unwrap();
        let cases = [
            (action("unit.restart", &with(r#"{"unit":"$unit"}"#)), "Restart unit"),
            (
                action("file.rotate", &with(r#"{"path":"/var/log/a","keep":3}"#)),
                "Rotate /var/log/a, keeping 3 old files",
            ),
            (action("command", &with(r#"{"argv":["/bin/x","$unit"]}"#)), "Run /bin/x unit"),
            (action("new.action", &with(r#"{"a":1}"#)), "new.action a 1"),
            (check("command.ok", &with(r#"{"argv":["/bin/true"]}"#)), "/bin/true exits with 0"),
            (check("unit.active", &with("{}")), "? is active"),
            (undo("command", &with(r#"{"undo_argv":["/bin/y"]}"#)), "Run /bin/y"),
        ];
        for (markup, expected) in cases {
            assert_eq!(text(&markup), expected);
        }
    }
}
