//! What a program of a step may do: the least that follows from what the step declares that it touches. Capabilities
//! that no repair needs are gone for good, others come with what is declared; where nothing but paths and addresses
//! are touched, nothing else of the file system can be written (Landlock, as far as this kernel has it).
//!
//! It is applied by a process that is about to become the program, never by the runner itself.

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    path_beneath_rules,
};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};
use sopwith_domain::signal::Subject;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Written by most programs on their way, and emptied at each start of the machine.
const ALWAYS_WRITABLE: [&str; 4] = ["/dev", "/run", "/tmp", "/var/tmp"];
/// The newest kernel interface that was tried; an older kernel does what it can.
const ABI_TRIED: ABI = ABI::V5;

/// Needed by no repair: loading code into the kernel, ending the machine, raw devices, watching other processes,
/// changing what is enforced.
const NEVER: [CapabilitySet; 14] = [
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_PACCT,
    CapabilitySet::MKNOD,
    CapabilitySet::LINUX_IMMUTABLE,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::SYSLOG,
    CapabilitySet::PERFMON,
    CapabilitySet::BPF,
    CapabilitySet::CHECKPOINT_RESTORE,
];
const NETWORK: [CapabilitySet; 3] =
    [CapabilitySet::NET_ADMIN, CapabilitySet::NET_RAW, CapabilitySet::NET_BROADCAST];
const SYSTEM: [CapabilitySet; 3] =
    [CapabilitySet::SYS_ADMIN, CapabilitySet::SYS_TIME, CapabilitySet::SYS_CHROOT];

/// What a program may do beyond looking.
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
    /// With --confine: it may change interfaces, routes and packet filters.
    #[arg(long)]
    pub network: bool,
    /// With --confine: it may mount, set the clock and the like.
    #[arg(long)]
    pub system: bool,
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
            (self.network, "--network"),
            (self.system, "--system"),
        ];
        let mut all: Vec<OsString> =
            flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag.into()).collect();
        for path in &self.write {
            all.extend(["--write".into(), path.into()]);
        }
        all
    }

    /// Binds this process and everything it becomes or starts.
    ///
    /// # Errors
    /// Rights that can be taken away here were not; the program must not be started.
    pub fn apply(&self) -> io::Result<()> {
        if !self.confine {
            return Ok(());
        }
        set_no_new_privs(true)?;
        if geteuid().is_root() {
            let network = NETWORK.iter().filter(|_| !self.network);
            let system = SYSTEM.iter().filter(|_| !self.system);
            for capability in NEVER.iter().chain(network).chain(system) {
                match remove_capability_from_bounding_set(*capability) {
                    // One that this kernel does not know.
                    Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        if self.write_all { Ok(()) } else { self.restrict_writing().map(drop) }
    }

    fn restrict_writing(&self) -> io::Result<RulesetStatus> {
        let writing = AccessFs::from_write(ABI_TRIED);
        let always = ALWAYS_WRITABLE.iter().map(PathBuf::from);
        // What is to be made anew is made in its folder.
        let declared = self.write.iter().map(|path| match (path.exists(), path.parent()) {
            (false, Some(folder)) => folder.to_owned(),
            _ => path.clone(),
        });
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(writing)
            .and_then(Ruleset::create)
            .and_then(|rules| rules.add_rules(path_beneath_rules(always.chain(declared), writing)))
            .and_then(landlock::RulesetCreated::restrict_self);
        ruleset.map(|status| status.ruleset).map_err(io::Error::other)
    }
}

/// Says what this kernel cannot take away from a step's program, or nothing.
pub fn limitation() -> Option<String> {
    let landlock = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    (!landlock.split(',').any(|name| name.trim() == "landlock"))
        .then(|| "no Landlock: a step's program can write wherever its user may".to_owned())
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
}
