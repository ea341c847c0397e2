//! The file system on which the agent itself lives is full, of bytes or of inodes, down to the last one, whatever the
//! agent was writing at that moment, or before it starts: it still sees it, raises it, has it cleaned up by the policy's
//! standing approval, and the incident closes. Nobody touches anything. On 8 MiB in memory and on 8 MiB of ext4.

use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{Rig, shipped_playbooks};
use std::path::PathBuf;
use std::process::Command;

const SUBJECT: &str = "mount:/srv/own";
const CONFIG: &str = "
state_dir: /srv/own/sopwith
filesystems:
  mounts:
    /srv/own:
      used_percent: 85
      inodes_percent: 85
      reclaim: {directory: /srv/own/old, pattern: \"old.*\", keep_newest: 0}
";
/// Moves what the agent remembers to a small file system, on which it lives from then on beside others' files.
const MOVE: &str = "
set -e
systemctl stop sopwith-agent.service sopwith-runner.service
mkdir -p /srv/own /etc/systemd/system/sopwith-agent.service.d
MOUNT
cp -a /var/lib/sopwith /srv/own/sopwith; mkdir /srv/own/old
printf '[Service]\\nReadWritePaths=/srv/own/sopwith/watcher\\n' > /etc/systemd/system/sopwith-agent.service.d/own.conf
systemctl daemon-reload
systemctl start sopwith-runner.service sopwith-agent.service
";
/// Fills it to the last byte, again and again for a second: whatever is written meanwhile finds no room.
const FILL_BYTES: &str = "
cd /srv/own/old; n=0
until [ $n -ge 20 ]; do
  dd if=/dev/zero of=old.$n.a bs=64k count=999 2>/dev/null; dd if=/dev/zero of=old.$n.b bs=1k count=999 2>/dev/null
  n=$((n+1)); sleep 0.05
done
sync
[ $(df --output=pcent /srv/own | tail -1 | tr -dc 0-9) -ge 90 ]";
const FILL_INODES: &str = "
cd /srv/own/old; n=0
while touch old.$n 2>/dev/null; do n=$((n+1)); done
[ $(df --output=ipcent /srv/own | tail -1 | tr -dc 0-9) -ge 99 ]";

/// An image of ext4 on this machine, as a device that hosts may mount.
struct Device {
    image: PathBuf,
    device: String,
}

impl Device {
    fn new() -> Result<Self, String> {
        let image = std::env::temp_dir().join(format!("sopwith-disk-{}", std::process::id()));
        let file = std::fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(8 << 20).map_err(|e| e.to_string())?;
        let path = image.to_string_lossy().into_owned();
        let mut device = Self { image, device: String::new() };
        run(&["mkfs.ext4", "-q", "-F", "-m", "0", "-N", "400", &path])?;
        device.device = run(&["losetup", "--find", "--show", &path])?;
        Ok(device)
    }

    fn number(&self) -> &str {
        self.device.trim_start_matches("/dev/loop")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if !self.device.is_empty() {
            let _ = run(&["losetup", "--detach", &self.device]);
        }
        let _ = std::fs::remove_file(&self.image);
    }
}

fn run(argv: &[&str]) -> Result<String, String> {
    let done = Command::new(argv[0]).args(&argv[1..]).output().map_err(|e| format!("{}: {e}", argv[0]))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!("{}: {}", argv[0], String::from_utf8_lossy(&done.stderr).trim())),
    }
}

/// Fills the agent's own disk in each way and waits each time until the incident about it is closed again.
fn recovers_by_itself(rig: &Rig, mount: &str) {
    let config = rig.sh("cat /etc/sopwith/agent.yaml");
    let own = config.split("\nfilesystems:").next().expect("some text").to_owned() + CONFIG;
    rig.host.write("/etc/sopwith/agent.yaml", own.as_bytes(), 0o644).expect("configure the agent");
    rig.sh(&MOVE.replace("MOUNT", mount));
    rig.until("the agent is connected again", || rig.connected());
    // No fault of one host is mended more than twice a day without a person.
    let rounds = [(FILL_BYTES, false), (FILL_BYTES, true), (FILL_INODES, false), (FILL_INODES, true)];
    for (round, (fill, stopped)) in rounds.into_iter().enumerate() {
        let before = rig.about(SUBJECT).len();
        if stopped {
            rig.sh("systemctl stop sopwith-agent.service sopwith-runner.service");
        }
        rig.sh(fill);
        if stopped {
            rig.sh("systemctl start sopwith-runner.service sopwith-agent.service");
        }
        rig.until(&format!("round {round}: it is raised"), || rig.about(SUBJECT).len() > before);
        let closed = rig.await_phase(SUBJECT, &["closed", "needs_person", "awaiting_approval"]);
        assert_eq!(
            closed.summary.phase,
            "closed",
            "round {round}: {}\n{}",
            closed.summary.status,
            rig.last_words()
        );
        assert_eq!(closed.summary.playbook.as_deref(), Some("filesystem-own-full"), "round {round}");
        assert!(rig.holds("[ -z \"$(ls /srv/own/old)\" ]"), "round {round}: what may go is gone");
    }
    let verified = rig.server.local(&["audit", "verify"], "").expect("verify the journal");
    assert!(verified.contains("the chain holds"), "{verified}");
}

#[test]
fn in_memory() {
    let Some(lab) = Lab::open_or_skip("the agent's own disk in memory is full") else { return };
    let rig = Rig::up(&lab, "own-tmpfs", &shipped_playbooks());
    recovers_by_itself(&rig, "mount -t tmpfs -o size=8m,nr_inodes=400,mode=0755 own /srv/own");
}

#[test]
fn on_ext4() {
    let Some(lab) = Lab::open_or_skip("the agent's own ext4 is full") else { return };
    let device = match Device::new() {
        Ok(device) => device,
        Err(reason) => return eprintln!("SKIPPED: no loop device here: {reason}"),
    };
    let rig = Rig::up(&lab, "own-ext4", &shipped_playbooks());
    let number = device.number();
    let mount = format!(
        "[ -e /dev/loop{number} ] || mknod /dev/loop{number} b 7 {number}; mount /dev/loop{number} /srv/own"
    );
    recovers_by_itself(&rig, &mount);
}
