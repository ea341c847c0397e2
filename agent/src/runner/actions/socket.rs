//! `socket.remove`: takes away a socket at which nobody listens and that keeps its service from starting. Nothing is in
//! a socket, so that undo makes one of the same mode, owner and times. One at which somebody listens is never touched,
//! whoever it is.

use super::act::{Act, At};
use super::meta::MODE_BITS;
use super::place::Place;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, chmodat, chownat, mknodat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sopwith_domain::run::Effect;
use sopwith_domain::value::AbsPath;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    dev: u64,
    inode: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds.
    accessed: (i64, i64),
    modified: (i64, i64),
}

impl Prior {
    fn of(stat: &Stat) -> Self {
        let nanoseconds = |n: u64| i64::try_from(n).unwrap_or(0);
        Self {
            dev: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode & MODE_BITS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            accessed: (stat.st_atime, nanoseconds(stat.st_atime_nsec)),
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
        }
    }

    /// Says whether a socket can be taken for this one: it, or the one that an undo made in its place.
    fn is_like(&self, stat: &Stat) -> bool {
        let now = Self::of(stat);
        is_socket(stat)
            && (now.mode, now.uid, now.gid, now.modified) == (self.mode, self.uid, self.gid, self.modified)
    }

    fn is(&self, stat: &Stat) -> bool {
        // A file system may give the number of what is gone to what comes next.
        self.is_like(stat) && (stat.st_dev, stat.st_ino) == (self.dev, self.inode)
    }
}

fn is_socket(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket
}

/// Says whether nobody listens at a socket; what it is that is there is asked before.
fn deserted(path: &AbsPath) -> Result<bool, String> {
    match UnixStream::connect(path.as_str()) {
        Ok(_) => Ok(false),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => Ok(true),
        // Of another kind (datagrams), or full: somebody is there.
        Err(e)
            if e.kind() == ErrorKind::WouldBlock
                || e.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) =>
        {
            Ok(false)
        }
        Err(e) => Err(format!("failed to ask who listens at {path}: {e}")),
    }
}

/// Returns the socket, if nobody listens at it.
fn looked_at(path: &AbsPath) -> Result<Stat, String> {
    let place = Place::of(path)?;
    let stat = place.stat()?.ok_or_else(|| place.failed("look at", "it does not exist"))?;
    if !is_socket(&stat) {
        return Err(place.failed("take away", "it is no socket"));
    }
    match deserted(path)? {
        true => Ok(stat),
        false => Err(place.failed("take away", "somebody listens at it")),
    }
}

/// Says whether there is a socket at which nobody listens.
pub fn stale(path: &AbsPath) -> Result<(), String> {
    looked_at(path).map(drop)
}

/// Makes a socket like the one that was there.
fn make(place: &Place, prior: &Prior) -> Result<(), String> {
    let made = place.beside(format!(".{}.sopwith-back", place.name().display()))?;
    made.remove()?;
    let failed = |e: Errno| place.failed("put back", e);
    let (folder, name) = (made.folder(), made.name());
    mknodat(folder, name, FileType::Socket, Mode::empty(), 0).map_err(failed)?;
    let (uid, gid) = (Uid::from_raw(prior.uid), Gid::from_raw(prior.gid));
    chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    chmodat(folder, name, Mode::from_raw_mode(prior.mode), AtFlags::empty()).map_err(failed)?;
    let time = |(tv_sec, tv_nsec): (i64, i64)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(prior.accessed), last_modification: time(prior.modified) };
    utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    made.rename_to_free(place)
}

/// Which socket to take away.
#[derive(Clone, Copy, Debug)]
pub struct Remove<'a> {
    pub path: &'a AbsPath,
}

impl Act for Remove<'_> {
    type Prior = Prior;

    fn foresee(&self, _at: &mut At<'_>) -> Result<String, String> {
        looked_at(self.path)?;
        Ok(format!("the socket {}, at which nobody listens, would go", self.path))
    }

    fn capture(&self, _at: &mut At<'_>) -> Result<Prior, String> {
        looked_at(self.path).map(|stat| Prior::of(&stat))
    }

    fn perform(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let place = Place::of(self.path)?;
        if !prior.is(&looked_at(self.path)?) {
            return Err(place.failed("take away", "somebody exchanged it a moment ago"));
        }
        place.remove()?;
        Ok(format!("the socket {} is gone", self.path))
    }

    fn probe(&self, _at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        Ok(match Place::of(self.path)?.stat()? {
            None => Effect::Took { detail: format!("{} is gone", self.path) },
            Some(stat) if prior.is(&stat) => {
                Effect::None { detail: format!("{} is where it was", self.path) }
            }
            Some(_) => Effect::Unknown { detail: format!("another is at {}", self.path) },
        })
    }

    fn undo(&self, _at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        let place = Place::of(self.path)?;
        if let Some(stat) = place.stat()? {
            if prior.is(&stat) || prior.is_like(&stat) {
                return Ok(format!("the socket {} is where it was", self.path));
            }
            // One that the service left when its start was undone is as dead as the one before it.
            let left = is_socket(&stat) && (stat.st_uid, stat.st_gid) == (prior.uid, prior.gid);
            if !left || !deserted(self.path)? {
                return Err(format!("somebody made another {} since; that was left alone", self.path));
            }
            place.remove()?;
        }
        make(&place, prior)?;
        Ok(format!("a socket like the one that was there is at {}", self.path))
    }
}

#[cfg(test)]
mod tests;
