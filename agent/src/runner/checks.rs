//! Asks the host whether something holds. A check looks and never changes anything; what cannot be found out does
//! not hold.

use super::actions::{Place, QUESTION_MS, Systemd, Workbench, about, command, hand, sha256};
use super::actions::{accounts, processes, socket};
use super::settings::Settings;
use super::{checks_of_norms, clock, http, kernel_checks};
use crate::runner::profiles;
use rustix::fs::statvfs;
use sopwith_domain::action::octal_mode;
use sopwith_domain::check::Check;
use sopwith_domain::dry_run::{Asked, SENTENCE_BYTES_MAX};
use sopwith_domain::run::CheckOutcome;
use sopwith_domain::value::{AbsPath, UnitName, one_other_machine};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// How often checks that do not hold yet are asked again: soon at first, then less and less often.
const POLL_MS_MIN: u64 = 5;
const POLL_MS_MAX: u64 = 200;
/// How long a program may take that only looks, in milliseconds.
const COMMAND_MS_MAX: i64 = 10_000;
/// Longest text about checks, in bytes.
const DETAIL_BYTES_MAX: usize = 4096;

/// Whether it holds, and what was seen.
type Seen = Result<(), String>;

/// Asks all checks until they hold or the time is over.
pub fn wait(bench: &mut Workbench, settings: &Settings, checks: &[Check], within_ms: i64) -> CheckOutcome {
    let began_ms = clock::boot_ms();
    let mut pause_ms = POLL_MS_MIN;
    loop {
        let outcome = ask_all(bench, settings, checks);
        let left_ms = within_ms - (clock::boot_ms() - began_ms);
        if outcome.passed || left_ms <= 0 || hopeless(bench, checks) {
            return outcome;
        }
        let left_ms = u64::try_from(left_ms).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(pause_ms.min(left_ms)));
        pause_ms = (pause_ms * 2).min(POLL_MS_MAX);
    }
}

/// Says whether a unit that is to be active has failed for good: systemd will not start it again by itself.
fn hopeless(bench: &mut Workbench, checks: &[Check]) -> bool {
    checks.iter().any(|check| match check {
        Check::UnitActive { unit } => bench
            .systemd
            .state(unit)
            .is_ok_and(|state| state.active_state == "failed" && state.restart == "no" && state.job == 0),
        _ => false,
    })
}

fn ask_all(bench: &mut Workbench, settings: &Settings, checks: &[Check]) -> CheckOutcome {
    let failed: Vec<_> = checks
        .iter()
        .filter_map(|check| {
            ask(bench, settings, check).err().map(|seen| format!("{}: {seen}", check.sentence()))
        })
        .collect();
    let passed = failed.is_empty();
    let detail = if passed {
        checks.iter().map(Check::sentence).collect::<Vec<_>>().join("; ")
    } else {
        format!("does not hold: {}", failed.join("; "))
    };
    CheckOutcome { passed, detail: super::admission::short_to(detail, DETAIL_BYTES_MAX) }
}

/// Asks one check once, for a dry run; one that starts a program is not asked.
pub fn look(bench: &mut Workbench, settings: &Settings, check: &Check) -> Asked {
    let sentence = super::admission::short_to(check.sentence(), SENTENCE_BYTES_MAX);
    let (holds, detail) = match check {
        Check::CommandOk { .. } | Check::CheckPasses { .. } => {
            (None, "not asked: a dry run starts no program".to_owned())
        }
        _ => match ask(bench, settings, check) {
            Ok(()) => (Some(true), String::new()),
            Err(seen) => (Some(false), super::admission::short_to(seen, SENTENCE_BYTES_MAX)),
        },
    };
    Asked { check: sentence, holds, detail }
}

fn holds(holds: bool, seen: impl Into<String>) -> Seen {
    if holds { Ok(()) } else { Err(seen.into()) }
}

