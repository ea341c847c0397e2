//! Rows of the policies that were ever in force, each with who signed it and who put it there.

use rusqlite::{Connection, params};
use sopwith_domain::event::Event;
use sopwith_domain::ids::AccountName;
use sopwith_domain::order::SignedText;
use sopwith_domain::policy::Policy;
use sopwith_domain::time::Timestamp;

/// Policies that are shown; the journal keeps all.
pub const SHOWN_MAX: usize = 50;

/// A policy that was put in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub version: u32,
    pub at: Timestamp,
    pub by: String,
    pub signer: String,
    pub text: String,
}

/// Policies that a batch of events brought.
#[derive(Debug, Default)]
pub(super) struct Put(Vec<(Timestamp, SignedText, String, AccountName)>);

impl Put {
    pub(super) fn add(&mut self, at: Timestamp, event: &Event) {
        if let Event::PolicySet { policy, signer, by } = event {
            self.0.push((at, policy.clone(), signer.clone(), by.clone()));
        }
    }

    /// Writes them in the order in which they came.
    pub(super) fn write(&self, to: &Connection) -> Result<(), rusqlite::Error> {
        let mut insert = to.prepare_cached("INSERT OR REPLACE INTO policies VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (at, policy, signer, by) in &self.0 {
            // Whatever stands in the journal was a policy when it was put there.
            let version = Policy::parse(&policy.text).map_or(0, |policy| policy.version);
            insert.execute(params![version, at.0, by.as_str(), signer, policy.text])?;
        }
        Ok(())
    }
}

/// Returns the policies that were put in force last, newest first.
///
/// # Errors
/// Returns the database's error.
pub fn read(db: &Connection) -> Result<Vec<Kept>, rusqlite::Error> {
    let mut select = db.prepare_cached(
        "SELECT version, set_at, set_by, signer, text FROM policies ORDER BY set_at DESC, version DESC LIMIT ?1",
    )?;
    let kept = select.query_map([i64::try_from(SHOWN_MAX).unwrap_or(i64::MAX)], |row| {
        Ok(Kept {
            version: row.get(0)?,
            at: Timestamp(row.get(1)?),
            by: row.get(2)?,
            signer: row.get(3)?,
            text: row.get(4)?,
        })
    })?;
    kept.collect()
}
