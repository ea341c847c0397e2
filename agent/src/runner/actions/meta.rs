//! What a file is besides its bytes: mode, owner, group, times to the nanosecond, extended attributes (access
//! control lists among them).

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use xattr::FileExt;

/// The kernel's own bits of a mode that can be set.
pub const MODE_BITS: u32 = 0o7777;

/// A file's identity and everything that an undo puts back beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Meta {
    pub dev: u64,
    pub ino: u64,
    pub links: u64,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub atime: (i64, i64),
    pub mtime: (i64, i64),
    /// Values in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Meta {
    /// Looks at an open file.
    ///
    /// # Errors
    /// The kernel's reason, or an attribute whose name is not text.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            #[allow(clippy::useless_conversion, reason = "the width differs between architectures")]
            links: stat.st_nlink.into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & MODE_BITS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            atime: (stat.st_atime, nanoseconds(stat.st_atime_nsec)),
            mtime: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            xattrs: attributes(file)?,
        })
    }

    /// Says whether this is the same file, whatever has become of it.
    pub fn same_file(&self, other: &Meta) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Says whether bytes, mode, owner and attributes can be taken to be what they were.
    pub fn unchanged(&self, other: &Meta) -> bool {
        let of = |m: &Meta| (m.dev, m.ino, m.size, m.mode, m.uid, m.gid, m.mtime);
        of(self) == of(other) && self.xattrs == other.xattrs
    }

    /// Gives a file this mode, owner, attributes and these times, and makes that durable.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn apply(&self, file: &File) -> io::Result<()> {
        self.apply_owner_and_mode(file)?;
        let here = attributes(file)?;
        for name in here.keys().filter(|name| !self.xattrs.contains_key(*name)) {
            file.remove_xattr(name)?;
        }
        for (name, value) in &self.xattrs {
            if here.get(name) != Some(value) {
                let value = hex::decode(value).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                file.set_xattr(name, &value)?;
            }
        }
        self.apply_times(file)?;
        file.sync_all()
    }

    /// Owner first: the kernel takes set-user-id bits away when the owner changes.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn apply_owner_and_mode(&self, file: &File) -> io::Result<()> {
        let now = fstat(file)?;
        if (now.st_uid, now.st_gid) != (self.uid, self.gid) {
            fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        fchmod(file, Mode::from_raw_mode(self.mode))?;
        Ok(())
    }

    /// # Errors
    /// The kernel's reason.
    pub fn apply_times(&self, file: &File) -> io::Result<()> {
        let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time(self.atime), last_modification: time(self.mtime) };
        Ok(futimens(file, &times)?)
    }
}

fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(0)
}

fn attributes(file: &File) -> io::Result<BTreeMap<String, String>> {
    let names = match file.list_xattr() {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(BTreeMap::new()),
        Err(e) => return Err(e),
    };
    let text = |name: OsString| {
        name.into_string()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an attribute's name is not text"))
    };
    let mut attributes = BTreeMap::new();
    for name in names {
        let name = text(name)?;
        if let Some(value) = file.get_xattr(&name)? {
            attributes.insert(name, hex::encode(value));
        }
    }
    Ok(attributes)
}
