//! Runs a program by its argument vector, bounded in time and output. When its time is over everything that it
//! started is ended too, also what has left its process group.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// Name of the variable by which the children of a program are found, wherever they went.
const MARK: &str = "SOPWITH_RUN";
/// Most times that the processes are gone through for children that are still born.
const SWEEPS_MAX: usize = 20;

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Exited(i32),
    Signalled(i32),
    TimedOut,
}

/// What came of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    pub ended: Ended,
    /// Standard output and standard error, as they came, up to the bound.
    pub output: Vec<u8>,
    /// Bytes beyond the bound, which were read and thrown away.
    pub cut: u64,
}

/// Runs a program to its end or to the end of its time.
///
/// # Errors
/// It could not be started.
pub async fn run(argv: &[String], time_max: Duration, output_max: usize) -> io::Result<Done> {
    let program = argv.first().ok_or(io::ErrorKind::InvalidInput)?;
    let mark = format!("{:032x}", rand::random::<u128>());
    let (mut output_end, mut child) = start(program, &argv[1..], &mark)?;
    let (mut output, mut cut) = (Vec::new(), 0);
    let timed = tokio::time::timeout(time_max, async {
        let reading = read(&mut output_end, &mut output, &mut cut, output_max);
        tokio::select! {
            // A child that outlives the program may hold the pipe open for ever.
            status = child.wait() => status,
            () = reading => child.wait().await,
        }
    });
    let status = timed.await;
    let ended = match status {
        Ok(status) => how(status?),
        Err(_) => {
            end_all(&mut child, &mark).await;
            Ended::TimedOut
        }
    };
    drain(&output_end, &mut output, &mut cut, output_max);
    Ok(Done { ended, output, cut })
}

fn start(program: &str, arguments: &[String], mark: &str) -> io::Result<(pipe::Receiver, Child)> {
    let (ours, theirs) = io::pipe()?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let also_theirs = theirs.try_clone()?;
    let child = Command::new(program)
        .args(arguments)
        .env(MARK, mark)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::from(also_theirs))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((pipe::Receiver::from_owned_fd(OwnedFd::from(ours))?, child))
}

async fn read(from: &mut pipe::Receiver, output: &mut Vec<u8>, cut: &mut u64, output_max: usize) {
    let mut chunk = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        keep(&chunk[..count], output, cut, output_max);
    }
}

/// Takes what lies in the pipe, without waiting for more.
fn drain(from: &pipe::Receiver, output: &mut Vec<u8>, cut: &mut u64, output_max: usize) {
    let mut chunk = [0; 8192];
    // A pipe holds 64 KiB by default; who writes on meanwhile is not waited for.
    for _ in 0..16 {
        match rustix::io::read(from, &mut chunk) {
            Ok(count @ 1..) => keep(&chunk[..count], output, cut, output_max),
            _ => return,
        }
    }
}

fn keep(chunk: &[u8], output: &mut Vec<u8>, cut: &mut u64, output_max: usize) {
    let kept = chunk.len().min(output_max.saturating_sub(output.len()));
    output.extend_from_slice(&chunk[..kept]);
    *cut += (chunk.len() - kept) as u64;
}

fn how(status: std::process::ExitStatus) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, signal) => Ended::Signalled(signal.unwrap_or(0)),
    }
}

/// Ends the program and all its children, and does not return before they are gone or cannot be ended.
async fn end_all(child: &mut Child, mark: &str) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = id {
        // It is not reaped yet, so the number is still its own.
        let _ = kill_process_group(group, Signal::KILL);
    }
    for _ in 0..SWEEPS_MAX {
        let mark = mark.to_owned();
        let found = tokio::task::spawn_blocking(move || sweep(&mark)).await.unwrap_or(0);
        if found == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The kernel ends it as soon as it can; one that hangs in the kernel is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
}

/// Ends every process that carries the mark and returns how many there were.
fn sweep(mark: &str) -> usize {
    let wanted = format!("{MARK}={mark}").into_bytes();
    let mut found = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|one| one == wanted.as_slice()) {
            found += 1;
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Vec<String> {
        ["/bin/sh", "-c", text].iter().map(ToString::to_string).collect()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn programs_end_in_every_way() {
        for (text, ended, output) in [
            ("exit 0", Ended::Exited(0), ""),
            ("echo out; echo err >&2; exit 3", Ended::Exited(3), "out\nerr\n"),
            ("kill -9 $$", Ended::Signalled(9), ""),
            ("echo before; sleep 1000 & exit 1", Ended::Exited(1), "before\n"),
        ] {
            let done = run(&shell(text), LONG, 1000).await.expect("it starts");
            assert_eq!(
                (done.ended, String::from_utf8_lossy(&done.output).as_ref()),
                (ended, output),
                "{text}"
            );
        }
        assert!(run(&["/does/not/exist".into()], LONG, 10).await.is_err());
        assert!(run(&[], LONG, 10).await.is_err());
    }

    #[tokio::test]
    async fn output_is_bounded_and_what_is_cut_counted() {
        let done = run(&shell("yes | head -c 300000"), LONG, 1000).await.expect("it starts");
        assert_eq!((done.ended, done.output.len(), done.cut), (Ended::Exited(0), 1000, 299_000));
    }

    #[tokio::test]
    async fn at_the_end_of_its_time_the_whole_tree_is_ended() {
        let marker = format!("sopwith-tree-{}", rand::random::<u64>());
        // One child ignores the signals of a polite end, one leaves the session and is orphaned.
        let text = format!(
            "trap '' TERM; (setsid sh -c 'exec -a {marker} sleep 1000' &) ; sh -c 'trap \"\" TERM; sleep 1000' & \
             echo ready; sleep 1000"
        );
        let done = run(
            &["/bin/bash".into(), "-c".into(), text.replace("setsid sh", "setsid bash")],
            Duration::from_millis(1500),
            1000,
        )
        .await
        .expect("it starts");
        assert_eq!((done.ended, done.output.as_slice()), (Ended::TimedOut, b"ready\n".as_slice()));
        let alive = |_: ()| {
            let lines = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            lines
                .filter_map(|e| std::fs::read(e.path().join("cmdline")).ok())
                .any(|line| line.starts_with(marker.as_bytes()))
        };
        for _ in 0..200 {
            if !alive(()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("a child outlived the end of its program's time");
    }
}
