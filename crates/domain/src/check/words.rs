//! What must hold of a check's arguments beyond their types, and checks in words.

use super::Check;
use crate::action::account_name;
use crate::value::AbsPath;

impl Check {
    /// Returns what is wrong with the arguments beyond their types, or nothing.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::FilesystemBelow { used_percent, .. }
            | Self::FilesystemInodesBelow { used_percent, .. }
            | Self::FilesystemAllBelow { used_percent }
                if !(1..=100).contains(used_percent) =>
            {
                Some(format!("used_percent is {used_percent}, must be 1 to 100"))
            }
            Self::ProcessBelowCpu { percent, .. }
            | Self::PortsBelow { percent }
            | Self::ConntrackBelow { percent }
            | Self::UnitDescriptorsBelow { percent, .. }
                if !(1..=100).contains(percent) =>
            {
                Some(format!("percent is {percent}, must be 1 to 100"))
            }
            Self::PortFree { protocol, .. } | Self::PortHeldBy { protocol, .. }
                if !["tcp", "udp"].contains(&protocol.as_str()) =>
            {
                Some(format!("protocol is {protocol}, must be tcp or udp"))
            }
            Self::ClockSynchronised { within_ms } if *within_ms < 1 => {
                Some("within_ms must be at least 1".into())
            }
            Self::FileFresh { within_s, .. } if *within_s < 1 => Some("within_s must be at least 1".into()),
            Self::FileModeIs { mode, .. } if crate::action::octal_mode(mode).is_none() => {
                Some(format!("mode {mode} must be three or four octal digits"))
            }
            Self::PostgresqlConnectionsBelow { percent, .. } if !(1..=100).contains(percent) => {
                Some(format!("percent is {percent}, must be 1 to 100"))
            }
            Self::MemoryBelow { bytes, .. } if *bytes < 1 => Some("bytes must be at least 1".into()),
            Self::AccountLocked { account }
            | Self::AccountUsable { account }
            | Self::AccountUnused { account }
                if !account_name(account) =>
            {
                Some(format!("{account} cannot be the name of an account"))
            }
            Self::CertificateValid { days, .. } if !(0..=3650).contains(days) => {
                Some(format!("days is {days}, must be 0 to 3650"))
            }
            Self::CommandOk { argv }
                if argv.first().is_none_or(|program| AbsPath::new(program.as_str()).is_err()) =>
            {
                Some("argv must begin with the absolute path of a program".into())
            }
            _ => None,
        }
    }

    /// Returns what must hold, as one sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::UnitActive { unit } => format!("{unit} is active"),
            Self::UnitNotActive { unit } => format!("{unit} is not active"),
            Self::UnitEnabled { unit } => format!("{unit} starts with the host"),
            Self::UnitNotEnabled { unit } => format!("{unit} is disabled"),
            Self::HttpOk { url } => format!("{url} answers with success"),
            Self::FileExists { path } => format!("{path} exists"),
            Self::FileAbsent { path } => format!("{path} does not exist"),
            Self::FileSame { path, other } => format!("{path} holds the same bytes as {other}"),
            Self::FileDiffers { path, other } => format!("{path} differs from {other}"),
            Self::FileFresh { path, within_s } => format!("{path} was written in the last {within_s} s"),
            Self::FileModeIs { path, mode } => format!("{path} has mode {mode}"),
            Self::FileOwnerIs { path, user, group } => format!("{path} belongs to {user}:{group}"),
            Self::FileKeyIs { path, key, value, .. } => format!("{path} says {value} for {key}"),
            Self::FilesystemBelow { path, used_percent } => {
                format!("the file system of {path} is used below {used_percent} %")
            }
            Self::FilesystemInodesBelow { path, used_percent } => {
                format!("the inodes of {path}'s file system are used below {used_percent} %")
            }
            Self::FilesystemAllBelow { used_percent } => {
                format!("every file system of the host is used below {used_percent} %")
            }
            Self::PidfileStale { path, unit } => format!("{path} names no living process of {unit}"),
            Self::ProcessGone { process } => format!("process {} is gone", process.pid),
            Self::ProcessPresent { process } => format!("process {} is still the same one", process.pid),
            Self::AddressForeign { ip } => {
                format!("{ip} is another machine's address, neither this host's nor the server's")
            }
            Self::ProcessRunning { process } => format!("the process {process} runs"),
            Self::ProcessNotRunning { process } => format!("the process {process} does not run"),
            Self::AccountLocked { account } => format!("no password and no key opens {account}"),
            Self::AccountUsable { account } => format!("neither {account} nor its password has run out"),
            Self::AccountUnused { account } => {
                format!("no process runs as {account} and no crontab is its own")
            }
            Self::PackageConfigured { package: Some(package) } => format!("the package {package} is whole"),
            Self::PackageConfigured { package: None } => "every package is whole or gone".into(),
            Self::PackageManagerFree {} => "nobody is installing packages".into(),
            Self::SudoersValid {} => "sudo understands its configuration".into(),
            Self::SshdValid {} => "sshd understands its configuration".into(),
            Self::SshdRunsWith { key, value } => format!("sshd would run with {key} {value}"),
            Self::LogrotateValid { path } => format!("logrotate understands {path}"),
            Self::CertificateValid { path, days: 0 } => format!("the certificate in {path} is valid"),
            Self::CertificateValid { path, days } => {
                format!("the certificate in {path} is valid for {days} days more")
            }
            Self::CheckPasses { name } => format!("the host's check {name} passes"),
            Self::SysctlIs { key, value } => format!("{key} of the running kernel is {value}"),
            Self::UnitNotFailed { unit } => format!("{unit} has not failed"),
            Self::UnitWrites { unit, path } => format!("{unit} writes to {path}"),
            Self::SocketStale { path } => format!("{path} is a socket at which nobody listens"),
            Self::ProcessNotStopped { process } => {
                format!("process {} lives and is not stopped", process.pid)
            }
            Self::LinkIsUp { interface } => format!("the interface {interface} is up"),
            Self::LinkMtuIs { interface, mtu } => format!("the MTU of {interface} is {mtu}"),
            Self::NftHasSet { family, table, set, ip } => {
                format!("the packet filter has a set {} {table} {set} for addresses as {ip}", family.as_str())
            }
            Self::NftHasElement { family, table, set, ip } => {
                format!("the set {} {table} {set} of the packet filter holds {ip}", family.as_str())
            }
            Self::NftLacksRule { family, table, chain, rule } => {
                format!("{} {table} {chain} of the packet filter has no rule {rule}", family.as_str())
            }
            Self::MountPresent { mount } => format!("{mount} is mounted"),
            Self::MountAbsent { mount } => format!("nothing is mounted at {mount}"),
            Self::MountVacant { mount } => format!("nothing lies in the folder {mount} itself"),
            Self::MountOption { mount, option } => format!("{mount} is mounted {option}"),
            Self::MountSound { mount } => format!("no errors are counted on the file system of {mount}"),
            Self::ProcessBelowCpu { process, percent } => {
                format!("process {} takes less than {percent} % of a processor", process.pid)
            }
            Self::ProcessZombiesBelow { process, count } => {
                format!("process {} has fewer than {count} zombies", process.pid)
            }
            Self::PortFree { port, protocol } => format!("nothing listens on port {port}/{protocol}"),
            Self::PortHeldBy { port, protocol, unit } => format!("{unit} listens on port {port}/{protocol}"),
            Self::PortReached { port } => format!("port {port} takes a connection from outside"),
            Self::PortsBelow { percent } => {
                format!("less than {percent} % of the local ports are in use toward any one destination")
            }
            Self::ConntrackBelow { percent } => {
                format!("the table of tracked connections is filled below {percent} %")
            }
            Self::ClockSynchronised { within_ms } => {
                format!("the clock is synchronised and right within {within_ms} ms")
            }
            Self::UnitDescriptorsBelow { unit, percent } => {
                format!("{unit} has less than {percent} % of its limit of files open")
            }
            Self::BackupFresh { backup } => format!("the newest of the backup {backup} is young enough"),
            Self::BackupIntact { backup } => format!("the newest of the backup {backup} is whole"),
            Self::BackupIdle { backup } => format!("the job of the backup {backup} does not run"),
            Self::BackupStalled { backup } => format!("the job of the backup {backup} runs and does nothing"),
            Self::BackupPrivate { backup } => {
                format!("nobody but those declared can reach the backup {backup}")
            }
            Self::BackupFew { backup } => {
                format!("there are no more of the backup {backup} than are to be kept")
            }
            Self::PostgresqlConnectionsBelow { name, percent } => {
                format!("below {percent} % of the connections of {name} are in use")
            }
            Self::PostgresqlSessionGone { name, pid, .. } => format!("session {pid} of {name} is gone"),
            Self::PostgresqlSlotAbsent { name, slot } => format!("{name} has no replication slot {slot}"),
            Self::PostgresqlWritable { name } => format!("{name} takes writes"),
            Self::RedisPersisting { name } => format!("Redis ({name}) can save what it holds"),
            Self::MemoryBelow { unit, bytes } => format!("{unit} uses less than {bytes} bytes of memory"),
            Self::CommandOk { argv } => format!("{} exits with 0", argv.join(" ")),
        }
    }
}
