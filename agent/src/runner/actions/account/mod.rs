//! `account.lock`, `account.unlock`, `account.expiry`: one line of shadow, and of passwd where that is meant, becomes
//! another, under the lock that Debian's own tools take. What an account was is in quarantine, never in the journal,
//! which goes to the server.
//!
//! Undo puts back the account's own lines; what others have changed of other accounts since stays. Where nobody has
//! changed anything, the files are as they were, byte for byte and to the nanosecond.

mod administrators;
mod lines;
mod tables;

pub use lines::{Change, line, locked, refused};
pub use tables::{Table, Tables};

use super::act::{Act, At};
use super::quarantine::Quarantine;
use crate::runner::clock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sopwith_domain::run::{Effect, StepContext};
use sopwith_domain::value::Word;
use std::io::{Read, Write};
use tables::Whole;

const KEPT: &str = "account";
/// Longest description of an account, in bytes.
const KEPT_BYTES_MAX: u64 = 256 * 1024;
const DAY_MS: i64 = sopwith_domain::time::DAY_MS;

/// An account that is to be changed.
#[derive(Debug)]
pub struct Account<'a> {
    pub name: &'a Word,
    pub change: Change,
}

/// What the journal knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// Whether it was so already.
    already: bool,
}

/// What quarantine knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Kept {
    passwd: Row,
    shadow: Row,
}

/// One line, before and after, and the file that it stands in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Row {
    before: String,
    after: String,
    whole_sha256: String,
    meta: super::meta::Meta,
}

/// Returns the day that it is, counted from 1970.
pub fn today() -> i64 {
    clock::wall().0.div_euclid(DAY_MS)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Account<'_> {
    fn plan(&self, tables: &Tables) -> Result<Kept, String> {
        let name = self.name.as_str();
        let row = |read: &Whole, after: &dyn Fn(&str) -> Result<String, String>| {
            let before = lines::line(&read.bytes, name)?;
            let after = after(&before).map_err(|e| format!("failed to change the account {name}: {e}"))?;
            Ok::<_, String>(Row { before, after, whole_sha256: digest(&read.bytes), meta: read.meta.clone() })
        };
        let (passwd, shadow) = (tables.read(Table::Passwd)?, tables.read(Table::Shadow)?);
        if let Change::Lock { .. } = self.change {
            administrators::spare_the_last(tables, name, &passwd.bytes, &shadow.bytes, today())?;
        }
        Ok(Kept {
            passwd: row(&passwd, &|line| lines::passwd(line, self.change))?,
            shadow: row(&shadow, &|line| lines::shadow(line, self.change, today()))?,
        })
    }

    fn says(&self) -> &'static str {
        match self.change {
            Change::Lock { close_shell: false } => "locked and expired",
            Change::Lock { close_shell: true } => "locked, expired and without a shell",
            Change::Unlock => "unlocked",
            Change::Last { .. } => "given more time",
        }
    }
}

impl Kept {
    fn changes(&self) -> bool {
        [&self.passwd, &self.shadow].iter().any(|row| row.before != row.after)
    }

    fn write(&self, quarantine: &Quarantine, step: StepContext<'_>) -> Result<(), String> {
        quarantine.fresh(step)?;
        let place = quarantine.place(step, KEPT)?;
        let text = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        let mut file = place.create()?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| place.failed("write", e))?;
        place.sync_folder()
    }

    fn read(quarantine: &Quarantine, step: StepContext<'_>) -> Result<Self, String> {
        let place = quarantine.place(step, KEPT)?;
        let file = place.open(false)?.ok_or_else(|| place.failed("find", "it is gone from quarantine"))?;
        let mut text = Vec::new();
        file.take(KEPT_BYTES_MAX).read_to_end(&mut text).map_err(|e| place.failed("read", e))?;
        serde_json::from_slice(&text).map_err(|e| place.failed("understand", e))
    }

    fn rows(&self) -> [(Table, &Row); 2] {
        [(Table::Passwd, &self.passwd), (Table::Shadow, &self.shadow)]
    }
}

fn perform(tables: &Tables, step: StepContext<'_>, name: &str, kept: &Kept) -> Result<(), String> {
    let _locked = tables.lock()?;
    for (table, row) in kept.rows() {
        let read = tables.read(table)?;
        let now = lines::line(&read.bytes, name)?;
        if now == row.after {
            continue;
        }
        if now != row.before {
            return Err(read.place.failed("change", "somebody changed the account a moment ago"));
        }
        read.replace(step, &lines::with_line(&read.bytes, name, &row.after)?, None)?;
    }
    Ok(())
}

fn undo(tables: &Tables, step: StepContext<'_>, name: &str, kept: &Kept) -> Result<(), String> {
    let _locked = tables.lock()?;
    let mut left = Vec::new();
    for (table, row) in kept.rows().into_iter().rev() {
        let read = tables.read(table)?;
        super::quarantine::beside(step, &read.place)?.remove()?;
        let now = lines::line(&read.bytes, name).unwrap_or_default();
        if now == row.before {
            continue;
        }
        if now != row.after {
            left.push(format!(
                "somebody changed {name} in {} since; that was left alone",
                read.place.shown()
            ));
            continue;
        }
        let bytes = lines::with_line(&read.bytes, name, &row.before)?;
        let as_it_was = digest(&bytes) == row.whole_sha256;
        read.replace(step, &bytes, as_it_was.then_some(&row.meta))?;
    }
    if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
}

impl Act for Account<'_> {
    type Prior = Prior;

    fn foresee(&self, at: &mut At<'_>) -> Result<String, String> {
        let kept = self.plan(&at.bench.tables)?;
        let (name, says) = (self.name, self.says());
        Ok(if kept.changes() { format!("{name} would be {says}") } else { format!("nothing: {name} is so") })
    }

    fn capture(&self, at: &mut At<'_>) -> Result<Prior, String> {
        let kept = self.plan(&at.bench.tables)?;
        kept.write(&at.bench.quarantine, at.step)?;
        Ok(Prior { already: !kept.changes() })
    }

    fn perform(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        if prior.already {
            return Ok(format!("{} was {} already", self.name, self.says()));
        }
        let kept = Kept::read(&at.bench.quarantine, at.step)?;
        perform(&at.bench.tables, at.step, self.name.as_str(), &kept)?;
        Ok(format!("{} is {}", self.name, self.says()))
    }

    fn probe(&self, at: &mut At<'_>, prior: &Prior) -> Result<Effect, String> {
        if prior.already {
            return Ok(Effect::None { detail: "it was so already".into() });
        }
        let kept = Kept::read(&at.bench.quarantine, at.step)?;
        let (mut before, mut after) = (true, true);
        for (table, row) in kept.rows() {
            let now = lines::line(&at.bench.tables.read(table)?.bytes, self.name.as_str())?;
            before &= now == row.before;
            after &= now == row.after;
        }
        Ok(match (before, after) {
            (true, _) => Effect::None { detail: format!("{} is as it was", self.name) },
            (_, true) => Effect::Took { detail: format!("{} is {}", self.name, self.says()) },
            _ => {
                Effect::Unknown { detail: format!("{} is neither as it was nor {}", self.name, self.says()) }
            }
        })
    }

    fn undo(&self, at: &mut At<'_>, prior: &Prior) -> Result<String, String> {
        if !prior.already {
            let kept = Kept::read(&at.bench.quarantine, at.step)?;
            undo(&at.bench.tables, at.step, self.name.as_str(), &kept)?;
        }
        Ok(format!("{} is as it was", self.name))
    }
}

#[cfg(test)]
mod tests;
