//! Rows of hosts' inspection reports: the newest of each day, and of each host the newest days.

use rusqlite::{Connection, OptionalExtension, params};
use sopwith_domain::event::Event;
use sopwith_domain::ids::HostId;
use sopwith_domain::inspection::{Day, Inspection};

/// Days that are kept of one host; the journal keeps all.
pub const DAYS_MAX: usize = 400;

/// Reports that a batch of events brought.
#[derive(Debug, Default)]
pub(super) struct Reported(Vec<(HostId, Inspection)>);

impl Reported {
    pub(super) fn add(&mut self, event: &Event) {
        if let Event::InspectionReported { host, report } = event {
            self.0.push((host.clone(), (**report).clone()));
        }
    }

    /// Writes them in the order in which they came.
    pub(super) fn write(&self, to: &Connection) -> Result<(), rusqlite::Error> {
        for (host, report) in &self.0 {
            let body = serde_json::to_string(report).expect("a report has string keys and no floats");
            to.prepare_cached("INSERT OR REPLACE INTO inspections VALUES (?1, ?2, ?3)")?.execute(params![
                host.as_str(),
                report.day.as_str(),
                body
            ])?;
            to.prepare_cached(
                "DELETE FROM inspections WHERE host = ?1 AND day NOT IN
                 (SELECT day FROM inspections WHERE host = ?1 ORDER BY day DESC LIMIT ?2)",
            )?
            .execute(params![host.as_str(), i64::try_from(DAYS_MAX).unwrap_or(i64::MAX)])?;
        }
        Ok(())
    }
}

/// Returns a host's report of a day, or its newest, and the days of which there is one, newest first.
///
/// # Errors
/// Returns the database's error.
pub fn read(
    db: &Connection,
    host: &HostId,
    day: Option<&Day>,
) -> Result<(Option<Inspection>, Vec<String>), rusqlite::Error> {
    let days = db
        .prepare_cached("SELECT day FROM inspections WHERE host = ?1 ORDER BY day DESC")?
        .query_map([host.as_str()], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    let Some(wanted) = day.map(Day::as_str).or(days.first().map(String::as_str)) else {
        return Ok((None, days));
    };
    let body: Option<String> = db
        .prepare_cached("SELECT body FROM inspections WHERE host = ?1 AND day = ?2")?
        .query_row([host.as_str(), wanted], |row| row.get(0))
        .optional()?;
    // What this program wrote itself it can read; a row that was tampered with is as good as none.
    let report = body.and_then(|body| serde_json::from_str(&body).ok());
    Ok((report, days))
}
