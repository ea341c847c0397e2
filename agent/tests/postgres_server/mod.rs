//! A PostgreSQL of a test's own, started and ended with it.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that does not outlive the test, however it ends.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A PostgreSQL of the test's own.
pub struct Server {
    programs: PathBuf,
    data: PathBuf,
}

fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command.current_dir("/").env("LANG", "C");
    command
}

impl Server {
    /// Returns nothing, and says so, where the machine has none or this is not root.
    pub fn start(folder: &Path) -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let found = versions.map(|entry| entry.path().join("bin")).find(|bin| bin.join("initdb").exists());
        let account = fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains("\npostgres:"));
        let (Some(programs), true, true) = (found, account, rustix::process::geteuid().is_root()) else {
            eprintln!("not tested: this machine has no PostgreSQL, or this is not root");
            return None;
        };
        let data = folder.join("pg/data");
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("chmod");
        fs::create_dir(folder.join("pg")).expect("mkdir");
        let chown = Command::new("chown").arg("postgres").arg(folder.join("pg")).status().expect("started");
        assert!(chown.success());
        let run = |name: &str, arguments: &[&str]| {
            let done = as_postgres(&programs.join(name)).arg("-D").arg(&data).args(arguments).output();
            let done = done.expect("started");
            assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run("initdb", &["-A", "trust", "-U", "postgres", "-N"]);
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c max_connections=12 -c superuser_reserved_connections=2 -c fsync=off -c autovacuum=off",
            folder.join("pg").display()
        );
        let log = folder.join("pg/log").display().to_string();
        run("pg_ctl", &["-w", "-o", &options, "-l", &log, "start"]);
        Some(Self { programs, data })
    }

    pub fn psql(&self, user: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args(["-XqAt", "-U", user, "-d", "postgres", "-h"])
            .arg(self.data.parent().expect("a folder"));
        command
    }

    pub fn ask(&self, query: &str) -> String {
        let done = self.psql("postgres").args(["-c", query]).output().expect("started");
        assert!(done.status.success(), "{query}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text").trim().to_owned()
    }

    /// Opens a session that says something first, and then nothing.
    pub fn session(&self, user: &str, says: &str) -> Killed {
        let mut command = self.psql(user);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = Killed(child.expect("started"));
        child.0.stdin.as_mut().expect("a pipe").write_all(says.as_bytes()).expect("written");
        child
    }

    pub fn wait(&self, query: &str, for_it: &str) {
        for _ in 0..600 {
            if self.ask(query) == for_it {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{query} does not come to {for_it}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = as_postgres(&self.programs.join("pg_ctl"));
        let _ = stop.arg("-D").arg(&self.data).args(["-m", "immediate", "stop"]).output();
    }
}
