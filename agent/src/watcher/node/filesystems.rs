//! File systems: what is mounted, and how full it is. Those that live on this machine are asked while the page is
//! written; any other may not answer for ever, so it is asked in a thread of its own, at most once at a time, and a
//! page never waits for it longer than a moment.

use super::files::Files;
use super::out::{Kind, Number, Out};
use rustix::fs::StatVfs;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Kinds that are left out, as node_exporter leaves them out.
const KINDS_LEFT_OUT: [&str; 21] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
];
const KINDS_LEFT_OUT_TOO: [&str; 3] = ["squashfs", "sysfs", "tracefs"];
const POINTS_LEFT_OUT: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Only what lies below these is left out.
const BELOW_LEFT_OUT: [&str; 3] = ["/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"];
/// Kinds that answer from memory, whatever their device does.
const PROMPT: [&str; 8] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "vfat"];
/// How long a page waits for the others, all in all.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// An answer counts for so long where the next is late.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(15);
/// Most questions that are open at a time.
const OPEN_MAX: usize = 32;
/// A family, what it is, and how it is taken from the answer.
type Told = (&'static str, &'static str, fn(&Usage) -> u64);
const FAMILIES: [Told; 5] = [
    ("node_filesystem_avail_bytes", "Bytes that are left for ordinary users.", |usage| usage.available_bytes),
    ("node_filesystem_files", "Inodes that there are.", |usage| usage.files),
    ("node_filesystem_files_free", "Inodes that are free.", |usage| usage.files_free),
    ("node_filesystem_free_bytes", "Bytes that are free.", |usage| usage.free_bytes),
    ("node_filesystem_size_bytes", "Size in bytes.", |usage| usage.size_bytes),
];

/// How a mount is asked; another function in tests.
pub type Ask = fn(&str) -> io::Result<Usage>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    size_bytes: u64,
    free_bytes: u64,
    available_bytes: u64,
    files: u64,
    files_free: u64,
}

fn ask(point: &str) -> io::Result<Usage> {
    let StatVfs { f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, .. } = rustix::fs::statvfs(point)?;
    Ok(Usage {
        size_bytes: f_blocks.saturating_mul(f_frsize),
        free_bytes: f_bfree.saturating_mul(f_frsize),
        available_bytes: f_bavail.saturating_mul(f_frsize),
        files: f_files,
        files_free: f_ffree,
    })
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    point: String,
    device: String,
    kind: String,
    read_only: bool,
    prompt: bool,
}

/// A mount that may not answer.
#[derive(Debug, Default)]
struct Slow {
    open: Option<JoinHandle<io::Result<Usage>>>,
    answer: Option<(Instant, Option<Usage>)>,
}

#[derive(Debug)]
pub struct Filesystems {
    ask: Ask,
    mounts: Vec<Mount>,
    slow: BTreeMap<String, Slow>,
}

impl Default for Filesystems {
    fn default() -> Self {
        Self { ask, mounts: Vec::new(), slow: BTreeMap::new() }
    }
}

impl Filesystems {
    /// Reads the list of mounts and asks those that may not answer.
    ///
    /// # Errors
    /// The list cannot be read.
    pub async fn prepare(&mut self, files: &mut Files) -> io::Result<()> {
        // The first process sees what the host sees; our own view is that of a sandbox.
        self.mounts = match files.read("proc/1/mountinfo") {
            Ok(text) => mounts(text, true),
            Err(_) => mounts(files.read("proc/self/mountinfo")?, false),
        };
        let slow: Vec<String> = self.mounts.iter().filter(|m| !m.prompt).map(|m| m.point.clone()).collect();
        self.slow.retain(|point, _| slow.contains(point));
        let mut open = self.slow.values().filter(|slow| slow.open.is_some()).count();
        for point in slow {
            let known = self.slow.entry(point.clone()).or_default();
            if known.open.is_none() && open < OPEN_MAX {
                let ask = self.ask;
                known.open = Some(tokio::task::spawn_blocking(move || ask(&point)));
                open += 1;
            }
        }
        let until = tokio::time::Instant::now() + WAIT_MAX;
        for known in self.slow.values_mut() {
            let Some(question) = &mut known.open else { continue };
            if let Ok(answer) = tokio::time::timeout_at(until, question).await {
                known.open = None;
                known.answer = Some((Instant::now(), answer.ok().and_then(Result::ok)));
            }
        }
        Ok(())
    }

