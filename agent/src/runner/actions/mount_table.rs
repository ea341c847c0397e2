//! What is mounted on the host, and what `/etc/fstab` declares. The host's mounts are those of its first process: the
//! runner's own view may be another one, and what it mounted there nobody else would see.

use procfs::process::{MountInfo, Process};
use sopwith_domain::value::AbsPath;
use std::fs;
use std::path::Path;

const FSTAB: &str = "/etc/fstab";
const NSENTER: &str = "/usr/bin/nsenter";

/// One place at which something is mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounted {
    /// The kernel's number of the mount; what is mounted anew has another.
    pub id: i32,
    /// Options of the place, `ro` or `rw` among them, sorted.
    pub options: Vec<String>,
    /// Whether the whole file system is read-only, with all its places.
    pub read_only: bool,
    /// `major:minor` of its device.
    device: String,
}

impl Mounted {
    fn of(mount: &MountInfo) -> Self {
        let text = |(name, value): (&String, &Option<String>)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        };
        let mut options: Vec<String> = mount.mount_options.iter().map(text).collect();
        options.sort();
        Self {
            id: mount.mnt_id,
            options,
            read_only: mount.super_options.contains_key("ro"),
            device: mount.majmin.clone(),
        }
    }

    /// Says whether the place has an option; it can be written only where its file system can.
    pub fn has(&self, option: &str) -> bool {
        let listed = |option: &str| self.options.iter().any(|o| o == option);
        match option {
            "ro" => listed("ro") || self.read_only,
            "rw" => listed("rw") && !self.read_only,
            // What is the usual thing has no name in the kernel's list.
            "suid" => !listed("nosuid"),
            "dev" => !listed("nodev"),
            "exec" => !listed("noexec"),
            other => listed(other),
        }
    }

    /// Returns how many errors ext4 counted on the file system since it was last checked; 0 where nobody counts.
    pub fn errors(&self) -> u64 {
        let Ok(device) = fs::canonicalize(format!("/sys/dev/block/{}", self.device)) else { return 0 };
        let Some(name) = device.file_name().and_then(|name| name.to_str()) else { return 0 };
        let count = fs::read_to_string(format!("/sys/fs/ext4/{name}/errors_count")).unwrap_or_default();
        count.trim().parse().unwrap_or(0)
    }
}

/// Returns what is mounted at a place, if anything; of several on top of each other the one that is seen.
///
/// # Errors
/// The table cannot be read.
pub fn at(point: &AbsPath) -> Result<Option<Mounted>, String> {
    let table =
        Process::new(1).and_then(|first| first.mountinfo()).or_else(|_| Process::myself()?.mountinfo());
    let table = table.map_err(|e| format!("failed to read what is mounted: {e}"))?;
    Ok(table.0.iter().rfind(|mount| mount.mount_point == Path::new(point.as_str())).map(Mounted::of))
}

/// Says whether `/etc/fstab` declares a place.
///
/// # Errors
/// It cannot be read.
pub fn declared(point: &AbsPath) -> Result<bool, String> {
    let text = fs::read_to_string(FSTAB).map_err(|e| format!("failed to read {FSTAB}: {e}"))?;
    Ok(points(&text).any(|declared| declared == point.as_str()))
}

fn points(fstab: &str) -> impl Iterator<Item = String> + '_ {
    let entries = fstab.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    entries.filter_map(|line| {
        let point = unescaped(line.split_whitespace().nth(1)?);
        let point = if point.len() > 1 { point.trim_end_matches('/') } else { &point };
        Some(point.to_owned())
    })
}

/// A blank in a path is written as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[3..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns how many entries a folder holds that a mount would hide.
///
/// # Errors
/// It is not there, or no folder.
pub fn beneath(point: &AbsPath) -> Result<usize, String> {
    let entries = fs::read_dir(point.as_str()).map_err(|e| format!("failed to look into {point}: {e}"))?;
    // A file system of its own has its lost+found; a folder that was made for a mount has nothing.
    Ok(entries.take(1000).count())
}

/// Returns an argument vector that works on the host's mounts, wherever the runner itself stands.
pub fn on_host(argv: &[&str]) -> Vec<String> {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let elsewhere = of("1").is_some() && of("1") != of("self");
    let enter: &[&str] = if elsewhere { &[NSENTER, "--mount=/proc/1/ns/mnt", "--"] } else { &[] };
    enter.iter().chain(argv).map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_fstab_declares() {
        let fstab = "# /dev/sda1 /commented ext4\n\
            UUID=1 / ext4 errors=remount-ro 0 1\n  /dev/b /srv/a\\040b/ ext4 ro 0 0\n/dev/c none swap sw\nshort\n";
        assert_eq!(points(fstab).collect::<Vec<_>>(), ["/", "/srv/a b", "none"]);
    }

    #[test]
    fn the_root_is_mounted() {
        let root =
            at(&AbsPath::new("/").expect("a path")).expect("the table is read").expect("it is mounted");
        assert_ne!(root.has("rw"), root.has("ro"));
        assert_ne!(root.has("noexec"), root.has("exec"));
        assert_eq!(at(&AbsPath::new("/nowhere/at/all").expect("a path")), Ok(None));
    }
}
