//! What is mounted on this host, and what should be: the kernel's list and `/etc/fstab`. The list is that of the
//! host's first process; what its own sandbox shows the agent is not the host's view.

use super::tasks::Proc;
use sopwith_domain::value::AbsPath;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A mount as the kernel lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounted {
    pub point: String,
    pub kind: String,
    pub device: String,
    /// Read-only as a whole, or only at this place.
    pub file_system_read_only: bool,
    pub place_read_only: bool,
    pub withholds: Withholds,
}

/// What a place withholds from what lies on it: whether programs there get other rights, devices work, and programs
/// run. In this order, each with the option that withholds it and the one that grants it.
pub type Withholds = [bool; 3];
pub const WITHHELD: [(&str, &str); 3] = [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")];

fn withholds(options: &str) -> Withholds {
    // Of two that contradict each other the later one counts.
    WITHHELD.map(|(withheld, granted)| {
        options.split(',').rfind(|option| [withheld, granted].contains(option)) == Some(withheld)
    })
}

/// An entry of fstab that should be mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub device: String,
    pub point: String,
    pub kind: String,
    pub read_only: bool,
    /// The host starts without it.
    pub may_fail: bool,
    pub withholds: Withholds,
    /// Another place of a file system that is mounted elsewhere, whose options it begins with.
    pub bind: bool,
}

/// Where mounts are looked up.
#[derive(Clone, Debug)]
pub struct Mounts {
    proc: Proc,
    fstab: PathBuf,
}

impl Default for Mounts {
    fn default() -> Self {
        Self { proc: Proc::default(), fstab: "/etc/fstab".into() }
    }
}

impl Mounts {
    /// Returns the mount point that a path lies on, or should lie on.
    pub fn of(&self, path: &AbsPath) -> Option<AbsPath> {
        let mounted = parse_mounts(&self.proc.read(table(&self.proc)).unwrap_or_default());
        let fstab = std::fs::read_to_string(&self.fstab).unwrap_or_default();
        let points = mounted.into_keys().chain(parse_fstab(&fstab).map(|entry| entry.point));
        let over = points.filter(|point| Path::new(path.as_str()).starts_with(point));
        AbsPath::new(over.max_by_key(String::len)?).ok()
    }
}

/// Returns the name of the list of the first process's mounts, else of the agent's own.
pub fn table(proc: &Proc) -> &'static str {
    if proc.path("1/mountinfo").exists() { "1/mountinfo" } else { "self/mountinfo" }
}

/// Undoes the kernel's and fstab's writing of spaces and the like as `\040`.
fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|d| d.iter().all(|d| (b'0'..=b'7').contains(d)));
        match (bytes[at], octal) {
            (b'\\', Some(digits)) => {
                out.push(digits.iter().fold(0_u8, |value, d| value.wrapping_mul(8).wrapping_add(d - b'0')));
                at += 4;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads a list of mounts, by their places.
pub fn parse_mounts(text: &str) -> BTreeMap<String, Mounted> {
    let one = |line: &str| {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(4);
        let (point, options) = (place.next()?, place.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, device, super_options) = (file_system.next()?, file_system.next()?, file_system.next()?);
        let read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Mounted {
            point: unescaped(point),
            kind: kind.into(),
            device: unescaped(device),
            file_system_read_only: read_only(super_options),
            place_read_only: read_only(options),
            withholds: withholds(options),
        })
    };
    // A later mount hides an earlier one at the same place.
    text.lines().filter_map(one).map(|mount| (mount.point.clone(), mount)).collect()
}

/// Reads the entries of fstab that should be mounted.
pub fn parse_fstab(text: &str) -> impl Iterator<Item = Entry> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        let options = fields.next().unwrap_or("defaults");
        let has = |wanted: &str| options.split(',').any(|option| option == wanted);
        let elsewhere = kind == "swap" || !point.starts_with('/');
        // Mounted when somebody asks for it.
        let on_demand = has("noauto") || has("x-systemd.automount") || has("user") || has("users");
        (!elsewhere && !on_demand).then(|| Entry {
            device: unescaped(device),
            point: unescaped(if point == "/" { point } else { point.trim_end_matches('/') }),
            kind: kind.into(),
            read_only: has("ro"),
            may_fail: has("nofail"),
            withholds: withholds(options),
            bind: has("bind") || has("rbind"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_a_path_lies_on_or_should() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("1")).expect("made");
        let list = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /srv rw - ext4 /dev/b rw\n";
        std::fs::write(folder.path().join("1/mountinfo"), list).expect("written");
        let fstab = folder.path().join("fstab");
        std::fs::write(&fstab, "/dev/c /srv/gone ext4 defaults 0 0\n").expect("written");
        let mounts = Mounts { proc: Proc::at(folder.path()), fstab };
        for (path, point) in [
            ("/etc/x", "/"),
            ("/srv/a/b", "/srv"),
            ("/srv", "/srv"),
            ("/srvx", "/"),
            ("/srv/gone/x", "/srv/gone"),
        ] {
            let found = mounts.of(&AbsPath::new(path).expect("a path"));
            assert_eq!(found.map(|point| point.to_string()).as_deref(), Some(point), "{path}");
        }
    }
}
