//! What a program of a step may do: the least that follows from what it is and from what the step declares that it
//! touches (see [`super::profiles`]). Capabilities that it does not need are gone for good; where nothing but paths
//! and addresses are touched, nothing else of the file system can be written (Landlock, as far as this kernel has
//! it); system calls that no repair makes are refused (see [`super::seccomp`]); limits hold what gets out of hand.
//!
//! It is applied by a process or thread that is about to become or start the program, never by the runner itself.

use super::seccomp;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::process::{Pid, Resource, Rlimit, geteuid, getrlimit, prlimit};
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use sopwith_domain::signal::Subject;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Written by most programs on their way: emptied at each start of the machine, or no files at all.
const SCRATCH: [&str; 5] = ["/run", "/tmp", "/var/tmp", "/dev/shm", "/dev/pts"];
/// What keeps nothing of what is written to it.
const VOID: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];
/// The newest kernel interface that was tried; an older kernel does what it can.
const ABI_TRIED: ABI = ABI::V7;

/// Most files that one process holds open.
const FILES_MAX: u64 = 65_536;
/// Most processes of the program's user, where that is not root; the control group holds root's.
const PROCESSES_MAX: u64 = 8192;

/// Given to no repair: loading code into the kernel, ending the machine, raw devices, watching other processes,
/// changing what is enforced.
const NEVER: CapabilitySet = CapabilitySet::SYS_MODULE
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_PACCT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::AUDIT_CONTROL)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::CHECKPOINT_RESTORE);
const NETWORK: CapabilitySet =
    CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW).union(CapabilitySet::NET_BROADCAST);
const SYSTEM: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_TIME).union(CapabilitySet::SYS_CHROOT);
const READ: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;
const FILES: CapabilitySet = READ
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::SYS_NICE);

/// Which capabilities a program of root's keeps, before what it declares is added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Rights {
    /// All that a repair may need.
    #[default]
    Most,
    /// What a package's scripts need: [`Rights::Most`], device files, attributes and profiles of files.
    Packages,
    /// Read and write files of any owner, and become another user.
    Files,
    /// Mount what a table declares, wherever the runner stands.
    Mounts,
    /// Look at all of the host, its disks and services too.
    Look,
    /// Look at what other processes do.
    Watch,
    /// Reach services by their sockets, as their users where they ask for that, and read files of any owner.
    Reach,
    /// None at all.
    None,
}

impl Rights {
    fn capabilities(self) -> CapabilitySet {
        let most = CapabilitySet::all() - NEVER - NETWORK - SYSTEM;
        match self {
            Self::Most => most,
            Self::Packages => {
                most | CapabilitySet::MKNOD | CapabilitySet::LINUX_IMMUTABLE | CapabilitySet::MAC_ADMIN
            }
            Self::Files => FILES,
            // To enter another process' view of the mounts is to look at the process, by the kernel's rules.
            Self::Mounts => FILES | SYSTEM | CapabilitySet::SYS_PTRACE | CapabilitySet::NET_BIND_SERVICE,
            Self::Look => {
                FILES
                    | CapabilitySet::NET_RAW
                    | CapabilitySet::NET_BIND_SERVICE
                    | CapabilitySet::SYS_RAWIO
                    | CapabilitySet::SYS_ADMIN
                    | CapabilitySet::SYS_PTRACE
            }
            Self::Watch => READ | CapabilitySet::SYS_PTRACE,
            // To connect to somebody's socket is to write to it, by the kernel's rules.
            Self::Reach => READ | CapabilitySet::DAC_OVERRIDE | CapabilitySet::SETUID | CapabilitySet::SETGID,
            Self::None => CapabilitySet::empty(),
        }
    }
}

/// What a program may do beyond reading what anybody may read.
#[derive(Clone, PartialEq, Eq, Debug, Default, clap::Args)]
pub struct Confinement {
    /// Take rights away before the program begins.
    #[arg(long)]
    pub confine: bool,
    /// With --confine: a path beneath which it may write.
    #[arg(long)]
    pub write: Vec<PathBuf>,
    /// With --confine: it may write wherever its user may.
    #[arg(long)]
    pub write_all: bool,
    /// With --confine: it may write no scratch files either.
    #[arg(long)]
    pub no_scratch: bool,
    /// With --confine: it may change interfaces, routes and packet filters.
    #[arg(long)]
    pub network: bool,
    /// With --confine: it may mount, set the clock and the like.
    #[arg(long)]
    pub system: bool,
    /// With --confine: it may neither open nor accept a TCP connection.
    #[arg(long)]
    pub no_tcp: bool,
    /// With --confine: it may send signals to nobody but what it started.
    #[arg(long)]
    pub no_signals: bool,
    /// With --confine: the longest file that it may write, in bytes.
    #[arg(long)]
    pub file_max: Option<u64>,
    /// With --confine: the capabilities that it keeps.
    #[arg(long, value_enum, default_value_t)]
    pub rights: Rights,
}

