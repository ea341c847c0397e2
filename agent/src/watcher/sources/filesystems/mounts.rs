//! Which file systems there are to watch, and how full they are.

use crate::config::{Filesystems, Watch};
use procfs::process::MountInfo;
use sopwith_domain::value::AbsPath;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Kinds that hold nothing that could fill up, or hold it elsewhere.
const NOT_WATCHED: [&str; 31] = [
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "erofs",
    "udf",
    "cramfs",
    "binder",
    "resctrl",
];
/// Kinds that another machine serves; it is watched there.
const REMOTE: [&str; 12] =
    ["9p", "afs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3"];
/// Folders below which mounts come and go with sessions and containers.
const PASSING: [&str; 7] =
    ["/proc", "/sys", "/dev", "/run/user", "/run/credentials", "/run/host", "/var/lib/docker"];

/// How full a file system is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Usage {
    pub total_bytes: u64,
    pub used_bytes: u64,
    /// What is left for ordinary users.
    pub free_bytes: u64,
    pub inodes: u64,
    pub inodes_used: u64,
}

/// Share as `df` prints it: rounded up.
fn percent(part: u64, whole: u64) -> u8 {
    if whole == 0 {
        return 0;
    }
    u8::try_from((u128::from(part) * 100).div_ceil(u128::from(whole))).unwrap_or(100)
}

impl Usage {
    pub(super) fn used_percent(&self) -> u8 {
        percent(self.used_bytes, self.used_bytes + self.free_bytes)
    }

    /// Returns nothing where the file system has no fixed number of inodes.
    pub(super) fn inodes_percent(&self) -> Option<u8> {
        (self.inodes > 0).then(|| percent(self.inodes_used, self.inodes))
    }

    /// Asks the kernel, which may take for ever on a dead mount.
    ///
    /// # Errors
    /// The mount is gone.
    pub(super) fn of(mount: &AbsPath) -> std::io::Result<Self> {
        let stat = rustix::fs::statvfs(seen_at(mount))?;
        Ok(Self {
            total_bytes: stat.f_blocks * stat.f_frsize,
            used_bytes: stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize,
            free_bytes: stat.f_bavail * stat.f_frsize,
            inodes: stat.f_files,
            inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
        })
    }
}

/// Returns the mount points to watch.
pub(super) fn watched(config: &Filesystems) -> Result<Vec<AbsPath>, String> {
    // The host's own, where they may be read: the agent's unit has some folders for itself.
    let of_host = procfs::process::Process::new(1).and_then(|init| init.mountinfo());
    let mounts = of_host.or_else(|_| procfs::process::Process::myself().and_then(|me| me.mountinfo()));
    let mounts = mounts.map_err(|e| format!("failed to read the mounts: {e}"))?;
    Ok(select(mounts.0.iter().map(Seen::of), config))
}

/// Folders that the agent's unit has for itself (`PrivateTmp=`), and where the host's own is seen all the same.
const OWN: &[&str] = &["/tmp", "/var/tmp"];
const OUTSIDE: &str = "/proc/1/root";

