//! The watcher half of a simulated agent: raises and clears, the spool with its numbers and cursor in one append,
//! gaps for what the spool could not keep.

use super::catalogue::host;
use super::coverage::Kind;
use super::machine::{Machine, PATHS, UNITS, path_name, unit_name};
use super::shared::{Shared, note};
use super::wire::BATCH_MAX;
use sopwith_domain::command::Item;
use sopwith_domain::declaration::Declarations;
use sopwith_domain::ids::{Epoch, RuleId};
use sopwith_domain::signal::{Condition, Severity, Signal, SignalKind, Subject};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::{Value, Word};
use sopwith_journal::{Log, MemoryDisk, MemoryLog};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// How long a condition may hold before it is raised again, in milliseconds.
const AGAIN_MS: i64 = 60_000;
/// Most items that wait for the server; past it the oldest are given up, and counted.
const SPOOL_MAX: usize = 12;

/// The spool could not be written: the process ends.
#[derive(Debug)]
pub struct SpoolDown;

/// What the spool's bodies stand for.
#[derive(Clone, Debug)]
enum Entry {
    Begin(Epoch),
    /// An item with the watcher's cursor as it is after it.
    Item(Queued, Cursor),
    /// A process begins with the spool at this number, and has not yet heard whether the server knows of more.
    Unknown(u64),
    /// The server knows of nothing that is not here.
    Known,
    /// Items up to here are no longer kept; whether they were given up rather than acknowledged.
    Gone(u64),
}

#[derive(Clone, Debug)]
struct Queued {
    seq: u64,
    item: Rc<Item>,
    origin: Option<u64>,
}

/// What the watcher knows of the conditions; one append with the item that it led to.
#[derive(Clone, Debug, Default)]
struct Cursor {
    raised: [bool; UNITS.len()],
    declared: Rc<Declarations>,
}

#[derive(Debug)]
pub struct Watcher {
    agent: usize,
    pub disk: MemoryDisk,
    log: MemoryLog,
    shelf: Vec<Entry>,
    pub epoch: Epoch,
    cursor: Cursor,
    last_raise: [i64; UNITS.len()],
    items: VecDeque<Queued>,
    next_seq: u64,
    /// Items up to here are not kept any more.
    gone: u64,
    /// Items up to here are durable at the server, as far as this process was told.
    pub acked: u64,
    /// Where the spool stood when it was last certain that nothing of it was lost.
    unknown_since: Option<u64>,
    pub dead: bool,
}

impl Watcher {
    pub fn new(agent: usize, epoch: Epoch) -> Self {
        let disk = MemoryDisk::new("spool");
        let mut watcher = Self {
            agent,
            log: disk.reopen(),
            disk,
            shelf: Vec::new(),
            epoch,
            cursor: Cursor::default(),
            last_raise: [0; UNITS.len()],
            items: VecDeque::new(),
            next_seq: 1,
            gone: 0,
            acked: 0,
            unknown_since: None,
            dead: false,
        };
        watcher.append(0, vec![Entry::Begin(epoch)]).expect("the disk is new");
        watcher
    }

    /// Opens what the disk holds.
    pub fn start(&mut self) {
        self.log = self.disk.reopen();
        (self.dead, self.acked) = (false, 0);
        (self.cursor, self.next_seq, self.gone, self.unknown_since) = (Cursor::default(), 1, 0, None);
        self.last_raise = [i64::MIN / 2; UNITS.len()];
        self.items.clear();
        let numbers: Vec<usize> = self
            .disk
            .entries()
            .iter()
            .map(|e| u64::from_le_bytes(e.body.as_slice().try_into().expect("bodies are numbers")) as usize)
            .collect();
        for number in numbers {
            self.fold(self.shelf[number].clone());
        }
    }

