//! sudo: who may write what it reads, whether it understands it, and who needs no password for everything.

use super::host::{Asked, Host, Looked};
use super::norm::{self, Breach};
use sopwith_domain::signal::Severity;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

/// Most files that include each other.
const FILES_MAX: usize = 200;

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    let files = files(host, looked);
    for (path, text) in &files {
        writable(host, path, looked);
        grants(host, path, text, looked);
    }
    let folders: BTreeSet<_> = files
        .iter()
        .filter_map(|(path, _)| path.rsplit_once('/'))
        .map(|(folder, _)| folder.to_owned())
        .collect();
    folders.iter().filter(|folder| *folder != "/etc").for_each(|folder| writable(host, folder, looked));
    understood(host, looked);
}

/// Returns every file that sudo reads, with its text.
fn files(host: &Host<'_>, looked: &mut Looked) -> Vec<(String, String)> {
    let (mut found, mut todo) = (Vec::new(), vec!["/etc/sudoers".to_owned()]);
    let mut known = BTreeSet::new();
    while let Some(path) = todo.pop() {
        if found.len() >= FILES_MAX || !known.insert(path.clone()) {
            continue;
        }
        let Some(text) = host.text(&path, looked) else { continue };
        for (folder, name) in text.lines().filter_map(included) {
            let absolute = if name.starts_with('/') { name.to_owned() } else { format!("/etc/{name}") };
            if !folder {
                todo.push(absolute);
                continue;
            }
            // sudo itself leaves these out: copies of editors and of package managers.
            let taken = |name: &String| !name.contains('.') && !name.ends_with('~');
            todo.extend(
                host.names(&absolute, looked)
                    .into_iter()
                    .filter(taken)
                    .map(|name| format!("{absolute}/{name}")),
            );
        }
        found.push((path, text));
    }
    found.sort();
    found
}

/// Returns what a line includes, and whether that is a folder.
fn included(line: &str) -> Option<(bool, &str)> {
    let line = line.trim();
    let rest = line.strip_prefix(['@', '#'])?;
    let (word, path) = rest.split_once(char::is_whitespace)?;
    let path = path.trim().trim_matches('"');
    match word {
        "includedir" => Some((true, path)),
        "include" => Some((false, path)),
        _ => None,
    }
}

fn writable(host: &Host<'_>, path: &str, looked: &mut Looked) {
    let Some(metadata) = host.metadata(path, looked) else { return };
    let mode = metadata.mode() & 0o7777;
    let foreign = metadata.uid() != 0 && host.root == std::path::Path::new("/");
    // The group root is the owner's own.
    let group = mode & 0o020 != 0 && metadata.gid() != 0;
    if mode & 0o002 == 0 && !group && !foreign || host.elsewhere.tells_of(path) {
        return;
    }
    let wanted = if metadata.is_dir() { "0750" } else { "0440" };
    let text = format!(
        "{path} has mode {mode:04o} and belongs to user {}: others than root can write it",
        metadata.uid()
    );
    looked.breach(
        Breach::new(norm::SUDOERS_WRITABLE, norm::file(path), text)
            .path("path", path)
            .word("mode", &format!("{mode:04o}"))
            .word("wanted_mode", wanted)
            .integer("owner", metadata.uid()),
    );
}

/// Says who gets everything without a password, and who has switched passwords off.
fn grants(host: &Host<'_>, path: &str, text: &str, looked: &mut Looked) {
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let off = line.starts_with("Defaults") && line.contains("!authenticate");
        let Some((who, what)) = line.split_once(char::is_whitespace) else { continue };
        if !off && !everything_without_password(what) {
            continue;
        }
        let text = match off {
            true => format!("{path}: passwords are switched off ({line})"),
            false => format!("{path}: {who} may run everything without a password"),
        };
        let brought = !off && brought_by_cloud_init(host, path, &joined);
        let severity = match (off, brought) {
            (true, _) => Severity::Critical,
            (false, true) => Severity::Information,
            (false, false) => norm::SUDOERS_NOPASSWD.severity,
        };
        let breach = Breach::new(norm::SUDOERS_NOPASSWD, norm::file(path), text).severity(severity);
        let breach = breach.path("path", path).word("principal", who).show(line);
        looked.breach(if brought { breach.word("brought_by", "cloud-init") } else { breach });
        // One file is one breach.
        return;
    }
}

