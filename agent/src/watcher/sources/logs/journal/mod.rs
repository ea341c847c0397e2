//! Follows systemd's journal by one journalctl for all logs, and the kernel's log by /dev/kmsg where there is no
//! journal. What was read comes in batches with the place up to which it goes; the next batch is read only when there
//! is room for it, so that who floods the journal waits for the disk as everybody does.

mod export;
mod filter;
mod kmsg;

use super::tracked::Gap;
use crate::config::Log;
use export::{Entry, Parser};
use filter::Wanted;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where the journal's own socket is, while there is a journal.
const SOCKET: &str = "/run/systemd/journal/socket";
const JOURNALCTL: &str = "/usr/bin/journalctl";
const FIELDS: &str =
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID,_SYSTEMD_UNIT,UNIT,_TRANSPORT,PRIORITY";
/// A file with the id under which this host writes into its journal.
const MACHINE: &str = "/etc/machine-id";
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long an end of journalctl is waited for, first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Longest time for the question where the journal ends.
const TAIL_TIME_MAX: Duration = Duration::from_secs(10);
/// From so long on a journalctl without news is well.
const STARTED: Duration = Duration::from_secs(2);
/// A place that journalctl cannot find so many times is given up.
const PLACE_TRIES: u32 = 3;
/// Names under which the places are kept.
pub(super) const JOURNAL_PLACE: &str = "place:journal";
pub(super) const KMSG_PLACE: &str = "place:kmsg";

/// Lines for each log, and what is to be kept with them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines by log.
    pub lines: BTreeMap<usize, Vec<u8>>,
    /// Under which name which place is kept.
    pub place: Option<(&'static str, String)>,
    pub gaps: Vec<(usize, Gap, u64)>,
    /// Why nothing is seen, or that all is well again.
    pub trouble: Option<Option<String>>,
}

impl Batch {
    fn of_trouble(trouble: Option<String>) -> Self {
        Self { trouble: Some(trouble), ..Self::default() }
    }

    fn add(&mut self, wanted: &[(usize, Wanted)], entry: &Entry) {
        for (log, _) in wanted.iter().filter(|(_, wanted)| wanted.takes(entry)) {
            entry.write_line(self.lines.entry(*log).or_default());
            if entry.cut {
                self.gaps.push((*log, Gap::LongLine, 1));
            }
        }
    }
}

