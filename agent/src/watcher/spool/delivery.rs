//! The spool's side of the exchange: what goes to the server next, what the server has, and what follows where the
//! server or the host itself was set back.

use super::{Row, Spool, SpoolError, UNSURE_SINCE, room, set_number, set_text};
use rusqlite::{OptionalExtension, params};
use sopwith_domain::command::Item;
use sopwith_domain::ids::Epoch;
use sopwith_protocol::exchange::{Batch, JournalHead};

/// Where the server's journal stood when it was last heard from.
pub type ServerHead = JournalHead;

/// What became of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledged {
    /// Items up to there are forgotten.
    Through(u64),
    /// An answer that was overtaken by a later one; nothing follows from it.
    Overtaken,
    /// The server has fewer items than it acknowledged before: it was set back. A gap covers what is gone here.
    SetBack { from: u64, through: u64 },
    /// The server has items that this host does not remember: the spool was set back, and a new life must begin.
    Ahead,
}

impl Spool {
    /// Returns the next items, at most so many and of so many bytes, but at least one. A gap that covers several
    /// numbers begins a batch, so that the numbers of a batch follow one another.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn batch(&self, items_max: usize, bytes_max: usize) -> Result<Batch<Item>, SpoolError> {
        let mut query = self
            .db
            .prepare_cached("SELECT seq, gap_from, body FROM item WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let mut rows = query.query(params![self.acked, items_max])?;
        let mut batch = Batch { first_seq: self.acked + 1, items: Vec::new() };
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let (seq, gap_from, body): (u64, Option<u64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            bytes += body.len();
            let covers_several = gap_from.is_some_and(|from| from < seq);
            if batch.items.is_empty() {
                batch.first_seq = seq;
            } else if bytes > bytes_max || covers_several {
                break;
            }
            let mut item = read(&body)?;
            if let Item::Gap { from_seq, .. } = &mut item {
                *from_seq = (*from_seq).max(self.acked + 1);
            }
            batch.items.push(item);
        }
        Ok(batch)
    }

    /// Takes note of what the server has. `acked_when_asked` is [`Spool::acked`] when the request was made: several
    /// exchanges are under way at once, and only an answer to a later request can show that the server was set back.
    ///
    /// # Errors
    /// As [`Spool::commit`].
    pub fn acknowledge(&mut self, through: u64, acked_when_asked: u64) -> Result<Acknowledged, SpoolError> {
        let (acked, head) = (self.acked, self.head);
        let known = if self.greeted { head } else { self.known_head() };
        if through > known {
            return Ok(Acknowledged::Ahead);
        }
        self.greet()?;
        if through < acked_when_asked && acked_when_asked == acked {
            return self.set_back(through);
        }
        if through <= acked {
            let same = through == acked;
            return Ok(if same { Acknowledged::Through(acked) } else { Acknowledged::Overtaken });
        }
        let transaction = self.begin()?;
        transaction.prepare_cached("DELETE FROM item WHERE seq <= ?1")?.execute([through])?;
        set_number(&transaction, "acked", through)?;
        transaction.commit()?;
        self.acked = through;
        self.measure()?;
        Ok(Acknowledged::Through(through))
    }

    /// The server knows of nothing that is not here: what is put down from now on has numbers of its own.
    fn greet(&mut self) -> Result<(), SpoolError> {
        if self.unsure_since.is_some() {
            let transaction = self.begin()?;
            transaction.execute("DELETE FROM meta WHERE key = ?1", [UNSURE_SINCE])?;
            transaction.commit()?;
            self.unsure_since = None;
        }
        self.greeted = true;
        Ok(())
    }

    fn set_back(&mut self, through: u64) -> Result<Acknowledged, SpoolError> {
        let acked = self.acked;
        let reason = format!(
            "the server was set back: items {} to {acked} had been acknowledged and are forgotten here",
            through + 1
        );
        let transaction = self.begin()?;
        room::insert_gap(&transaction, through + 1, acked, 0, &reason)?;
        set_number(&transaction, "acked", through)?;
        transaction.commit()?;
        self.acked = through;
        self.measure()?;
        Ok(Acknowledged::SetBack { from: through + 1, through: acked })
    }

    /// Begins a new life of the host: what waits is numbered anew from 1.
    ///
    /// # Errors
    /// As [`Spool::commit`].
    pub fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), SpoolError> {
        let transaction = self.begin()?;
        let waiting: Vec<(u64, Option<u64>, String)> = {
            let mut query = transaction.prepare("SELECT seq, gap_from, body FROM item ORDER BY seq")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let mut head = 0;
        for (seq, gap_from, body) in waiting {
            head += 1;
            let mut item = read(&body)?;
            if let Item::Gap { from_seq, .. } = &mut item {
                *from_seq = head;
            }
            // Numbers only become smaller, and in order, so none is taken when its turn comes.
            let row = Row::of(&item, epoch);
            transaction.execute(
                "UPDATE item SET seq = ?2, gap_from = ?3, body = ?4, bytes = ?5, fingerprint = ?6 WHERE seq = ?1",
                params![seq, head, gap_from.map(|_| head), row.body, row.body.len(), row.fingerprint],
            )?;
        }
        set_number(&transaction, "epoch", epoch.0)?;
        set_number(&transaction, "head", head)?;
        set_number(&transaction, "acked", 0)?;
        transaction.execute("DELETE FROM meta WHERE key = ?1", [UNSURE_SINCE])?;
        transaction.commit()?;
        (self.epoch, self.head, self.acked) = (epoch, head, 0);
        // No server has heard of this life, so no number of it is taken.
        (self.greeted, self.unsure_since) = (true, None);
        self.measure()
    }

    /// Returns the server's head as it was last heard.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn server_head(&self) -> Result<Option<ServerHead>, SpoolError> {
        let mut query = self.db.prepare_cached("SELECT value FROM meta WHERE key = 'server_head'")?;
        let text: Option<String> = query.query_row([], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Keeps the server's head.
    ///
    /// # Errors
    /// As [`Spool::commit`].
    pub fn set_server_head(&mut self, head: ServerHead) -> Result<(), SpoolError> {
        if self.server_head()? == Some(head) {
            return Ok(());
        }
        let text = serde_json::to_string(&head).expect("a head has string keys and no floats");
        let transaction = self.begin()?;
        set_text(&transaction, "server_head", &text)?;
        Ok(transaction.commit()?)
    }
}

fn read(body: &str) -> Result<Item, SpoolError> {
    serde_json::from_str(body).map_err(|e| {
        SpoolError::Broken(rusqlite::Error::FromSqlConversionFailure(
            0,
            rusqlite::types::Type::Text,
            Box::new(e),
        ))
    })
}
