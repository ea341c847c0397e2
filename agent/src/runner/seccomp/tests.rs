//! The filter itself, and a trap for tests: which system calls that could write a thread makes.

use super::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;
use std::sync::mpsc::channel;

#[test]
fn what_is_refused_is_told_and_has_a_name() {
    for system in [false, true] {
        let plain = filter(system).expect("a filter");
        let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
        assert!(plain.iter().any(|i| i.k == refuse));
        let telling = telling(plain);
        assert!(telling.iter().all(|i| i.k != refuse));
        assert!(telling.iter().any(|i| i.k == libc::SECCOMP_RET_USER_NOTIF));
        assert!(telling.len() < 4096, "the longest that a kernel takes");
    }
    assert_eq!(name(libc::SYS_bpf), "bpf");
    assert_eq!(name(libc::SYS_mount), "mount");
}

/// System calls that change a file or a name, whatever their arguments.
const CHANGING: &[i64] = &[
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_utimensat,
    libc::SYS_openat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
];

fn writing() -> BpfProgram {
    let flags = |mask: i32, value: i32| {
        let is = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
        let value = u64::from(value.cast_unsigned());
        let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, is, value).expect("a condition");
        SeccompRule::new(vec![condition]).expect("a rule")
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CHANGING.iter().map(|call| (*call, Vec::new())).collect();
    let opening = [
        (libc::O_ACCMODE, libc::O_WRONLY),
        (libc::O_ACCMODE, libc::O_RDWR),
        (libc::O_CREAT, libc::O_CREAT),
        (libc::O_TRUNC, libc::O_TRUNC),
    ];
    rules.insert(libc::SYS_openat, opening.map(|(mask, value)| flags(mask, value)).to_vec());
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("known");
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).expect("a filter");
    telling(BpfProgram::try_from(filter).expect("a program"))
}

/// Does something in a thread whose every attempt to write is refused and counted. Returns the attempts, by the numbers
/// of their system calls; nothing where the kernel does not tell.
pub fn count_writing<T: Send>(what: impl FnOnce() -> T + Send) -> (T, Option<Vec<String>>) {
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        let doing = scope.spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("bound");
            let listener = set(&mut writing(), libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
            #[expect(unsafe_code, reason = "the kernel has just made it, for nobody else")]
            let listener = listener.ok().map(|number| unsafe { OwnedFd::from_raw_fd(number) });
            tell.send(listener).expect("heard");
            what()
        });
        let listener = told.recv().expect("told");
        let mut counted = Vec::new();
        while let Some(listener) = listener.as_ref().filter(|_| !doing.is_finished()) {
            let mut waiting = [PollFd::new(listener, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            if poll(&mut waiting, Some(&timeout)).is_ok()
                && waiting[0].revents().contains(PollFlags::IN)
                && let Ok(Some(number)) = refuse(listener.as_fd())
            {
                counted.push(number.to_string());
            }
        }
        let told = listener.is_some().then_some(counted);
        (doing.join().expect("it ends"), told)
    })
}
