//! Targets that no plan may touch: Sopwith itself, its keys, and the host's way to the server.
//! Asked when a plan is built, by the server and again by the agent.

use crate::action::Action;
use crate::mutant::{self, Mutant};
use crate::signal::Subject;
use crate::value::{AbsPath, UnitName, one_other_machine};

const PROTECTED_UNITS: [&str; 12] = [
    "dbus.service",
    "dbus.socket",
    "dbus-broker.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "NetworkManager.service",
    "networking.service",
    "systemd-udevd.service",
    "systemd-journald.service",
    "systemd-logind.service",
    "init.scope",
    "user.slice",
];
/// Units by which people reach the host: they may be restarted, not kept from starting.
const REMOTE_UNITS: [&str; 4] = ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"];
const PROTECTED_TREES: [&str; 11] = [
    "/etc/sopwith",
    "/var/lib/sopwith",
    "/run/sopwith",
    "/usr/share/sopwith",
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/etc/systemd/network",
    "/usr/lib/systemd",
    "/run/systemd",
];
/// Folders that are no target as a whole; what lies in them may be.
const PROTECTED_FOLDERS: [&str; 16] = [
    "/", "/bin", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/srv", "/tmp", "/usr",
    "/var", "/var/lib", "/usr/bin",
];

/// Settings of the kernel that start programs, cannot be taken back, or cut the host off, by their names or what
/// those begin with.
const PROTECTED_SETTINGS: [&str; 15] = [
    "kernel.core_pattern",
    "kernel.modprobe",
    "kernel.hotplug",
    "kernel.poweroff_cmd",
    "kernel.usermodehelper",
    "kernel.modules_disabled",
    "kernel.kexec_load_disabled",
    "kernel.hostname",
    "kernel.domainname",
    "kernel.ns_last_pid",
    "kernel.panic",
    "fs.binfmt_misc",
    "vm.drop_caches",
    "vm.compact_memory",
    "vm.panic_on_oom",
];

fn setting_protected(key: &str) -> bool {
    // A name may be written with either separator; every part of it counts.
    let plain = key.replace('/', ".");
    let begins = |with: &str| {
        plain.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_']))
    };
    PROTECTED_SETTINGS.iter().any(|with| begins(with))
        || plain.ends_with(".disable_ipv6")
        || plain.ends_with(".flush")
}

fn unit_protected(unit: &UnitName) -> bool {
    unit.as_str().starts_with("sopwith") || PROTECTED_UNITS.contains(&unit.as_str())
}

fn tree_protected(path: &AbsPath) -> bool {
    let lies_in = |tree: &str| {
        path.as_str().strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PROTECTED_TREES.iter().any(|tree| lies_in(tree))
}

fn path_protected(path: &AbsPath) -> bool {
    tree_protected(path)
        || PROTECTED_FOLDERS.contains(&path.as_str())
        || path.as_str().starts_with("/usr/bin/sopwith")
}

/// Returns why the action may not be part of any plan, or nothing.
pub fn refuse(action: &Action) -> Option<String> {
    if mutant::is(Mutant::IgnoreProtection) {
        return None;
    }
    // A folder that is protected as a whole may be mounted as the host declares it: nothing in it is touched.
    let mounts = matches!(action, Action::MountMount { .. } | Action::MountRemount { .. });
    if let Action::UnitDisable { unit } | Action::UnitMask { unit } = action
        && REMOTE_UNITS.contains(&unit.as_str())
    {
        return Some(format!("{} would cut off those who reach the host by {unit}", action.name()));
    }
    action.touches().iter().find_map(|subject| {
        let protected = match subject {
            Subject::Unit(unit) => unit_protected(unit),
            Subject::Mount(path) if mounts => path.as_str() == "/" || tree_protected(path),
            Subject::Path(path) | Subject::Mount(path) => path_protected(path),
            Subject::Process(pid) => pid.as_str() == "1",
            Subject::Address(ip) => !one_other_machine(*ip),
            // Whoever locks these out has locked himself out.
            Subject::Account(name) => name.as_str() == "root" || name.as_str().starts_with("sopwith"),
            Subject::Package(name) => name.as_str().starts_with("sopwith"),
            Subject::Sysctl(key) => setting_protected(key.as_str()),
            Subject::Host | Subject::Check(_) => false,
        };
        protected.then(|| {
            format!("{} would touch {subject}, which no plan may: it belongs to Sopwith or keeps the host reachable", action.name())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Word, Words};

    #[test]
    fn settings_that_no_plan_may_touch() {
        for (key, refused) in [
            ("kernel.core_pattern", true),
            ("kernel/core_pattern", true),
            ("kernel.core_pipe_limit", false),
            ("kernel.panic", true),
            ("kernel.panic_on_oops", true),
            ("fs.binfmt_misc.status", true),
            ("vm.drop_caches", true),
            ("net.ipv6.conf.eth0.disable_ipv6", true),
            ("net/ipv6/conf/eth0.7/disable_ipv6", true),
            ("net.ipv4.route.flush", true),
            ("net.ipv4.ip_forward", false),
            ("vm.swappiness", false),
        ] {
            let key = Word::new(key).expect("a word");
            let action = Action::SysctlSet { key: key.clone(), value: Words::new("1").expect("words") };
            assert_eq!(refuse(&action).is_some(), refused, "{key}");
        }
    }

    #[test]
    fn what_is_declared_may_be_mounted_and_no_more() {
        let path = |text: &str| AbsPath::new(text).expect("a path");
        for (point, mount, unmount) in [
            ("/srv/shop", false, false),
            ("/srv", false, true),
            ("/home", false, true),
            ("/", true, true),
            ("/var/lib/sopwith", true, true),
            ("/boot", true, true),
        ] {
            let mounts = Action::MountMount { mount: path(point) };
            let unmounts = Action::MountUnmount { mount: path(point) };
            assert_eq!(refuse(&mounts).is_some(), mount, "mount {point}");
            assert_eq!(refuse(&unmounts).is_some(), unmount, "unmount {point}");
        }
    }
}
