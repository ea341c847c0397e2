//! What may keep a unit from starting beside itself: a socket of its that nobody serves any more, a folder that is
//! declared and gone, a file of its definition that somebody put there since it last ran well. Looks at files only.

use super::report::Fault;
use sopwith_domain::value::{AbsPath, Value, Word};
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::SystemTime;

/// Where the administrator declares folders. Those of packages say also what need not be.
const DECLARED: &str = "/etc/tmpfiles.d";
const SOCKETS: &str = "/proc/net/unix";
/// Longest file of declarations, in bytes, and most of them.
const DECLARED_BYTES_MAX: u64 = 256 * 1024;
const DECLARED_FILES_MAX: usize = 200;

/// What systemd takes of files for one unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    pub drop_ins: Vec<String>,
    /// Files of variables, and whether it starts without them.
    pub environment: Vec<(String, bool)>,
}

/// Adds what is known of all three. `ran_well` is since when the unit last ran for a while.
pub fn add(fault: &mut Fault, socket: Option<&AbsPath>, taken: &Taken, ran_well: Option<SystemTime>) {
    if let Some(socket) = socket
        && socket_stale(socket, Path::new(SOCKETS))
    {
        fault.field("socket", Value::Path(socket.clone()));
        fault.field("socket_stale", Value::Boolean(true));
    }
    if let Some(folder) = missing_folder(Path::new(DECLARED)) {
        fault.field("missing_folder", Value::Path(folder.path));
        fault.word("folder_mode", &folder.mode);
        fault.word("folder_user", &folder.user);
        fault.word("folder_group", &folder.group);
    }
    if let Some((path, what)) = ran_well.and_then(|since| added(taken, since)) {
        fault.field("added_path", Value::Path(path));
        fault.word("added_kind", what);
    }
}

/// Says whether a socket lies there that no process of this host has open.
fn socket_stale(path: &AbsPath, sockets: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path.as_str()).is_ok_and(|m| m.file_type().is_socket());
    let Ok(open) = fs::read_to_string(sockets) else { return false };
    // The path is the eighth field, to the end of the line.
    is_socket && !open.lines().any(|line| line.split_whitespace().nth(7) == Some(path.as_str()))
}

/// A folder as it is declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder {
    pub path: AbsPath,
    pub mode: String,
    pub user: String,
    pub group: String,
}