/// Says whether what follows `who` grants ALL without a password: tags count for all that follows them.
fn everything_without_password(what: &str) -> bool {
    let Some((_, commands)) = what.split_once('=') else { return false };
    let (mut free, mut outside) = (false, String::new());
    // What stands in brackets says as whom, not what.
    let mut depth = 0;
    for c in commands.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    outside.split(',').any(|command| {
        let mut rest = command.trim();
        while let Some((tag, after)) = rest.split_once(':') {
            match tag.trim() {
                "NOPASSWD" => free = true,
                "PASSWD" => free = false,
                tag if tag.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {}
                _ => break,
            }
            rest = after.trim();
        }
        free && rest == "ALL"
    })
}

fn understood(host: &Host<'_>, looked: &mut Looked) {
    let Some((code, output, errors)) = host.answer(Asked::Visudo, looked) else { return };
    let said = format!("{output}{errors}");
    if code == 0 || said.to_ascii_lowercase().contains("permission denied") {
        if code != 0 {
            looked.trouble("visudo may not read what it is to check: the agent lacks CAP_DAC_READ_SEARCH");
        }
        return;
    }
    // Modes are judged above; visudo wants less than sudo demands.
    let of_modes =
        |line: &str| line.contains("bad permissions") || line.contains("parsed OK") || line.trim().is_empty();
    if said.lines().all(of_modes) {
        return;
    }
    // A file that others can write is told as such; visudo says no more of it.
    let told = |path: &str| {
        looked.breaches.iter().any(|b| b.norm == norm::SUDOERS_WRITABLE && b.subject == norm::file(path))
    };
    let mut places = said.lines().filter(|line| !of_modes(line)).filter_map(place).peekable();
    let named = places.peek().is_some();
    let Some((path, line)) = places.find(|(path, _)| !told(path)).or((!named).then_some(("/etc/sudoers", 0)))
    else {
        return;
    };
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let breach = Breach::new(
        norm::SUDOERS_INVALID,
        norm::file(path),
        format!("sudo does not understand {path}: {first}"),
    );
    looked.breach(breach.path("path", path).integer("line", line).show(said));
}

/// Says whether the cloud set the host up with this file, for its first account, which has no password: who takes it
/// away locks everybody out. It is still told, for whoever can write there can write that header too.
fn brought_by_cloud_init(host: &Host<'_>, path: &str, text: &str) -> bool {
    path == "/etc/sudoers.d/90-cloud-init-users"
        && text.starts_with("# Created by cloud-init ")
        && ["/etc/cloud/cloud.cfg", "/var/lib/cloud/instance"].iter().any(|sign| host.is_there(sign))
}

