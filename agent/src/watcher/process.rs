//! Runs a program by its argument vector, bounded in time and output. When its time is over everything that it
//! started is ended too, also what has left its process group.

use rustix::process::{Pid, Signal, kill_process, kill_process_group, setpriority_process};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// Name of the variable by which the children of a program are found, wherever they went.
const MARK: &str = "SOPWITH_RUN";
/// Most times that the processes are gone through for children that are still born.
const SWEEPS_MAX: usize = 20;
/// Nice value of what nobody waits for.
const QUIET: i32 = 19;

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Exited(i32),
    Signalled(i32),
    TimedOut,
}

/// A program to be run. Nothing of it is read by a shell.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its path and arguments.
    pub argv: Vec<String>,
    /// Variables that it gets besides those of the agent.
    pub variables: Vec<(String, String)>,
    /// Where it works; where the agent does by default.
    pub folder: Option<PathBuf>,
    /// Whether standard error is kept apart from standard output, for programs whose output is parsed.
    pub apart: bool,
    /// Whether it gives way to everything else: nobody waits for it, and a repair may be under way.
    pub quietly: bool,
}

/// What came of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    pub ended: Ended,
    /// Standard output, and standard error where it is not kept apart, as they came, up to the bound.
    pub output: Vec<u8>,
    /// Bytes beyond the bound, which were read and thrown away.
    pub cut: u64,
}

/// Runs a program to its end or to the end of its time.
///
/// # Errors
/// It could not be started.
pub async fn run(argv: &[String], time_max: Duration, output_max: usize) -> io::Result<Done> {
    let program = Program { argv: argv.to_vec(), ..Program::default() };
    run_until(&program, tokio::time::sleep(time_max), output_max).await.map(|(done, _)| done)
}

/// Runs a program to its end or until something else has come about, which counts as the end of its time. Also
/// returns standard error, where it is kept apart.
///
/// # Errors
/// It could not be started.
pub async fn run_until(
    program: &Program,
    until: impl Future<Output = ()>,
    output_max: usize,
) -> io::Result<(Done, Vec<u8>)> {
    let mark = format!("{:032x}", rand::random::<u128>());
    let mut started = start(program, &mark)?;
    let (mut output, mut cut) = (Vec::new(), 0);
    let (mut errors, mut errors_cut) = (Vec::new(), 0);
    let reading = async {
        let read_output = read(&mut started.output, &mut output, &mut cut, output_max);
        match &mut started.errors {
            Some(from) => _ = tokio::join!(read_output, read(from, &mut errors, &mut errors_cut, output_max)),
            None => read_output.await,
        }
    };
    let child = &mut started.child;
    let ending = async {
        tokio::select! {
            // A child that outlives the program may hold the pipe open for ever.
            status = child.wait() => status,
            () = reading => child.wait().await,
        }
    };
    let status = tokio::select! {
        status = ending => Some(status),
        () = until => None,
    };
    let ended = match status {
        Some(status) => how(status?),
        None => {
            end_all(&mut started.child, &mark).await;
            Ended::TimedOut
        }
    };
    drain(&started.output, &mut output, &mut cut, output_max);
    if let Some(from) = &started.errors {
        drain(from, &mut errors, &mut errors_cut, output_max);
    }
    Ok((Done { ended, output, cut }, errors))
}

/// A program that runs, and our ends of its pipes.
struct Started {
    child: Child,
    output: pipe::Receiver,
    errors: Option<pipe::Receiver>,
}

fn start(program: &Program, mark: &str) -> io::Result<Started> {
    let path = program.argv.first().ok_or(io::ErrorKind::InvalidInput)?;
    let (output, theirs) = our_pipe()?;
    let (errors, their_errors) = match program.apart {
        true => our_pipe().map(|(ours, theirs)| (Some(ours), theirs))?,
        false => (None, theirs.try_clone()?),
    };
    let mut command = Command::new(path);
    command
        .args(&program.argv[1..])
        .env(MARK, mark)
        .env("LC_ALL", "C.UTF-8")
        .envs(program.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::from(their_errors))
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &program.folder {
        command.current_dir(folder);
    }
    let child = command.spawn()?;
    // The agent is protected from the want of memory; what it starts is what goes first. Where the kernel does not
    // let us, it is only less so.
    if let Some(id) = child.id() {
        let _ = std::fs::write(format!("/proc/{id}/oom_score_adj"), "500");
        if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw).filter(|_| program.quietly) {
            let _ = setpriority_process(Some(pid), QUIET);
        }
    }
    Ok(Started { child, output, errors })
}

fn our_pipe() -> io::Result<(pipe::Receiver, io::PipeWriter)> {
    let (ours, theirs) = io::pipe()?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd(OwnedFd::from(ours))?, theirs))
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
    async fn what_is_parsed_is_kept_apart_from_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = Program {
            argv: shell("echo $WHAT; pwd; echo broken >&2"),
            variables: vec![("WHAT".into(), "json".into())],
            folder: Some(folder.path().canonicalize().expect("a path")),
            apart: true,
            quietly: true,
        };
        let (done, errors) = run_until(&program, tokio::time::sleep(LONG), 1000).await.expect("it starts");
        let expected = format!("json\n{}\n", program.folder.expect("set").display());
        assert_eq!(
            (String::from_utf8_lossy(&done.output).into_owned(), errors),
            (expected, b"broken\n".to_vec())
        );
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
