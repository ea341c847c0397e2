//! The simulated server: the ledger's shell around `decide`, `evolve`, `due` and `owed`. It answers only what is
//! durable, and a write that fails is the end of the process; starting again folds the journal.

use super::catalogue::{Base, HOSTS_MAX, host};
use super::clock::{LedgerClock, WALL_START};
use super::coverage::Kind;
use super::oracle::Oracle;
use super::shared::{Shared, note};
use super::wire::{BeginEpoch, Lease, Request, Response};
use sopwith_domain::command::{Command, Refusal};
use sopwith_domain::decide;
use sopwith_domain::event::{EVENT_VERSION, Event, Recorded, Versioned};
use sopwith_domain::evolve::evolve;
use sopwith_domain::incident::Phase;
use sopwith_domain::mutant::{self, Mutant};
use sopwith_domain::run::{End, What};
use sopwith_domain::state::State;
use sopwith_domain::time::Timestamp;
use sopwith_journal::{Entry, Fault, FaultPlan, Head, Log, MemoryDisk, MemoryLog};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most rounds of due commands at one time. Each makes itself no longer due, so this is never reached.
const DUE_ROUNDS_MAX: usize = 64;

/// A host that was not heard of for so long is silent.
const SILENT_MS: i64 = 60_000;
/// How much later than that it may be told: the world looks only now and then.
const SILENT_LATE_MS: i64 = 40_000;

/// The process has ended; what it was about to answer is never said.
#[derive(Debug)]
pub struct Down;

#[derive(Debug)]
pub struct Server {
    pub disk: MemoryDisk,
    log: Option<MemoryLog>,
    pub state: State,
    clock: LedgerClock,
    pub wall_offset: i64,
    /// What the bodies on the disk stand for, with true times.
    shelf: Vec<(Rc<Recorded<Event>>, i64)>,
    base: usize,
    /// Whether bodies carry the events' JSON, as in the real journal, or only numbers on the shelf.
    json: bool,
    pub poke: bool,
    /// Rows of the same database beside the journal: where each host's run journal stood, by epoch.
    pub heads: BTreeMap<usize, (u64, Head)>,
    /// When this process last heard of each host, or when it started, by its own time and by true time.
    heard: Vec<(Timestamp, i64)>,
}

impl Server {
    pub fn new(base: &Base, json: bool, shared: &mut Shared) -> Self {
        let shelf: Vec<_> = base.events.iter().map(|event| (Rc::clone(event), 0)).collect();
        let disk = MemoryDisk::new("ledger");
        let mut log = disk.reopen();
        let bodies: Vec<Vec<u8>> =
            shelf.iter().enumerate().map(|(n, (event, _))| encode(json, n, &event.event)).collect();
        log.append(WALL_START, &bodies).expect("the disk is new");
        for (event, _) in &shelf {
            shared.oracle.durable(0, event.seq, true, &event.event);
        }
        Self {
            disk,
            log: Some(log),
            state: base.state.clone(),
            clock: LedgerClock::starting(Timestamp(WALL_START), 0),
            wall_offset: 0,
            base: shelf.len(),
            shelf,
            json,
            poke: false,
            heads: BTreeMap::new(),
            heard: vec![(Timestamp(WALL_START), 0); HOSTS_MAX],
        }
    }

    pub fn set_plan(&self, plan: FaultPlan) {
        self.disk.set_plan(plan);
    }

    pub fn up(&self) -> bool {
        self.log.is_some()
    }

    pub fn stop_process(&mut self) {
        self.log = None;
    }

    /// Returns the ledger's time.
    pub fn now(&mut self, shared: &Shared) -> Timestamp {
        self.clock.tick(WALL_START + shared.now + self.wall_offset, shared.now)
    }

