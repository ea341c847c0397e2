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

fn unit_protected(unit: &UnitName) -> bool {
    unit.as_str().starts_with("sopwith") || PROTECTED_UNITS.contains(&unit.as_str())
}

fn path_protected(path: &AbsPath) -> bool {
    let lies_in = |tree: &str| {
        path.as_str().strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PROTECTED_TREES.iter().any(|tree| lies_in(tree))
        || PROTECTED_FOLDERS.contains(&path.as_str())
        || path.as_str().starts_with("/usr/bin/sopwith")
}

/// Returns why the action may not be part of any plan, or nothing.
pub fn refuse(action: &Action) -> Option<String> {
    if mutant::is(Mutant::IgnoreProtection) {
        return None;
    }
    action.touches().iter().find_map(|subject| {
        let protected = match subject {
            Subject::Unit(unit) => unit_protected(unit),
            Subject::Path(path) | Subject::Mount(path) => path_protected(path),
            Subject::Process(pid) => pid.as_str() == "1",
            Subject::Address(ip) => !one_other_machine(*ip),
            // Whoever locks these out has locked himself out.
            Subject::Account(name) => matches!(name.as_str(), "root" | "sopwith"),
            Subject::Package(name) => name.as_str().starts_with("sopwith"),
            Subject::Host | Subject::Check(_) | Subject::Sysctl(_) => false,
        };
        protected.then(|| {
            format!("{} would touch {subject}, which no plan may: it belongs to Sopwith or keeps the host reachable", action.name())
        })
    })
}
