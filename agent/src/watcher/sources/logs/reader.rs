//! The bytes of a file, or of what is packed in one, from a place on.

use super::cursor::{Cursor, Tail};
use flate2::bufread::MultiGzDecoder;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// `O_NONBLOCK`: opening a pipe that somebody put there must not wait for its other end.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// Bytes that are unpacked at once.
const UNPACK_BYTES: usize = 16 * 1024;

/// Opens a regular file, and says which it is.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub(super) fn open(path: &Path) -> io::Result<(File, u64, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok((file, metadata.dev(), metadata.ino()))
}

#[derive(Debug)]
pub(super) enum Reader {
    Plain(File),
    Packed(Box<Unpacking>),
}

/// A packed file that is read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Unpacking {
    from: MultiGzDecoder<BufReader<File>>,
    at: u64,
}

impl Reader {
    /// Begins to read what is packed in a file.
    pub(super) fn unpack(file: File) -> Self {
        let from = MultiGzDecoder::new(BufReader::with_capacity(UNPACK_BYTES, file));
        Self::Packed(Box::new(Unpacking { from, at: 0 }))
    }

    /// Returns the file itself.
    pub(super) fn file(&self) -> &File {
        match self {
            Self::Plain(file) => file,
            Self::Packed(packed) => packed.from.get_ref().get_ref(),
        }
    }

    pub(super) fn is_packed(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    /// Reads at a place. What is packed can be read only onwards.
    ///
    /// # Errors
    /// The file cannot be read, or what is packed is damaged.
    pub(super) fn read_at(&mut self, to: &mut [u8], place: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(to, place),
            Self::Packed(packed) => {
                packed.skip_to(place, &mut |_| ())?;
                let mut done = 0;
                while done < to.len() {
                    match packed.from.read(&mut to[done..]) {
                        Ok(0) => break,
                        Ok(count) => done += count,
                        Err(e) if done == 0 => return Err(e),
                        // It says so again when it is asked for more.
                        Err(_) => break,
                    }
                }
                packed.at += done as u64;
                Ok(done)
            }
        }
    }
}

impl Unpacking {
    /// Goes on to a place, telling what it passes.
    fn skip_to(&mut self, place: u64, passed: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = [0; 4096];
        while self.at < place {
            let wanted = chunk.len().min(usize::try_from(place - self.at).unwrap_or(chunk.len()));
            let count = self.from.read(&mut chunk[..wanted])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            passed(&chunk[..count]);
            self.at += count as u64;
        }
        Ok(())
    }
}

/// Opens a file, packed or not, in which all is that was read up to a place, at this place.
pub(super) fn open_copy(path: &Path, packed: bool, cursor: &Cursor) -> Option<(Reader, u64, u64)> {
    let (file, device, inode) = open(path).ok()?;
    if !packed {
        return cursor.fits(&file).then_some((Reader::Plain(file), device, inode));
    }
    let mut reader = Reader::unpack(file);
    let mut seen = Tail::default();
    if let Reader::Packed(packed) = &mut reader {
        packed.skip_to(cursor.offset, &mut |bytes| seen.pass(bytes)).ok()?;
    }
    cursor.fits_passed(&seen).then_some((reader, device, inode))
}

/// Returns the first bytes of a file, or of what is packed in it.
pub(super) fn first_bytes(path: &Path, packed: bool, count: usize) -> Option<Vec<u8>> {
    let (file, _, _) = open(path).ok()?;
    let mut reader = if packed { Reader::unpack(file) } else { Reader::Plain(file) };
    let mut bytes = vec![0; count];
    let read = reader.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(read);
    Some(bytes)
}
