//! Limits with which a unit's processes really run, against what is declared.

use super::host::{Host, Looked};
use super::norm::{self, Breach};
use sopwith_domain::signal::Subject;

/// Names of limits.conf and how the kernel calls them.
const NAMES: &[(&str, &str)] = &[
    ("nofile", "Max open files"),
    ("nproc", "Max processes"),
    ("memlock", "Max locked memory"),
    ("stack", "Max stack size"),
    ("core", "Max core file size"),
    ("as", "Max address space"),
    ("fsize", "Max file size"),
    ("sigpending", "Max pending signals"),
    ("msgqueue", "Max msgqueue size"),
];
/// Where the processes of a unit are listed.
const GROUPS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    for (unit, limits) in &host.norms.limits {
        let lists = GROUPS.iter().map(|group| format!("{group}/system.slice/{unit}/cgroup.procs"));
        let listed = lists.filter_map(|path| host.text(&path, looked)).find(|text| !text.trim().is_empty());
        // A unit that does not run has no limits; whether it should is told elsewhere.
        let Some(pid) =
            listed.and_then(|text| text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()))
        else {
            continue;
        };
        let Some(text) = host.text(&format!("/proc/{pid}/limits"), looked) else { continue };
        for (name, wanted) in limits {
            let Some(actual) = soft(&text, name.as_str()) else {
                looked.trouble(format!("the kernel knows no limit {name}"));
                continue;
            };
            if actual >= **wanted {
                continue;
            }
            let text = format!("{unit} runs with {name} = {actual}, declared are at least {}", **wanted);
            let breach =
                Breach::new(norm::LIMIT_DRIFT, Subject::Unit(unit.clone()), text).unit("unit", unit.as_str());
            looked.breach(
                breach
                    .word("limit", name.as_str())
                    .integer("actual", actual)
                    .integer("wanted", **wanted)
                    .integer("pid", pid),
            );
            // Of one unit one limit is told, which is enough to look.
            break;
        }
    }
}

/// Returns the soft limit in `/proc/PID/limits`.
fn soft(text: &str, name: &str) -> Option<u64> {
    let (_, title) = NAMES.iter().find(|(of, _)| *of == name)?;
    let rest = text.lines().find_map(|line| line.strip_prefix(title))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::Fixture;
    use super::*;

    #[test]
    fn units_run_with_their_limits() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \nMax locked memory         unlimited            unlimited            bytes     \n";
        for (limits, says) in [
            ("{nofile: 1024}", ""),
            ("{nofile: 65536}", "limit-drift unit:a.service"),
            ("{memlock: 99999999}", ""),
            ("{nosuch: 1}", "! the kernel knows no limit nosuch"),
        ] {
            let fixture =
                Fixture::new(&format!(", limits: {{a.service: {limits}, gone.service: {{nofile: 1}}}}"));
            fixture
                .file("/sys/fs/cgroup/system.slice/a.service/cgroup.procs", "77\n78\n")
                .file("/proc/77/limits", text);
            assert_eq!(fixture.told(look), says, "{limits}");
        }
    }
}
