//! The kernel's own buffer of messages. Each has a number, so that none is read twice within one life of the machine,
//! and those that were overwritten before they were read are counted.

use super::filter::Wanted;
use super::{Batch, Entry, Gap, KMSG_PLACE};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use tokio::sync::mpsc;

const DEVICE: &str = "/dev/kmsg";
/// Longest record that the kernel gives, in bytes.
const RECORD_BYTES_MAX: usize = 8192;
/// Most records of one batch.
const RECORDS_MAX: usize = 512;
/// How often it is looked for new ones.
const EVERY: Duration = Duration::from_millis(250);
/// How long after a failure it is tried again.
const PAUSE: Duration = Duration::from_secs(30);

pub(super) async fn follow(wanted: &[(usize, Wanted)], place: Option<String>, to: &mpsc::Sender<Batch>) {
    let boot = super::super::judge::boot_id();
    let own = place.as_ref().and_then(|place| place.strip_prefix(&boot)?.trim().parse::<u64>().ok());
    // Of an earlier life nothing is in the buffer: all of it is new.
    let mut next = if place.is_some() { Some(own.map_or(0, |last| last + 1)) } else { None };
    while !to.is_closed() {
        let failed = match open(next.is_none()) {
            Err(e) => e,
            Ok(device) => match read(&device, wanted, &boot, &mut next, to).await {
                Err(e) => e,
                Ok(()) => return,
            },
        };
        let trouble = format!("failed to read {DEVICE}: {failed}");
        let _ = to.send(Batch::of_trouble(Some(trouble))).await;
        tokio::time::sleep(PAUSE).await;
    }
}

fn open(at_end: bool) -> std::io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nonblock).open(DEVICE)?;
    if at_end {
        file.seek(SeekFrom::End(0))?;
    }
    Ok(file)
}

/// Reads until nobody listens any more.
async fn read(
    device: &File,
    wanted: &[(usize, Wanted)],
    boot: &str,
    next: &mut Option<u64>,
    to: &mpsc::Sender<Batch>,
) -> std::io::Result<()> {
    let mut record = [0; RECORD_BYTES_MAX];
    let mut first = true;
    loop {
        let (mut batch, mut any) = (Batch::default(), false);
        for _ in 0..RECORDS_MAX {
            let count = match rustix::io::read(device, &mut record) {
                Ok(count) => count,
                Err(Errno::AGAIN) => break,
                // Records were overwritten; the next read goes on with the oldest that is there.
                Err(Errno::PIPE) => continue,
                Err(e) => return Err(e.into()),
            };
            let Some((number, entry)) = parse(&record[..count]) else { continue };
            if next.is_some_and(|next| number < next) {
                continue;
            }
            let lost = next.map_or(0, |next| number - next);
            if lost > 0 {
                batch.gaps.extend(wanted.iter().map(|(log, _)| (*log, Gap::Overwritten, lost)));
            }
            (*next, any) = (Some(number + 1), true);
            if let Some(entry) = entry {
                batch.add(wanted, &entry);
            }
        }
        if any || first {
            let last = next.and_then(|next| next.checked_sub(1));
            batch.place = Some((KMSG_PLACE, last.map_or(boot.to_owned(), |last| format!("{boot} {last}"))));
            batch.trouble = std::mem::take(&mut first).then_some(None);
            if to.send(batch).await.is_err() {
                return Ok(());
            }
        }
        if !any {
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Returns the number of a record, and what it says if the kernel itself says it.
fn parse(record: &[u8]) -> Option<(u64, Option<Entry>)> {
    let (head, rest) = record.split_at(memchr::memchr(b';', record)?);
    let mut parts = std::str::from_utf8(head).ok()?.split(',');
    let priority: u32 = parts.next()?.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    let message = &rest[1..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
    // Programs may write here too, under a facility of their own.
    let kernel = priority >> 3 == 0;
    let entry = kernel.then(|| Entry {
        message: message.to_vec(),
        identifier: "kernel".into(),
        transport: "kernel".into(),
        priority: u8::try_from(priority & 7).ok(),
        ..Entry::default()
    });
    Some((number, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_kernel_and_of_others() {
        for (record, number, message) in [
            (
                &b"6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n"[..],
                339,
                Some("NET: Registered protocol family 10"),
            ),
            (b"3,7,1,c;sd 0:0:0:0: [sda] x; y\n", 7, Some("sd 0:0:0:0: [sda] x; y")),
            (b"30,340,5690716,-;systemd[1]: written by a program\n", 340, None),
        ] {
            let (seq, entry) = parse(record).expect("a record");
            let told = entry.map(|e| String::from_utf8_lossy(&e.message).into_owned());
            assert_eq!((seq, told.as_deref()), (number, message));
        }
        for broken in [&b""[..], b"x", b";", b"6;x\n", b"x,1,2;y\n"] {
            assert_eq!(parse(broken), None);
        }
    }
}
