//! The proposal for a host whose files lie in a folder, against what was proposed before.

use super::look;
use super::root::Root;
use crate::config::Config;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const GOLDEN: &str = include_str!("tests/web.yaml");
/// Where the golden file lies, to be written anew when this variable is set.
const RENEW: &str = "SOPWITH_RENEW_GOLDEN";

struct Host(TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
        symlink(target, path).expect("linked");
    }

    /// A service: its file, who wants it, and its process, if it runs.
    fn service(&self, name: &str, settings: &str, wanted: bool, process: Option<(u32, &str)>) {
        self.file(&format!("usr/lib/systemd/system/{name}"), &format!("[Unit]\n[Service]\n{settings}\n"));
        if wanted {
            let link = format!("etc/systemd/system/multi-user.target.wants/{name}");
            self.link(&link, &format!("/usr/lib/systemd/system/{name}"));
        }
        if let Some((pid, program)) = process {
            self.process(pid, program, &format!("/system.slice/{name}"));
        }
    }

    fn process(&self, pid: u32, program: &str, group: &str) {
        self.file(&format!("proc/{pid}/cgroup"), &format!("0::{group}\n"));
        self.file(&format!("proc/{pid}/comm"), &format!("{program}\n"));
        let tail = "0 0 0 -1 0 0 0 0 0 0 0 0 0 0 20 1 0 777 0 0";
        self.file(&format!("proc/{pid}/stat"), &format!("{pid} ({program}) S 1 {tail}"));
    }

    /// Ports that listen: address as the kernel writes it, port, and the process.
    fn listening(&self, sockets: &[(&str, u16, u32)]) {
        let mut table = String::from("  sl  local_address rem_address   st\n");
        for (at, (address, port, pid)) in sockets.iter().enumerate() {
            let inode = 9000 + at;
            table.push_str(&format!(
                "{at}: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"
            ));
            self.link(&format!("proc/{pid}/fd/{at}"), &format!("socket:[{inode}]"));
        }
        self.file("proc/net/tcp", &table);
    }

    fn archive(&self, path: &str, now: SystemTime, hours: u64) {
        self.file(path, "archive");
        let file = fs::File::options().write(true).open(self.0.path().join(path)).expect("opened");
        file.set_modified(now - Duration::from_secs(hours * 3600)).expect("set");
    }

    fn look(&self, now: SystemTime) -> String {
        look(&Root::new(self.0.path()), now, false)
    }
}

