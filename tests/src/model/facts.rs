//! Actions that turn one thing of the host from one state into another: what it is about, before and after.

use sopwith_domain::action::Action;
use sopwith_domain::value::Word;

/// Returns what an action is about, how that is while its fault is there, and how it is afterwards.
pub fn of(action: &Action) -> Option<(String, &'static str, String)> {
    let of_unit = |unit: &dyn std::fmt::Display| format!("file of {unit}");
    Some(match action {
        Action::UnitEnable { unit } => (of_unit(unit), "disabled", "enabled".into()),
        Action::UnitDisable { unit } => (of_unit(unit), "enabled", "disabled".into()),
        Action::UnitMask { unit } => (of_unit(unit), "enabled", "masked".into()),
        Action::UnitUnmask { unit } => (of_unit(unit), "masked", "disabled".into()),
        Action::FileMode { path, mode } => (format!("mode of {path}"), "0666", mode.to_string()),
        Action::FileOwner { path, user, group } => {
            (format!("owner of {path}"), "nobody:nogroup", format!("{user}:{group}"))
        }
        Action::FileEdit { path, key, value, .. } => (format!("{key} in {path}"), "loose", value.to_string()),
        Action::FileMove { path, to } => (format!("{path} or {to}"), "there", "moved".into()),
        Action::AccountLock { account, close_shell } => {
            let after = if *close_shell { "locked without a shell" } else { "locked" };
            (format!("account {account}"), "open", after.into())
        }
        Action::AccountUnlock { account } => (format!("account {account}"), "locked", "open".into()),
        Action::AccountExpiry { account, .. } => (format!("account {account}"), "expired", "lasting".into()),
        Action::PackageConfigure { package } => {
            (self::package(package.as_ref()), "half-configured", "installed".into())
        }
        Action::OperatorCommand { command, .. } => (format!("command {command}"), "not run", "run".into()),
        _ => return None,
    })
}

/// Returns the name under which a package, or all of them, stand in the world.
pub fn package(package: Option<&Word>) -> String {
    package.map_or("packages".into(), |package| format!("package {package}"))
}
