use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const HEAD: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n";

fn config(yaml: &str) -> Ports {
    Config::parse(&format!("kernel: {{ports: {yaml}}}")).unwrap_or_else(|e| panic!("{e:?}")).kernel.ports
}

/// A tree of processes: number, unit, and the socket that it holds.
fn process(root: &Path, pid: u32, unit: &str, inode: u64) {
    let folder = root.join(pid.to_string());
    fs::create_dir_all(folder.join("fd")).expect("made");
    let stat = format!("{pid} (x) S 1 0 0 0 -1 0 0 0 0 0 0 0 0 0 0 20 1 0 {pid}7 0");
    fs::write(folder.join("stat"), stat).expect("written");
    fs::write(folder.join("comm"), "x\n").expect("written");
    fs::write(folder.join("cgroup"), format!("0::/system.slice/{unit}\n")).expect("written");
    if inode > 0 {
        symlink(format!("socket:[{inode}]"), folder.join("fd/3")).expect("linked");
    }
}

fn listening(root: &Path, lines: &[(u16, u64)]) {
    fs::create_dir_all(root.join("net")).expect("made");
    let line = |(port, inode): &(u16, u64)| {
        format!(
            "   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"
        )
    };
    let text: String = lines.iter().map(line).collect();
    fs::write(root.join("net/tcp"), format!("{HEAD}{text}")).expect("written");
}

fn told(watched: &mut Watched) -> String {
    let seen = watched.look();
    let one = |(fault, _): &(Fault, _)| {
        let field =
            |name: &str| fault.fields.iter().find(|(n, _)| n.as_str() == name).map(|(_, v)| v.to_string());
        let holder = field("holder_unit").map(|unit| format!(" by {unit}")).unwrap_or_default();
        format!("{} {}{holder}", fault.kind, fault.subject)
    };
    let mut all: Vec<_> = seen.holds.iter().map(one).collect();
    all.extend(seen.blind.iter().map(|_| "blind".to_owned()));
    all.join(", ")
}

#[test]
fn who_holds_a_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let config = config("{listen: [{port: 8081, unit: web.service}, {port: 9000}]}");
    let mut watched = Watched {
        reached: vec![None; config.listen.len()],
        config,
        proc: Proc::at(root),
        owners: Owners::default(),
        filter: Filter::default(),
        tried: None,
        unseen: BTreeSet::new(),
    };
    assert_eq!(told(&mut watched), "port.closed check:closed:tcp:9000, blind", "there is no table");
    process(root, 10, "web.service", 100);
    process(root, 20, "session-1.scope", 200);
    listening(root, &[(8081, 100), (9000, 1)]);
    assert_eq!(told(&mut watched), "");
    listening(root, &[(8081, 200), (9000, 1)]);
    assert_eq!(told(&mut watched), "port.taken check:tcp:8081 by session-1.scope");
    listening(root, &[(8081, 100), (8081, 200), (9000, 1)]);
    assert_eq!(told(&mut watched), "", "they share it");
    listening(root, &[(8081, 300), (9000, 1)]);
    assert_eq!(told(&mut watched), "", "whoever it was may have ended a moment ago");
    assert_eq!(told(&mut watched), "blind", "its owner cannot be seen");
    process(root, 1, "init.scope", 300);
    assert_eq!(told(&mut watched), "", "the service manager holds it for the unit");
    listening(root, &[]);
    assert_eq!(told(&mut watched), "port.closed check:closed:tcp:8081, port.closed check:closed:tcp:9000");
    fs::remove_dir_all(root.join("10")).expect("removed");
    assert_eq!(told(&mut watched), "port.closed check:closed:tcp:9000", "its unit does not run at all");
}

#[test]
fn silence_is_told_and_so_is_refusal() {
    let listener = |yaml: &str| config(&format!("{{listen: [{yaml}]}}")).listen.remove(0);
    let web = listener("{port: 80, unit: web.service, reach: true}");
    let watched = Watched {
        config: Ports::default(),
        proc: Proc::default(),
        owners: Owners::default(),
        filter: Filter::default(),
        reached: vec![],
        tried: None,
        unseen: BTreeSet::new(),
    };
    let socket = |waiting| {
        let any = IpAddr::from([0, 0, 0, 0]);
        Socket { ip: any, port: 80, peer: any, peer_port: 0, state: table::LISTEN, waiting, inode: 1 }
    };
    for (holder, reached, waiting, kind) in [
        (Holder::Owner, None, 0, None),
        (Holder::Owner, Some(Reached::Yes), 0, None),
        (Holder::Owner, Some(Reached::Other), 0, None),
        (Holder::Owner, Some(Reached::NoAnswer), 0, Some("port.filtered")),
        (Holder::Unseen, Some(Reached::NoAnswer), 0, Some("port.filtered")),
        (Holder::Owner, Some(Reached::NoAnswer), 128, Some("port.stuck")),
    ] {
        let fault = watched.judge(&web, &holder, &[socket(waiting)], reached);
        assert_eq!(fault.map(|f| f.kind.to_string()).as_deref(), kind, "{holder:?} {reached:?}");
    }
    let own = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = own.local_addr().expect("bound");
    assert_eq!(connect(address), Reached::Yes);
    drop(own);
    // It is asked only of ports at which somebody listens: whom the filter refuses is no better off.
    assert_eq!(connect(address), Reached::NoAnswer);
}

#[test]
fn others_are_told_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    listening(folder.path(), &[(22, 1), (4444, 2)]);
    let config = config("{listen: [{port: 22}], undeclared: true}");
    let (proc, owners) = (Proc::at(folder.path()), Owners::default());
    let (reached, unseen) = (vec![None], BTreeSet::new());
    let mut watched =
        Watched { config, proc, owners, filter: Filter::default(), reached, tried: None, unseen };
    assert_eq!(told(&mut watched), "port.undeclared check:undeclared:tcp:4444");
}
