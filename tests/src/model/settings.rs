//! Actions on the model host that give one thing another value: a setting of the kernel, an element of a set, a mount.
//! Such an action is known by what it sets, to what, and what was there before.

use sopwith_domain::action::Action;
use sopwith_domain::check::Check;

/// What an action sets.
pub struct Setting {
    pub name: String,
    pub to: String,
    /// What is there before, where the fault that it answers is.
    pub from: String,
}

fn setting(name: String, to: impl ToString, from: &str) -> Option<Setting> {
    Some(Setting { name, to: to.to_string(), from: from.into() })
}

/// Returns what the action sets, if it is of this kind.
pub fn of(action: &Action) -> Option<Setting> {
    match action {
        Action::SysctlSet { key, value } => setting(format!("sysctl {key}"), value, "drifted"),
        Action::LinkMtu { interface, mtu } => setting(format!("mtu {interface}"), mtu, "576"),
        Action::LinkUp { interface } => setting(format!("link {interface}"), "up", "down"),
        Action::SocketRemove { path } => setting(format!("socket {path}"), "gone", "stale"),
        Action::DirectoryCreate { path, .. } => setting(format!("folder {path}"), "there", "absent"),
        Action::NftAddElement { table, set, ip, .. } => {
            setting(format!("nft {table} {set} {ip}"), "in", "out")
        }
        Action::NftDeleteElement { table, set, ip, .. } => {
            setting(format!("nft {table} {set} {ip}"), "out", "in")
        }
        Action::NftDeleteRule { table, chain, rule, .. } => {
            setting(format!("nft {table} {chain} {rule}"), "gone", "there")
        }
        Action::MountMount { mount } => setting(format!("mount {mount}"), "mounted", "absent"),
        Action::MountUnmount { mount } => setting(format!("mount {mount}"), "absent", "mounted"),
        Action::MountRemount { mount, option } => {
            let (pair, other) = pair(option.as_str());
            setting(format!("options {mount} {pair}"), option, other)
        }
        Action::ProcessRenice { process, nice } => setting(format!("nice {}", process.pid), nice, "0"),
        Action::ClockStep { .. } => setting("clock".into(), "right", "off"),
        Action::ProcessEnd { process, .. } => setting(format!("process {}", process.pid), "gone", "lives"),
        _ => None,
    }
}

/// Returns which of the options of a place this one is of, and the other of the two.
fn pair(option: &str) -> (&'static str, &'static str) {
    match option {
        "ro" => ("write", "rw"),
        "rw" => ("write", "ro"),
        "nosuid" => ("suid", "suid"),
        "suid" => ("suid", "nosuid"),
        "nodev" => ("dev", "dev"),
        "dev" => ("dev", "nodev"),
        "noexec" => ("exec", "exec"),
        _ => ("exec", "noexec"),
    }
}

/// Returns what a check asks for, if it is of this kind.
pub fn asked(check: &Check) -> Option<(String, String)> {
    Some(match check {
        Check::SysctlIs { key, value } => (format!("sysctl {key}"), value.to_string()),
        Check::LinkMtuIs { interface, mtu } => (format!("mtu {interface}"), mtu.to_string()),
        Check::LinkIsUp { interface } => (format!("link {interface}"), "up".into()),
        Check::SocketStale { path } => (format!("socket {path}"), "stale".into()),
        Check::NftHasElement { table, set, ip, .. } => (format!("nft {table} {set} {ip}"), "in".into()),
        Check::NftLacksRule { table, chain, rule, .. } => {
            (format!("nft {table} {chain} {rule}"), "gone".into())
        }
        Check::MountPresent { mount } => (format!("mount {mount}"), "mounted".into()),
        Check::MountAbsent { mount } => (format!("mount {mount}"), "absent".into()),
        Check::MountOption { mount, option } => {
            (format!("options {mount} {}", pair(option.as_str()).0), option.to_string())
        }
        _ => return None,
    })
}
