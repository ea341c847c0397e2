//! Which ports listen, and whose they are.

use super::proposal::{Proposal, Section};
use super::root::Root;
use super::units::{Units, expected};
use super::yaml::Flow;
use crate::watcher::{Owners, Proc, listeners};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// From here on a port is often one that the kernel chose for once.
const CHOSEN_MIN: u16 = 32_768;

/// A port that listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listening {
    pub port: u16,
    pub ip: IpAddr,
    pub unit: String,
    pub program: String,
}

/// Returns the TCP ports that listen, with their owners as far as they can be seen.
pub(super) fn find(root: &Root) -> Vec<Listening> {
    let proc = Proc::at(&root.proc());
    let sockets = match listeners(&proc, false) {
        Ok(sockets) => sockets,
        Err(e) => {
            root.note("listening ports", &e);
            return Vec::new();
        }
    };
    let mut owners = Owners::default();
    owners.find(&proc, &sockets.iter().map(|socket| socket.inode).collect());
    let mut found = BTreeSet::new();
    for socket in sockets {
        // The service manager listens for what is started by its socket.
        let mut pids = owners.of(socket.inode).iter().map(|stat| stat.pid).filter(|pid| *pid != 1).peekable();
        if pids.peek().is_none() {
            root.note(
                &format!("owner of port {}", socket.port),
                "no process of its own is seen to hold it (needs root)",
            );
        }
        if let Some((pid, unit)) = pids.find_map(|pid| Some((pid, proc.unit(pid)?))) {
            let program = proc.name(pid);
            found.insert(Listening { port: socket.port, ip: socket.ip, unit: unit.to_string(), program });
        }
    }
    found.into_iter().collect()
}

/// Proposes that each port of a service that is expected to run stays that service's, and that SSH and web servers
/// answer.
pub(super) fn propose(units: &Units, listening: &[Listening], proposal: &mut Proposal) {
    let mut done = BTreeSet::new();
    for found in listening.iter().filter(|l| l.port < CHOSEN_MIN && expected(units, &l.unit)) {
        let owners: BTreeSet<_> =
            listening.iter().filter(|l| l.port == found.port).map(|l| &l.unit).collect();
        if owners.len() > 1 || !done.insert(found.port) {
            continue;
        }
        let (port, unit) = (found.port, &found.unit);
        let why = format!("{} of {unit} listens on {}.", found.program, found.ip);
        let flow = Flow::default().word("port", port).text("unit", unit).word("for", "10s");
        proposal.add(Section::Ports, &why, flow.done());
        let banner = match found.program.as_str() {
            "sshd" => Some("^SSH-2"),
            "master" | "exim4" => Some("^220 "),
            _ => None,
        };
        if let Some(banner) = banner {
            let name = proposal.name(Section::Checks, &format!("{}-{port}", found.program));
            let probe = Flow::default().text("connect", &own(found)).text("banner", banner);
            let flow = Flow::default().text("name", &name).map("tcp", probe).word("every", "30s");
            let flow = flow.word("failures", "{count: 2, within: 2m}").text("unit", unit);
            proposal.add(
                Section::Checks,
                &format!("What {unit} says first shows that it works."),
                flow.done(),
            );
        }
    }
}

/// Returns where the host itself reaches a listener.
pub(super) fn own(found: &Listening) -> String {
    let ip = match found.ip {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
    };
    std::net::SocketAddr::from((ip, found.port)).to_string()
}
