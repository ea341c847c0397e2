//! The memory of a server with very many open incidents: the core itself decides on a hundred thousand signals of two
//! hundred hosts, what it decides is laid into the journal of a real server, and that is started over it.

use super::BenchError;
use super::library;
use super::report::Row;
use crate::installation::{Plan, Server};
use sopwith_domain::command::{Command, Item};
use sopwith_domain::decide::decide;
use sopwith_domain::event::{EVENT_VERSION, Recorded, Versioned};
use sopwith_domain::evolve::evolve;
use sopwith_domain::ids::{Epoch, HostId};
use sopwith_domain::signal::{Evidence, Signal, Subject};
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::UnitName;
use sopwith_journal::{Log, SqliteLog};
use sopwith_protocol::api::LEDGER_STREAM;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const INCIDENTS: usize = 100_000;
const HOSTS: usize = 200;
/// The lines that a signal brings with it, in bytes.
const EVIDENCE_BYTES: usize = 1024;
/// Events that share one transaction.
const BATCH: usize = 2000;
/// Of an incident a server holds in memory at most so many times what the journal has of it on disk.
const GOAL_RATIO: f64 = 2.0;

/// Says how much memory a server has with no incident and with very many, beside their room in the journal.
pub fn measure(binaries: &Path) -> Result<Row, BenchError> {
    let dir = tempfile::tempdir().map_err(|e| format!("make a folder: {e}"))?;
    let playbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks");
    let policy = include_str!("../../bench/policy.yaml");
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let plan = Plan { binaries, dir: dir.path(), address, policy, playbooks: &playbooks };
    let mut server = Server::start(&plan).map_err(|e| format!("start the server: {e}"))?;
    let empty_mb = pss_mb(&server)?;
    server.kill();
    let database = server.database();
    let (opened, bytes) = fill(&database)?;
    server.local(&["rebuild-projections"], "").map_err(|e| format!("rebuild the projections: {e}"))?;
    let began = std::time::Instant::now();
    server.boot(&[]).map_err(|e| format!("start the server again: {e}"))?;
    let took_s = began.elapsed().as_secs_f64();
    let full_mb = pss_mb(&server)?;
    let each_kb = (full_mb - empty_mb) * 1000.0 / opened as f64;
    println!(
        "server: {empty_mb:.1} MB without incidents, {full_mb:.1} MB with {opened} open ones ({each_kb:.2} kB each, \
         {EVIDENCE_BYTES} bytes of evidence in each); ready again after {took_s:.1} s"
    );
    let journal_kb = bytes as f64 / 1000.0 / opened as f64;
    let work = format!("memory of an open incident, of {opened}");
    Ok(Row::of(&work, (each_kb, journal_kb), "its entries in the journal", "kB", GOAL_RATIO))
}

fn pss_mb(server: &Server) -> Result<f64, BenchError> {
    let pid = server.pid().ok_or("find the server's process")?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .map_err(|e| format!("read the server's memory: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("find the server's memory")?;
    let kb: f64 = line.trim().trim_end_matches(" kB").parse().map_err(|e| format!("read {line:?}: {e}"))?;
    Ok(kb / 1000.0)
}

/// What the journal is given, and the state that decides on it.
struct Filling {
    log: SqliteLog,
    state: State,
    bodies: Vec<Vec<u8>>,
    opened: usize,
    /// Of all entries that were written.
    bytes: usize,
}

/// Lays so many incidents into a journal; returns how many were opened, and the bytes of all entries.
fn fill(database: &Path) -> Result<(usize, usize), BenchError> {
    let log = SqliteLog::open(database, LEDGER_STREAM).map_err(|e| format!("open the journal: {e}"))?;
    let state = fold(&log)?;
    let mut filling = Filling { log, state, bodies: Vec::new(), opened: 0, bytes: 0 };
    let host = |number: usize| HostId::new(format!("bench-{number}")).map_err(|e| e.to_string());
    for number in 0..HOSTS {
        filling.take(&Command::Enrol { host: host(number)?, epoch: Epoch(1) })?;
    }
    for number in 0..INCIDENTS {
        let (host, seq) = (host(number % HOSTS)?, (number / HOSTS) as u64 + 1);
        let item = Item::Signal { signal: Box::new(signal(host.clone(), number)?) };
        filling.take(&Command::Observe { host, epoch: Epoch(1), seq, item })?;
    }
    filling.write()?;
    Ok((filling.opened, filling.bytes))
}

fn fold(log: &SqliteLog) -> Result<State, BenchError> {
    let mut state = State::default();
    for entry in sopwith_journal::entries(log, 0) {
        let entry = entry.map_err(|e| format!("read the journal: {e}"))?;
        let read: Versioned =
            serde_json::from_slice(&entry.body).map_err(|e| format!("read entry {}: {e}", entry.seq))?;
        evolve(&mut state, &Recorded { seq: entry.seq, at: Timestamp(entry.at_ms), event: read.event });
    }
    Ok(state)
}

impl Filling {
    fn take(&mut self, command: &Command) -> Result<(), BenchError> {
        let at = Timestamp(self.state.last_at.0 + 1);
        let events = decide(&self.state, command, at).map_err(|e| format!("open an incident: {e}"))?;
        for event in events {
            let recorded = Recorded { seq: self.state.seq + 1, at, event };
            evolve(&mut self.state, &recorded);
            let body = serde_json::to_vec(&Versioned { v: EVENT_VERSION, event: recorded.event });
            self.bodies.push(body.map_err(|e| e.to_string())?);
        }
        // Of those before it only the number of the last is needed to decide on the next, and looking through all
        // of them each time is not what is measured.
        if let Some((id, incident)) = self.state.incidents.pop_last() {
            self.state.incidents.clear();
            self.state.open.clear();
            self.opened = usize::try_from(id.0).unwrap_or(usize::MAX);
            self.state.incidents.insert(id, incident);
        }
        if self.bodies.len() >= BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), BenchError> {
        let bodies = std::mem::take(&mut self.bodies);
        self.bytes += bodies.iter().map(Vec::len).sum::<usize>();
        let written = self.log.append(self.state.last_at.0, &bodies);
        written.map(drop).map_err(|e| format!("write the journal: {e}"))
    }
}

fn signal(host: HostId, number: usize) -> Result<Signal, BenchError> {
    let unit = UnitName::new(format!("bench-{number}.service")).map_err(|e| e.to_string())?;
    let evidence = Evidence { title: "its last lines".into(), text: "x".repeat(EVIDENCE_BYTES) };
    let usual = library::signal(0)?;
    Ok(Signal { host, subject: Subject::Unit(unit), evidence: vec![evidence], ..usual })
}
