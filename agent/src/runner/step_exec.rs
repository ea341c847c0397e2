//! The supervisor of one program of a step: `sopwith-agent step-exec`. It is a process of its own so that it can be
//! the reaper of everything the program starts, however often that forks, leaves its session or ignores signals:
//! it ends only when it has no descendant left, or says how many it could not end.
//!
//! Its standard input is a lifeline: when the runner is gone, so is the program. Its standard output is a report.

use super::actions::processes::descendants;
use super::born_in_group::{self, Start};
use super::clock;
use super::confine::Confinement;
use super::group::Cgroup;
use super::seccomp;
use super::step_output::Output;
use super::stopped::Stopped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, setsid,
    umask, wait,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// How long a program may take to obey SIGTERM, in milliseconds.
const GRACE_MS: i64 = 2000;
/// How long it may take until everything is dead after SIGKILL; only a process stuck in the kernel takes longer.
const KILL_MS_MAX: i64 = 10_000;
/// Where programs are looked for, and the language they speak; nothing else of the runner's environment.
pub const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C")];
const NOT_STARTED: i32 = 127;
/// Most kinds of refused system calls that are told.
const REFUSED_MAX: usize = 16;

/// What the supervisor of one program is told.
#[derive(clap::Args, Debug)]
pub struct StepExecArguments {
    /// Longest time the program may take, in milliseconds.
    #[arg(long)]
    pub timeout_ms: i64,
    /// File to hold locked while anything of the program lives.
    #[arg(long)]
    pub lock: Option<PathBuf>,
    /// Become the program, without a supervisor: what is started to stay.
    #[arg(long)]
    pub become_it: bool,
    /// Do without a control group, as where cgroup v2 cannot be written.
    #[arg(long)]
    pub no_cgroup: bool,
    #[command(flatten)]
    pub confinement: Confinement,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub argv: Vec<String>,
}

/// How the program ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Exited(i32),
    Signalled(i32),
    TimedOut,
    /// Somebody cancelled the run.
    Cancelled,
    NotStarted(String),
}

/// What the supervisor says at its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    pub ending: Ending,
    pub output: String,
    /// Processes that were still there after the program's end and were killed.
    pub killed: usize,
    /// Where it was stopped: what was running then, and how each is seen to have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
    /// Processes that could not be killed.
    pub survivors: usize,
    /// System calls that were refused to it, and how often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// Plays the supervisor, or becomes the program.
pub fn run(arguments: &StepExecArguments, group: Option<Cgroup>) -> ExitCode {
    if arguments.become_it {
        drop(group);
        return become_it(arguments);
    }
    let report = supervise(arguments, group).unwrap_or_else(|e| Report {
        ending: Ending::NotStarted(e.to_string()),
        output: String::new(),
        killed: 0,
        ended: Vec::new(),
        survivors: 0,
        refused: Vec::new(),
    });
    let written =
        serde_json::to_vec(&report).map_err(io::Error::other).and_then(|r| io::stdout().write_all(&r));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Begins a session of its own, then becomes the program.
fn become_it(arguments: &StepExecArguments) -> ExitCode {
    // It fails only for a leader of a group, which a process just made is not.
    let _ = setsid();
    umask(Mode::from_raw_mode(0o022));
    let mut program = Command::new(&arguments.argv[0]);
    let error = match arguments.confinement.apply() {
        Err(error) => error,
        Ok(_) => program.args(&arguments.argv[1..]).current_dir("/").exec(),
    };
    eprintln!("failed to start {}: {error}", arguments.argv[0]);
    ExitCode::from(NOT_STARTED as u8)
}

fn supervise(arguments: &StepExecArguments, group: Option<Cgroup>) -> io::Result<Report> {
    // Held until this process ends, and so by the kernel's word until then.
    let lock = arguments.lock.as_ref().map(File::open).transpose()?;
    if let Some(lock) = &lock {
        flock(lock, FlockOperation::LockExclusive)?;
    }
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    let cgroup = if arguments.no_cgroup { None } else { group.or_else(Cgroup::make) };
    let (pipe, writer) = io::pipe()?;
    umask(Mode::from_raw_mode(0o022));
    let mut program = Command::new(&arguments.argv[0]);
    program.args(&arguments.argv[1..]).env_clear().envs(ENVIRONMENT).current_dir("/").process_group(0);
    program.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer.try_clone()?);
    let bind = || arguments.confinement.apply();
    let started = match &cgroup {
        Some(cgroup) => cgroup.start(&mut program, bind)?,
        None => born_in_group::start(&mut program, None, bind),
    };
    drop((program, writer));
    let (pid, listener) = match started {
        Start::Runs(pid, listener) => (pid, listener),
        Start::Fails(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", arguments.argv[0]))),
        Start::Cannot => return Err(io::Error::other("no process can be made")),
    };
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let (output, refused) = (Output::default(), BTreeMap::new());
    let stopped = Stopped::default();
    let mut tree =
        Tree { program: pid, status: None, cgroup, pipe, output, drained: false, listener, refused, stopped };
    Ok(tree.run(arguments.timeout_ms))
}

struct Tree {
    program: Pid,
    status: Option<Ending>,
    cgroup: Option<Cgroup>,
    pipe: PipeReader,
    output: Output,
    drained: bool,
    /// Hears of system calls that are refused.
    listener: Option<OwnedFd>,
    refused: BTreeMap<&'static str, u64>,
    stopped: Stopped,
}

/// Why a wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waited {
    /// The program has ended.
    Over,
    Late,
    /// The runner says that somebody wants it ended.
    Cancelled,
    /// The runner is gone.
    Left,
}

