//! The runner's door: who may open it, and what it makes of frames that are none.

mod support;

use rustix::process::geteuid;
use sopwith_agent::runner_protocol::{
    Client, Delivery, FRAME_BYTES_MAX, Request, Response, SOCKET_NAME, Status, read_frame, write_frame,
};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use support::World;

struct Runner(Child);

impl Runner {
    fn start(world: &World) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sopwith-agent"));
        command.arg("run").arg("--config").arg(world.path("etc/agent.yaml")).stderr(Stdio::null());
        let runner = Self(command.spawn().expect("starts"));
        while UnixStream::connect(world.path("run/runner.sock")).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        runner
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(response: Response) -> Status {
    let Response::Status(status) = response else { panic!("{response:?}") };
    status
}

#[test]
fn what_is_no_frame_and_no_request_is_refused_and_the_runner_lives() {
    let world = World::new();
    let _runner = Runner::start(&world);
    let connect = || UnixStream::connect(world.path("run/runner.sock")).expect("connects");
    let refused = |bytes: &[u8]| {
        let mut stream = connect();
        stream.write_all(bytes).expect("writes");
        matches!(read_frame::<Response>(&mut stream), Ok(Some(Response::Refused { .. })))
    };
    let framed =
        |text: &str| [&u32::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat();
    let long = u32::try_from(FRAME_BYTES_MAX + 1).expect("fits").to_be_bytes();
    assert!(refused(&long));
    assert!(refused(&[0xff; 4]));
    for text in ["", "null", "{", "{\"request\":\"reboot\"}", "{\"request\":\"status\",\"more\":1}", "[[[[[["]
    {
        assert!(refused(&framed(text)), "{text}");
    }
    let mut half = connect();
    half.write_all(&framed("{\"request\":\"status\"}")[..10]).expect("writes");
    drop(half);
    let mut silent = connect();
    silent.shutdown(std::net::Shutdown::Write).expect("shut");
    assert_eq!(silent.read(&mut [0; 8]).expect("closed"), 0);
    let mut client = Client::connect(&world.path("run")).expect("connects");
    let now = status(client.ask(&Request::Status { challenge: false }).expect("answers"));
    assert_eq!((now.head.seq, now.leased, now.challenge.len()), (0, false, 64));
}

#[test]
fn challenges_leases_and_acknowledgements_are_kept() {
    let world = World::new();
    let runner = Runner::start(&world);
    let mut client = Client::connect(&world.path("run")).expect("connects");
    let first = status(client.ask(&Request::Status { challenge: true }).expect("answers"));
    let second = status(client.ask(&Request::Status { challenge: true }).expect("answers"));
    assert_ne!(first.challenge, second.challenge);
    let lease = world.seal(&world.lease(&first.challenge, first.epoch));
    let order = world.order(first.epoch, 1, &world.playbook("fixed", "fixed"));
    let forged = world.sign(&world.stranger, "sopwith-server", "{}");
    let delivery =
        Delivery { lease: Some(lease), orders: vec![world.seal(&order), forged], ..Delivery::default() };
    let delivered = status(client.ask(&Request::Deliver(delivery)).expect("answers"));
    assert!(delivered.leased);
    assert_eq!(delivered.rejected.len(), 1, "{:?}", delivered.rejected);
    let mut seen = 0;
    while status(client.ask(&Request::Status { challenge: false }).expect("answers")).ended_count == 0 {
        let wait = Request::Wait { after_seq: seen, timeout_ms: 10_000 };
        let Response::Records { records, .. } = client.ask(&wait).expect("answers") else {
            panic!("records")
        };
        seen += records.len() as u64;
        // The run goes on once its acceptance is known to the server.
        client
            .ask(&Request::Deliver(Delivery { acked: Some(seen.min(1)), ..Delivery::default() }))
            .expect("answers");
    }
    client.ask(&Request::Deliver(Delivery { acked: Some(5), ..Delivery::default() })).expect("answers");
    client.ask(&Request::Deliver(Delivery { acked: Some(3), ..Delivery::default() })).expect("answers");
    while status(client.ask(&Request::Status { challenge: false }).expect("answers")).acked_through != 5 {
        std::thread::yield_now();
    }
    let Response::Records { records, first_seq, status: now } =
        client.ask(&Request::Records { after_seq: 2, limit: 2 }).expect("answers")
    else {
        panic!("records")
    };
    assert_eq!((records.len(), first_seq), (2, 3));
    drop(runner);
    let _runner = Runner::start(&world);
    let mut client = Client::connect(&world.path("run")).expect("connects");
    let again = status(client.ask(&Request::Status { challenge: false }).expect("answers"));
    assert_eq!((again.epoch, again.head, again.acked_through), (now.epoch, now.head, 5));
    assert!(!again.leased, "a lease does not outlive the process");
    assert_ne!(again.challenge, now.challenge);
}

#[test]
fn only_so_many_may_speak_at_once() {
    let world = World::new();
    let _runner = Runner::start(&world);
    let mut all: Vec<_> =
        (0..30).map(|_| UnixStream::connect(world.path("run/runner.sock")).expect("connects")).collect();
    let answered = all.iter_mut().filter_map(|stream| {
        write_frame(stream, &Request::Status { challenge: false }).ok()?;
        read_frame::<Response>(stream).ok()?
    });
    let answered = answered.count();
    assert!((1..=8).contains(&answered), "{answered}");
}

/// Needs root, to be somebody else.
#[test]
fn another_user_is_turned_away() {
    if !geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let _runner = Runner::start(&world);
    let open = |path: &str, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(world.path(path), mode).expect("chmod");
    };
    // Even where the file system would let everybody in.
    open("", 0o755);
    open("run", 0o755);
    open("run/runner.sock", 0o666);
    // This very program, where another user can reach it, plays the other user.
    let speaker = world.path("speaker");
    std::fs::copy(std::env::current_exe().expect("known"), &speaker).expect("copy");
    open("speaker", 0o755);
    let ask = |uid: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid", uid, "--regid", uid, "--clear-groups"])
            .arg(&speaker)
            .args(["--exact", "what_another_user_says", "--nocapture"])
            .env(SOCKET_FOR_ANOTHER, world.path("run"))
            .output()
            .expect("setpriv is part of every Debian");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let root = ask("0");
    assert!(root.contains("challenge"), "{root}");
    let other = ask("65534");
    assert!(other.contains("may not speak") && !other.contains("challenge"), "{other}");
}

const SOCKET_FOR_ANOTHER: &str = "SOPWITH_TEST_SOCKET_FOR_ANOTHER";

/// No test of its own: what `another_user_is_turned_away` has another user do.
#[test]
fn what_another_user_says() {
    let Some(folder) = std::env::var_os(SOCKET_FOR_ANOTHER) else { return };
    let socket = std::path::Path::new(&folder).join(SOCKET_NAME);
    let mut stream = UnixStream::connect(socket).expect("connects");
    // Who is turned away may find the door shut before he has spoken.
    let _ = write_frame(&mut stream, &Request::Status { challenge: true });
    println!("{:?}", read_frame::<Response>(&mut stream));
}
