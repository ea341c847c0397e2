//! Which program reads a file, by where the file lies: so that whoever puts it back knows what to ask whether it is
//! understood. It looks at the path only.

/// What a file of the host is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Sudoers,
    Sshd,
    /// Keys that let somebody in.
    Keys,
    /// passwd, shadow, group and their like.
    Accounts,
    Schedule,
    Logrotate,
    /// Rules for passwords.
    Passwords,
    Sysctl,
    Other,
}

impl Family {
    pub fn of(path: &str) -> Self {
        let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let name = path.rsplit('/').next().unwrap_or_default();
        match path {
            "/etc/sudoers" => Self::Sudoers,
            "/etc/passwd" | "/etc/shadow" | "/etc/group" | "/etc/gshadow" => Self::Accounts,
            "/etc/crontab" => Self::Schedule,
            "/etc/logrotate.conf" => Self::Logrotate,
            "/etc/login.defs" | "/etc/security/pwquality.conf" => Self::Passwords,
            "/etc/sysctl.conf" => Self::Sysctl,
            "/etc/ssh/sshd_config" => Self::Sshd,
            _ if below("/etc/sudoers.d") => Self::Sudoers,
            _ if below("/etc/ssh/sshd_config.d") => Self::Sshd,
            _ if name == "authorized_keys" || name == "authorized_keys2" => Self::Keys,
            _ if below("/etc/ssh/authorized_keys") || below("/etc/ssh/authorized_keys.d") => Self::Keys,
            _ if below("/etc/cron.d") || below("/var/spool/cron") => Self::Schedule,
            _ if below("/etc/logrotate.d") => Self::Logrotate,
            _ if below("/etc/security/pwquality.conf.d") || below("/etc/pam.d") => Self::Passwords,
            _ if below("/etc/sysctl.d") => Self::Sysctl,
            _ => Self::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sudoers => "sudoers",
            Self::Sshd => "sshd",
            Self::Keys => "keys",
            Self::Accounts => "accounts",
            Self::Schedule => "schedule",
            Self::Logrotate => "logrotate",
            Self::Passwords => "passwords",
            Self::Sysctl => "sysctl",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_where_they_lie() {
        for (path, family) in [
            ("/etc/sudoers", "sudoers"),
            ("/etc/sudoers.d/ops", "sudoers"),
            ("/etc/sudoers.dx/ops", "other"),
            ("/etc/ssh/sshd_config", "sshd"),
            ("/etc/ssh/ssh_config", "other"),
            ("/root/.ssh/authorized_keys", "keys"),
            ("/home/a/.ssh/authorized_keys2", "keys"),
            ("/etc/shadow", "accounts"),
            ("/var/spool/cron/crontabs/a", "schedule"),
            ("/etc/logrotate.d/x", "logrotate"),
            ("/etc/hosts", "other"),
        ] {
            assert_eq!(Family::of(path).name(), family, "{path}");
        }
    }
}
