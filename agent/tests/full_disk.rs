//! The runner's own disk is full, of bytes or of inodes, before it starts or while it works, down to the last byte: the
//! clean-up that it is ordered is carried out and written down. On a small disk in memory and on a small ext4.

mod runner_process;
mod support;

use runner_process::{Runner, status};
use sopwith_agent::runner_protocol::Request;
use sopwith_domain::run::{End, Record, What};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::World;

/// A small disk, mounted over a folder while it lives.
struct Disk {
    state: Option<tempfile::TempDir>,
    path: std::path::PathBuf,
    _image: Option<tempfile::NamedTempFile>,
}

impl Disk {
    /// Makes one of 8 MiB, or says why this machine cannot have it.
    fn new(kind: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount".into());
        }
        let state = tempfile::tempdir().map_err(|e| e.to_string())?;
        let path = state.path().to_owned();
        let image = match kind {
            "tmpfs" => {
                run("mount", &["-t", "tmpfs", "-o", "size=8m,nr_inodes=400", "sopwith-test"], &path)?;
                None
            }
            _ => {
                let image = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
                image.as_file().set_len(8 << 20).map_err(|e| e.to_string())?;
                run("mkfs.ext4", &["-q", "-F", "-m", "0", "-N", "400"], image.path())?;
                run("mount", &["-o", "loop", &image.path().to_string_lossy()], &path)?;
                Some(image)
            }
        };
        Ok(Self { state: Some(state), path, _image: image })
    }

    /// Fills it with old files, the last byte too; then makes so many bytes free again.
    fn fill(&self, free: u64) {
        let folder = self.path.join("old");
        let mut number = 0;
        let mut put = |bytes: usize| {
            number += 1;
            let file = File::create(folder.join(format!("old.{number:04}")));
            file.and_then(|mut file| file.write_all(&vec![7; bytes]).and_then(|()| file.sync_all())).is_ok()
        };
        while put(256 << 10) {}
        while put(4 << 10) {}
        let spare = folder.join("old.0001");
        let length = fs::metadata(&spare).expect("the first one").len();
        File::options().write(true).open(&spare).and_then(|f| f.set_len(length - free)).expect("cut");
    }

    /// Takes every inode.
    fn fill_inodes(&self) {
        for number in 0.. {
            if File::create(self.path.join("old").join(format!("old.{number:04}"))).is_err() {
                return;
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &self.path);
        drop(self.state.take());
    }
}

fn run(program: &str, arguments: &[&str], last: &Path) -> Result<(), String> {
    let done =
        Command::new(program).args(arguments).arg(last).output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}

/// Empties a log that is on the disk, then deletes the old files.
fn playbook(world: &World, verify: &str) -> String {
    let state = world.state.path().display();
    format!(
        r#"
id: mend-file
version: 1
title: Make room
purpose: The disk is full.
scope: One disk.
risk: auto
risk_because: It is a test.
answers: [{{kind: check.failed}}]
parameters:
  target: {{type: path, from: config_path, about: anything}}
steps:
  - name: Empty the log
    require: [{{check: file.absent, with: {{path: $target}}}}]
    do: file.truncate
    with: {{path: "{state}/old/log"}}
    timeout_s: 20
  - name: Delete old files
    do: file.prune
    with: {{directory: "{state}/old", pattern: "old.*", keep_newest: 0, discard: true}}
    irreversible_because: Quarantine is on the same disk.
    timeout_s: 20
verify:
  - {{check: {verify}, with: {{path: "{state}", used_percent: 60}}}}
soak_s: 0
escalation: Call somebody.
"#
    )
}

/// A host whose state is on a small disk with a log, and files that may go.
fn world(disk: &mut Disk) -> World {
    let world = World::with_state(disk.state.take().expect("a folder"));
    fs::create_dir(world.state.path().join("old")).expect("mkdir");
    fs::write(world.state.path().join("old/log"), [b'x'; 300_000]).expect("write");
    fs::remove_file(world.path("w/conf")).expect("removed");
    let state = world.state.path().display();
    let mut config = File::options().append(true).open(world.path("etc/agent.yaml")).expect("there");
    writeln!(
        config,
        "filesystems: {{mounts: {{{state}: {{reclaim: {{directory: {state}/old, pattern: \"old.*\"}}}}}}}}"
    )
    .expect("written");
    world
}

/// Fills the disk before the runner starts or after, and has it cleaned up.
fn cleaned_up(kind: &str, verify: &str, before_start: bool, fill: impl Fn(&Disk)) -> Result<(), String> {
    let mut disk = Disk::new(kind)?;
    let world = world(&mut disk);
    // It has run here before, as on every host that fills up.
    let epoch = {
        let mut runner = Runner::start(&world, None);
        let mut client = runner.client().expect("lives");
        status(client.ask(&Request::Status { challenge: false }).expect("answers")).epoch
    };
    let order = world.order(epoch, 1, &playbook(&world, verify));
    if before_start {
        fill(&disk);
    }
    let mut runner = Runner::start(&world, None);
    runner.client().ok_or("the runner does not start on a full disk")?;
    if !before_start {
        fill(&disk);
    }
    let records = runner.until_end(&order).ok_or("the runner died of a full disk")?;
    drop(runner);
    let end = records.iter().find_map(|r| match &r.what {
        What::Ended { end } => Some(end),
        _ => None,
    });
    assert_eq!(end, Some(&End::Resolved), "{kind}: {records:?}");
    assert_eq!(fs::metadata(world.state.path().join("old/log")).map(|m| m.len()).ok(), Some(0));
    assert_eq!(fs::read_dir(world.state.path().join("old")).expect("there").count(), 1, "the log stays");
    started_once(&records);
    Ok(())
}

fn started_once(records: &[Record]) {
    for step in 0..2 {
        let started = |r: &&Record| matches!(r.what, What::Started { step: s, .. } if s == step);
        assert_eq!(records.iter().filter(started).count(), 1, "{records:?}");
    }
}

/// Says so and goes on where the machine cannot have such a disk; what fails on one that can is a failure.
fn possible(kind: &str) -> bool {
    match Disk::new(kind) {
        Ok(_) => true,
        Err(reason) => {
            eprintln!("SKIPPED: no {kind} of its own here: {reason}");
            false
        }
    }
}

#[test]
fn a_disk_without_a_free_byte_is_cleaned_up_wherever_it_filled() {
    for kind in ["tmpfs", "ext4"] {
        if !possible(kind) {
            continue;
        }
        for free in [0, 4, 12, 24, 48, 96] {
            for before_start in [true, false] {
                cleaned_up(kind, "filesystem.below", before_start, |disk| disk.fill(free << 10))
                    .unwrap_or_else(|e| {
                        panic!("{kind}, {free} KiB free, before the start: {before_start}: {e}")
                    });
            }
        }
    }
}

#[test]
fn a_disk_without_a_free_inode_is_cleaned_up() {
    for kind in ["tmpfs", "ext4"] {
        if !possible(kind) {
            continue;
        }
        for before_start in [true, false] {
            cleaned_up(kind, "filesystem.inodes-below", before_start, Disk::fill_inodes)
                .unwrap_or_else(|e| panic!("{kind}, before the start: {before_start}: {e}"));
        }
    }
}
