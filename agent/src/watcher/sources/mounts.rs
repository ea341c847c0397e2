//! Mounts: entries of `/etc/fstab` that are not mounted, file systems that became read-only, and places that lost what
//! fstab withholds from them, or withhold more. The kernel tells when the mounts of the host's first process change; what its own sandbox shows the agent is not the host's view.

use super::{Context, Source, Work};
use crate::config::{Config, Mounts, Watch, listed};
use crate::watcher::mounts::{Entry, Mounted, WITHHELD, Withholds, parse_fstab, parse_mounts, table};
use crate::watcher::notices::Notices;
use crate::watcher::report::{Fault, Tolerance};
use crate::watcher::rounds::{self, Look, Seen};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::tasks::Proc;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, UnitName, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(15);
const MISSING: &str = "mounts.missing";
const READ_ONLY: &str = "mounts.read-only";
const OPTIONS: &str = "mounts.options";
/// Kinds that hold data and are written to: only of these read-only is told where fstab says nothing.
const WRITTEN: [&str; 9] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "vfat", "bcachefs"];

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.mounts.clone();
    let wanted = config.watch != Watch::None;
    let source = Table { config, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

struct Table {
    config: Mounts,
    afresh: Afresh,
}

impl Source for Table {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let watched = Watched {
                config: self.config,
                proc: Proc::default(),
                fstab: "/etc/fstab".into(),
                errors: "/sys/fs/ext4".into(),
                seen_writable: BTreeSet::new(),
                seen_granting: BTreeMap::new(),
            };
            let mut notices = Notices::default();
            notices.add_path(&watched.proc.path(table(&watched.proc)));
            rounds::run(watched, notices, &sink, &self.afresh, &stop).await
        })
    }
}

struct Watched {
    config: Mounts,
    proc: Proc,
    fstab: PathBuf,
    /// Where ext4 counts the errors of each device.
    errors: PathBuf,
    /// Mounts that were writable at an earlier look.
    seen_writable: BTreeSet<String>,
    /// What mounts withheld at every look so far.
    seen_granting: BTreeMap<String, Withholds>,
}

impl Watched {
    fn wanted(&self, point: &str) -> bool {
        self.config.watch.takes(point) && !listed(&self.config.ignore, point)
    }