fn ask(bench: &mut Workbench, settings: &Settings, check: &Check) -> Seen {
    match check {
        Check::UnitActive { unit } => {
            let state = bench.systemd.state(unit)?;
            holds(state.active_state == "active", format!("it is {}", state.active_state))
        }
        Check::UnitNotActive { unit } => {
            let state = bench.systemd.state(unit)?;
            let runs =
                matches!(state.active_state.as_str(), "active" | "activating" | "reloading" | "refreshing");
            holds(!runs, format!("it is {}", state.active_state))
        }
        Check::UnitNotFailed { unit } => {
            let state = bench.systemd.state(unit)?;
            holds(state.active_state != "failed", "it is failed")
        }
        Check::HttpOk { url } => http::ok(url),
        Check::FileExists { path } => holds(Place::of(path)?.stat()?.is_some(), "it does not"),
        Check::FileAbsent { path } => match Place::of(path) {
            // No folder, no file.
            Err(_) if !std::path::Path::new(path.as_str()).exists() => Ok(()),
            place => holds(place?.stat()?.is_none(), "it does"),
        },
        Check::FileSame { path, other } => holds(same(path, other)?, "they differ"),
        Check::FileDiffers { path, other } => holds(!same(path, other)?, "they are the same"),
        Check::FileFresh { path, within_s } => fresh(path, *within_s),
        Check::FileModeIs { path, mode } => {
            let stat = Place::of(path)?.stat()?.ok_or("it does not exist")?;
            let now = stat.st_mode & 0o7777;
            holds(octal_mode(mode) == Some(now), format!("it has {now:04o}"))
        }
        Check::FileOwnerIs { path, user, group } => {
            let stat = Place::of(path)?.stat()?.ok_or("it does not exist")?;
            let (uid, gid) = accounts::numbers(user, group)?;
            holds(
                (stat.st_uid, stat.st_gid) == (uid, gid),
                format!("it belongs to {}:{}", stat.st_uid, stat.st_gid),
            )
        }
        Check::FilesystemBelow { path, used_percent } => {
            let fs = statvfs(path.as_str()).map_err(|e| e.to_string())?;
            // As df counts: what only root may use does not count as free.
            let used = fs.f_blocks.saturating_sub(fs.f_bfree);
            below(used, used + fs.f_bavail, *used_percent)
        }
        Check::FilesystemInodesBelow { path, used_percent } => {
            let fs = statvfs(path.as_str()).map_err(|e| e.to_string())?;
            below(fs.f_files.saturating_sub(fs.f_ffree), fs.f_files, *used_percent)
        }
        Check::FilesystemAllBelow { used_percent } => all_below(*used_percent),
        Check::SocketStale { path } => socket::stale(path),
        Check::PidfileStale { path, unit } => pidfile_stale(&mut bench.systemd, path, unit),
        Check::ProcessGone { process } => holds(!processes::lives(*process), "it lives"),
        Check::ProcessPresent { process } => holds(processes::lives(*process), "it is gone"),
        Check::ProcessRunning { process } => {
            let named =
                bench.processes.get(process).ok_or("this host's configuration has no such process")?;
            holds(named.find().is_some(), "it does not")
        }
        Check::ProcessNotRunning { process } => {
            let named =
                bench.processes.get(process).ok_or("this host's configuration has no such process")?;
            named.find().map_or(Ok(()), |process| Err(format!("it runs as process {}", process.pid)))
        }
        Check::AddressForeign { ip } => foreign(settings, *ip),
        Check::CheckPasses { name } => {
            let named = settings.checks.get(name).ok_or("this host's configuration has no such check")?;
            run(bench, &named.argv, named.timeout_ms)
        }
        Check::SysctlIs { .. }
        | Check::LinkMtuIs { .. }
        | Check::LinkIsUp { .. }
        | Check::UnitWrites { .. }
        | Check::ProcessNotStopped { .. }
        | Check::NftHasSet { .. }
        | Check::NftHasElement { .. }
        | Check::NftLacksRule { .. }
        | Check::MountPresent { .. }
        | Check::MountAbsent { .. }
        | Check::MountVacant { .. }
        | Check::MountOption { .. }
        | Check::MountSound { .. }
        | Check::ProcessBelowCpu { .. }
        | Check::ProcessZombiesBelow { .. }
        | Check::PortFree { .. }
        | Check::PortHeldBy { .. }
        | Check::PortReached { .. }
        | Check::PortsBelow { .. }
        | Check::ConntrackBelow { .. }
        | Check::ClockSynchronised { .. }
        | Check::UnitDescriptorsBelow { .. } => kernel_checks::ask(bench, check),
        Check::BackupFresh { backup } => told(bench.ask(&about("fresh", backup), QUESTION_MS, None)),
        Check::BackupIntact { backup } => {
            let verify_ms = bench.backup(backup)?.verify.max_time.ms();
            let timeout_ms = i64::try_from(verify_ms).unwrap_or(i64::MAX).max(QUESTION_MS);
            told(bench.ask(&about("intact", backup), timeout_ms, None))
        }
        Check::BackupIdle { backup } => told(bench.ask(&about("idle", backup), QUESTION_MS, None)),
        Check::BackupStalled { backup } => told(bench.ask(&about("stalled", backup), QUESTION_MS, None)),
        Check::BackupPrivate { backup } => told(bench.ask(&about("private", backup), QUESTION_MS, None)),
        Check::BackupFew { backup } => told(bench.ask(&about("few", backup), QUESTION_MS, None)),
        Check::PostgresqlConnectionsBelow { name, percent } => told(bench.ask(
            &hand(name, "postgresql-connections-below", &[percent.to_string()]),
            QUESTION_MS,
            None,
        )),
        Check::PostgresqlSessionGone { name, pid, start_us } => {
            let words = hand(name, "postgresql-gone", &[pid.to_string(), start_us.to_string()]);
            told(bench.ask(&words, QUESTION_MS, None))
        }
        Check::PostgresqlSlotAbsent { name, slot } => {
            told(bench.ask(&hand(name, "postgresql-slot-absent", &[slot.to_string()]), QUESTION_MS, None))
        }
        Check::PostgresqlWritable { name } => {
            told(bench.ask(&hand(name, "postgresql-writable", &[]), QUESTION_MS, None))
        }
        Check::RedisPersisting { name } => {
            told(bench.ask(&hand(name, "redis-persisting", &[]), QUESTION_MS, None))
        }
        Check::MemoryBelow { unit, bytes } => memory_below(unit, *bytes),
        Check::CommandOk { argv } => run(bench, argv, COMMAND_MS_MAX),
        other => checks_of_norms::ask(bench, other),
    }
}