    /// Starts the process: opens what the disk holds and folds it.
    pub fn start(&mut self, base: &Base, shared: &mut Shared) -> Result<(), Down> {
        let log = self.disk.reopen();
        self.state = base.state.clone();
        let mut last = Timestamp(WALL_START);
        {
            let entries = self.disk.entries();
            // What became durable without the process hearing so is judged now; after a restore, everything is.
            let from = if shared.oracle.history.through == 0 { 0 } else { self.base };
            for entry in &entries[from..] {
                let (recorded, true_at) = self.decode(entry);
                last = last.max(recorded.at);
                if recorded.seq > shared.oracle.history.through {
                    shared.oracle.durable(true_at, recorded.seq, false, &recorded.event);
                }
                if entry.seq > self.base as u64 {
                    evolve(&mut self.state, &recorded);
                }
            }
        }
        let wall = Timestamp(WALL_START + shared.now + self.wall_offset);
        self.clock = LedgerClock::starting(decide::resumes_at(&self.state, last, wall), shared.now);
        self.log = Some(log);
        self.poke = true;
        // A server that was away must not take that for its hosts' silence.
        let now = self.now(shared);
        self.heard.fill((now, shared.now));
        let known: Vec<_> = self.known();
        shared.oracle.judge_restart(&known);
        note!(shared, "server starts with {} events, its time {}", self.state.seq, self.clock_text());
        self.submit(&Command::Start, shared).map(drop)
    }

    fn decode(&self, entry: &Entry) -> (Rc<Recorded<Event>>, i64) {
        let (number, json) = entry.body.split_first_chunk().expect("a body begins with its number");
        let (recorded, true_at) = &self.shelf[u64::from_le_bytes(*number) as usize];
        if json.is_empty() {
            return (Rc::clone(recorded), *true_at);
        }
        let versioned: Versioned = serde_json::from_slice(json).expect("what was written is read");
        let recorded = Recorded { seq: entry.seq, at: Timestamp(entry.at_ms), event: versioned.event };
        (Rc::new(recorded), *true_at)
    }

    fn clock_text(&self) -> String {
        format!("{:?}", self.clock)
    }

    fn known(&self) -> Vec<(usize, u64, u64, u64)> {
        let hosts = self.state.hosts.values().enumerate();
        hosts.map(|(agent, host)| (agent, host.epoch.0, host.items_through, host.records_through)).collect()
    }

    /// Decides a command, makes its events durable, and only then folds them in.
    pub fn submit(&mut self, command: &Command, shared: &mut Shared) -> Result<Result<usize, Refusal>, Down> {
        if self.log.is_none() {
            return Err(Down);
        }
        let now = self.now(shared);
        let events = match decide::decide(&self.state, command, now) {
            Ok(events) => events,
            Err(refusal) => {
                note!(shared, "server refuses: {refusal}");
                return Ok(Err(refusal));
            }
        };
        if events.is_empty() {
            return Ok(Ok(0));
        }
        let first = self.shelf.len();
        let seq = self.state.seq;
        for (n, event) in events.into_iter().enumerate() {
            note!(shared, "server {} {}", seq + n as u64 + 1, name_of(&event));
            self.shelf.push((Rc::new(Recorded { seq: seq + n as u64 + 1, at: now, event }), shared.now));
        }
        let bodies: Vec<Vec<u8>> =
            (first..self.shelf.len()).map(|n| encode(self.json, n, &self.shelf[n].0.event)).collect();
        let Some(log) = &mut self.log else { return Err(Down) };
        if log.append(now.0, &bodies).is_err() {
            self.crashed(shared);
            return Err(Down);
        }
        forgotten_problem(&self.state, &self.shelf[first..], &mut shared.oracle);
        for (n, (recorded, _)) in self.shelf[first..].iter().enumerate() {
            needless_call(&self.state, &recorded.event, &mut shared.oracle);
            shared.oracle.durable(shared.now, recorded.seq, n == 0, &recorded.event);
            evolve(&mut self.state, recorded);
        }
        self.poke = true;
        Ok(Ok(bodies.len()))
    }

    fn crashed(&mut self, shared: &mut Shared) {
        self.log = None;
        if let Some((_, fault)) = self.disk.fired().last() {
            shared.fired(match fault {
                Fault::CrashBefore => Kind::ServerCrashBefore,
                Fault::CrashAfter => Kind::ServerCrashAfter,
                Fault::Torn { .. } => Kind::ServerTorn,
                Fault::FsyncFails { .. } => Kind::ServerFsync,
                Fault::DiskFull => Kind::ServerFull,
            });
        }
    }