impl Tree {
    fn run(&mut self, timeout_ms: i64) -> Report {
        let waited = self.wait_until(clock::boot_ms() + timeout_ms, true);
        if waited != Waited::Over {
            self.stopped.running(&descendants(std::process::id()));
            for process in descendants(std::process::id()) {
                signal(process.pid, Signal::TERM);
            }
            // Whom the runner has left has no time to lose.
            if waited != Waited::Left {
                self.wait_until(clock::boot_ms() + GRACE_MS, false);
            }
        }
        let (killed, survivors) = self.kill();
        self.drain();
        let ending = match (waited, self.status.take()) {
            (Waited::Over, Some(ending)) => ending,
            (Waited::Cancelled, _) => Ending::Cancelled,
            _ => Ending::TimedOut,
        };
        let ended = if waited == Waited::Over { Vec::new() } else { self.stopped.told() };
        let refused: Vec<String> = self.refused.iter().map(|(name, times)| told(name, *times)).collect();
        let output = match refused.is_empty() {
            true => self.output.text(),
            false => format!("[refused to it: {}]\n{}", refused.join(", "), self.output.text()),
        };
        Report { ending, output, killed, ended, survivors, refused }
    }

    /// Waits until the program is over (its descendants may live on), or says why no longer; with `heeding`, the
    /// runner's word and its death count too.
    fn wait_until(&mut self, deadline_ms: i64, heeding: bool) -> Waited {
        let Ok(descriptor) = pidfd_open(self.program, PidfdFlags::empty()) else {
            self.reap();
            return Waited::Over;
        };
        let stdin = io::stdin();
        let heard = if heeding { PollFlags::IN } else { PollFlags::empty() };
        loop {
            let left_ms = deadline_ms - clock::boot_ms();
            if left_ms <= 0 {
                return Waited::Late;
            }
            let timeout = Timespec { tv_sec: left_ms / 1000, tv_nsec: left_ms % 1000 * 1_000_000 };
            let (over, gone, refusing) = {
                let mut waiting = vec![
                    PollFd::new(&descriptor, PollFlags::IN),
                    PollFd::from_borrowed_fd(stdin.as_fd(), heard),
                ];
                waiting.extend(self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
                if !self.drained {
                    waiting.push(PollFd::new(&self.pipe, PollFlags::IN));
                }
                match poll(&mut waiting, Some(&timeout)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return Waited::Late,
                }
                let is = |index: usize| !waiting[index].revents().is_empty();
                let refusing = self.listener.is_some().then(|| waiting[2].revents());
                (is(0), is(1), refusing.unwrap_or(PollFlags::empty()))
            };
            self.drain();
            if refusing.contains(PollFlags::IN) {
                self.refuse();
            } else if !refusing.is_empty() {
                // Nobody is left who could be refused anything.
                self.listener = None;
            }
            if over {
                self.reap();
                return Waited::Over;
            }
            if gone && heeding {
                let word = stdin.lock().read(&mut [0]);
                return if word.is_ok_and(|bytes| bytes > 0) { Waited::Cancelled } else { Waited::Left };
            }
        }
    }

    /// Refuses a system call that waits for it.
    fn refuse(&mut self) {
        let Some(listener) = &self.listener else { return };
        match seccomp::refuse(listener.as_fd()) {
            Ok(None) => {}
            Ok(Some(number)) => {
                let name = seccomp::name(number);
                if self.refused.len() < REFUSED_MAX || self.refused.contains_key(name) {
                    *self.refused.entry(name).or_default() += 1;
                }
            }
            // Nobody is left who could make one.
            Err(_) => self.listener = None,
        }
    }

    /// Ends every descendant and returns how many were killed and how many could not be.
    fn kill(&mut self) -> (usize, usize) {
        let began_ms = clock::boot_ms();
        let mut killed = std::collections::BTreeSet::new();
        loop {
            if self.reap() {
                return (killed.len(), 0);
            }
            let mut alive = descendants(std::process::id());
            self.stopped.running(&alive);
            alive.retain(|p| p.state != 'Z');
            if clock::boot_ms() - began_ms > KILL_MS_MAX {
                return (killed.len(), alive.len());
            }
            killed.extend(alive.iter().map(|p| p.pid));
            match &self.cgroup {
                Some(cgroup) => cgroup.kill(),
                // What forks faster than it can be killed is stopped first, as a whole: the stopped keep their
                // numbers, so that at the latest when there are no more numbers nothing new comes.
                None if alive.iter().any(|p| p.state != 'T') && alive.len() > 1 => {
                    alive.iter().for_each(|p| signal(p.pid, Signal::STOP));
                    std::thread::yield_now();
                    if descendants(std::process::id()).iter().any(|p| !matches!(p.state, 'T' | 'Z' | 'D')) {
                        continue;
                    }
                }
                None => {}
            }
            // Also what has left the control group.
            alive.iter().for_each(|p| signal(p.pid, Signal::KILL));
            self.drain();
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes leave of dead children, and says whether there is none left at all.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => {
                    let exited = status.exit_status().map(Ending::Exited);
                    let signalled = status.terminating_signal().map(Ending::Signalled);
                    self.status = exited.or(signalled).or(self.status.take());
                    self.stopped.dead(pid, status);
                }
                Ok(Some((pid, status))) => self.stopped.dead(pid, status),
                Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 64 * 1024];
        while !self.drained {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.drained = true,
                Ok(read) => self.output.take(&buffer[..read]),
                Err(_) => return,
            }
        }
    }
}

fn told(name: &str, times: u64) -> String {
    if times == 1 { name.to_owned() } else { format!("{name} ({times} times)") }
}

fn signal(pid: u32, signal: Signal) {
    // A descendant that is gone was waited for by its parent, or will be by us: its number is not used again
    // between the look and the signal, unless all others are used up in that instant.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