fn run(bench: &Workbench, argv: &[String], timeout_ms: i64) -> Seen {
    let report = bench.programs.run(&profiles::looking(), argv, timeout_ms, None)?;
    command::fault(&report).map_or(Ok(()), |how| Err(format!("{how}: {}", report.output.trim())))
}

/// Makes one of what does not hold and what cannot be told.
fn told(answer: Result<Result<String, String>, String>) -> Seen {
    answer.and_then(|is| is).map(drop)
}

/// Sums up what the processes of a unit use that no file stands behind.
fn memory_below(unit: &UnitName, bytes: i64) -> Seen {
    let used = |pid: u32| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        let counts = |line: &&str| line.starts_with("RssAnon:") || line.starts_with("RssShmem:");
        text.lines().filter(counts).filter_map(kib).sum::<u64>() * 1024
    };
    let of_unit: Vec<u32> =
        processes::all().iter().map(|p| p.pid).filter(|pid| in_unit(*pid, unit)).collect();
    if of_unit.is_empty() {
        return Err(format!("{unit} has no process"));
    }
    let sum: u64 = of_unit.iter().map(|pid| used(*pid)).sum();
    holds(sum < u64::try_from(bytes).unwrap_or(0), format!("it uses {sum} bytes"))
}

/// Says whether a process belongs to a unit, by its control group.
fn in_unit(pid: u32, unit: &UnitName) -> bool {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroup
        .lines()
        .any(|line| line.rsplit(':').next().is_some_and(|p| p.split('/').any(|part| part == unit.as_str())))
}

