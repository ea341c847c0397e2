//! The run journal of a simulated runner: what it holds, and one call's way to it. A record is judged by the oracles
//! as soon as it is durable.

use super::oracle::StartContext;
use super::shared::{Shared, note};
use sopwith_domain::ids::Epoch;
use sopwith_domain::mutant::{self, Mutant};
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{LogDown, Record, RunLog, What};
use sopwith_journal::{Head, Log, MemoryLog};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What the run journal's bodies stand for.
#[derive(Clone, Debug)]
pub enum Entry {
    Epoch(Epoch),
    Record(Rc<Record>),
    /// A process that no server has answered begins to write here.
    Unsure(Certain),
    /// A server has answered: nothing of the journal is missing.
    Sure,
}

/// Where the journal stood before a process wrote to it that no server has answered: were it an old image of itself,
/// what that process added would hide that something is missing.
#[derive(Clone, Copy, Debug)]
pub struct Certain {
    pub records: u64,
    pub head: Head,
}

/// The journal with what it holds, apart from the rest because an executor writes it while it looks at the rest.
#[derive(Debug)]
pub struct Journal {
    pub log: MemoryLog,
    pub shelf: Vec<Entry>,
    /// Records of this epoch; the first has number 1.
    pub records: Vec<Rc<Record>>,
    pub dead: bool,
    /// Whether a server has answered this process.
    pub heard: bool,
    /// Kept over every process until a server has answered one.
    pub unsure: Option<Certain>,
}

/// One call's way to the journal.
pub struct Port<'a> {
    pub journal: &'a mut Journal,
    pub shared: &'a RefCell<Shared>,
    pub debt: &'a Cell<i64>,
    pub dying: &'a Cell<bool>,
    pub agent: usize,
    pub context: StartContext,
    pub plan: Option<&'a Plan>,
}

impl RunLog for Port<'_> {
    fn append(&mut self, record: &Record) -> Result<(), LogDown> {
        if self.dying.get() {
            self.journal.dead = true;
            return Err(LogDown("the process died".into()));
        }
        self.journal.append(record.at.0, &[Entry::Record(Rc::new(record.clone()))])?;
        let mut shared = self.shared.borrow_mut();
        let at = shared.now + self.debt.get();
        note!(shared, "h-{} records {} {}", self.agent, record.run.short(), brief(&record.what));
        shared.oracle.recorded(self.agent, at, record, self.plan, &self.context);
        shared.oracle.judged[self.agent] = self.journal.log.head().seq;
        Ok(())
    }
}

fn brief(what: &What) -> String {
    let text = match what {
        What::Accepted { .. } => "Accepted".to_owned(),
        other => format!("{other:?}"),
    };
    text.chars().take(160).collect()
}

impl Journal {
    /// Returns how much of the journal is certain to be no old image's.
    pub fn certain(&self) -> Certain {
        let all = Certain { records: self.records.len() as u64, head: self.log.head() };
        self.unsure.filter(|_| !mutant::is(Mutant::VouchForItself)).unwrap_or(all)
    }

    /// A server has answered and found nothing missing.
    ///
    /// # Errors
    /// The process has to end.
    pub fn hear(&mut self, wall: i64) -> Result<(), LogDown> {
        self.heard = true;
        if self.unsure.is_some() { self.append(wall, &[Entry::Sure]) } else { Ok(()) }
    }

    /// Makes entries durable in one batch.
    ///
    /// # Errors
    /// The process has to end.
    pub fn append(&mut self, wall: i64, entries: &[Entry]) -> Result<(), LogDown> {
        let first = self.shelf.len();
        let adds = matches!(entries, [Entry::Record(_), ..]);
        if adds && !self.heard && self.unsure.is_none() {
            self.shelf.push(Entry::Unsure(self.certain()));
        }
        self.shelf.extend_from_slice(entries);
        let bodies: Vec<Vec<u8>> =
            (first..self.shelf.len()).map(|n| (n as u64).to_le_bytes().to_vec()).collect();
        if let Err(error) = self.log.append(wall, &bodies) {
            self.dead = true;
            return Err(LogDown(error.to_string()));
        }
        for number in first..self.shelf.len() {
            self.fold(number);
        }
        Ok(())
    }

    /// Takes in what an entry says of the journal itself.
    pub fn fold(&mut self, number: usize) {
        match &self.shelf[number] {
            // A new life begins, in which the server knows of nothing yet.
            Entry::Epoch(_) => {
                self.records.clear();
                self.unsure = None;
            }
            Entry::Record(record) => self.records.push(Rc::clone(record)),
            Entry::Unsure(certain) => self.unsure = Some(*certain),
            Entry::Sure => self.unsure = None,
        }
    }
}
