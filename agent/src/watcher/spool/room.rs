//! Makes room in a full spool: the lowest severity goes first, the oldest of it first, and what goes is counted by a
//! gap in its place. A gap is never dropped, and neighbouring gaps become one.

use super::{Depth, Limits, RANK_KEPT, SpoolError};
use rusqlite::{OptionalExtension, Transaction, params};
use sopwith_domain::command::Item;

/// Part of the limit that is freed at once, so that a full spool is not searched at every item.
const FREED_AT_ONCE: u64 = 100;

/// Drops items until the spool is within its limits.
pub(super) fn make(
    transaction: &Transaction<'_>,
    limits: &Limits,
    depth: &mut Depth,
) -> Result<(), SpoolError> {
    while depth.items > limits.items_max || depth.bytes > limits.bytes_max {
        let count = depth.items.saturating_sub(limits.items_max) + limits.items_max / FREED_AT_ONCE + 1;
        let mut query = transaction.prepare_cached(
            "SELECT seq FROM item WHERE gap_from IS NULL AND rank < ?1 ORDER BY rank, seq LIMIT ?2",
        )?;
        let victims: Vec<u64> =
            query.query_map(params![RANK_KEPT, count], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if victims.is_empty() {
            return Ok(());
        }
        for seq in victims {
            drop_item(transaction, seq, depth)?;
            if depth.items <= limits.items_max
                && depth.bytes <= limits.bytes_max - limits.bytes_max / FREED_AT_ONCE
            {
                break;
            }
        }
    }
    Ok(())
}

/// A gap as it lies in the table: its own number is its end.
struct Gap {
    from: u64,
    end: u64,
    lost: u64,
    bytes: u64,
}

fn drop_item(transaction: &Transaction<'_>, seq: u64, depth: &mut Depth) -> Result<(), SpoolError> {
    let own: u64 = transaction
        .prepare_cached("SELECT bytes FROM item WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    let before =
        neighbour(transaction, "SELECT gap_from, seq, lost, bytes FROM item WHERE seq = ?1", seq - 1)?;
    let after = neighbour(
        transaction,
        "SELECT gap_from, seq, lost, bytes FROM item WHERE seq >= ?1 ORDER BY seq LIMIT 1",
        seq + 1,
    )?
    .filter(|gap| gap.from == seq + 1);
    let mut gap = Gap { from: seq, end: seq, lost: 1, bytes: own };
    let mut gone = 1;
    for other in [before, after].into_iter().flatten() {
        gap.from = gap.from.min(other.from);
        gap.end = gap.end.max(other.end);
        gap.lost += other.lost;
        gap.bytes += other.bytes;
        gone += 1;
        transaction.prepare_cached("DELETE FROM item WHERE seq = ?1")?.execute([other.end])?;
    }
    transaction.prepare_cached("DELETE FROM item WHERE seq = ?1")?.execute([seq])?;
    let reason = format!("the spool was full: {} items of the lowest severity were dropped", gap.lost);
    let written = insert_gap(transaction, gap.from, gap.end, gap.lost, &reason)?;
    depth.items = depth.items + 1 - gone;
    depth.bytes = depth.bytes + written - gap.bytes;
    depth.dropped += 1;
    Ok(())
}

fn neighbour(transaction: &Transaction<'_>, query: &str, seq: u64) -> Result<Option<Gap>, SpoolError> {
    let found = transaction.prepare_cached(query)?.query_row([seq], |row| {
        let from: Option<u64> = row.get(0)?;
        let (end, lost, bytes) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(from.map(|from| Gap { from, end, lost, bytes }))
    });
    Ok(found.optional()?.flatten())
}

/// Writes a gap and returns its size.
pub(super) fn insert_gap(
    transaction: &Transaction<'_>,
    from: u64,
    end: u64,
    lost: u64,
    reason: &str,
) -> Result<u64, SpoolError> {
    let item = Item::Gap { from_seq: from, reason: reason.into() };
    let body = serde_json::to_string(&item).expect("an item has string keys and no floats");
    transaction
        .prepare_cached(
            "INSERT INTO item (seq, rank, gap_from, lost, bytes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![end, RANK_KEPT, from, lost, body.len(), body])?;
    Ok(body.len() as u64)
}