impl Confinement {
    /// Returns what follows from what a step says that it touches. What touches the whole host is bound by little.
    pub fn of(touches: &[Subject]) -> Self {
        let mut of = Self { confine: true, ..Self::default() };
        for subject in touches {
            match subject {
                Subject::Path(path) => of.write.push(PathBuf::from(path.as_str())),
                Subject::Address(_) => of.network = true,
                Subject::Sysctl(name) => {
                    of.write.push(Path::new("/proc/sys").join(name.as_str().replace('.', "/")));
                    of.network = true;
                }
                Subject::Mount(_) => (of.write_all, of.system) = (true, true),
                Subject::Host => (of.write_all, of.network, of.system) = (true, true, true),
                Subject::Unit(_)
                | Subject::Process(_)
                | Subject::Check(_)
                | Subject::Account(_)
                | Subject::Package(_) => of.write_all = true,
            }
        }
        of
    }

    /// Returns the arguments that make the same of it on the other side.
    pub fn arguments(&self) -> Vec<OsString> {
        let flags = [
            (self.confine, "--confine"),
            (self.write_all, "--write-all"),
            (self.no_scratch, "--no-scratch"),
            (self.network, "--network"),
            (self.system, "--system"),
            (self.no_tcp, "--no-tcp"),
            (self.no_signals, "--no-signals"),
        ];
        let mut all: Vec<OsString> =
            flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag.into()).collect();
        for path in &self.write {
            all.extend(["--write".into(), path.into()]);
        }
        if let Some(bytes) = self.file_max {
            all.extend(["--file-max".into(), bytes.to_string().into()]);
        }
        if let Some(value) = clap::ValueEnum::to_possible_value(&self.rights)
            && self.rights != Rights::default()
        {
            all.extend(["--rights".into(), value.get_name().into()]);
        }
        all
    }

    /// Returns the capabilities that it keeps.
    fn capabilities(&self) -> CapabilitySet {
        let none = CapabilitySet::empty();
        let network = if self.network { NETWORK } else { none };
        let system = if self.system { SYSTEM } else { none };
        self.rights.capabilities() | network | system
    }

    /// Binds this process and everything it becomes or starts. Returns what hears of refused system calls, where the
    /// kernel tells.
    ///
    /// # Errors
    /// Rights that can be taken away here were not; the program must not be started.
    pub fn apply(&self) -> io::Result<Option<OwnedFd>> {
        if !self.confine {
            return Ok(None);
        }
        self.limit(None)?;
        self.bind()?;
        seccomp::install(self.system)
    }

    /// Binds this thread and everything it starts, for as long as they live; without the limits, which the threads of
    /// a process share.
    ///
    /// # Errors
    /// As for [`Confinement::apply`].
    pub fn apply_to_thread(&self) -> io::Result<()> {
        if !self.confine {
            return Ok(());
        }
        self.bind()?;
        seccomp::install_untold(self.system)
    }

    /// Sets the limits of this process, or of another.
    ///
    /// # Errors
    /// They cannot be set.
    pub fn limit(&self, of: Option<Pid>) -> io::Result<()> {
        let bounds = [
            (Resource::Core, Some(0)),
            (Resource::Nofile, Some(FILES_MAX)),
            (Resource::Nproc, Some(PROCESSES_MAX)),
        ];
        for (resource, most) in bounds.into_iter().chain([(Resource::Fsize, self.file_max)]) {
            let Some(most) = most else { continue };
            let now = getrlimit(resource);
            let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
            prlimit(of, resource, Rlimit { current: least(now.current), maximum: least(now.maximum) })?;
        }
        Ok(())
    }

    fn bind(&self) -> io::Result<()> {
        set_no_new_privs(true)?;
        if geteuid().is_root() {
            let keep = self.capabilities();
            for capability in (CapabilitySet::all() - keep).iter() {
                match remove_capability_from_bounding_set(capability) {
                    // One that this kernel does not know.
                    Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            // What is handed on by inheritance would pass by the bounds.
            let now = capabilities(None)?;
            if !now.inheritable.is_empty() {
                set_capabilities(
                    None,
                    rustix::thread::CapabilitySets { inheritable: CapabilitySet::empty(), ..now },
                )?;
            }
        }
        self.restrict().map_err(io::Error::other)
    }

    fn restrict(&self) -> Result<(), RulesetError> {
        if self.write_all && !self.no_tcp && !self.no_signals {
            return Ok(());
        }
        let writing = AccessFs::from_write(ABI_TRIED);
        let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        if !self.write_all {
            rules = rules.handle_access(writing)?;
        }
        if self.no_tcp {
            rules = rules.handle_access(AccessNet::from_all(ABI_TRIED))?;
        }
        if self.no_signals {
            rules = rules.scope(BitFlags::from(Scope::Signal))?;
        }
        let mut rules = rules.create()?;
        if !self.write_all {
            let scratch = SCRATCH.iter().filter(|_| !self.no_scratch);
            let always = VOID.iter().chain(scratch).map(PathBuf::from);
            // What is to be made anew is made in its folder.
            let declared = self.write.iter().map(|path| match (path.exists(), path.parent()) {
                (false, Some(folder)) => folder.to_owned(),
                _ => path.clone(),
            });
            rules = rules.add_rules(path_beneath_rules(always.chain(declared), writing))?;
            // Disks answer by this way how they are.
            if self.rights == Rights::Look {
                let asking = BitFlags::from(AccessFs::IoctlDev);
                rules = rules.add_rules(path_beneath_rules(["/dev"], asking))?;
            }
        }
        rules.restrict_self().map(drop)
    }
}

/// Says whether this kernel has Landlock, and it is on.
pub fn has_landlock() -> bool {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.handle_access(AccessFs::WriteFile).and_then(Ruleset::create).is_ok()
}

/// Says what this kernel cannot take away from a step's program.
pub fn limitations() -> Vec<String> {
    let mut all = Vec::new();
    if !has_landlock() {
        all.push("no Landlock: a step's program can write wherever its user may".to_owned());
    }
    if !seccomp::is_there() {
        all.push("no seccomp: a step's program can make any system call that its user may".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_what_its_step_declares_and_no_more() {
        let table: &[(&[&str], &str)] = &[
            (&["path:/etc/shop"], "--confine --write /etc/shop"),
            (&["address:192.0.2.1"], "--confine --network"),
            (&["address:192.0.2.1", "path:/var/lib/x"], "--confine --network --write /var/lib/x"),
            (&["sysctl:net.ipv4.ip_forward"], "--confine --network --write /proc/sys/net/ipv4/ip_forward"),
            (&["unit:shop.service"], "--confine --write-all"),
            (&["mount:/srv"], "--confine --write-all --system"),
            (&["host"], "--confine --write-all --network --system"),
        ];
        for (touches, expected) in table {
            let touches: Vec<Subject> = touches.iter().map(|t| t.parse().expect("a subject")).collect();
            let arguments: Vec<String> = Confinement::of(&touches)
                .arguments()
                .into_iter()
                .map(|argument| argument.into_string().expect("text"))
                .collect();
            assert_eq!(arguments.join(" "), *expected);
        }
    }

    #[test]
    fn nobody_gets_to_the_kernel_itself() {
        let forbidden = CapabilitySet::SYS_MODULE
            | CapabilitySet::SYS_BOOT
            | CapabilitySet::SYS_PACCT
            | CapabilitySet::MAC_OVERRIDE
            | CapabilitySet::AUDIT_CONTROL
            | CapabilitySet::SYSLOG
            | CapabilitySet::PERFMON
            | CapabilitySet::BPF;
        for rights in <Rights as clap::ValueEnum>::value_variants() {
            let all = Confinement { rights: *rights, network: true, system: true, ..Confinement::default() };
            assert!((all.capabilities() & forbidden).is_empty(), "{rights:?}");
        }
        let plain = Confinement { rights: Rights::Packages, ..Confinement::default() };
        assert!(!plain.capabilities().intersects(NETWORK | SYSTEM | CapabilitySet::SYS_RAWIO));
        assert!(Confinement { rights: Rights::None, ..Confinement::default() }.capabilities().is_empty());
    }
}