    fn usage(&self, mount: &Mount) -> Option<Usage> {
        if mount.prompt {
            return (self.ask)(&mount.point).ok();
        }
        let (at, usage) = self.slow.get(&mount.point)?.answer?;
        usage.filter(|_| at.elapsed() < ANSWER_AGE_MAX)
    }

    /// Writes what is known. Of a mount that does not answer only that is told.
    pub fn write(&self, out: &mut dyn Out) -> io::Result<()> {
        let known: Vec<_> = self.mounts.iter().map(|mount| (mount, self.usage(mount))).collect();
        let mut put = |name: &str, help: &str, of: &dyn Fn(&Mount, &Option<Usage>) -> Option<Number>| {
            out.family(name, Kind::Gauge, help);
            for (mount, usage) in &known {
                if let Some(value) = of(mount, usage) {
                    let Mount { device, kind, point, .. } = mount;
                    out.sample(&[("device", device), ("fstype", kind), ("mountpoint", point)], value);
                }
            }
        };
        for (name, help, of) in FAMILIES {
            put(name, help, &|_, usage| usage.as_ref().map(|usage| of(usage).into()));
        }
        put("node_filesystem_device_error", "Whether it does not answer.", &|_, usage| {
            Some(usage.is_none().into())
        });
        put("node_filesystem_readonly", "Whether it is read-only.", &|mount, usage| {
            usage.is_some().then(|| mount.read_only.into())
        });
        Ok(())
    }
}

/// Reads a list of mounts. `whole` says that it shows the host as it is: then a mount is read-only for itself too.
fn mounts(text: &str, whole: bool) -> Vec<Mount> {
    let mut all: BTreeMap<String, Mount> = BTreeMap::new();
    for line in text.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut before = before.split(' ').skip(4);
        let mut after = after.split(' ');
        let (Some(point), Some(own)) = (before.next(), before.next()) else { continue };
        let (Some(kind), Some(device), Some(of_all)) = (after.next(), after.next(), after.next()) else {
            continue;
        };
        let says_ro = |options: &str| options.split(',').any(|option| option == "ro");
        let mount = Mount {
            point: unescaped(point),
            device: unescaped(device),
            kind: kind.to_owned(),
            read_only: says_ro(of_all) || whole && says_ro(own),
            prompt: false,
        };
        // A later mount hides an earlier one at the same place.
        all.insert(mount.point.clone(), mount);
    }
    // On the way to a mount below one that does not answer the kernel asks that one.
    let doubtful = |m: &&Mount| !PROMPT.contains(&m.kind.as_str()) && !harmless(&m.kind);
    let doubtful: Vec<String> = all.values().filter(doubtful).map(|m| m.point.clone()).collect();
    let below_doubt = |point: &str| doubtful.iter().any(|folder| lies_in(point, folder));
    let mut chosen: Vec<Mount> = all.into_values().filter(|m| !left_out(m)).collect();
    for mount in &mut chosen {
        mount.prompt = PROMPT.contains(&mount.kind.as_str()) && !below_doubt(&mount.point);
    }
    chosen
}

/// Says of kinds that are not told whether a path may lead through them.
fn harmless(kind: &str) -> bool {
    kind != "autofs" && (KINDS_LEFT_OUT.contains(&kind) || KINDS_LEFT_OUT_TOO.contains(&kind))
}