    fn errors_of(&self, device: &str) -> u64 {
        let name = device.rsplit('/').next().unwrap_or_default();
        let text = std::fs::read_to_string(self.errors.join(name).join("errors_count")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let text = match self.proc.read(table(&self.proc)) {
            Ok(text) => text,
            Err(e) => {
                seen.blind.push(e);
                return seen;
            }
        };
        let fstab = std::fs::read_to_string(&self.fstab).unwrap_or_default();
        let entries: BTreeMap<String, Entry> = parse_fstab(&fstab).map(|e| (e.point.clone(), e)).collect();
        let mounted = parse_mounts(&text);
        let tolerance = Tolerance::For(self.config.tolerance.0);
        for entry in entries.values().filter(|e| !mounted.contains_key(&e.point) && self.wanted(&e.point)) {
            seen.holds.extend(missing(entry).map(|fault| (fault, tolerance)));
        }
        for mount in mounted.values() {
            let entry = entries.get(&mount.point);
            let before = self.seen_writable.contains(&mount.point);
            let always = self.seen_granting.entry(mount.point.clone()).or_insert([true; 3]);
            *always = [0, 1, 2].map(|n| always[n] && mount.withholds[n]);
            let always = *always;
            if let Some(entry) = entry.filter(|entry| self.wanted(&entry.point)) {
                let fault = options(mount, entry, always);
                seen.holds.extend(fault.map(|fault| (fault, tolerance)));
            }
            match judge(mount, entry, before) {
                Judged::Writable => {
                    self.seen_writable.insert(mount.point.clone());
                }
                Judged::ReadOnly if self.wanted(&mount.point) => {
                    let fault = read_only(mount, self.errors_of(&mount.device));
                    seen.holds.extend(fault.map(|fault| (fault, tolerance)));
                }
                _ => {}
            }
        }
        self.seen_writable.retain(|point| mounted.contains_key(point));
        self.seen_granting.retain(|point, _| mounted.contains_key(point));
        seen
    }

    fn wait(&self) -> Duration {
        EVERY
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judged {
    Writable,
    ReadOnly,
    /// Read-only as it should be, or nobody knows better.
    Nothing,
}

fn judge(mount: &Mounted, entry: Option<&Entry>, was_writable: bool) -> Judged {
    let read_only = mount.file_system_read_only || mount.place_read_only;
    match entry {
        _ if !read_only => Judged::Writable,
        Some(entry) if entry.read_only => Judged::Nothing,
        Some(_) => Judged::ReadOnly,
        None if was_writable && WRITTEN.contains(&mount.kind.as_str()) => Judged::ReadOnly,
        None => Judged::Nothing,
    }
}

fn missing(entry: &Entry) -> Option<Fault> {
    let point = AbsPath::new(entry.point.as_str()).ok()?;
    let severity = if entry.may_fail { Severity::Warning } else { Severity::Critical };
    let text = format!("{point} is in fstab and not mounted");
    let mut fault = Fault::new(MISSING, "mount.missing", Subject::Mount(point.clone()), severity, text);
    fault.field("mount", Value::Path(point.clone()));
    fault.word("fs_type", &entry.kind);
    fault.word("device", &entry.device);
    // What lies there now would be hidden by the mount.
    let inside = std::fs::read_dir(point.as_str()).map(|entries| entries.take(1000).count());
    fault.field("directory", Value::Boolean(inside.is_ok()));
    fault.integer("hidden_entries", inside.unwrap_or(0));
    if let Some(unit) = mount_unit(point.as_str()) {
        fault.field("unit", Value::Unit(unit));
    }
    Some(fault)
}

fn read_only(mount: &Mounted, errors: u64) -> Option<Fault> {
    let point = AbsPath::new(mount.point.as_str()).ok()?;
    let why = if errors > 0 { format!(", after {errors} errors of the file system") } else { String::new() };
    let text = format!("{point} is read-only and should not be{why}");
    let subject = Subject::Mount(point.clone());
    let mut fault = Fault::new(READ_ONLY, "mount.read-only", subject, Severity::Critical, text);
    fault.field("mount", Value::Path(point));
    fault.word("fs_type", &mount.kind);
    fault.word("device", &mount.device);
    // Only the place, or the file system with all its places: the kernel does the latter by itself, after errors.
    fault.field("place_only", Value::Boolean(!mount.file_system_read_only));
    fault.integer("fs_errors", errors);
    Some(fault)
}

/// Returns what is wrong with what a place withholds. What fstab says of a place that is mounted elsewhere too is what
/// it adds to the options there: that it withholds more than fstab says counts only if it did not always.
fn options(mount: &Mounted, entry: &Entry, always: Withholds) -> Option<Fault> {
    let drifted = [0, 1, 2].map(|n| match (entry.withholds[n], mount.withholds[n]) {
        (true, false) => Some(WITHHELD[n].0),
        (false, true) if !entry.bind || !always[n] => Some(WITHHELD[n].1),
        _ => None,
    });
    let wanted: Vec<&str> = drifted.iter().copied().flatten().collect();
    if wanted.is_empty() {
        return None;
    }
    let point = AbsPath::new(mount.point.as_str()).ok()?;
    let text = format!("{point} is mounted otherwise than fstab says: it should have {}", wanted.join(", "));
    let subject = Subject::Mount(point.clone());
    let mut fault = Fault::new(OPTIONS, "mount.options", subject, Severity::Warning, text);
    fault.field("mount", Value::Path(point));
    fault.word("fs_type", &mount.kind);
    for (name, option) in ["suid_option", "dev_option", "exec_option"].into_iter().zip(drifted) {
        if let Some(option) = option {
            fault.word(name, option);
        }
    }
    Some(fault)
}

/// Returns the mount unit of a path, in systemd's escaping.
pub fn mount_unit(point: &str) -> Option<UnitName> {
    let inner = point.trim_matches('/');
    let mut name = String::new();
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b':' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    // That of the root begins with a hyphen, which would be taken for an option.
    UnitName::new(format!("{name}.mount")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 8:2 / /srv/vol ro,relatime shared:2 - ext4 /dev/sda2 rw
31 22 8:3 / /srv/data rw,relatime - xfs /dev/sda3 ro
32 22 8:4 / /srv/with\\040space rw - ext4 /dev/sda4 rw
33 22 0:5 / /mnt/cd ro - iso9660 /dev/sr0 ro
34 22 8:6 / /srv/late rw - ext4 /dev/sda6 rw
";
    const FSTAB: &str = "\
# a comment
/dev/sda1 / ext4 errors=remount-ro 0 1
/dev/sda2 /srv/vol/ ext4 defaults 0 2
UUID=1 /srv/data xfs defaults
/dev/sda9 /srv/gone ext4 defaults,nofail 0 2
/dev/sda8 /srv/needed ext4 defaults 0 2
/dev/sda7 none swap sw 0 0
/dev/sr0 /media/cd iso9660 ro,user,noauto 0 0
/dev/sr0 /mnt/cd iso9660 ro 0 0
/dev/sda4 /srv/with\\040space ext4 defaults 0 0
";

    fn watched(folder: &Path) -> Watched {
        fs::create_dir_all(folder.join("1")).expect("made");
        fs::create_dir_all(folder.join("ext4/sda2")).expect("made");
        fs::write(folder.join("1/mountinfo"), MOUNTS).expect("written");
        fs::write(folder.join("fstab"), FSTAB).expect("written");
        fs::write(folder.join("ext4/sda2/errors_count"), "3\n").expect("written");
        Watched {
            config: Mounts::default(),
            proc: Proc::at(folder),
            fstab: folder.join("fstab"),
            errors: folder.join("ext4"),
            seen_writable: BTreeSet::new(),
            seen_granting: BTreeMap::new(),
        }
    }

    fn told(watched: &mut Watched) -> Vec<String> {
        let one = |(fault, _): &(Fault, _)| {
            let field = |name: &str| {
                fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string())
            };
            let more = field("place_only").or(field("unit")).unwrap_or_default();
            format!("{} {} {more} {:?}", fault.kind, fault.subject, fault.severity)
        };
        watched.look().holds.iter().map(one).collect()
    }

    #[test]
    fn what_is_missing_and_what_became_read_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watched = watched(folder.path());
        let first = told(&mut watched);
        let expected = [
            "mount.missing mount:/srv/gone srv-gone.mount Warning",
            "mount.missing mount:/srv/needed srv-needed.mount Critical",
            "mount.read-only mount:/srv/data false Critical",
            "mount.read-only mount:/srv/vol true Critical",
        ];
        assert_eq!(first, expected);
        // What fstab does not know is told only once it was seen writable.
        let later = MOUNTS.replace("/srv/late rw - ext4 /dev/sda6 rw", "/srv/late ro - ext4 /dev/sda6 ro");
        fs::write(folder.path().join("1/mountinfo"), later).expect("written");
        assert_eq!(told(&mut watched)[3], "mount.read-only mount:/srv/late false Critical");
        fs::write(folder.path().join("1/mountinfo"), "").expect("written");
        assert_eq!(told(&mut watched).len(), 7, "everything of fstab is missing");
        fs::remove_file(folder.path().join("1/mountinfo")).expect("removed");
        assert_eq!(watched.look().blind.len(), 1);
    }

    #[test]
    fn read_only_is_a_fault_where_it_should_not_be() {
        let mount = |fs, place, kind: &str| Mounted {
            point: "/x".into(),
            kind: kind.into(),
            device: "/dev/x".into(),
            file_system_read_only: fs,
            place_read_only: place,
            withholds: [false; 3],
        };
        let entry = |read_only| Entry {
            device: "/dev/x".into(),
            point: "/x".into(),
            kind: "ext4".into(),
            read_only,
            may_fail: false,
            withholds: [false; 3],
            bind: false,
        };
        use Judged::{Nothing, ReadOnly, Writable};
        for (mount, entry, was_writable, is) in [
            (mount(false, false, "ext4"), None, false, Writable),
            (mount(true, false, "ext4"), None, false, Nothing),
            (mount(true, false, "ext4"), None, true, ReadOnly),
            (mount(false, true, "ext4"), None, true, ReadOnly),
            (mount(true, true, "squashfs"), None, true, Nothing),
            (mount(true, false, "ext4"), Some(entry(true)), true, Nothing),
            (mount(false, true, "ext4"), Some(entry(false)), false, ReadOnly),
        ] {
            assert_eq!(judge(&mount, entry.as_ref(), was_writable), is, "{mount:?} {entry:?}");
        }
    }

    #[test]
    fn options_are_those_of_fstab() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watched = watched(folder.path());
        let fstab = "\
tmpfs /srv/tight tmpfs size=4m,nosuid,nodev 0 0
tmpfs /srv/loose tmpfs defaults 0 0
/srv/a /srv/bound none bind 0 0
/srv/b /srv/bound-late none bind,noexec 0 0
";
        fs::write(folder.path().join("fstab"), fstab).expect("written");
        let mut told = |mounts: &[(&str, &str)]| {
            let line =
                |(point, options): &(&str, &str)| format!("9 1 0:9 / {point} {options} - tmpfs x rw\n");
            let text: String = mounts.iter().map(line).collect();
            fs::write(folder.path().join("1/mountinfo"), text).expect("written");
            let seen = watched.look();
            let of_options = seen.holds.iter().filter(|(fault, _)| fault.rule.as_str() == OPTIONS);
            let text = |fault: &Fault| {
                let options = fault.fields.iter().filter(|(name, _)| name.as_str().ends_with("_option"));
                let wanted: Vec<String> = options.map(|(_, value)| value.to_string()).collect();
                format!("{} {}", fault.subject, wanted.join(" "))
            };
            of_options.map(|(fault, _)| text(fault)).collect::<Vec<_>>()
        };
        let well = [
            ("/srv/tight", "rw,nosuid,nodev,relatime"),
            ("/srv/loose", "rw,relatime"),
            ("/srv/bound", "rw,nosuid"),
            ("/srv/bound-late", "rw,noexec"),
        ];
        assert_eq!(told(&well), Vec::<String>::new());
        let drifted = [
            ("/srv/tight", "rw,nodev,noexec"),
            ("/srv/loose", "rw,nosuid,nodev,noexec"),
            ("/srv/bound", "rw,nosuid,noexec"),
            ("/srv/bound-late", "rw"),
        ];
        let expected = [
            "mount:/srv/bound exec",
            "mount:/srv/bound-late noexec",
            "mount:/srv/loose dev exec suid",
            "mount:/srv/tight exec nosuid",
        ];
        assert_eq!(told(&drifted), expected);
        assert_eq!(told(&well), Vec::<String>::new());
    }

    #[test]
    fn names_of_mount_units() {
        for (point, unit) in
            [("/srv/vol", "srv-vol.mount"), ("/srv/a-b", "srv-a\\x2db.mount"), ("/srv/.x", "srv-.x.mount")]
        {
            assert_eq!(mount_unit(point).map(|u| u.to_string()).as_deref(), Some(unit));
        }
    }
}