/// Returns the first folder that the administrator declares and that is not there, though what it lies in is.
pub fn missing_folder(declared: &Path) -> Option<Folder> {
    let mut files: Vec<_> = fs::read_dir(declared).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    let texts = files.into_iter().take(DECLARED_FILES_MAX).filter_map(|path| {
        let mut text = String::new();
        fs::File::open(path).ok()?.take(DECLARED_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    });
    texts.flat_map(|text| text.lines().filter_map(folder).collect::<Vec<_>>()).find(|folder| {
        let path = Path::new(folder.path.as_str());
        fs::symlink_metadata(path).is_err() && path.parent().is_some_and(Path::is_dir)
    })
}

/// Reads a line `d PATH MODE USER GROUP …`. What is made only at the start of the host, or has parts to be filled in, is
/// left out.
fn folder(line: &str) -> Option<Folder> {
    let mut fields = line.split_whitespace();
    let kind = fields.next()?.trim_end_matches(['+', '-', '=', '~', '^', '$']);
    if !matches!(kind, "d" | "D") {
        return None;
    }
    let path = AbsPath::new(fields.next()?.trim_end_matches('/')).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !path.as_str().chars().all(plain) {
        return None;
    }
    let mut field = |usual: &str| -> Option<String> {
        let text = fields.next().unwrap_or("-");
        let text = if text == "-" { usual } else { text.trim_start_matches([':', '~']) };
        Word::new(text).ok().map(|_| text.to_owned())
    };
    Some(Folder { path, mode: field("0755")?, user: field("root")?, group: field("root")? })
}

/// Returns a file of the unit's definition that was put there since, which it can do without.
fn added(taken: &Taken, since: SystemTime) -> Option<(AbsPath, &'static str)> {
    let drop_ins = taken.drop_ins.iter().map(|path| (path, "drop-in"));
    let optional = taken.environment.iter().filter(|(_, optional)| *optional);
    let all = drop_ins.chain(optional.map(|(path, _)| (path, "environment")));
    let of_administrator = |path: &str| path.starts_with("/etc/") || path.starts_with("/run/systemd/system/");
    all.filter(|(path, _)| of_administrator(path)).find_map(|(path, what)| {
        let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        // When it came to be; where that is not told, when it was last written.
        let created = metadata.created().ok().filter(|at| *at > SystemTime::UNIX_EPOCH);
        let came = created.or_else(|| metadata.modified().ok())?;
        (came > since).then(|| AbsPath::new(path.as_str()).ok()).flatten().map(|path| (path, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    #[test]
    fn lines_that_declare_folders() {
        for (line, expected) in [
            ("d /run/demo 0755 demo demo -", Some("/run/demo 0755 demo demo")),
            ("D+ /run/x/ - - -", Some("/run/x 0755 root root")),
            ("d /run/y :0700 :a b 10d", Some("/run/y 0700 a b")),
            ("d! /run/boot 0755 root root -", None),
            ("d /run/%m 0755 root root -", None),
            ("f /run/file 0644 root root - text", None),
            ("# d /run/z", None),
            ("d relative 0755", None),
            ("", None),
        ] {
            let is = folder(line).map(|f| format!("{} {} {} {}", f.path, f.mode, f.user, f.group));
            assert_eq!(is.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_declared_folder_is_missing_where_what_it_lies_in_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::create_dir(at("there")).expect("made");
        fs::create_dir(at("declared")).expect("made");
        let text =
            format!("d {} - - -\nd {} - - -\nd {} 0750 a b\n", at("there"), at("gone/in"), at("reports"));
        fs::write(at("declared/x.conf"), text).expect("written");
        fs::write(at("declared/x.conf.bak"), format!("d {}\n", at("other"))).expect("written");
        let missing = missing_folder(Path::new(&at("declared"))).expect("one is");
        assert_eq!((missing.path.to_string(), missing.mode.as_str()), (at("reports"), "0750"));
        fs::create_dir(at("reports")).expect("made");
        assert_eq!(missing_folder(Path::new(&at("declared"))), None);
        assert_eq!(missing_folder(Path::new(&at("nowhere"))), None);
    }

    #[test]
    fn a_socket_is_stale_while_nobody_has_it_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = AbsPath::new(folder.path().join("x.sock").to_string_lossy().into_owned()).expect("a path");
        let stale = || socket_stale(&path, Path::new(SOCKETS));
        assert!(!stale(), "it is not there");
        let listener = UnixListener::bind(path.as_str()).expect("bound");
        assert!(!stale());
        drop(listener);
        assert!(stale());
        fs::remove_file(path.as_str()).expect("removed");
        fs::write(path.as_str(), "").expect("written");
        assert!(!stale(), "it is a file");
    }

    #[test]
    fn only_what_is_the_administrators_and_new_was_added() {
        let now = SystemTime::now();
        let taken = |drop_in: &str, environment: &str, optional| Taken {
            drop_ins: vec![drop_in.into()],
            environment: vec![(environment.into(), optional)],
        };
        let (before, after) = (SystemTime::UNIX_EPOCH, now + Duration::from_secs(60));
        for (said, since, expected) in [
            (taken("/etc/hostname", "/etc/no-such-file", true), before, Some("drop-in")),
            (taken("/etc/hostname", "/etc/no-such-file", true), after, None),
            (taken("/etc/no-such-file", "/etc/hostname", true), before, Some("environment")),
            (taken("/etc/no-such-file", "/etc/hostname", false), before, None),
            (taken("/usr/lib/os-release", "/etc/no-such-file", true), before, None),
        ] {
            assert_eq!(added(&said, since).map(|(_, what)| what), expected, "{said:?}");
        }
    }
}
