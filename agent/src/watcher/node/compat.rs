//! Whether the families of node_exporter are told here: not where one runs beside us, for then every series would be
//! there twice.

use super::files::Files;
use crate::config::NodeCompat;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::time::{Duration, Instant};

/// The port of node_exporter.
const PORT: u16 = 9100;
/// Longest wait for this machine's own answer.
const ANSWER_MAX: Duration = Duration::from_millis(200);
/// Names under which packages run it.
const UNITS: [&str; 3] =
    ["prometheus-node-exporter.service", "node_exporter.service", "node-exporter.service"];
/// Where control groups of system services lie, by what is mounted.
const GROUPS: [&str; 3] = [
    "sys/fs/cgroup/system.slice",
    "sys/fs/cgroup/systemd/system.slice",
    "sys/fs/cgroup/unified/system.slice",
];
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Whether the families are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compat {
    On,
    /// They are not, and why.
    Off(String),
}

#[derive(Debug, Default)]
pub(super) struct Finder {
    wanted: NodeCompat,
    found: Option<(Instant, Compat)>,
    /// Port on which our own page is served.
    own_port: u16,
}

impl Finder {
    pub(super) fn set(&mut self, wanted: NodeCompat, own_port: u16) {
        if (self.wanted, self.own_port) != (wanted, own_port) {
            self.found = None;
        }
        (self.wanted, self.own_port) = (wanted, own_port);
    }

    /// Says whether the families are told; looked for anew after a while.
    pub(super) fn find(&mut self, files: &mut Files) -> Compat {
        if let Some((at, found)) = &self.found
            && at.elapsed() < LOOK_EVERY
        {
            return found.clone();
        }
        let found = match self.wanted {
            NodeCompat::On => Compat::On,
            NodeCompat::Off => Compat::Off("node_compat is off".into()),
            NodeCompat::Auto => match other(files, PORT, self.own_port) {
                Some(other) => Compat::Off(format!("node_* metrics are left to {other}")),
                None => Compat::On,
            },
        };
        self.found = Some((Instant::now(), found.clone()));
        found
    }
}

/// Names the node_exporter that runs on this host, if one does.
fn other(files: &mut Files, port: u16, own_port: u16) -> Option<String> {
    for unit in UNITS {
        let mut runs = |group: &&str| {
            let processes = files.read(&format!("{group}/{unit}/cgroup.procs")).unwrap_or_default();
            !processes.trim().is_empty()
        };
        if GROUPS.iter().any(&mut runs) {
            return Some(format!("{unit}, which runs"));
        }
    }
    // A connection costs less than the list of all sockets.
    let answers = |address: IpAddr| TcpStream::connect_timeout(&(address, port).into(), ANSWER_MAX).is_ok();
    let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let there = own_port != port && local.into_iter().any(answers);
    there.then(|| format!("the exporter that listens on port {port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_exporter_beside_us_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let unit = folder.path().join("sys/fs/cgroup/system.slice/prometheus-node-exporter.service");
        std::fs::create_dir_all(&unit).expect("made");
        let mut files = Files::below(folder.path().to_str().expect("a path")).expect("opened");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = listener.local_addr().expect("an address").port();
        for (port, procs, own_port, says) in [
            (taken, "", 9631, Some("listens on port")),
            (taken, "", taken, None),
            // Nobody can listen on port 0.
            (0, "", 9631, None),
            (0, "17\n", 9631, Some("prometheus-node-exporter.service, which runs")),
            (taken, "17\n", taken, Some("prometheus-node-exporter.service, which runs")),
        ] {
            std::fs::write(unit.join("cgroup.procs"), procs).expect("written");
            let found = other(&mut files, port, own_port);
            assert_eq!(found.is_some(), says.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(says.unwrap_or_default()));
        }
        for (wanted, told) in [(NodeCompat::On, true), (NodeCompat::Off, false), (NodeCompat::Auto, false)] {
            let mut finder = Finder::default();
            finder.set(wanted, PORT);
            assert_eq!(finder.find(&mut files) == Compat::On, told, "{wanted:?}");
        }
    }
}
