//! The lab itself: a host boots, keeps its files through a power cut, is reached, and leaves nothing behind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sopwith_tests::lab::{Host, Lab, SERVER_ADDRESS};

const FIXTURE: &[u8] = include_bytes!("../lab/fixture.sh");

#[test]
fn a_power_cut_keeps_files_and_down_removes_them() {
    let Some(lab) = Lab::open_or_skip("a_power_cut_keeps_files_and_down_removes_them") else { return };
    let root = lab.base().expect("base root");
    let mut host = Host::up(&lab, "cut", &root).expect("boot");
    host.write("/var/lib/kept/a", b"text", 0o640).expect("write");
    assert_eq!(host.run(&["stat", "-c", "%a %s", "/var/lib/kept/a"]).expect("stat"), "640 4\n");
    assert_eq!(host.run(&["hostname"]).expect("hostname"), "cut\n");
    host.kill();
    assert!(host.run(&["true"]).is_err(), "a host without power answers nothing");
    host.boot().expect("boot again");
    assert_eq!(host.run(&["cat", "/var/lib/kept/a"]).expect("cat"), "text");
    let dir = host.root();
    host.down().expect("down");
    assert!(!dir.exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(dir.to_str().expect("plain path")));
}

#[test]
fn hosts_are_apart_and_reach_this_machine() {
    let Some(lab) = Lab::open_or_skip("hosts_are_apart_and_reach_this_machine") else { return };
    let root = lab.base().expect("base root");
    let one = Host::up(&lab, "one", &root).expect("boot one");
    let two = Host::up(&lab, "two", &root).expect("boot two");
    assert_ne!(one.address(), two.address());
    let id = |host: &Host| host.run(&["cat", "/etc/machine-id"]).expect("machine-id");
    assert_ne!(id(&one), id(&two));
    // The same unit on both: stopping it on one must neither wait for nor hit the other's processes.
    one.run(&["systemctl", "kill", "--kill-who=all", "-s", "KILL", "cron.service"]).expect("kill cron");
    one.run(&["systemctl", "stop", "cron.service"]).expect("stop cron");
    assert_eq!(two.run(&["systemctl", "is-active", "cron.service"]).expect("cron of two"), "active\n");

    let listener = TcpListener::bind((SERVER_ADDRESS, 0)).expect("listen on the bridge");
    let port = listener.local_addr().expect("address").port();
    let served = thread::spawn(move || answer_once(&listener));
    let url = format!("http://{SERVER_ADDRESS}:{port}/");
    assert_eq!(one.run(&["curl", "-sfm", "20", &url]).expect("curl"), "here");
    served.join().expect("server thread");
}

fn answer_once(listener: &TcpListener) {
    let (mut stream, _): (TcpStream, _) = listener.accept().expect("a connection");
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).expect("a request");
    stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nhere").expect("answer");
}

#[test]
fn commands_are_bounded_in_time_and_take_no_shell() {
    let Some(lab) = Lab::open_or_skip("commands_are_bounded_in_time_and_take_no_shell") else { return };
    let host = Host::up(&lab, "cmd", &lab.base().expect("base root")).expect("boot");
    assert_eq!(host.run(&["echo", "$(id)", ";", "true"]).expect("echo"), "$(id) ; true\n");
    let done = host.sh_for("echo begun; sleep 987", Duration::from_millis(500)).expect("start");
    assert!(done.timed_out && !done.ok());
    assert_eq!(done.stdout, "begun\n");
    let left = host.sh("pgrep -fx 'sleep 987' || true").expect("pgrep");
    assert_eq!(left.stdout, "", "nothing of a timed-out command may live on");
}

#[test]
fn the_fixture_comes_up_whole() {
    let Some(lab) = Lab::open_or_skip("the_fixture_comes_up_whole") else { return };
    let root = lab.layer(FIXTURE).expect("fixture layer");
    let host = Host::up(&lab, "probe", &root).expect("boot");
    for unit in ["probe-web", "probe-worker", "probe-legacy"] {
        assert_eq!(host.run(&["systemctl", "is-active", unit]).expect(unit), "active\n");
    }
    let script =
        "for i in $(seq 50); do curl -sfm3 http://127.0.0.1:8090/health && exit; sleep 0.1; done; exit 1";
    let health = host.sh(script).and_then(|done| done.expect("ask for health"));
    assert_eq!(health.expect("curl"), "well");
    assert_eq!(host.run(&["findmnt", "-no", "FSTYPE", "/var/log/probe"]).expect("findmnt"), "tmpfs\n");
    host.run(&["cmp", "/etc/probe/web.conf", "/var/lib/probe-good/etc/probe/web.conf"]).expect("known good");
}
