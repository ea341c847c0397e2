//! Files and folders that must stay as they were declared: content, owner, group, permissions, being there or not.
//! Changes wake it; every so often all are looked at, since the kernel may drop a notice. A file that has not changed
//! by its times is not read again.

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Baseline, Config, Content};
use crate::watcher::family::Family;
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use sha2::{Digest, Sha256};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RULE: &str = "baseline.drifted";
const EVERY: Duration = Duration::from_secs(30);
/// Biggest file whose content is looked at, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let source = Files { entries: config.baseline.clone(), afresh: context.afresh.clone() };
    (!source.entries.is_empty()).then(|| Box::new(source) as Box<dyn Source>)
}

struct Files {
    entries: Vec<Baseline>,
    afresh: Afresh,
}

impl Source for Files {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let first = sink.cursors().map_err(|e| SourceFailed::new("read what was first seen", &e))?;
            let mut wake = Wake::new();
            for entry in &self.entries {
                // The folder, since editors put another file in the place of the old one.
                let path = entry.path.path();
                wake.watch(path.parent().unwrap_or(path), false);
                if path.is_dir() {
                    wake.watch(path, false);
                }
            }
            let watched = Watched { entries: self.entries, first, read: BTreeMap::new(), begun: false };
            rounds::run(watched, wake, &sink, &self.afresh, &stop).await
        })
    }
}

/// What tells that a file may have changed: device, inode, size, times of content and of state.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

struct Watched {
    entries: Vec<Baseline>,
    /// Digests as files were first seen, by path.
    first: BTreeMap<String, String>,
    /// Digests that were taken, and of what.
    read: BTreeMap<String, (Stamp, String)>,
    begun: bool,
}

/// A file as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    owner: String,
    group: String,
    mode: u32,
    /// Nothing if it was not asked for.
    digest: Option<String>,
}

/// A file as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Expected {
    absent: bool,
    owner: Option<String>,
    group: Option<String>,
    mode: Option<u32>,
    digest: Option<String>,
}

/// Returns what differs.
fn judge(found: Option<&Found>, expected: &Expected) -> Vec<&'static str> {
    let Some(found) = found else {
        return if expected.absent { vec![] } else { vec!["missing"] };
    };
    if expected.absent {
        return vec!["present"];
    }
    let differs = |is: &str, should: &Option<String>| should.as_deref().is_some_and(|should| should != is);
    let content = expected.digest.as_deref().is_some_and(|d| found.digest.as_deref() != Some(d));
    let all = [
        ("content", content),
        ("owner", differs(&found.owner, &expected.owner)),
        ("group", differs(&found.group, &expected.group)),
        ("mode", expected.mode.is_some_and(|mode| mode != found.mode)),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
}

/// Returns the name of a number in `/etc/passwd` or `/etc/group`, else the number.
fn name_of(table: &str, number: u32) -> String {
    crate::watcher::files::name_of(table, number).unwrap_or_else(|| number.to_string())
}

