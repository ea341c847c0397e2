//! What the kernel tells of its processes, by number: state, parent, unit, program, owner. Reads what can be read
//! without rights first, and never blocks on a process's own memory.

use super::report::Fault;
use sopwith_domain::value::{AbsPath, ProcessRef, UnitName, Value};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Longest file of the kernel that is read whole, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest line of `stat`, in bytes.
const STAT_BYTES_MAX: usize = 4096;

/// The tree of processes; another root in tests.
#[derive(Clone, Debug)]
pub struct Proc(PathBuf);

/// One line of `stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    pub pid: u32,
    pub state: char,
    pub parent: u32,
    pub start_ticks: u64,
}

impl Default for Proc {
    fn default() -> Self {
        Self("/proc".into())
    }
}

impl Proc {
    pub fn at(root: &std::path::Path) -> Self {
        Self(root.into())
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// Reads a file of the kernel.
    ///
    /// # Errors
    /// Says which file and why.
    pub fn read(&self, relative: &str) -> Result<String, String> {
        let path = self.path(relative);
        let told = |e: std::io::Error| format!("failed to read {}: {e}", path.display());
        let mut bytes = Vec::new();
        File::open(&path).map_err(told)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(told)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a file that holds one number.
    pub fn number(&self, relative: &str) -> Option<u64> {
        self.read(relative).ok()?.trim().parse().ok()
    }

    pub fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Returns a process's state; nothing when it is gone.
    pub fn stat(&self, pid: u32, buffer: &mut Vec<u8>) -> Option<Stat> {
        // The kernel gives the line whole to who has room for it; a file's length, which is 0 here, is not asked for.
        buffer.resize(STAT_BYTES_MAX, 0);
        let read = File::open(self.path(&format!("{pid}/stat"))).ok()?.read(buffer).ok()?;
        parse_stat(buffer.get(..read)?)
    }

    pub fn name(&self, pid: u32) -> String {
        self.read(&format!("{pid}/comm")).map(|name| name.trim_end().to_owned()).unwrap_or_default()
    }

    /// Returns the unit whose control group a process is in: the innermost service or scope.
    pub fn unit(&self, pid: u32) -> Option<UnitName> {
        unit_of_groups(&self.read(&format!("{pid}/cgroup")).ok()?)
    }

    pub fn exe(&self, pid: u32) -> Option<AbsPath> {
        let path = std::fs::read_link(self.path(&format!("{pid}/exe"))).ok()?;
        AbsPath::new(path.to_str()?.trim_end_matches(" (deleted)")).ok()
    }

    /// Returns the name of the user whom a process belongs to, or his number where he has no name.
    pub fn user(&self, pid: u32) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        let uid = std::fs::metadata(self.path(&pid.to_string())).ok()?.uid();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = users.lines().find_map(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?;
            (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        Some(named.unwrap_or_else(|| uid.to_string()))
    }

    /// Says whether somebody started a process by hand: it belongs to no service that would start again by itself, but
    /// to a session, to a unit made for the moment (`systemd-run`), or to nothing.
    pub fn by_hand(&self, pid: u32) -> bool {
        let Some(unit) = self.unit(pid) else { return true };
        let made = |unit: &UnitName| {
            std::path::Path::new("/run/systemd/transient").join(unit.as_str()).symlink_metadata().is_ok()
        };
        unit.as_str() != "init.scope" && (!unit.as_str().ends_with(".service") || made(&unit))
    }

    /// Adds to a fault who a process is.
    pub fn add(&self, fault: &mut Fault, pid: u32) {
        if let Some(stat) = self.stat(pid, &mut Vec::new()) {
            let process = ProcessRef { pid, start_ticks: stat.start_ticks };
            fault.field("process", Value::Process(process));
        }
        fault.word("program", &self.name(pid));
        if let Some(exe) = self.exe(pid) {
            fault.field("exe", Value::Path(exe));
        }
        if let Some(unit) = self.unit(pid) {
            fault.field("unit", Value::Unit(unit));
        }
        if let Some(user) = self.user(pid) {
            fault.word("user", &user);
        }
    }
}

/// Returns the innermost service or scope among a process's control groups.
pub fn unit_of_groups(groups: &str) -> Option<UnitName> {
    let systemd = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    groups.lines().filter(systemd).find_map(unit_of_path)
}

/// Returns the innermost service or scope of a path of control groups.
pub fn unit_of_path(path: &str) -> Option<UnitName> {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    path.rsplit('/').find(is_unit).and_then(|part| UnitName::new(part).ok())
}

fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The name stands in brackets and may hold any byte, brackets too; the last one closes it.
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(line.get(..line.iter().position(|b| *b == b'(')?)?).ok()?;
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Start time is field 22 of the line, the parent field 4.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { pid: pid.trim().parse().ok()?, state, parent, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_stat() {
        let tail = "0 0 0 -1 0 0 0 0 0 0 0 0 0 0 20 1 0 777 0 0";
        for (line, is) in [
            (format!("7 (cat) R 1 {tail}"), Some((7, 'R', 1, 777))),
            (format!("7 (a) b) Z 9 {tail}"), Some((7, 'Z', 9, 777))),
            ("7 (cat) R 1".into(), None),
            (String::new(), None),
        ] {
            let told = parse_stat(line.as_bytes()).map(|s| (s.pid, s.state, s.parent, s.start_ticks));
            assert_eq!(told, is, "{line}");
        }
        let own = Proc::default().stat(std::process::id(), &mut Vec::new()).expect("this process runs");
        assert_eq!(own.pid, std::process::id());
    }

    #[test]
    fn units_of_control_groups() {
        for (groups, unit) in [
            ("0::/system.slice/cron.service\n", Some("cron.service")),
            ("5:memory:/x.service\n1:name=systemd:/system.slice/a.service/sub\n", Some("a.service")),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", Some("session-3.scope")),
            ("0::/user.slice/user@1000.service/app.slice/x.service\n", Some("x.service")),
            ("0::/init.scope\n", Some("init.scope")),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of_groups(groups).map(|u| u.to_string()).as_deref(), unit, "{groups}");
        }
    }
}
