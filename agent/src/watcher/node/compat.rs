//! Whether the families of node_exporter are told here: not where one runs beside us, for then every series would be
//! there twice.

use super::files::Files;
use crate::config::NodeCompat;
use std::time::{Duration, Instant};

/// The port of node_exporter, as `/proc/net/tcp` writes it, and its number.
const PORT: &str = "238C";
const PORT_NUMBER: u16 = 9100;
/// State of a socket that listens.
const LISTENS: &str = "0A";
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
            NodeCompat::Auto => match other(files, self.own_port) {
                Some(other) => Compat::Off(format!("node_* metrics are left to {other}")),
                None => Compat::On,
            },
        };
        self.found = Some((Instant::now(), found.clone()));
        found
    }
}

/// Names the node_exporter that runs on this host, if one does.
fn other(files: &mut Files, own_port: u16) -> Option<String> {
    for unit in UNITS {
        let mut runs = |group: &&str| {
            let processes = files.read(&format!("{group}/{unit}/cgroup.procs")).unwrap_or_default();
            !processes.trim().is_empty()
        };
        if GROUPS.iter().any(&mut runs) {
            return Some(format!("{unit}, which runs"));
        }
    }
    if own_port == PORT_NUMBER {
        return None;
    }
    let mut listens = |path: &str| {
        let text = files.read(path).unwrap_or_default();
        let sockets = text.lines().skip(1).filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.nth(1)?, words.nth(1)?))
        });
        // Those that listen come first.
        let mut listening = sockets.take_while(|(_, state)| *state == LISTENS);
        listening.any(|(local, _)| local.ends_with(&format!(":{PORT}")))
    };
    let there = listens("proc/net/tcp") || listens("proc/net/tcp6");
    there.then(|| format!("the exporter that listens on port {PORT_NUMBER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_exporter_beside_us_is_seen() {
        const HEAD: &str = "  sl  local_address rem_address   st\n";
        const OTHERS: &str = "   0: 0100007F:0016 00000000:0000 0A\n";
        const ITS: &str = "   1: 00000000:238C 00000000:0000 0A\n";
        const TO_ONE: &str = "   2: 0100007F:238C 0100007F:9999 01\n";
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let mut files = Files::below(folder.path().to_str().expect("a path")).expect("opened");
        let unit = "sys/fs/cgroup/system.slice/prometheus-node-exporter.service/cgroup.procs";
        for (tcp, tcp6, procs, own_port, says) in [
            (format!("{HEAD}{OTHERS}"), "", "", 9631, None),
            (format!("{HEAD}{OTHERS}{ITS}"), "", "", 9631, Some("port 9100")),
            (format!("{HEAD}{OTHERS}{ITS}"), "", "", 9100, None),
            (format!("{HEAD}{OTHERS}{TO_ONE}"), "", "", 9631, None),
            (HEAD.to_owned(), "\n   0: 0:238C 0:0 0A\n", "", 9631, Some("port 9100")),
            (HEAD.to_owned(), "", "17\n", 9100, Some("prometheus-node-exporter.service")),
        ] {
            write("proc/net/tcp", &tcp);
            write("proc/net/tcp6", tcp6);
            write(unit, procs);
            let found = other(&mut files, own_port);
            assert_eq!(found.is_some(), says.is_some(), "{found:?} {tcp}");
            assert!(found.unwrap_or_default().contains(says.unwrap_or_default()));
            for (wanted, told) in
                [(NodeCompat::On, true), (NodeCompat::Off, false), (NodeCompat::Auto, says.is_none())]
            {
                let mut finder = Finder::default();
                finder.set(wanted, own_port);
                assert_eq!(finder.find(&mut files) == Compat::On, told, "{wanted:?}");
            }
        }
    }
}