    /// Does what time alone brings about.
    pub fn run_due(&mut self, shared: &mut Shared) -> Result<(), Down> {
        for _ in 0..DUE_ROUNDS_MAX {
            let now = self.now(shared);
            let due = decide::due(&self.state, now);
            if due.is_empty() {
                neither_plan_nor_reason(&self.state, &mut shared.oracle);
                return Ok(());
            }
            for command in &due {
                let _ = self.submit(command, shared)?;
            }
        }
        let now = self.now(shared);
        shared.oracle.fail("due", format!("is due for ever: {:?}", decide::due(&self.state, now)));
        Ok(())
    }

    /// Tells of hosts that were not heard of for too long.
    pub fn note_silence(&mut self, agents: usize, shared: &mut Shared) -> Result<(), Down> {
        for agent in 0..agents {
            let now = self.now(shared);
            let (last_seen, true_at) = self.heard[agent];
            let silent = self.state.hosts[&host(agent)].silent_since.is_some();
            if !silent && now.since(last_seen) >= SILENT_MS {
                shared.fired(Kind::Silent);
                let _ = self.submit(&Command::DeclareSilent { host: host(agent), last_seen }, shared)?;
            }
            if shared.now - true_at >= SILENT_MS + SILENT_LATE_MS {
                shared.oracle.judge_silence(agent);
            }
        }
        Ok(())
    }

    /// Answers one exchange, or dies over it.
    pub fn exchange(&mut self, request: &Request, shared: &mut Shared) -> Result<Option<Response>, Down> {
        let host = host(request.agent);
        self.heard[request.agent] = (self.now(shared), shared.now);
        let Some(known) = self.state.hosts.get(&host) else { return Ok(None) };
        if known.epoch != request.epoch {
            let reason = "the host began a new life".to_owned();
            let begin = Command::BeginEpoch { host: host.clone(), epoch: request.epoch, reason };
            if self.submit(&begin, shared)?.is_err() {
                return Ok(Some(self.refuse(request, "this life of the host is over".into(), None, shared)));
            }
        }
        let known = &self.state.hosts[&host];
        if let Some(reason) = decide::rewound(known, request.journal_seq) {
            let known = self.heads.get(&request.agent).map(|(_, head)| *head);
            return Ok(Some(self.refuse(request, reason, known, shared)));
        }
        if self.behind(request) {
            let reason = "the host's run journal stood elsewhere before: its memory was set back".into();
            let known = self.heads.get(&request.agent).map(|(_, head)| *head);
            return Ok(Some(self.refuse(request, reason, known, shared)));
        }
        if self.state.hosts[&host].silent_since.is_some() {
            let _ = self.submit(&Command::HearAgain { host: host.clone() }, shared)?;
        }
        for (n, item) in request.items.iter().enumerate() {
            let seq = request.first_item + n as u64;
            let observe =
                Command::Observe { host: host.clone(), epoch: request.epoch, seq, item: (**item).clone() };
            if self.submit(&observe, shared)?.is_err() {
                break;
            }
        }
        for (n, record) in request.records.iter().enumerate() {
            let seq = request.first_record + n as u64;
            let record = Box::new((**record).clone());
            let report = Command::ReportRun { host: host.clone(), epoch: request.epoch, seq, record };
            if self.submit(&report, shared)?.is_err() {
                break;
            }
        }
        for report in &request.looked {
            let (host, report) = (host.clone(), Box::new(report.clone()));
            let _ = self.submit(&Command::ReportDryRun { host, epoch: request.epoch, report }, shared)?;
        }
        self.run_due(shared)?;
        Ok(Some(self.answer(request, shared)))
    }

    /// Says whether the host's run journal stands behind, or beside, where it stood, and remembers it if not.
    fn behind(&mut self, request: &Request) -> bool {
        let (epoch, head) = (request.epoch.0, request.journal_head);
        if let Some((of, known)) = self.heads.get(&request.agent)
            && *of == epoch
            && (head.seq < known.seq || (head.seq == known.seq && head.hash != known.hash))
        {
            return !mutant::is(Mutant::IgnoreRewind);
        }
        self.heads.insert(request.agent, (epoch, head));
        false
    }

    fn refuse(&self, request: &Request, reason: String, known: Option<Head>, shared: &Shared) -> Response {
        note!(shared, "server tells h-{} to begin a new epoch: {reason}", request.agent);
        Response {
            epoch: request.epoch,
            challenge: request.challenge,
            items_through: 0,
            records_through: 0,
            lease: None,
            orders: Vec::new(),
            cancels: Vec::new(),
            looks: Vec::new(),
            begin_epoch: Some(BeginEpoch { reason, known }),
            asked_at: request.sent_at,
        }
    }

