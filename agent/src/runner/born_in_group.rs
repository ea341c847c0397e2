//! Starts a program that is born inside a control group and bound before it begins. A process that is moved into a group
//! instead makes the kernel wait until every processor has passed a quiet point, some 10 to 20 ms; whoever waits for the
//! program waits for that too. The standard library has no call for it, so the unsafe lines that fork are here.

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::Pid;
use std::io::{self, IoSlice, IoSliceMut, PipeReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a child exits with that could not become its program.
const NOT_STARTED: i32 = 127;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What became of a start.
#[derive(Debug)]
pub enum Start {
    /// The program runs, inside the group where one is given, and this hears of system calls that are refused to it.
    Runs(Pid, Option<OwnedFd>),
    /// The program cannot be started, anywhere.
    Fails(io::Error),
    /// Nothing can be born inside a group here; nothing was started.
    Cannot,
}

/// Starts a program, inside the group whose folder is given, after the child has bound itself. Only a process with a
/// single thread may ask: the child is a copy of it until it becomes the program, and what another thread held locked
/// would stay locked.
pub fn start(
    command: &mut Command,
    group: Option<BorrowedFd<'_>>,
    bind: impl FnOnce() -> io::Result<Option<OwnedFd>>,
) -> Start {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if !alone {
        return Start::Fails(io::Error::other("more than one thread would be copied"));
    }
    // All ends are closed when the child becomes the program.
    let ends = io::pipe().and_then(|pipe| {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        Ok((pipe, socketpair(kind.0, kind.1, kind.2, None)?))
    });
    let ((told, mut tell), (ours, theirs)) = match ends {
        Ok(ends) => ends,
        Err(error) => return Start::Fails(error),
    };
    match fork_into(group) {
        Err(_) if group.is_some() => Start::Cannot,
        Err(error) => Start::Fails(error),
        Ok(None) => {
            let bound =
                bind().and_then(|listener| listener.map_or(Ok(()), |fd| hand_over(&theirs, fd.as_fd())));
            let error = bound.err().unwrap_or_else(|| command.exec());
            let error = error.raw_os_error().unwrap_or(libc::EPERM);
            let _ = tell.write_all(&error.to_ne_bytes());
            std::process::exit(NOT_STARTED);
        }
        Ok(Some(pid)) => {
            drop((tell, theirs));
            match failure(told) {
                None => Start::Runs(pid, taken_over(&ours)),
                Some(error) => {
                    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                    Start::Fails(error)
                }
            }
        }
    }
}

/// Gives the parent what only the child could make.
fn hand_over(socket: &OwnedFd, listener: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let listeners = [listener];
    control.push(SendAncillaryMessage::ScmRights(&listeners));
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn taken_over(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
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
fn fork_into(group: Option<BorrowedFd<'_>>) -> io::Result<Option<Pid>> {
    let pid = match group {
        None => fork(),
        Some(group) => clone_into(group),
    };
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn fork() -> libc::c_long {
    #[expect(
        unsafe_code,
        reason = "no safe call forks; the child has memory of its own in which no other thread was"
    )]
    unsafe {
        libc::fork().into()
    }
}

fn clone_into(group: BorrowedFd<'_>) -> libc::c_long {
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
    unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>())
    }
}