/// Begins to follow what the logs want; nothing where they want nothing.
pub(super) fn follow(
    logs: &[Log],
    kept: &BTreeMap<String, String>,
    stop: &CancellationToken,
) -> Option<mpsc::Receiver<Batch>> {
    let wanted: Vec<_> = logs.iter().enumerate().filter_map(|(n, log)| Some((n, Wanted::of(log)?))).collect();
    if wanted.is_empty() {
        return None;
    }
    let (to, from) = mpsc::channel(1);
    let (journal, kmsg) = (kept.get(JOURNAL_PLACE).cloned(), kept.get(KMSG_PLACE).cloned());
    let work = async move {
        if Path::new(SOCKET).exists() && Path::new(JOURNALCTL).exists() {
            follow_journal(&wanted, journal, &to).await;
        } else {
            follow_kernel(&wanted, kmsg, &to).await;
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(work));
    Some(from)
}

async fn follow_kernel(wanted: &[(usize, Wanted)], place: Option<String>, to: &mpsc::Sender<Batch>) {
    if wanted.iter().any(|(_, wanted)| !matches!(wanted, Wanted::Kernel)) {
        let trouble = "there is no journal of systemd on this host".to_owned();
        let _ = to.send(Batch::of_trouble(Some(trouble))).await;
    }
    let kernel: Vec<_> =
        wanted.iter().filter(|(_, wanted)| matches!(wanted, Wanted::Kernel)).cloned().collect();
    if !kernel.is_empty() {
        kmsg::follow(&kernel, place, to).await;
    }
}

async fn follow_journal(wanted: &[(usize, Wanted)], mut place: Option<String>, to: &mpsc::Sender<Batch>) {
    let (mut pause, mut failed) = (PAUSE_MIN, 0);
    loop {
        if place.is_none() {
            place = end_of_journal().await;
            if let Some(place) = &place {
                let batch = Batch { place: Some((JOURNAL_PLACE, place.clone())), ..Batch::default() };
                if to.send(batch).await.is_err() {
                    return;
                }
            }
        }
        let before = place.clone();
        let ended = read_journal(wanted, &mut place, to).await;
        if to.is_closed() {
            return;
        }
        if place == before {
            failed += 1;
            if failed >= PLACE_TRIES && place.take().is_some() {
                // The place is in no journal any more: what was between is lost, and said to be.
                let gaps = wanted.iter().map(|(log, _)| (*log, Gap::Gone, 1)).collect();
                let _ = to.send(Batch { gaps, ..Batch::default() }).await;
                failed = 0;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        } else {
            (pause, failed) = (PAUSE_MIN, 0);
        }
        let _ = to.send(Batch::of_trouble(Some(format!("journalctl ended: {ended}")))).await;
        tokio::time::sleep(pause).await;
    }
}

fn journalctl(arguments: &[&str]) -> std::io::Result<Child> {
    Command::new(JOURNALCTL)
        .args(["--output=export", "--quiet", "--no-pager", FIELDS])
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Returns the place after the newest entry.
async fn end_of_journal() -> Option<String> {
    let child = journalctl(&["--lines=1"]).ok()?;
    let output = tokio::time::timeout(TAIL_TIME_MAX, child.wait_with_output()).await.ok()?.ok()?;
    let (mut parser, mut place) = (Parser::default(), None);
    parser.take(&output.stdout, &mut |entry| place = Some(entry.cursor));
    place
}

/// Reads until journalctl ends, and returns why.
async fn read_journal(
    wanted: &[(usize, Wanted)],
    place: &mut Option<String>,
    to: &mpsc::Sender<Batch>,
) -> String {
    let after = place.as_ref().map(|place| format!("--after-cursor={place}"));
    let machine = std::fs::read_to_string(MACHINE).ok();
    let terms = filter::terms(wanted, machine.as_deref().map(str::trim));
    // To follow alone means this boot's entries only: those of the hours before a restart would be passed over, and
    // all of them where a sandbox shows another boot's id. Merged means every boot, and every host that is received
    // here, which the terms leave out again.
    let mut arguments = vec!["--follow", "--no-tail", "--merge"];
    arguments.extend(after.as_deref());
    arguments.extend(terms.iter().map(String::as_str));
    let mut child = match journalctl(&arguments) {
        Ok(child) => child,
        Err(e) => return e.to_string(),
    };
    let (Some(mut out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return "it has no output".into();
    };
    let (mut parser, mut chunk) = (Parser::default(), vec![0; CHUNK_BYTES]);
    let mut first = true;
    loop {
        let reading = out.read(&mut chunk);
        let read = match first {
            false => reading.await,
            true => match tokio::time::timeout(STARTED, reading).await {
                Ok(read) => read,
                Err(_) => {
                    // Nothing new is as good as something.
                    first = false;
                    let _ = to.send(Batch::of_trouble(None)).await;
                    continue;
                }
            },
        };
        let Ok(count @ 1..) = read else { break };
        let mut batch = Batch::default();
        parser.take(&chunk[..count], &mut |entry| {
            batch.add(wanted, &entry);
            *place = Some(entry.cursor);
        });
        if batch.lines.is_empty() {
            continue;
        }
        batch.place = place.clone().map(|place| (JOURNAL_PLACE, place));
        batch.trouble = std::mem::take(&mut first).then_some(None);
        if to.send(batch).await.is_err() {
            return "the agent is stopping".into();
        }
    }
    let mut said = String::new();
    // What it said at its end is short, and a program that holds the pipe open is not waited for.
    let mut err = err.take(1024);
    let _ = tokio::time::timeout(Duration::from_millis(200), err.read_to_string(&mut said)).await;
    let status = child.try_wait().ok().flatten();
    let status = status.map_or_else(|| "its output ended".into(), |status| status.to_string());
    match said.lines().next() {
        Some(line) => format!("{status}: {line}"),
        None => status,
    }
}