    fn answer(&mut self, request: &Request, shared: &mut Shared) -> Response {
        let server_now = self.now(shared);
        let host = host(request.agent);
        let known = &self.state.hosts[&host];
        shared.oracle.acked(request.agent, request.epoch.0, known.items_through, known.records_through);
        let orders = decide::owed(&self.state, &host);
        let stop = self.state.stop.as_ref().map(|stop| stop.reason.clone());
        Response {
            epoch: request.epoch,
            challenge: request.challenge,
            items_through: known.items_through,
            records_through: known.records_through,
            lease: Some(Lease { server_now, stop }),
            orders: orders.into_iter().filter(|o| !request.holding.contains(&o.plan)).map(Rc::new).collect(),
            cancels: decide::cancels(&self.state, &host),
            looks: decide::asked(&self.state, &host, server_now),
            begin_epoch: None,
            asked_at: request.sent_at,
        }
    }
}

/// A person is not called for want of a word about something that the host has said is over.
fn needless_call(state: &State, event: &Event, oracle: &mut Oracle) {
    if let Event::Escalated { incident, reason } = event
        && let Some(known) = state.incidents.get(incident)
        && known.phase == Phase::Detected
        && known.cleared
    {
        oracle.fail("calm", format!("{incident} is over, and a person is called: {reason}"));
    }
}

/// What a run left half done is part of a problem as soon as a person is called for it.
fn forgotten_problem(state: &State, batch: &[(Rc<Recorded<Event>>, i64)], oracle: &mut Oracle) {
    let events = || batch.iter().map(|(recorded, _)| &recorded.event);
    let parked = |event: &Event| {
        matches!(event, Event::RunReported { record, .. }
            if matches!(record.what, What::Ended { end: End::Parked { .. } }))
    };
    if !events().any(parked) {
        return;
    }
    for event in events() {
        let Event::Escalated { incident, .. } = event else { continue };
        let kept = |event: &Event| {
            matches!(event, Event::ProblemOpened { incident: of, .. } | Event::ProblemRecurred { incident: of, .. }
                if of == incident)
        };
        if !events().any(kept) && !state.problems.values().any(|known| known.incidents.contains(incident)) {
            oracle.fail("problem", format!("{incident} was left half done, and no problem is open"));
        }
    }
}

/// Where nothing is proposed the reason is on record, as soon as all that is due was done.
fn neither_plan_nor_reason(state: &State, oracle: &mut Oracle) {
    let open = state.open.values().filter_map(|id| state.incidents.get(id));
    let left = open.filter(|incident| incident.phase == Phase::Detected && incident.why_not.is_none());
    for incident in left {
        oracle.fail("reason", format!("{} has neither a plan nor a reason", incident.id));
    }
}

/// Returns the body of an event: its number on the shelf and, where wanted, its JSON.
fn encode(json: bool, number: usize, event: &Event) -> Vec<u8> {
    let mut body = (number as u64).to_le_bytes().to_vec();
    if json {
        let versioned = Versioned { v: EVENT_VERSION, event: event.clone() };
        body.extend(serde_json::to_vec(&versioned).expect("events are JSON"));
    }
    body
}

/// Returns an event's name with what tells it from others, for the trace.
fn name_of(event: &Event) -> String {
    let text = match event {
        Event::RunReported { record, .. } => format!("RunReported {} {:?}", record.run.short(), record.what),
        Event::IncidentOpened { incident, signal, .. } => {
            format!("IncidentOpened {incident} {}", signal.kind)
        }
        Event::PlanProposed { incident, plan, .. } => {
            format!("PlanProposed {incident} {} {}", plan.playbook, plan.digest().short())
        }
        Event::SignalFolded { incident, .. } => format!("SignalFolded {incident}"),
        Event::ConditionCleared { incident, .. } => format!("ConditionCleared {incident}"),
        Event::Matched { incident, chosen, .. } => format!("Matched {incident} {chosen:?}"),
        other => format!("{other:?}"),
    };
    text.chars().take(200).collect()
}
