//! Taking over what a host sends: bounds, whether its memory is sound, and the commands that follow.

use super::unacceptable;
use crate::app::App;
use crate::ledger::Rows;
use crate::problem::Fault;
use crate::readers::ReadFailed;
use rusqlite::{Connection, OptionalExtension, params};
use sopwith_domain::command::{Command, Item, Refusal};
use sopwith_domain::decide::rewound;
use sopwith_domain::ids::Digest;
use sopwith_protocol::exchange::{
    BATCH_MAX, BeginEpoch, DRY_RUNS_MAX, ExchangeRequest, JournalHead, LIVE_MAX, LIVE_TEXT_BYTES_MAX,
};

/// Largest item that is taken, in bytes of JSON; a larger one is recorded as a gap, so that it does not hold up
/// those behind it.
const ITEM_BYTES_MAX: usize = 512 * 1024;
/// Most facts a host may state, and the longest of them.
const FACTS_MAX: usize = 64;
const FACT_BYTES_MAX: usize = 1024;
const HOLDING_MAX: usize = 1024;
const CHALLENGE_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

/// Checks what the types do not bound.
pub fn check_bounds(request: &ExchangeRequest) -> Result<(), Fault> {
    let long = |what: &str, n: usize, max: usize| {
        Err(Fault::malformed(format!("{n} {what} in one exchange, at most {max}")))
    };
    let (items, records) = (request.items.items.len(), request.records.items.len());
    if items > BATCH_MAX {
        return long("items", items, BATCH_MAX);
    }
    if records > BATCH_MAX {
        return long("run records", records, BATCH_MAX);
    }
    if request.holding.len() > HOLDING_MAX {
        return long("orders held", request.holding.len(), HOLDING_MAX);
    }
    if request.facts.len() > FACTS_MAX {
        return long("facts", request.facts.len(), FACTS_MAX);
    }
    if request.dry_runs.len() > DRY_RUNS_MAX {
        return long("dry runs", request.dry_runs.len(), DRY_RUNS_MAX);
    }
    if request.live.len() > LIVE_MAX {
        return long("pieces of live output", request.live.len(), LIVE_MAX);
    }
    if request.live.iter().any(|piece| piece.text.len() > LIVE_TEXT_BYTES_MAX) {
        let detail = format!("a piece of live output has more than {LIVE_TEXT_BYTES_MAX} bytes");
        return Err(Fault::malformed(detail));
    }
    let fact_long = |(k, v): (&String, &String)| k.len() > FACT_BYTES_MAX || v.len() > FACT_BYTES_MAX;
    if request.facts.iter().any(fact_long) || request.agent_version.len() > FACT_BYTES_MAX {
        return Err(Fault::malformed(format!("a fact has more than {FACT_BYTES_MAX} bytes")));
    }
    let hexadecimal = request.challenge.chars().all(|c| c.is_ascii_hexdigit());
    if !CHALLENGE_BYTES.contains(&request.challenge.len()) || !hexadecimal {
        return Err(Fault::malformed("the challenge is not 16 to 128 hexadecimal digits"));
    }
    if request.items.first_seq == 0 || request.records.first_seq == 0 {
        return Err(Fault::malformed("items and records are counted from 1"));
    }
    let ends = |first: u64, n: usize| first.checked_add(n as u64).is_none_or(|end| end > 1 << 62);
    if ends(request.items.first_seq, items) || ends(request.records.first_seq, records) {
        return Err(Fault::malformed("the numbers of items or records are out of range"));
    }
    Ok(())
}

/// Whether a host's memory is what it was.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is; its journal's head is to be remembered if it moved.
    Sound { remember: bool },
    /// It was set back: to an old disk image or backup.
    SetBack { begin: BeginEpoch },
}

/// What the database remembers of a host.
struct Memory {
    head: Option<JournalHead>,
    lived_before: bool,
    /// Whether this server's own journal still holds the entry that the host was told of.
    history_holds: bool,
}

fn recall(db: &Connection, request: &ExchangeRequest) -> Result<Memory, ReadFailed> {
    let host = request.host.as_str();
    let epoch = request.epoch.0.to_string();
    let head = db
        .prepare_cached("SELECT seq, hash FROM host_heads WHERE host = ?1 AND epoch = ?2")?
        .query_row(params![host, epoch], |row| {
            let seq: i64 = row.get(0)?;
            let hash: [u8; 32] = row.get(1)?;
            Ok(JournalHead { seq: u64::try_from(seq).unwrap_or(0), hash: Digest(hash) })
        })
        .optional()?;
    let lived_before = db
        .prepare_cached("SELECT 1 FROM host_epochs WHERE host = ?1 AND epoch = ?2")?
        .exists(params![host, epoch])?;
    let history_holds = match request.server_head {
        None | Some(JournalHead { seq: 0, .. }) => true,
        Some(told) => {
            let at = i64::try_from(told.seq).unwrap_or(i64::MAX);
            db.prepare_cached("SELECT 1 FROM journal WHERE stream = ?1 AND seq = ?2 AND hash = ?3")?
                .exists(params![crate::ledger::STREAM, at, told.hash.0])?
        }
    };
    Ok(Memory { head, lived_before, history_holds })
}

