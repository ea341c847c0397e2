//! The way from a source to the keeper. What a source says with a cursor is durable together with it when the call
//! returns; a source that is ahead of the disk waits.

use super::mounts::Mounts;
use super::report::{Fault, Report, SourceState};
use super::spool::Spool;
use crate::config::OperatorCommand;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{AbsPath, UnitName, Url, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Most messages between the sources and the keeper.
pub const MESSAGES_MAX: usize = 1024;

/// The spool, shared by the keeper, the uplink and sources that begin.
#[derive(Clone, Debug)]
pub struct SharedSpool(Arc<Mutex<Spool>>);

impl SharedSpool {
    pub fn new(spool: Spool) -> Self {
        Self(Arc::new(Mutex::new(spool)))
    }

    /// Takes the spool for one transaction. A thread that panicked in between left none half done.
    pub fn lock(&self) -> MutexGuard<'_, Spool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has all sources look afresh, at once.
#[derive(Clone, Debug)]
pub struct Afresh(tokio::sync::watch::Sender<u64>);

impl Default for Afresh {
    fn default() -> Self {
        Self(tokio::sync::watch::channel(0).0)
    }
}

impl Afresh {
    /// Asks for it.
    pub fn ask(&self) {
        self.0.send_modify(|count| *count += 1);
    }
    /// Returns what changes whenever it is asked for.
    pub fn asked(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Adds the mounts on which the files lie that a fault depends on.
fn add_mounts(fault: &mut Fault, mounts: &Mounts) {
    let paths: Vec<AbsPath> = fault
        .depends_on
        .iter()
        .filter_map(|on| match on {
            Subject::Path(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    paths.iter().filter_map(|path| mounts.of(path)).for_each(|mount| fault.depends_on(Subject::Mount(mount)));
}

/// Says of a fault whose subject or field `unit` is one of these units that it may be started anew.
fn add_may_restart(fault: &mut Fault, units: &BTreeMap<UnitName, Option<Url>>) {
    let named = fault.fields.iter().find(|(name, _)| name.as_str() == "unit").map(|(_, value)| value);
    let ((Subject::Unit(unit), _) | (_, Some(Value::Unit(unit)))) = (&fault.subject, named) else { return };
    let Some(health) = units.get(unit) else { return };
    fault.field("may_restart", Value::Boolean(true));
    if let Some(url) = health
        && !fault.fields.keys().any(|name| name.as_str() == "health_url")
    {
        fault.field("health_url", Value::Url(url.clone()));
    }
}

/// What a source tells at once.
#[derive(Debug)]
pub struct Message {
    pub source: &'static str,
    pub begin: bool,
    pub reports: Vec<Report>,
    pub cursors: Vec<(String, Option<String>)>,
    pub state: Option<SourceState>,
    /// Told when all of it is durable.
    pub done: Option<oneshot::Sender<()>>,
}

impl Message {
    pub fn of(source: &'static str, reports: Vec<Report>) -> Self {
        Self { source, begin: false, reports, cursors: Vec::new(), state: None, done: None }
    }
}

/// Why nothing can be told any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to report: the agent is stopping")]
pub struct Stopping;

/// A source's end of the way.
#[derive(Clone, Debug)]
pub struct Sink {
    source: &'static str,
    to: mpsc::Sender<Message>,
    spool: SharedSpool,
    turns: Turns,
    /// Where mounts are looked up.
    mounts: Mounts,
    /// What each subject cannot be well without.
    dependencies: Arc<BTreeMap<Subject, Vec<Subject>>>,
    /// Units that may be started anew without asking, and where each says how it is.
    restartable: Arc<BTreeMap<UnitName, Option<Url>>>,
    /// What the administrator named as answers to faults.
    commands: Arc<Vec<OperatorCommand>>,
}

/// Who of each source is at work.
type Turns = Arc<Mutex<BTreeMap<&'static str, Arc<tokio::sync::Mutex<()>>>>>;

impl Sink {
    pub fn new(source: &'static str, to: mpsc::Sender<Message>, spool: SharedSpool) -> Self {
        Self {
            source,
            to,
            spool,
            turns: Turns::default(),
            mounts: Mounts::default(),
            dependencies: Arc::default(),
            restartable: Arc::default(),
            commands: Arc::default(),
        }
    }

    /// Returns the same way for another source.
    pub fn named(&self, source: &'static str) -> Self {
        Self { source, ..self.clone() }
    }

    /// Waits until the one before of this source has ended: what it had read is committed then, and is not read again.
    pub async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(self.source).or_default())
        };
        turn.lock_owned().await
    }

    /// Returns the same way, on which every fault gets to know what its subject depends on.
    pub fn depending(&self, dependencies: BTreeMap<Subject, Vec<Subject>>) -> Self {
        Self { dependencies: Arc::new(dependencies), ..self.clone() }
    }

    /// Returns the same way, on which every fault that names one of these units says that it may be started anew.
    pub fn restarting(&self, units: BTreeMap<UnitName, Option<Url>>) -> Self {
        Self { restartable: Arc::new(units), ..self.clone() }
    }

    /// Returns the same way, on which every fault gets to know the command that is named for it.
    pub fn answered_by(&self, commands: Vec<OperatorCommand>) -> Self {
        Self { commands: Arc::new(commands), ..self.clone() }
    }

    fn add_dependencies(&self, reports: &mut [Report]) {
        for report in reports {
            if let Report::Holds { fault, .. } | Report::Happened { fault, .. } = report {
                let known = self.dependencies.get(&fault.subject).map_or(&[][..], Vec::as_slice);
                known.iter().for_each(|on| fault.depends_on(on.clone()));
                add_mounts(fault, &self.mounts);
                add_may_restart(fault, &self.restartable);
                let answers = |c: &&OperatorCommand| c.answers(fault.kind.as_str(), &fault.subject);
                if let Some(command) = self.commands.iter().find(answers) {
                    fault.field("operator_command", Value::Word((*command.name).clone()));
                }
            }
        }
    }

    async fn send(&self, mut message: Message) -> Result<(), Stopping> {
        self.add_dependencies(&mut message.reports);
        self.to.send(message).await.map_err(|_| Stopping)
    }

    /// Says that the source begins to look at everything.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn begin(&self) -> Result<(), Stopping> {
        let begin = Message { begin: true, ..Message::of(self.source, Vec::new()) };
        self.send(Message { state: Some(SourceState::Starting), ..begin }).await
    }

    /// Says how the source is.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn state(&self, state: SourceState) -> Result<(), Stopping> {
        self.send(Message { state: Some(state), ..Message::of(self.source, Vec::new()) }).await
    }

    /// Says that everything was looked at and the source is well.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn settled(&self) -> Result<(), Stopping> {
        let settled = Message::of(self.source, vec![Report::Settled]);
        self.send(Message { state: Some(SourceState::Well), ..settled }).await
    }

    /// Reports something.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn report(&self, report: Report) -> Result<(), Stopping> {
        self.send(Message::of(self.source, vec![report])).await
    }

    /// Reports several things at once.
    ///
    /// # Errors
    /// The agent is stopping.
    pub async fn report_all(&self, reports: Vec<Report>) -> Result<(), Stopping> {
        match reports.is_empty() {
            true => Ok(()),
            false => self.send(Message::of(self.source, reports)).await,
        }
    }

    /// Reports together with how far the source has read, and returns when both are durable.
    ///
    /// # Errors
    /// The agent is stopping; then it may be that neither is.
    pub async fn commit(
        &self,
        reports: Vec<Report>,
        cursors: Vec<(String, Option<String>)>,
    ) -> Result<(), Stopping> {
        let (done, durable) = oneshot::channel();
        let message = Message { cursors, done: Some(done), ..Message::of(self.source, reports) };
        self.send(message).await?;
        durable.await.map_err(|_| Stopping)
    }

    /// Returns how far the source had read.
    ///
    /// # Errors
    /// Says why the spool cannot be read.
    pub fn cursors(&self) -> Result<BTreeMap<String, String>, String> {
        self.spool.lock().cursors(self.source).map_err(|e| e.to_string())
    }
}