fn lies_in(point: &str, folder: &str) -> bool {
    point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns where what the host has at a mount point is seen from here.
pub(super) fn seen_at(mount: &AbsPath) -> PathBuf {
    let outside = PathBuf::from(format!("{OUTSIDE}{mount}"));
    let hidden = OWN.iter().any(|folder| lies_in(mount.as_str(), folder));
    if hidden && outside.exists() { outside } else { mount.as_str().into() }
}

/// Returns what the host calls a place that was seen from here.
pub(super) fn called(place: &Path) -> PathBuf {
    place.strip_prefix(OUTSIDE).map_or_else(|_| place.to_owned(), |inner| Path::new("/").join(inner))
}

/// What matters of a mount.
#[derive(Clone, Debug)]
struct Seen {
    point: String,
    kind: String,
    device: String,
    read_only: bool,
}

impl Seen {
    fn of(mount: &MountInfo) -> Self {
        Self {
            point: mount.mount_point.to_string_lossy().into_owned(),
            kind: mount.fs_type.clone(),
            device: mount.majmin.clone(),
            // Of the file system, not of the mount: the sandbox of our own unit shows every mount read-only.
            read_only: mount.super_options.contains_key("ro"),
        }
    }
}

fn select(mounts: impl Iterator<Item = Seen>, config: &Filesystems) -> Vec<AbsPath> {
    // A later mount hides an earlier one at the same place.
    let visible: BTreeMap<String, Seen> = mounts.map(|mount| (mount.point.clone(), mount)).collect();
    let named = |point: &str| {
        let listed = matches!(&config.watch, Watch::Only(_)) && config.watch.takes(point);
        listed || config.mounts.keys().any(|mount| mount.as_str() == point)
    };
    // Of several mounts of one device only the shortest path is watched, and those that are named.
    let mut first_of_device: BTreeMap<&str, &str> = BTreeMap::new();
    for (point, mount) in &visible {
        let first = first_of_device.entry(&mount.device).or_insert(point);
        if point.len() < first.len() {
            *first = point;
        }
    }
    let ordinary = |mount: &Seen| {
        let root_overlay = mount.point == "/" && mount.kind == "overlay";
        let kind = mount.kind.as_str();
        (root_overlay || !NOT_WATCHED.contains(&kind))
            && !REMOTE.contains(&kind)
            && !kind.starts_with("fuse.")
            && !PASSING.iter().any(|folder| lies_in(&mount.point, folder))
            && first_of_device.get(mount.device.as_str()) == Some(&mount.point.as_str())
    };
    let wanted = visible.values().filter(|mount| {
        let by_name = named(&mount.point);
        !mount.read_only && (by_name || matches!(config.watch, Watch::All) && ordinary(mount))
    });
    wanted.filter_map(|mount| AbsPath::new(mount.point.as_str()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, Mount};

    #[test]
    fn local_writable_mounts_are_watched_once_and_named_ones_always() {
        let table = [
            ("/", "ext4", "8:1", false),
            ("/proc", "proc", "0:1", false),
            ("/dev/shm", "tmpfs", "0:2", false),
            ("/run", "tmpfs", "0:3", false),
            ("/var/log/shop", "tmpfs", "0:4", false),
            ("/srv/vol", "ext4", "8:1", false), // a bind mount
            ("/mnt/cd", "iso9660", "11:0", true),
            ("/srv/ro", "ext4", "8:3", true),
            ("/srv/nfs", "nfs4", "0:50", false),
            ("/srv/sshfs", "fuse.sshfs", "0:51", false),
            ("/home", "autofs", "0:60", false),
            ("/home", "xfs", "8:5", false), // over the one before
            ("/var/lib/docker/overlay2/x/merged", "overlay", "0:70", false),
        ];
        let seen = || {
            table.iter().map(|(point, kind, device, read_only)| Seen {
                point: (*point).into(),
                kind: (*kind).into(),
                device: (*device).into(),
                read_only: *read_only,
            })
        };
        let chosen = |config: &Filesystems| {
            select(seen(), config).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let mut config = Filesystems::default();
        assert_eq!(chosen(&config), "/ /home /run /var/log/shop");
        config.mounts.insert(AbsPath::new("/srv/vol").expect("a path"), Mount::default());
        config.mounts.insert(AbsPath::new("/srv/nfs").expect("a path"), Mount::default());
        assert_eq!(chosen(&config), "/ /home /run /srv/nfs /srv/vol /var/log/shop");
        config.watch = Watch::None;
        assert_eq!(chosen(&config), "/srv/nfs /srv/vol");
        config.watch = Watch::Only(vec![At::of("/srv/sshfs".into()), At::of("/home".into())]);
        assert_eq!(chosen(&config), "/home /srv/nfs /srv/sshfs /srv/vol");
    }

    #[test]
    fn what_the_units_own_folders_hide_is_seen_from_outside() {
        let path = |text: &str| AbsPath::new(text).expect("a path");
        let outside = Path::new("/proc/1/root/tmp").exists();
        let tmp = if outside { "/proc/1/root/tmp" } else { "/tmp" };
        for (mount, seen) in [("/", "/"), ("/tmp", tmp), ("/tmpfs", "/tmpfs"), ("/var/lib", "/var/lib")] {
            assert_eq!(seen_at(&path(mount)), Path::new(seen), "{mount}");
            assert_eq!(called(Path::new(seen)), Path::new(mount), "{mount}");
        }
    }

    #[test]
    fn shares_are_rounded_as_df_does() {
        for (used_bytes, free_bytes, is) in
            [(0, 0, 0), (0, 10, 0), (1, 999, 1), (89, 11, 89), (891, 109, 90), (10, 0, 100)]
        {
            assert_eq!(Usage { used_bytes, free_bytes, ..Usage::default() }.used_percent(), is);
        }
        assert_eq!(Usage::default().inodes_percent(), None);
        assert_eq!(Usage { inodes: 2000, inodes_used: 1801, ..Usage::default() }.inodes_percent(), Some(91));
    }
}
