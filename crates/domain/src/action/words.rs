//! Actions in words, for plans and pages.

use super::{Action, LookBy};

impl Action {
    /// Returns the action as one sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::UnitStart { unit } => format!("Start {unit}"),
            Self::UnitStop { unit } => format!("Stop {unit}"),
            Self::UnitRestart { unit } => format!("Restart {unit}"),
            Self::UnitReload { unit } => format!("Have {unit} reload its configuration"),
            Self::UnitResetFailed { unit } => format!("Clear the failed state of {unit}"),
            Self::ProcessSignal { process, signal } => {
                format!(
                    "Send {signal:?} to process {} (started at tick {})",
                    process.pid, process.start_ticks
                )
            }
            Self::ProcessStart { process, program } => format!("Start the process {process}: {program}"),
            Self::FileTruncate { path } => format!("Empty {path}, keeping a copy where it fits"),
            Self::FileRotate { path, keep } => format!("Rotate {path}, keeping {keep} old files"),
            Self::FilePrune {
                directory, pattern, keep_newest, group_until, group_parts, discard, ..
            } => {
                let grouped = group_until.is_some() || group_parts.is_some();
                let each = if grouped { " of each group" } else { "" };
                let but = format!("but for the newest {keep_newest}{each}");
                match discard {
                    true => format!("Delete {pattern} in {directory}, {but}"),
                    false => format!("Move {pattern} in {directory} to quarantine, {but}"),
                }
            }
            Self::FileQuarantine { path } => format!("Move {path} to quarantine"),
            Self::FileRestore { path, from } => format!("Restore {path} from {from}"),
            Self::FileWrite { path, content } => format!("Write {} bytes to {path}", content.len()),
            Self::FileMode { path, mode } => format!("Set the mode of {path} to {mode}"),
            Self::FileOwner { path, user, group } => format!("Set the owner of {path} to {user}:{group}"),
            Self::FileReclaimDeleted { process, path, .. } => {
                format!("Empty the deleted file {path} that process {} still holds open", process.pid)
            }
            Self::ProcessEnd { process, grace_s } => format!(
                "End process {} (started at tick {}), by force after {grace_s} s",
                process.pid, process.start_ticks
            ),
            Self::ProcessRenice { process, nice } => {
                format!(
                    "Give process {} (started at tick {}) niceness {nice}",
                    process.pid, process.start_ticks
                )
            }
            Self::SysctlSet { key, value } => format!("Set {key} of the running kernel to {value}"),
            Self::LinkMtu { interface, mtu } => format!("Set the MTU of {interface} to {mtu}"),
            Self::NftAddElement { family, table, set, ip, timeout_s } => {
                let time = match timeout_s {
                    0 => "until it is taken out".to_owned(),
                    seconds => format!("for {seconds} s"),
                };
                format!("Put {ip} into the set {} {table} {set} of the packet filter {time}", family.as_str())
            }
            Self::NftDeleteElement { family, table, set, ip } => {
                format!("Take {ip} out of the set {} {table} {set} of the packet filter", family.as_str())
            }
            Self::NftDeleteRule { family, table, chain, handle, rule } => format!(
                "Take rule {handle} ({rule}) out of {} {table} {chain} of the packet filter",
                family.as_str()
            ),
            Self::MountMount { mount } => format!("Mount {mount} as /etc/fstab declares it"),
            Self::MountUnmount { mount } => format!("Unmount {mount}"),
            Self::MountRemount { mount, option } => format!("Remount {mount} with {option}"),
            Self::ClockStep { max_offset_s } => {
                format!("Have chrony step the clock, by at most {max_offset_s} s")
            }
            Self::BackupRun { backup, unit: Some(unit) } => format!("Make the backup {backup} by {unit}"),
            Self::BackupRun { backup, unit: None } => format!("Make the backup {backup} by its command"),
            Self::BackupStop { backup, unit } => {
                format!("Stop {unit}, the job of {backup} that does nothing")
            }
            Self::LookProcesses { by, most } => {
                let what = match by {
                    LookBy::Cpu => "processor time",
                    LookBy::Memory => "memory",
                    LookBy::Io => "disk reads and writes",
                    LookBy::Files => "open files",
                };
                format!("Look which {most} processes use most {what}")
            }
            Self::LookUnit { unit } => format!("Look at the state of {unit} and of what it needs"),
            Self::LookJournal { unit, lines } => format!("Read the last {lines} lines of {unit}'s journal"),
            Self::LookFilesystem { path, most } => format!("Look for the {most} largest things on {path}"),
            Self::LookNetwork { .. } => "Look at interfaces, routes, resolver and sockets".into(),
            Self::BackupVerify { backup } => format!("Read the newest of the backup {backup} whole"),
            Self::BackupQuarantine { path, .. } => format!("Move {path} and its checksum aside"),
            Self::BackupPrune { directory, keep, .. } => {
                format!(
                    "Move all but the newest {keep} archives in {directory} aside, once those are found whole"
                )
            }
            Self::BackupModes { directory, .. } => {
                format!("Take permissions that were not declared from {directory} and the archives in it")
            }
            Self::BackupRestoreDrill { backup } => {
                format!("Restore the newest of the backup {backup} into a scratch folder, and remove it")
            }
            Self::PostgresqlTerminate { name, pid, idle_s, .. } => {
                format!("End session {pid} of {name}, which has done nothing for {idle_s} s or more")
            }
            Self::PostgresqlTerminateIdle { name, below_percent, idle_s, most } => format!(
                "End up to {most} sessions of {name} that have done nothing for {idle_s} s or more, until below \
                 {below_percent} % of the connections are in use"
            ),
            Self::PostgresqlDropSlot { name, slot, .. } => {
                format!("Drop the replication slot {slot} of {name}, which nobody reads")
            }
            Self::PostgresqlAllowWrites { name } => format!("Let {name} take writes again"),
            Self::RedisBgsave { name } => format!("Have Redis ({name}) save a snapshot"),
            Self::HttpCall { url, method, .. } => format!("Call {} {url}", method.as_str()),
            Self::UnitEnable { unit } => format!("Have {unit} start with the host"),
            Self::UnitDisable { unit } => format!("Have {unit} no longer start with the host"),
            Self::UnitMask { unit } => format!("Mask {unit}, so that nothing can start it"),
            Self::UnitUnmask { unit } => format!("Unmask {unit}"),
            Self::UnitReadDefinitions { unit } => {
                format!("Have systemd read its units again, for what the files of {unit} say now")
            }
            Self::SocketRemove { path } => format!("Remove the socket {path}, at which nobody listens"),
            Self::DirectoryCreate { path, mode, user, group } => {
                format!("Make the folder {path} with mode {mode} for {user}:{group}")
            }
            Self::LinkUp { interface } => format!("Set the interface {interface} up"),
            Self::FileEdit { path, key, value, .. } => format!("Set {key} to {value} in {path}"),
            Self::FileMove { path, to } => format!("Move {path} to {to}"),
            Self::AccountLock { account, close_shell: false } => {
                format!("Lock the account {account} and let it expire")
            }
            Self::AccountLock { account, close_shell: true } => {
                format!("Lock the account {account}, let it expire and take its shell")
            }
            Self::AccountUnlock { account } => format!("Unlock the account {account}"),
            Self::AccountExpiry { account, days } => {
                format!("Let the account {account} last {days} days more")
            }
            Self::PackageConfigure { package: Some(package) } => format!("Have dpkg configure {package}"),
            Self::PackageConfigure { package: None } => {
                "Have dpkg configure all packages that are half installed".into()
            }
            Self::OperatorCommand { command, .. } => {
                format!("Run {command}, a command that the host's administrator named")
            }
            Self::Command { argv, .. } => format!("Run {}", argv.join(" ")),
        }
    }
}
