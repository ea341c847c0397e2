//! Files against what was declared of them: digest, owner, group and mode, one file a line; and authorized_keys,
//! whether others can write them and whether the baseline knows them.

use super::accounts::{self, Account};
use super::host::{Host, Looked};
use super::norm::{self, Breach};
use crate::watcher::family::Family;
use sha2::{Digest, Sha256};
use sopwith_domain::value::AbsPath;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most files of a baseline.
const FILES_MAX: usize = 10_000;
/// Longest file that is hashed, in bytes.
const HASHED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most breaches of a baseline that are told one by one.
const TOLD_MAX: usize = 100;

/// What is declared of one file. A field that is `-` is not declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// `absent` where there must be no such file.
    pub sha256: Option<String>,
    pub owner: Option<String>,
    pub group: Option<String>,
    pub mode: Option<u32>,
    pub path: AbsPath,
}

impl Entry {
    fn must_be_absent(&self) -> bool {
        self.sha256.as_deref() == Some("absent")
    }
}

/// Reads a baseline: `SHA256 OWNER GROUP MODE PATH`, `-` for what is not declared, `#` begins a comment.
///
/// # Errors
/// Says which line cannot be read.
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let mut rest = line;
        let mut next = || {
            let (word, after) = rest.split_once(char::is_whitespace)?;
            rest = after.trim_start();
            (word != "-").then(|| word.to_owned()).map_or(Some(None), |word| Some(Some(word)))
        };
        let (Some(sha256), Some(owner), Some(group), Some(mode)) = (next(), next(), next(), next()) else {
            return Err(wrong("SHA256 OWNER GROUP MODE PATH is expected"));
        };
        let is_sum =
            |sum: &str| sum == "absent" || sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        if sha256.as_deref().is_some_and(|sum| !is_sum(sum)) {
            return Err(wrong("the first word is neither a SHA-256 digest, nor absent, nor -"));
        }
        let mode = mode
            .map(|mode| u32::from_str_radix(&mode, 8).map_err(|_| wrong("the mode is not octal")))
            .transpose()?;
        let path = AbsPath::new(rest).map_err(|_| wrong("the last word is no path"))?;
        entries.push(Entry { sha256: sha256.map(|sum| sum.to_ascii_lowercase()), owner, group, mode, path });
        if entries.len() > FILES_MAX {
            return Err(wrong(&format!("there are more than {FILES_MAX} files")));
        }
    }
    Ok(entries)
}

/// Returns the line of a baseline that says what a file is now.
///
/// # Errors
/// It cannot be read.
pub fn line(root: &Path, path: &str) -> std::io::Result<String> {
    let place = root.join(path.trim_start_matches('/'));
    let metadata = std::fs::metadata(&place)?;
    let sum = if metadata.is_file() { digest(&place)? } else { "-".into() };
    let name = |file: &str, id: u32| name_of(root, file, id).unwrap_or_else(|| id.to_string());
    let (owner, group) = (name("/etc/passwd", metadata.uid()), name("/etc/group", metadata.gid()));
    Ok(format!("{sum} {owner} {group} {:04o} {path}", metadata.mode() & 0o7777))
}

fn name_of(root: &Path, file: &str, id: u32) -> Option<String> {
    let text = std::fs::read_to_string(root.join(file.trim_start_matches('/'))).ok()?;
    let one = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next()?.to_owned();
        (parts.nth(1)?.parse::<u32>().ok()? == id).then_some(name)
    };
    text.lines().find_map(one)
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.len() > HASHED_BYTES_MAX {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "it is too long to be hashed"));
    }
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&chunk[..count]),
        }
    }
}

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    let passwd = host.text("/etc/passwd", looked).unwrap_or_default();
    let accounts = accounts::accounts(&passwd);
    let declared = declared(host, looked);
    if let Some(entries) = &declared {
        let users = ids(&passwd);
        let groups = ids(&host.text("/etc/group", looked).unwrap_or_default());
        for entry in entries {
            if looked.breaches.len() < TOLD_MAX {
                compare(host, entry, &users, &groups, looked);
            }
        }
    }
    accounts.iter().for_each(|account| keys(host, account, declared.as_deref(), looked));
}

fn declared(host: &Host<'_>, looked: &mut Looked) -> Option<Vec<Entry>> {
    let path = host.norms.baseline.as_ref()?;
    let Some(text) = host.text(path.as_str(), looked) else {
        if looked.troubles.is_empty() {
            looked.trouble(format!("the baseline {} is not there", path.as_str()));
        }
        return None;
    };
    match read(&text) {
        Ok(entries) => Some(entries),
        Err(e) => {
            looked.trouble(format!("the baseline {} cannot be used: {e}", path.as_str()));
            None
        }
    }
}