/// A web server with a database of its own, as Debian has it.
fn web(now: SystemTime) -> Host {
    let host = Host::new();
    host.service("systemd-journald.service", "", false, Some((20, "systemd-journal")));
    host.service("nginx.service", "Type=forking\nPIDFile=/run/nginx.pid", true, Some((100, "nginx")));
    host.service("ssh.service", "Type=notify", true, Some((110, "sshd")));
    host.service("shop.service", "ExecStart=/srv/shop/run", true, Some((120, "shop")));
    host.service("down.service", "ExecStart=/x", true, None);
    host.service("once.service", "Type=oneshot\nRemainAfterExit=yes", true, Some((130, "sh")));
    host.service("byhand.service", "", false, Some((140, "tool")));
    host.service("gone.service", "", true, None);
    fs::remove_file(host.0.path().join("usr/lib/systemd/system/gone.service")).expect("removed");
    host.link("etc/systemd/system/gone.service", "/dev/null");
    host.link(
        "etc/systemd/system/timers.target.wants/shop-backup.timer",
        "/etc/systemd/system/shop-backup.timer",
    );
    host.process(150, "bash", "/user.slice/user-1000.slice/session-3.scope");
    host.listening(&[
        ("00000000", 80, 100),
        ("00000000", 22, 110),
        ("0100007F", 8080, 120),
        ("0100007F", 45_001, 120),
        ("00000000", 9999, 140),
        ("0100007F", 5000, 150),
    ]);
    for program in ["usr/sbin/nginx", "usr/sbin/sshd", "usr/bin/restic"] {
        host.file(program, "");
    }
    host.file(
        "etc/nginx/sites-enabled/shop",
        "server {\n  ssl_certificate /etc/ssl/shop.pem;\n  ssl_certificate /etc/none.pem;\n}\n",
    );
    host.file("etc/ssl/shop.pem", "");
    host.file("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    host.file("etc/resolv.conf", "nameserver 192.0.2.53\n");
    host.file("etc/ssh/ssh_host_ed25519_key", "");
    let key = host.0.path().join("etc/ssh/ssh_host_ed25519_key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("set");
    host.file(
        "proc/self/mounts",
        "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/sdb1 /srv/my\\040data xfs rw 0 0\n",
    );
    host.file("var/log/shop/web.log", "");
    host.file("var/log/nginx/error.log", "");
    for hours in [3, 27, 51, 75] {
        host.archive(&format!("var/backups/shop/shop-2026010{hours}.tar.gz"), now, hours);
    }
    host.archive("var/backups/old/dump-1.sql.gz", now, 900);
    for name in ["config", "keys/a", "snapshots/b", "data/c"] {
        host.file(&format!("srv/restic/{name}"), "");
    }
    host
}

#[test]
fn the_proposal_for_a_web_server() {
    let now = SystemTime::now();
    let told = web(now).look(now);
    if std::env::var_os(RENEW).is_some() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/discover/tests/web.yaml");
        fs::write(golden, &told).expect("written");
    }
    assert_eq!(told, GOLDEN, "{RENEW}=1 writes the golden file anew");
    let config = Config::parse(&told).unwrap_or_else(|e| panic!("{e:?}\n{told}"));
    let services: Vec<_> = config.units.services.keys().map(ToString::to_string).collect();
    assert_eq!(services, ["nginx.service", "shop.service", "ssh.service", "systemd-journald.service"]);
    let ports: Vec<_> = config.kernel.ports.listen.iter().map(|l| *l.port).collect();
    assert_eq!(ports, [22, 80, 8080], "neither chosen by the kernel nor of what is not expected");
    assert_eq!(config.backups.len(), 1, "only what is fresh and regular");
}

/// Whatever the host's names are made of, it stays one word of the file.
#[test]
fn names_of_the_host_stay_words() {
    let now = SystemTime::now();
    let host = Host::new();
    let evil = "x\nruntime_dir: \"/evil\"\n#";
    for name in [evil, "a: {b}", "'q'", "\"", "*", "- [", "é\u{2028}z"] {
        host.file(&format!("var/log/{name}/x.log"), "");
        for hours in [1, 25, 49] {
            host.archive(&format!("var/backups/{name}/{name}{hours}.tar"), now, hours);
        }
        host.service(&format!("{name}.service"), &format!("PIDFile=/run/{name}"), true, None);
        host.process(
            200 + u32::try_from(name.len()).expect("short"),
            name,
            &format!("/system.slice/{name}.service"),
        );
    }
    host.file("etc/nginx/nginx.conf", "ssl_certificate /etc/a\u{85}b,]}x.pem;\n");
    host.file("etc/a\u{85}b,]}x.pem", "");
    let told = host.look(now);
    let config = Config::parse(&told).unwrap_or_else(|e| panic!("{e:?}\n{told}"));
    let mut plain = config.clone();
    (plain.runtime_dir, plain.state_dir) = (Config::default().runtime_dir, Config::default().state_dir);
    assert_eq!(plain, config, "nothing else is said");
    assert!(
        config.logs.iter().any(|log| log.paths.iter().any(|p| p.as_str() == "/var/log/'q'/*.log")),
        "{told}"
    );
}

#[test]
fn an_empty_host_is_no_trouble() {
    let told = Host::new().look(SystemTime::now());
    let config = Config::parse(&told).unwrap_or_else(|e| panic!("{e:?}\n{told}"));
    assert_eq!(config.units.services.len(), 0);
    assert!(told.contains("/proc: no process is there"), "{told}");
    assert!(told.contains("listening ports: failed to read"), "{told}");
}