fn lies_in(point: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn left_out(mount: &Mount) -> bool {
    let (kind, point) = (mount.kind.as_str(), mount.point.as_str());
    KINDS_LEFT_OUT.contains(&kind)
        || KINDS_LEFT_OUT_TOO.contains(&kind)
        || POINTS_LEFT_OUT.iter().any(|folder| lies_in(point, folder))
        || BELOW_LEFT_OUT.iter().any(|folder| point != *folder && lies_in(point, folder))
}

/// The kernel writes blanks in names as `\040` and the like.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let digits = more.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\');
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &more[3..] } else { more };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::out::Text;
    use super::*;

    const LIST: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /proc rw - proc proc rw
24 22 0:21 / /srv/my\\040disk ro - xfs /dev/sdb1 rw
25 22 0:22 / /srv/nfs rw - nfs4 box:/x rw
26 25 8:2 / /srv/nfs/local rw - ext4 /dev/sdc1 rw
27 22 0:23 / /run/credentials/x.service rw - tmpfs tmpfs rw
28 22 0:24 / /run rw - tmpfs tmpfs rw
29 22 0:25 / /srv/late rw - ext4 /dev/sdd1 ro
30 22 0:26 / /srv/slow rw - fuse.sshfs a:/ rw
";

    fn answers(point: &str) -> io::Result<Usage> {
        match point {
            "/srv/nfs" | "/srv/nfs/local" => {
                // As long as nobody gives up on it.
                std::thread::sleep(Duration::from_secs(1));
                Err(io::ErrorKind::TimedOut.into())
            }
            "/srv/late" => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(Usage { size_bytes: 7, ..Usage::default() }),
        }
    }

    #[test]
    fn mounts_that_answer_at_once_and_others() {
        let told: Vec<String> = mounts(LIST, true)
            .iter()
            .map(|m| format!("{} {} {}", m.point, if m.prompt { "prompt" } else { "slow" }, m.read_only))
            .collect();
        let expected = [
            "/ prompt false",
            "/run prompt false",
            "/srv/late prompt true",
            "/srv/my disk prompt true",
            "/srv/nfs slow false",
            "/srv/nfs/local slow false",
            "/srv/slow slow false",
        ];
        assert_eq!(told, expected);
        assert!(!mounts(LIST, false).iter().any(|m| m.point == "/srv/my disk" && m.read_only));
    }

    /// The page is written although two mounts do not answer, and says so of these.
    #[tokio::test]
    async fn a_dead_mount_does_not_hold_the_page_up() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("proc/1")).expect("made");
        std::fs::write(folder.path().join("proc/1/mountinfo"), LIST).expect("written");
        let mut files = Files::below(folder.path().to_str().expect("a path")).expect("opened");
        let mut filesystems = Filesystems { ask: answers, ..Filesystems::default() };
        for _ in 0..2 {
            filesystems.prepare(&mut files).await.expect("prepared");
        }
        let mut text = Text::default();
        filesystems.write(&mut text).expect("written");
        let page = String::from_utf8(text.end()).expect("text");
        let has = |line: &str| page.lines().any(|told| told == line);
        for (device, kind, point, well) in [
            ("/dev/sda1", "ext4", "/", true),
            ("a:/", "fuse.sshfs", "/srv/slow", true),
            ("box:/x", "nfs4", "/srv/nfs", false),
            ("/dev/sdc1", "ext4", "/srv/nfs/local", false),
            ("/dev/sdd1", "ext4", "/srv/late", false),
        ] {
            let labels = format!("{{device=\"{device}\",fstype=\"{kind}\",mountpoint=\"{point}\"}}");
            let error = u8::from(!well);
            assert!(has(&format!("node_filesystem_device_error{labels} {error}")), "{point}\n{page}");
            assert_eq!(has(&format!("node_filesystem_size_bytes{labels} 7")), well, "{point}\n{page}");
        }
    }
}
