//! System calls that no repair makes are refused to every program of a step, with "operation not permitted": loading
//! code into the kernel, another kernel, watching other processes, keys, swap, the end of the machine; and, unless the
//! step declares it, mounts, name spaces and the clock. Where the kernel can tell (since 5.5), the supervisor hears of
//! each refusal and it stands in the step's record; a program of another architecture cannot be started at all.

use rustix::fd::AsRawFd;
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

/// Never permitted.
const NEVER: &[(&str, i64)] = &[
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("reboot", libc::SYS_reboot),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    #[cfg(target_arch = "x86_64")]
    ("iopl", libc::SYS_iopl),
    #[cfg(target_arch = "x86_64")]
    ("ioperm", libc::SYS_ioperm),
];

/// Permitted to what declares that it mounts, or that it touches the whole host.
const SYSTEM: &[(&str, i64)] = &[
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("adjtimex", libc::SYS_adjtimex),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
];

/// Kinds of name spaces that a new process may bring.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Returns the name of a system call that may be refused.
pub fn name(number: i64) -> &'static str {
    let known = NEVER.iter().chain(SYSTEM).find(|(_, is)| *is == number);
    known
        .map_or(if number == libc::SYS_clone { "clone into a name space" } else { "another" }, |(name, _)| {
            name
        })
}

fn filter(system: bool) -> io::Result<BpfProgram> {
    let wrong = |e: seccompiler::BackendError| io::Error::other(e.to_string());
    let refused = NEVER.iter().chain(SYSTEM.iter().filter(|_| !system));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        refused.map(|(_, number)| (*number, Vec::new())).collect();
    if !system {
        let kinds: Result<Vec<_>, _> = NAMESPACES
            .into_iter()
            .map(|flag| {
                let flag = u64::from(flag.cast_unsigned());
                let is = SeccompCmpOp::MaskedEq(flag);
                SeccompCondition::new(0, SeccompCmpArgLen::Qword, is, flag)
                    .and_then(|condition| SeccompRule::new(vec![condition]))
            })
            .collect();
        rules.insert(libc::SYS_clone, kinds.map_err(wrong)?);
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(wrong)?;
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(wrong)
}

/// Pretends that the kernel does not know what cannot be looked into: the newer way of making a process, whose flags
/// lie in memory, and system calls by the numbers of another kind. Programs fall back to what can be judged.
fn unknown(system: bool) -> Vec<sock_filter> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    let clone3 = if system { u32::MAX } else { libc::SYS_clone3 as u32 };
    vec![
        // The number is the first word of what the filter sees.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 2, 0, clone3),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0, 0x4000_0000),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
        ),
    ]
}

/// Has refusals told instead of only made.
fn telling(mut filter: BpfProgram) -> BpfProgram {
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let returns = (libc::BPF_RET | libc::BPF_K) as u16;
    for instruction in filter.iter_mut().filter(|i| i.code == returns && i.k == refuse) {
        instruction.k = libc::SECCOMP_RET_USER_NOTIF;
    }
    filter
}

/// Gives this thread a filter, and all that it becomes or starts.
fn set(filter: &mut [sock_filter], flags: libc::c_ulong) -> io::Result<i32> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_mut_ptr().cast(),
    };
    #[expect(
        unsafe_code,
        reason = "no safe call sets a filter and hears of it; the kernel copies the program and \
                  keeps no pointer, and a filter only takes rights away"
    )]
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

/// Says whether this kernel has such filters.
pub fn is_there() -> bool {
    // What is asked for is whether an action is known; the pointer is to a number of this function's own.
    let action = libc::SECCOMP_RET_ERRNO;
    #[expect(unsafe_code, reason = "no safe call asks; the kernel reads four bytes and keeps no pointer")]
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    result == 0
}

/// Refuses to this process what no repair does. Returns what hears of refusals, where the kernel tells.
///
/// # Errors
/// The kernel has filters and does not take this one.
pub fn install(system: bool) -> io::Result<Option<OwnedFd>> {
    if !is_there() {
        return Ok(None);
    }
    set(&mut unknown(system), 0)?;
    let mut filter = filter(system)?;
    match set(&mut telling(filter.clone()), libc::SECCOMP_FILTER_FLAG_NEW_LISTENER) {
        Ok(listener) =>
        {
            #[expect(unsafe_code, reason = "the kernel has just made it, for nobody else")]
            Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
        }
        // An older kernel, or somebody above hears of its own.
        Err(_) => set(&mut filter, 0).map(|_| None),
    }
}

/// Refuses the same to this thread and what it starts, without anybody hearing of it.
///
/// # Errors
/// As for [`install`].
pub fn install_untold(system: bool) -> io::Result<()> {
    if !is_there() {
        return Ok(());
    }
    set(&mut unknown(system), 0)?;
    set(&mut filter(system)?, 0).map(drop)
}

/// Hears of one system call that waits to be refused, and refuses it. Returns its number; nothing where the caller is
/// gone meanwhile.
///
/// # Errors
/// There is nobody left who could make one.
pub fn refuse(listener: BorrowedFd<'_>) -> io::Result<Option<i64>> {
    #[expect(
        unsafe_code,
        reason = "no safe call hears of it; both are plain numbers that the kernel reads or fills, \
                  of the sizes that the requests carry, and any bytes are valid"
    )]
    let (heard, told) = unsafe {
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) != 0 {
            return match Errno::from_io_error(&io::Error::last_os_error()) {
                Some(Errno::NOENT | Errno::INTR) => Ok(None),
                other => Err(other.map_or_else(io::Error::last_os_error, Into::into)),
            };
        }
        let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
        answer.id = call.id;
        answer.error = -libc::EPERM;
        let told = libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
        (call.data.nr, told)
    };
    Ok((told == 0).then_some(i64::from(heard)))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use tests::count_writing;
