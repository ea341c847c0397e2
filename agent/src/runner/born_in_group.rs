//! Starts a program that is born inside a control group. A process that is moved into a group instead makes the
//! kernel wait until every processor has passed a quiet point, some 10 to 20 ms; whoever waits for the program waits
//! for that too. The standard library has no call for it, so the one unsafe line of the agent is here.

use rustix::process::Pid;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a child exits with that could not become its program.
const NOT_STARTED: i32 = 127;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What became of a start.
#[derive(Debug)]
pub enum Start {
    /// The program runs inside the group.
    Runs(Pid),
    /// The program cannot be started, anywhere.
    Fails(io::Error),
    /// Nothing can be born inside a group here; nothing was started.
    Cannot,
}

/// Starts a program inside the group whose folder is given, after the child has bound itself. Only a process with a single thread may ask: the child is
/// a copy of it until it becomes the program, and what another thread held locked would stay locked.
pub fn start(command: &mut Command, group: BorrowedFd<'_>, bind: impl FnOnce() -> io::Result<()>) -> Start {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    // Both ends are closed when the child becomes the program.
    let Some((told, mut tell)) = alone.then(io::pipe).and_then(Result::ok) else { return Start::Cannot };
    match fork_into(group) {
        Err(_) => Start::Cannot,
        Ok(None) => {
            let error = bind().err().unwrap_or_else(|| command.exec());
            let error = error.raw_os_error().unwrap_or(libc::EPERM);
            let _ = tell.write_all(&error.to_ne_bytes());
            std::process::exit(NOT_STARTED);
        }
        Ok(Some(pid)) => {
            drop(tell);
            match failure(told) {
                None => Start::Runs(pid),
                Some(error) => {
                    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                    Start::Fails(error)
                }
            }
        }
    }
}

/// Waits until the child has become the program, and returns why it could not.
fn failure(mut told: PipeReader) -> Option<io::Error> {
    let mut error = [0; 4];
    told.read_exact(&mut error).ok().map(|()| io::Error::from_raw_os_error(i32::from_ne_bytes(error)))
}

/// Arguments of `clone3`, as far as the kernel has had them since it knows of groups.
#[derive(Default)]
#[repr(C)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks; the child, which sees nothing, is inside the group.
fn fork_into(group: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    let arguments = Arguments {
        flags: CLONE_INTO_CGROUP,
        exit_signal: u64::from(rustix::process::Signal::CHILD.as_raw().unsigned_abs()),
        cgroup: u64::from(group.as_raw_fd().unsigned_abs()),
        ..Arguments::default()
    };
    #[expect(
        unsafe_code,
        reason = "no safe call starts a process inside a group; the kernel reads the arguments and keeps no pointer, \
                  and the child has memory of its own in which no other thread was"
    )]
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) };
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}