    fn fold(&mut self, entry: Entry) {
        match entry {
            Entry::Begin(epoch) => {
                self.epoch = epoch;
                self.items.clear();
                (self.next_seq, self.gone, self.unknown_since) = (1, 0, None);
            }
            Entry::Item(queued, cursor) => {
                self.next_seq = queued.seq + 1;
                self.items.push_back(queued);
                self.cursor = cursor;
            }
            Entry::Unknown(head) => self.unknown_since = Some(self.unknown_since.unwrap_or(head)),
            Entry::Known => self.unknown_since = None,
            Entry::Gone(through) => {
                self.gone = self.gone.max(through);
                self.items.retain(|queued| queued.seq > through);
            }
        }
    }

    /// Returns the highest number that the server can know if this spool was not set back.
    pub fn known_head(&self) -> u64 {
        self.unknown_since.unwrap_or(self.next_seq - 1)
    }

    /// The server has said that it knows of nothing that is not here.
    ///
    /// # Errors
    /// The process has to end.
    pub fn greeted(&mut self, wall: i64) -> Result<(), SpoolDown> {
        if self.unknown_since.is_some() { self.append(wall, vec![Entry::Known]) } else { Ok(()) }
    }

    fn append(&mut self, wall: i64, entries: Vec<Entry>) -> Result<(), SpoolDown> {
        let first = self.shelf.len();
        self.shelf.extend(entries);
        let bodies: Vec<Vec<u8>> =
            (first..self.shelf.len()).map(|n| (n as u64).to_le_bytes().to_vec()).collect();
        if self.log.append(wall, &bodies).is_err() {
            self.dead = true;
            return Err(SpoolDown);
        }
        for number in first..self.shelf.len() {
            self.fold(self.shelf[number].clone());
        }
        Ok(())
    }

    /// Puts one item into the spool, in one append with the cursor, and gives up the oldest where it is full.
    fn put(
        &mut self,
        item: Item,
        cursor: Cursor,
        origin: Option<u64>,
        (greeted, wall): (bool, i64),
        shared: &mut Shared,
    ) -> Result<(), SpoolDown> {
        let seq = self.next_seq;
        let mut entries = Vec::new();
        if !greeted && self.unknown_since.is_none() {
            entries.push(Entry::Unknown(seq - 1));
        }
        if self.acked > self.gone {
            entries.push(Entry::Gone(self.acked));
        }
        let waiting = self.items.iter().filter(|queued| queued.seq > self.acked).count();
        if waiting >= SPOOL_MAX {
            let through = self.items[self.items.len() - waiting + SPOOL_MAX / 2 - 1].seq;
            shared.fired(Kind::SpoolFull);
            entries.push(Entry::Gone(through));
        }
        entries.push(Entry::Item(Queued { seq, item: Rc::new(item), origin }, cursor));
        self.append(wall, entries)?;
        if let Some(origin) = origin {
            shared.oracle.raised(self.agent, origin, self.epoch.0, seq);
        }
        Ok(())
    }

    /// Looks at everything; `again` asks that conditions that hold are raised afresh at once.
    pub fn watch(
        &mut self,
        machine: &Machine,
        again: bool,
        (greeted, wall): (bool, i64),
        shared: &mut Shared,
    ) -> Result<(), SpoolDown> {
        let mut again = again;
        // Whoever asks for a fresh look may have forgotten the declarations as well.
        if again || *self.cursor.declared != machine.declared {
            let declared = Rc::new(machine.declared.clone());
            let cursor = Cursor { declared, ..self.cursor.clone() };
            let item = Item::Declarations { declarations: machine.declared.clone() };
            self.put(item, cursor, None, (greeted, wall), shared)?;
            again = true;
        }
        for (unit, unit_name) in UNITS.iter().enumerate() {
            let down = !machine.active(unit);
            let raised = self.cursor.raised[unit];
            let due = !raised || again || shared.now - self.last_raise[unit] >= AGAIN_MS;
            if (down && due) || (!down && raised) {
                let condition = if down { Condition::Raised } else { Condition::Cleared };
                let mut cursor = self.cursor.clone();
                cursor.raised[unit] = down;
                let signal = self.signal(machine, unit, condition, wall);
                note!(shared, "h-{} {condition:?} {} {}", self.agent, signal.kind, unit_name);
                let origin = down.then_some(self.shelf.len() as u64);
                self.put(Item::Signal { signal: Box::new(signal) }, cursor, origin, (greeted, wall), shared)?;
                self.last_raise[unit] = shared.now;
            }
        }
        Ok(())
    }