/// Says whether the host's memory is sound.
pub async fn standing(app: &App, request: &ExchangeRequest) -> Result<Standing, Fault> {
    let asked = ExchangeRequest { items: Default::default(), records: Default::default(), ..request.clone() };
    let memory = app.readers.read(move |db| recall(db, &asked)).await?;
    if !memory.history_holds {
        app.presence.history_lost(&request.host);
        tracing::error!(
            host = %request.host,
            "the host was told of a journal entry that this server no longer has: the server was set back"
        );
    }
    let state = app.ledger.state();
    let Some(known) = state.hosts.get(&request.host) else {
        return Err(crate::ledger::Failed::from(Refusal::UnknownHost(request.host.clone())).into());
    };
    let set_back = |reason: String, known_seq, known_hash| {
        let epoch = request.epoch;
        Ok(Standing::SetBack { begin: BeginEpoch { reason, epoch, known_seq, known_hash } })
    };
    if known.epoch != request.epoch {
        if memory.lived_before {
            let reason = "the host is back in an earlier life of it: its memory was set back".to_owned();
            return set_back(reason, None, None);
        }
        return Ok(Standing::Sound { remember: request.journal_head.is_some() });
    }
    // A watcher whose runner is away cannot tell, and gets no orders taken either.
    let Some(here) = request.journal_head else { return Ok(Standing::Sound { remember: false }) };
    let behind = |head: &JournalHead| here.seq < head.seq || (here.seq == head.seq && here.hash != head.hash);
    if let Some(head) = memory.head.filter(behind) {
        let reason = format!(
            "the host's run journal is at {} and stood at {} before: its memory was set back or rewritten",
            here.seq, head.seq
        );
        return set_back(reason, Some(head.seq), Some(head.hash));
    }
    if let Some(reason) = rewound(known, here.seq) {
        return set_back(reason, Some(known.records_through), None);
    }
    Ok(Standing::Sound { remember: memory.head != Some(here) })
}

/// Takes over run records, then items. Returns whether there were any. A host says again what still holds as soon as
/// a run has ended; taken before the run's end, that would count as said during it and be waited for once more.
pub async fn take(app: &App, request: &ExchangeRequest, remember: bool) -> Result<bool, Fault> {
    let commands = commands(app, request);
    let took = !request.items.items.is_empty() || !request.records.items.is_empty();
    let answered = match (commands.is_empty(), remember) {
        (true, false) => return Ok(took),
        (_, false) => app.ledger.submit(commands).await?,
        (_, true) => match request.journal_head {
            Some(head) => app.ledger.submit_with(commands, remember_head(request, head)).await?,
            None => app.ledger.submit(commands).await?,
        },
    };
    app.metrics.taken(request.items.items.len(), request.records.items.len());
    for refusal in answered.outcomes.into_iter().filter_map(Result::err) {
        match refusal {
            // The answer says up to where there is no hole, which is all that the host needs to know.
            Refusal::Hole { .. } => {}
            Refusal::Invalid(detail) => return Err(unacceptable(detail)),
            other => return Err(crate::ledger::Failed::from(other).into()),
        }
    }
    Ok(took)
}

/// Takes what running steps say, for who looks on.
pub fn listen(app: &App, request: &ExchangeRequest) {
    if request.live.is_empty() {
        return;
    }
    let state = app.ledger.state();
    for run in app.live.take(&state, &request.host, &request.live) {
        let incident = state.runs.get(&run).and_then(|run| run.incident);
        app.ledger.news().spoke(app.ledger.head().seq, incident, run);
    }
}

fn commands(app: &App, request: &ExchangeRequest) -> Vec<Command> {
    let (host, epoch) = (&request.host, request.epoch);
    let mut commands = Vec::new();
    {
        let state = app.ledger.state();
        let known = state.hosts.get(host);
        if known.is_some_and(|known| known.epoch != epoch) {
            let reason = "the host began a new life".to_owned();
            commands.push(Command::BeginEpoch { host: host.clone(), epoch, reason });
        }
        if known.is_some_and(|known| known.silent_since.is_some()) {
            commands.push(Command::HearAgain { host: host.clone() });
        }
    }
    commands.extend((request.records.first_seq..).zip(&request.records.items).map(|(seq, record)| {
        Command::ReportRun { host: host.clone(), epoch, seq, record: Box::new(record.clone()) }
    }));
    commands.extend(
        (request.items.first_seq..).zip(&request.items.items).map(|(seq, item)| Command::Observe {
            host: host.clone(),
            epoch,
            seq,
            item: bounded(seq, item),
        }),
    );
    commands.extend(request.dry_runs.iter().map(|report| Command::ReportDryRun {
        host: host.clone(),
        epoch,
        report: Box::new(report.clone()),
    }));
    commands
}

fn bounded(seq: u64, item: &Item) -> Item {
    let bytes = serde_json::to_vec(item).map_or(usize::MAX, |json| json.len());
    if bytes <= ITEM_BYTES_MAX {
        return item.clone();
    }
    Item::Gap {
        from_seq: seq,
        reason: format!("an item of {bytes} bytes was refused, at most {ITEM_BYTES_MAX} are taken"),
    }
}

fn remember_head(request: &ExchangeRequest, head: JournalHead) -> Rows {
    let (host, epoch) = (request.host.to_string(), request.epoch.0.to_string());
    let JournalHead { seq, hash } = head;
    Box::new(move |tx, _| {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        // An exchange that was overtaken by a later one must not set the memory back.
        tx.execute(
            "INSERT INTO host_heads VALUES (?1, ?2, ?3, ?4) ON CONFLICT (host) DO UPDATE
             SET epoch = excluded.epoch, seq = excluded.seq, hash = excluded.hash
             WHERE host_heads.epoch <> excluded.epoch OR host_heads.seq <= excluded.seq",
            params![host, epoch, seq, hash.0],
        )?;
        Ok(())
    })
}