fn stamp(metadata: &Metadata) -> Stamp {
    let m = metadata;
    (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
}

impl Watched {
    /// Returns the digest of a file's content, which is read only if it may have changed.
    fn digest(&mut self, path: &Path) -> std::io::Result<String> {
        let name = path.to_string_lossy().into_owned();
        let file = File::open(path)?;
        let now = file.metadata().map(|m| stamp(&m))?;
        if let Some((before, digest)) = self.read.get(&name)
            && *before == now
        {
            return Ok(digest.clone());
        }
        let mut hasher = Sha256::new();
        let copied = std::io::copy(&mut file.take(BYTES_MAX + 1), &mut Hashing(&mut hasher))?;
        if copied > BYTES_MAX {
            return Err(std::io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
        }
        let digest = hex::encode(hasher.finalize());
        self.read.insert(name, (now, digest.clone()));
        Ok(digest)
    }

    fn found(&mut self, entry: &Baseline, users: &str, groups: &str) -> std::io::Result<Option<Found>> {
        let path = entry.path.path();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let wanted = (entry.content.is_some() || entry.known_good.is_some()) && metadata.is_file();
        let digest = if wanted { Some(self.digest(path)?) } else { None };
        Ok(Some(Found {
            owner: name_of(users, metadata.uid()),
            group: name_of(groups, metadata.gid()),
            mode: metadata.mode() & 0o7777,
            digest,
        }))
    }

    fn expected(&mut self, entry: &Baseline, found: Option<&Found>, seen: &mut Seen) -> Expected {
        let path = entry.path.as_str().to_owned();
        let of_copy = entry.known_good.as_ref().and_then(|copy| {
            // A copy that cannot be read proves nothing.
            let told = |e| seen.blind.push(format!("failed to read {}: {e}", copy.as_str()));
            self.digest(copy.path()).map_err(told).ok()
        });
        let digest = match entry.content.as_deref() {
            None => of_copy,
            Some(Content::Sha256(bytes)) => Some(hex::encode(bytes)),
            Some(Content::FirstSeen) => {
                let now = found.and_then(|found| found.digest.clone());
                if let (None, Some(now)) = (self.first.get(&path), now) {
                    seen.remember.push((path.clone(), Some(now.clone())));
                    self.first.insert(path.clone(), now);
                }
                self.first.get(&path).cloned()
            }
        };
        Expected {
            absent: entry.absent.as_deref().copied().unwrap_or(false),
            owner: entry.owner.as_ref().map(|name| name.to_string()),
            group: entry.group.as_ref().map(|name| name.to_string()),
            mode: entry.mode.as_ref().map(|mode| mode.0),
            digest,
        }
    }

    /// Forgets what was first seen of files that are no longer declared so: declared again, they are seen afresh.
    fn forget(&mut self, seen: &mut Seen) {
        let entries = &self.entries;
        let wanted = |path: &str| {
            let first_seen = |e: &&Baseline| e.content.as_deref() == Some(&Content::FirstSeen);
            entries.iter().filter(first_seen).any(|entry| entry.path.as_str() == path)
        };
        let gone: Vec<String> = self.first.keys().filter(|path| !wanted(path)).cloned().collect();
        for path in gone {
            self.first.remove(&path);
            seen.remember.push((path, None));
        }
    }
}

/// Takes what is copied into a digest.
struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn fault(entry: &Baseline, drift: &[&str], found: Option<&Found>, expected: &Expected) -> Fault {
    let path = (*entry.path).clone();
    let text = match drift {
        ["missing"] => format!("{path} is not there"),
        ["present"] => format!("{path} must not be there"),
        _ => format!("{path} is not as declared: {}", drift.join(", ")),
    };
    let mut fault = Fault::new(RULE, "file.drifted", Subject::Path(path.clone()), *entry.severity, text);
    fault.field("path", Value::Path(path.clone()));
    fault.word("drift", &drift.join("+"));
    if let Some(found) = found {
        let octal = |mode: u32| format!("{mode:04o}");
        let pairs = [
            ("owner", Some(found.owner.clone()), expected.owner.clone()),
            ("group", Some(found.group.clone()), expected.group.clone()),
            ("mode", Some(octal(found.mode)), expected.mode.map(octal)),
            ("sha256", found.digest.clone(), expected.digest.clone()),
        ];
        for (name, is, should) in pairs {
            if let (Some(is), Some(should)) = (is, should) {
                fault.word(name, &is);
                fault.word(&format!("expected_{name}"), &should);
            }
        }
    }
    fault.word("family", Family::of(path.as_str()).name());
    if let (Some(found), true) = (found, drift.contains(&"owner") || drift.contains(&"group")) {
        // Both, because they are set in one call: what is not declared stays as it is.
        fault.word("set_owner", expected.owner.as_deref().unwrap_or(&found.owner));
        fault.word("set_group", expected.group.as_deref().unwrap_or(&found.group));
    }
    if let (Some(found), true) = (found, drift.contains(&"mode")) {
        fault.word("set_mode", &format!("{:04o}", expected.mode.unwrap_or(found.mode)));
    }
    let content_drifted = drift.contains(&"content") || found.is_none();
    // That it is still equal is asked again before anything is done to a file whose content counts.
    if let Some(known_good) = entry.known_good.as_ref().filter(|_| !content_drifted) {
        fault.field("equals", Value::Path((**known_good).clone()));
    }
    if let Some(known_good) = entry.known_good.as_ref().filter(|_| content_drifted) {
        fault.field("config_path", Value::Path(path));
        fault.field("known_good", Value::Path((**known_good).clone()));
        fault.field("config_drifted", Value::Boolean(true));
    }
    fault
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        if !std::mem::replace(&mut self.begun, true) {
            self.forget(&mut seen);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        for entry in self.entries.clone() {
            let found = match self.found(&entry, &users, &groups) {
                Ok(found) => found,
                Err(e) => {
                    seen.blind.push(format!("failed to look at {}: {e}", entry.path.as_str()));
                    continue;
                }
            };
            let expected = self.expected(&entry, found.as_ref(), &mut seen);
            let drift = judge(found.as_ref(), &expected);
            if !drift.is_empty() {
                seen.hold(fault(&entry, &drift, found.as_ref(), &expected), entry.tolerance.0);
            }
        }
        seen
    }

    fn wait(&self) -> Duration {
        EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs() {
        let found = |owner: &str, mode, digest: &str| Found {
            owner: owner.into(),
            group: "g".into(),
            mode,
            digest: Some(digest.into()),
        };
        let expected = Expected {
            owner: Some("redis".into()),
            group: Some("g".into()),
            mode: Some(0o750),
            digest: Some("d".into()),
            absent: false,
        };
        let absent = Expected { absent: true, ..Expected::default() };
        for (is, should, drift) in [
            (Some(found("redis", 0o750, "d")), &expected, ""),
            (Some(found("root", 0o750, "d")), &expected, "owner"),
            (Some(found("root", 0o777, "e")), &expected, "content owner mode"),
            (None, &expected, "missing"),
            (None, &absent, ""),
            (Some(found("root", 0, "")), &absent, "present"),
            (Some(found("root", 0, "")), &Expected::default(), ""),
        ] {
            assert_eq!(judge(is.as_ref(), should).join(" "), drift, "{is:?} {should:?}");
        }
    }

    fn watched(yaml: &str, first: &[(&str, &str)]) -> Watched {
        let text = format!("baseline:\n{yaml}");
        let entries = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).baseline;
        let first = first.iter().map(|(path, digest)| ((*path).to_owned(), (*digest).to_owned())).collect();
        Watched { entries, first, read: BTreeMap::new(), begun: false }
    }

    fn told(watched: &mut Watched) -> String {
        let seen = watched.look();
        let words: Vec<_> = seen
            .holds
            .iter()
            .map(|(f, _)| {
                f.fields
                    .iter()
                    .find(|(n, _)| n.as_str() == "drift")
                    .map(|(_, v)| v.to_string())
                    .unwrap_or_default()
            })
            .collect();
        let kept: Vec<_> =
            seen.remember.iter().map(|(_, text)| if text.is_some() { "kept" } else { "forgot" }).collect();
        [
            words,
            kept.iter().map(ToString::to_string).collect(),
            seen.blind.iter().map(|_| "blind".into()).collect(),
        ]
        .concat()
        .join(" ")
    }

    #[test]
    fn files_are_compared_and_first_sights_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, copy) = (folder.path().join("a"), folder.path().join("copy"));
        fs::write(&file, "one").expect("written");
        fs::write(&copy, "one").expect("written");
        let (file, copy) = (file.display().to_string(), copy.display().to_string());
        let mut against_copy = watched(&format!("- {{path: {file}, known_good: {copy}}}"), &[]);
        let mut first = watched(&format!("- {{path: {file}, content: first-seen}}"), &[("/gone", "x")]);
        assert_eq!((told(&mut against_copy), told(&mut first)), (String::new(), "forgot kept".into()));
        fs::write(&file, "two and more").expect("written");
        assert_eq!((told(&mut against_copy), told(&mut first)), ("content".into(), "content".into()));
        let kept = first.first.clone();
        let kept: Vec<_> = kept.iter().map(|(path, digest)| (path.as_str(), digest.as_str())).collect();
        let mut again = watched(&format!("- {{path: {file}, content: first-seen}}"), &kept);
        assert_eq!(told(&mut again), "content", "it is remembered over a restart");
        fs::write(&file, "one").expect("written");
        assert_eq!((told(&mut against_copy), told(&mut again)), (String::new(), String::new()));
        fs::remove_file(&copy).expect("removed");
        assert_eq!(told(&mut against_copy), "blind");
        fs::remove_file(&file).expect("removed");
        assert_eq!(told(&mut again), "missing");
        let digest = hex::encode(Sha256::digest(b"one"));
        let mut exact =
            watched(&format!("- {{path: {file}, content: 'sha256:{digest}', mode: '0600'}}"), &[]);
        fs::write(&file, "one").expect("written");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
        assert_eq!(told(&mut exact), "mode");
    }
}