    /// Returns what numbers raises get from here on.
    pub fn next_origin(&self) -> u64 {
        self.shelf.len() as u64
    }

    fn signal(&self, machine: &Machine, unit: usize, condition: Condition, wall: i64) -> Signal {
        let kind = SignalKind::new(machine.kind(unit)).expect("a kind");
        let mut fields = BTreeMap::new();
        if unit < PATHS.len() {
            fields.insert(word("path"), Value::Path(path_name(unit)));
        }
        fields.insert(word("level"), Value::Integer(machine.units[unit].level));
        Signal {
            host: host(self.agent),
            epoch: self.epoch,
            rule: RuleId::new(kind.as_str()).expect("a rule"),
            kind,
            subject: Subject::Unit(unit_name(unit)),
            condition,
            severity: Severity::Critical,
            summary: String::new(),
            fields,
            evidence: Vec::new(),
            observed_at: Timestamp(wall),
            cause: None,
            depends_on: Vec::new(),
        }
    }

    /// Returns the items to send: number of the first, and the items, a gap in the place of those that are gone.
    pub fn batch(&self) -> (u64, Vec<Rc<Item>>) {
        let waiting = || self.items.iter().filter(|queued| queued.seq > self.acked);
        let mut items: Vec<Rc<Item>> =
            waiting().take(BATCH_MAX).map(|queued| Rc::clone(&queued.item)).collect();
        if self.gone <= self.acked {
            return (waiting().next().map_or(self.acked + 1, |queued| queued.seq), items);
        }
        let gap = Item::Gap { from_seq: self.acked + 1, reason: "they are no longer kept".into() };
        items.insert(0, Rc::new(gap));
        (self.gone, items)
    }

    /// Returns the number of the last item.
    pub fn head(&self) -> u64 {
        self.next_seq - 1
    }

    pub fn waiting(&self) -> bool {
        self.next_seq - 1 > self.acked
    }

    /// Begins a new life: what the server did not acknowledge is put down again under new numbers.
    pub fn begin_epoch(&mut self, epoch: Epoch, wall: i64, shared: &mut Shared) -> Result<(), SpoolDown> {
        let lost = self.gone.saturating_sub(self.acked);
        let mut entries = vec![Entry::Begin(epoch)];
        if lost > 0 {
            let gap = Item::Gap { from_seq: 1, reason: "they were no longer kept".into() };
            let queued = Queued { seq: lost, item: Rc::new(gap), origin: None };
            entries.push(Entry::Item(queued, self.cursor.clone()));
        }
        let mut raises = Vec::new();
        let waiting = self.items.iter().filter(|queued| queued.seq > self.acked);
        for (seq, queued) in (lost + 1..).zip(waiting) {
            let item = Rc::new(in_epoch(&queued.item, epoch));
            raises.extend(queued.origin.map(|origin| (origin, seq)));
            entries.push(Entry::Item(Queued { seq, item, origin: queued.origin }, self.cursor.clone()));
        }
        let (old, acked) = (self.epoch.0, self.acked);
        self.append(wall, entries)?;
        self.acked = 0;
        shared.oracle.renumber(self.agent, old, acked, lost, epoch.0);
        raises.into_iter().for_each(|(origin, seq)| shared.oracle.raised(self.agent, origin, epoch.0, seq));
        Ok(())
    }
}

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

fn in_epoch(item: &Item, epoch: Epoch) -> Item {
    match item {
        Item::Signal { signal } => Item::Signal { signal: Box::new(Signal { epoch, ..(**signal).clone() }) },
        other => other.clone(),
    }
}