fn same(path: &AbsPath, other: &AbsPath) -> Result<bool, String> {
    let digest = |path: &AbsPath| {
        let place = Place::of(path)?;
        let file = place.open(false)?.ok_or_else(|| format!("{path} does not exist"))?;
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        Ok::<_, String>((length, sha256(&file).map_err(|e| format!("{path}: {e}"))?))
    };
    Ok(digest(path)? == digest(other)?)
}

fn fresh(path: &AbsPath, within_s: i64) -> Seen {
    let metadata = std::fs::metadata(path.as_str()).map_err(|e| e.to_string())?;
    let age_s = clock::wall().0 / 1000 - metadata.mtime();
    // A time in the future is that of another clock, and tells nothing.
    holds((-1..=within_s).contains(&age_s), format!("it is {age_s} s old"))
}

fn below(used: u64, total: u64, percent: i64) -> Seen {
    let limit = u128::try_from(percent).unwrap_or(0);
    let seen = if total == 0 { 0 } else { u128::from(used) * 100 / u128::from(total) };
    holds(u128::from(used) * 100 < limit * u128::from(total) || total == 0, format!("it is {seen} %"))
}

/// Kinds of file systems that hold nothing that could fill up, hold it elsewhere, or would be mounted by asking.
const NOWHERE: [&str; 18] = [
    "9p",
    "afs",
    "autofs",
    "ceph",
    "cgroup2",
    "cifs",
    "devtmpfs",
    "glusterfs",
    "iso9660",
    "lustre",
    "nfs",
    "nfs4",
    "overlay",
    "proc",
    "ramfs",
    "smb3",
    "squashfs",
    "sysfs",
];

fn all_below(used_percent: i64) -> Seen {
    let mounts =
        procfs::process::Process::myself().and_then(|me| me.mountinfo()).map_err(|e| e.to_string())?;
    for mount in &mounts.0 {
        let kind = mount.fs_type.as_str();
        if mount.super_options.contains_key("ro") || NOWHERE.contains(&kind) || kind.starts_with("fuse") {
            continue;
        }
        // What cannot be asked (gone, or of another user's session) is no full disk.
        let Ok(fs) = statvfs(&mount.mount_point) else { continue };
        let used = fs.f_blocks.saturating_sub(fs.f_bfree);
        below(used, used + fs.f_bavail, used_percent)
            .map_err(|seen| format!("{}: {seen}", mount.mount_point.display()))?;
    }
    Ok(())
}

fn pidfile_stale(systemd: &mut Systemd, path: &AbsPath, unit: &UnitName) -> Seen {
    let place = Place::of(path)?;
    let file = place.open(false)?.ok_or("there is no such pidfile")?;
    let pid = processes::of_pidfile(file)?;
    if processes::is_dead(pid) {
        return Ok(());
    }
    let main_pid = systemd.state(unit)?.main_pid;
    holds(!kernel_checks::in_unit(pid, unit) && main_pid != pid, format!("process {pid} belongs to {unit}"))
}

fn foreign(settings: &Settings, ip: IpAddr) -> Seen {
    holds(one_other_machine(ip), "it is no address of one machine")?;
    holds(!own(ip), "it is this host's own")?;
    holds(!settings.server_addresses()?.contains(&ip.to_canonical()), "it is the server's")
}

/// Says whether an address is this host's own: to those the kernel speaks from the same address. Nothing is sent.
pub fn own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let any =
        if ip.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let spoken_from = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(ip, 9))?;
        socket.local_addr()
    };
    ip.is_loopback() || spoken_from().is_ok_and(|from: SocketAddr| from.ip().to_canonical() == ip)
}
