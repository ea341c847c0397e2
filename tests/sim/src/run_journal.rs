//! The run journal of a simulated runner: what it holds, and one call's way to it. A record is judged by the oracles
//! as soon as it is durable.

use super::oracle::StartContext;
use super::shared::{Shared, note};
use sopwith_domain::ids::Epoch;
use sopwith_domain::plan::Plan;
use sopwith_domain::run::{LogDown, Record, RunLog, What};
use sopwith_journal::{Log, MemoryLog};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What the run journal's bodies stand for.
#[derive(Clone, Debug)]
pub enum Entry {
    Epoch(Epoch),
    Record(Rc<Record>),
}

/// The journal with what it holds, apart from the rest because an executor writes it while it looks at the rest.
#[derive(Debug)]
pub struct Journal {
    pub log: MemoryLog,
    pub shelf: Vec<Entry>,
    /// Records of this epoch; the first has number 1.
    pub records: Vec<Rc<Record>>,
    pub dead: bool,
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
    /// Makes entries durable in one batch.
    ///
    /// # Errors
    /// The process has to end.
    pub fn append(&mut self, wall: i64, entries: &[Entry]) -> Result<(), LogDown> {
        let first = self.shelf.len();
        self.shelf.extend_from_slice(entries);
        let bodies: Vec<Vec<u8>> =
            (first..self.shelf.len()).map(|n| (n as u64).to_le_bytes().to_vec()).collect();
        if let Err(error) = self.log.append(wall, &bodies) {
            self.dead = true;
            return Err(LogDown(error.to_string()));
        }
        for entry in entries {
            match entry {
                Entry::Epoch(_) => self.records.clear(),
                Entry::Record(record) => self.records.push(Rc::clone(record)),
            }
        }
        Ok(())
    }
}