fn ids(text: &str) -> BTreeMap<String, u32> {
    let one = |line: &str| {
        let mut parts = line.split(':');
        Some((parts.next()?.to_owned(), parts.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(one).collect()
}

fn compare(
    host: &Host<'_>,
    entry: &Entry,
    users: &BTreeMap<String, u32>,
    groups: &BTreeMap<String, u32>,
    looked: &mut Looked,
) {
    let path = entry.path.as_str();
    let Some(metadata) = host.metadata(path, looked) else {
        if !entry.must_be_absent() && looked.troubles.is_empty() {
            looked.breach(drift(path, "missing", "missing", "is not there"));
        }
        return;
    };
    if entry.must_be_absent() {
        looked.breach(drift(path, "present", "present", "is there and must not be"));
        return;
    }
    let id = |name: &Option<String>, of: &BTreeMap<String, u32>| {
        name.as_ref().map(|name| name.parse().ok().or_else(|| of.get(name).copied()).unwrap_or(u32::MAX))
    };
    let (owner, group) = (id(&entry.owner, users), id(&entry.group, groups));
    let mut wrong = Vec::new();
    if owner.is_some_and(|uid| uid != metadata.uid()) {
        wrong.push(("owner", entry.owner.clone().unwrap_or_default(), metadata.uid().to_string()));
    }
    if group.is_some_and(|gid| gid != metadata.gid()) {
        wrong.push(("group", entry.group.clone().unwrap_or_default(), metadata.gid().to_string()));
    }
    let mode = metadata.mode() & 0o7777;
    if let Some(wanted) = entry.mode.filter(|wanted| *wanted != mode) {
        wrong.push(("mode", format!("{wanted:04o}"), format!("{mode:04o}")));
    }
    if let (Some(wanted), true) = (&entry.sha256, metadata.is_file()) {
        match digest(&host.at(path)) {
            Ok(actual) if actual != *wanted => wrong.push(("content", wanted.clone(), actual)),
            Ok(_) => {}
            Err(e) => looked.trouble(format!("failed to read {path}: {e}")),
        }
    }
    let Some((reason, wanted, actual)) = wrong.last() else { return };
    let all: Vec<_> =
        wrong.iter().map(|(what, wanted, actual)| format!("{what} {actual}, declared {wanted}")).collect();
    let is_wrong = |what: &str| wrong.iter().any(|(name, ..)| *name == what);
    let in_order = ["content", "owner", "group", "mode"].into_iter().filter(|what| is_wrong(what));
    let drifted = in_order.collect::<Vec<_>>().join("+");
    let mut breach = drift(path, &drifted, reason, &format!("is not as declared: {}", all.join("; ")));
    breach = breach.word("wanted", wanted).word("actual", actual);
    if is_wrong("mode") {
        breach = breach.word("mode", &format!("{mode:04o}"));
        breach = breach.word("set_mode", &format!("{:04o}", entry.mode.unwrap_or(mode)));
    }
    if is_wrong("owner") || is_wrong("group") {
        // Both, because they are set in one call: what is not declared stays as it is.
        let or = |declared: &Option<String>, now: u32| declared.clone().unwrap_or_else(|| now.to_string());
        breach = breach
            .exact("set_owner", &or(&entry.owner, metadata.uid()))
            .exact("set_group", &or(&entry.group, metadata.gid()));
    }
    looked.breach(breach);
}

fn drift(path: &str, drifted: &str, reason: &str, what: &str) -> Breach {
    Breach::new(norm::FILE_DRIFT, norm::file(path), format!("{path} {what}"))
        .path("path", path)
        .word("reason", reason)
        .word("drift", drifted)
        .word("family", Family::of(path).name())
}

/// Looks at the keys that let somebody in as this account.
fn keys(host: &Host<'_>, account: &Account, declared: Option<&[Entry]>, looked: &mut Looked) {
    for name in [".ssh/authorized_keys", ".ssh/authorized_keys2"] {
        let home = account.home.trim_end_matches('/');
        let path = format!("{home}/{name}");
        // Many accounts have no home of their own, or share one.
        if !home.starts_with('/') {
            continue;
        }
        let Some(metadata) = host.metadata(&path, looked) else { continue };
        let folder = format!("{home}/.ssh");
        for place in [&path, &folder] {
            let Some(of) = host.metadata(place, looked) else { continue };
            let mode = of.mode() & 0o7777;
            let foreign = of.uid() != 0 && of.uid() != account.uid && host.root == Path::new("/");
            if (mode & 0o022 != 0 || foreign) && !host.elsewhere.tells_of(place) {
                let text = format!(
                    "{place} has mode {mode:04o} and belongs to user {}: others than {} can write it",
                    of.uid(),
                    account.name
                );
                let wanted = if of.is_dir() { "0700" } else { "0600" };
                let breach =
                    Breach::new(norm::KEYS_OPEN, norm::file(place), text).exact("account", &account.name);
                looked.breach(
                    breach
                        .path("path", place)
                        .word("mode", &format!("{mode:04o}"))
                        .word("wanted_mode", wanted)
                        .integer("owner", of.uid()),
                );
                break;
            }
        }
        let listed = |entries: &[Entry]| {
            entries.iter().any(|entry| entry.path.as_str() == path && entry.sha256.is_some())
        };
        if metadata.len() > 0 && declared.is_some_and(|entries| !listed(entries)) {
            let text = format!("{path} is not in the baseline: its keys let in whom nobody declared");
            let breach =
                Breach::new(norm::KEYS_UNLISTED, norm::file(&path), text).exact("account", &account.name);
            looked.breach(breach.path("path", &path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    #[test]
    fn baselines_are_read() {
        let sum = "a".repeat(64);
        for (text, says) in [
            (format!("# c\n\n{sum} root root 0644 /etc/a b\n"), "1"),
            ("- - - - /etc/a".into(), "1"),
            ("absent - - - /etc/a".into(), "1"),
            (
                "zz root root 0644 /etc/a".into(),
                "line 1: the first word is neither a SHA-256 digest, nor absent, nor -",
            ),
            (format!("{sum} root root 9 /etc/a"), "line 1: the mode is not octal"),
            (format!("{sum} root root 0644 etc"), "line 1: the last word is no path"),
            (format!("{sum} root"), "line 1: SHA256 OWNER GROUP MODE PATH is expected"),
        ] {
            let read = read(&text).map(|entries| entries.len().to_string()).unwrap_or_else(|e| e);
            assert_eq!(read, says, "{text}");
        }
    }

    #[test]
    fn files_are_as_declared() {
        let fixture = Fixture::new(", baseline: /etc/baseline");
        fixture.file("/etc/passwd", "me:x:4242:4242::/none:/bin/false\n").file("/etc/group", "me:x:4242:\n");
        fixture.file("/etc/a", "text").mode("/etc/a", 0o644);
        let now = line(fixture.folder.path(), "/etc/a").expect("a line");
        let sum = now.split(' ').next().expect("a digest").to_owned();
        for (declared, says) in [
            (now.clone(), ""),
            (format!("{sum} - - 0644 /etc/a"), ""),
            ("- - - 0644 /etc/a".into(), ""),
            (format!("{} - - - /etc/a", "0".repeat(64)), "reason=content"),
            (
                "- - - 0600 /etc/a".into(),
                "reason=mode drift=mode family=other wanted=0600 actual=0644 mode=0644 set_mode=0600",
            ),
            ("- me - - /etc/a".into(), "reason=owner drift=owner family=other wanted=me"),
            ("- - me - /etc/a".into(), "reason=group drift=group family=other wanted=me"),
            ("- - - - /etc/b".into(), "reason=missing"),
            ("absent - - - /etc/b".into(), ""),
            ("absent - - - /etc/a".into(), "reason=present"),
        ] {
            fixture.file("/etc/baseline", &declared);
            let looked = fixture.looked(look);
            assert_eq!(looked.troubles, Vec::<String>::new());
            match says {
                "" => assert_eq!(looked.breaches, [], "{declared}"),
                says => assert!(fields(&looked).contains(says), "{declared}: {}", fields(&looked)),
            }
        }
        fixture.file("/etc/baseline", "nonsense");
        assert!(fixture.told(look).starts_with("! the baseline /etc/baseline cannot be used: line 1"));
        std::fs::remove_file(fixture.folder.path().join("etc/baseline")).expect("removed");
        assert_eq!(fixture.told(look), "! the baseline /etc/baseline is not there");
    }

    #[test]
    fn keys_that_let_in() {
        let fixture = Fixture::new("");
        fixture.file("/etc/passwd", "a:x:1000:1000::/home/a:/bin/sh\nb:x:1001:1001::/nonexistent:/bin/sh\n");
        fixture.file("/home/a/.ssh/authorized_keys", "ssh-ed25519 AAAA a\n").mode("/home/a/.ssh", 0o700);
        fixture.mode("/home/a/.ssh/authorized_keys", 0o600);
        assert_eq!(fixture.told(look), "");
        fixture.mode("/home/a/.ssh/authorized_keys", 0o666);
        assert_eq!(fixture.told(look), "keys-open path:/home/a/.ssh/authorized_keys");
        fixture.mode("/home/a/.ssh/authorized_keys", 0o600).mode("/home/a/.ssh", 0o775);
        assert_eq!(fixture.told(look), "keys-open path:/home/a/.ssh");
        let declared = Fixture::new(", baseline: /etc/baseline");
        declared.file("/etc/passwd", "a:x:1000:1000::/home/a:/bin/sh\n").file("/etc/baseline", "");
        declared.file("/home/a/.ssh/authorized_keys", "ssh-ed25519 AAAA a\n").mode("/home/a/.ssh", 0o700);
        declared.mode("/home/a/.ssh/authorized_keys", 0o600);
        assert_eq!(declared.told(look), "keys-unlisted path:/home/a/.ssh/authorized_keys");
        let known = line(declared.folder.path(), "/home/a/.ssh/authorized_keys").expect("a line");
        declared.file("/etc/baseline", known);
        assert_eq!(declared.told(look), "");
    }
}