/// Returns file and line of what visudo complains of: `PATH:LINE:COLUMN: what` or `PATH: what`.
fn place(line: &str) -> Option<(&str, u32)> {
    let line = line.trim_start_matches("visudo: ").trim_start_matches(">>> ");
    let path = line.split(':').next().filter(|path| path.starts_with('/'))?;
    let number = line.split(':').nth(1).and_then(|number| number.trim().parse().ok());
    Some((path, number.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    #[test]
    fn everything_without_a_password() {
        for (line, is) in [
            ("ALL=(ALL) NOPASSWD: ALL", true),
            ("ALL=(ALL:ALL) NOPASSWD:ALL", true),
            ("ALL = NOPASSWD: SETENV: ALL", true),
            ("ALL=(root) NOPASSWD: /usr/bin/systemctl restart x, ALL", true),
            ("ALL=(ALL:ALL) ALL", false),
            ("ALL=(ALL) NOPASSWD: /usr/bin/apt-get update", false),
            ("ALL=(ALL) NOPASSWD: /bin/x, PASSWD: ALL", false),
            ("ALL", false),
        ] {
            assert_eq!(everything_without_password(line), is, "{line}");
        }
    }

    #[test]
    fn what_sudo_reads() {
        let fixture = Fixture::new("");
        fixture.file(
            "/etc/sudoers",
            "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n#include local\n",
        );
        fixture
            .file("/etc/sudoers.d/ops", "%ops ALL=(ALL) NOPASSWD: /bin/true\n")
            .file("/etc/sudoers.d/README.txt", "alice ALL=(ALL) NOPASSWD: ALL");
        fixture.file("/etc/local", "bob ALL=(ALL) \\\n NOPASSWD: ALL\n");
        for path in ["/etc/sudoers", "/etc/sudoers.d/ops", "/etc/local"] {
            fixture.mode(path, 0o440);
        }
        fixture.mode("/etc/sudoers.d", 0o750);
        assert_eq!(fixture.told(look), "sudoers-nopasswd path:/etc/local");
        assert_eq!(fields(&fixture.looked(look)), "path=/etc/local principal=bob");
        fixture.file("/etc/local", "Defaults:bob !authenticate\n");
        assert_eq!(fixture.looked(look).breaches[0].severity, Severity::Critical);
        fixture.file("/etc/local", "").mode("/etc/sudoers.d/ops", 0o666);
        assert_eq!(
            fields(&fixture.looked(look)),
            format!(
                "path=/etc/sudoers.d/ops mode=0666 wanted_mode=0440 owner={}",
                rustix::process::geteuid().as_raw()
            )
        );
        fixture.mode("/etc/sudoers.d/ops", 0o440).mode("/etc/sudoers.d", 0o777);
        assert_eq!(fixture.told(look), "sudoers-writable path:/etc/sudoers.d");
    }

    #[test]
    fn what_the_cloud_brought_is_told_apart() {
        let text = "# Created by cloud-init v. 22.4.2 on Tue\n\ndebian ALL=(ALL) NOPASSWD:ALL\n";
        let brought = "/etc/sudoers.d/90-cloud-init-users";
        for (path, text, cloud, severity, more) in [
            (brought, text, true, Severity::Information, " brought_by=cloud-init"),
            (brought, text, false, Severity::Warning, ""),
            (brought, &text[2..], true, Severity::Warning, ""),
            ("/etc/sudoers.d/91-users", text, true, Severity::Warning, ""),
            (brought, "# Created by cloud-init v. 1\nDefaults !authenticate\n", true, Severity::Critical, ""),
        ] {
            let fixture = Fixture::new("");
            fixture.file("/etc/sudoers", "@includedir /etc/sudoers.d\n").file(path, text).mode(path, 0o440);
            fixture.mode("/etc/sudoers", 0o440).mode("/etc/sudoers.d", 0o750);
            if cloud {
                fixture.file("/etc/cloud/cloud.cfg", "");
            }
            let looked = fixture.looked(look);
            assert_eq!(looked.breaches[0].severity, severity, "{path} {text} {cloud}");
            let said = fields(&looked);
            let (_, rest) = said.split_once(" principal=").expect("somebody");
            assert!(
                rest.ends_with(more) && rest.contains("brought_by") != more.is_empty(),
                "{path} {text} {said}"
            );
        }
    }

    #[test]
    fn what_visudo_says() {
        let mut fixture = Fixture::new("");
        fixture.file("/etc/sudoers", "");
        fixture.mode("/etc/sudoers", 0o440);
        for (code, output, errors, says) in [
            (0, "/etc/sudoers: parsed OK\n", "", ""),
            (
                1,
                "",
                "/etc/sudoers.d/x:3:12: syntax error\nbad ALL=\n",
                "sudoers-invalid path:/etc/sudoers.d/x",
            ),
            (
                1,
                "",
                ">>> /etc/sudoers.d/y: syntax error near line 1 <<<\n",
                "sudoers-invalid path:/etc/sudoers.d/y",
            ),
            (1, "", "/etc/sudoers.d/z: bad permissions, should be mode 0440\n", ""),
            (1, "", "nonsense", "sudoers-invalid path:/etc/sudoers"),
            (
                1,
                "",
                "visudo: /etc/sudoers: Permission denied",
                "! visudo may not read what it is to check: the agent lacks CAP_DAC_READ_SEARCH",
            ),
        ] {
            fixture.answer(Asked::Visudo, code, output, errors);
            assert_eq!(fixture.told(look), says, "{errors}");
        }
    }
}
