//! The journal of decisions as people can check it themselves: an export is recomputed here, entry by entry, and its
//! head is remembered, so that a history which was rewritten since the last look is noticed.

mod export;
mod heads;

use crate::client::Client;
use crate::failure::Failure;
use crate::session::Session;
use crate::ui::{Tone, Ui};
use clap::{Args, Subcommand};
use export::Entries;
use heads::Heads;
use serde_json::json;
use sopwith_journal::{ChainError, Digest, Head, verify};
use sopwith_protocol::api::LEDGER_STREAM;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum Audit {
    /// Recomputes the whole chain and compares it with what was seen before.
    Verify(Verify),
    /// Writes the journal as JSON Lines.
    Export(Export),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Without --file the journal is fetched from the server. The head of a sound
journal is remembered; a later one that does not contain it was rewritten or
cut, and the exit code is 1.

Examples:
  sopwith audit verify
  sopwith audit verify --file journal.jsonl --head 120:HASH")]
pub struct Verify {
    /// Verifies an export, without a server.
    #[arg(long, value_name = "EXPORT")]
    file: Option<PathBuf>,
    /// An entry that the journal must contain, noted by you: its number and hash.
    #[arg(long, value_name = "SEQ:HASH", value_parser = heads::parse)]
    head: Option<Head>,
}

#[derive(Args, Debug)]
pub struct Export {
    /// Where to write it; standard output otherwise.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub async fn run(args: Audit, ui: &Ui) -> Result<(), Failure> {
    match args {
        Audit::Export(args) => save(args, &Client::from_session()?, ui).await,
        Audit::Verify(args) => match args.file {
            Some(ref path) => {
                let file = File::open(path)
                    .map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
                check(file, Source::File, args.head, ui)
            }
            None => {
                let session = Session::load()?;
                let client = Client::new(&session.url, Some(session.token), &session.trust)?;
                let mut file = tempfile::tempfile()
                    .map_err(|e| Failure::failed(format!("cannot make a temporary file: {e}")))?;
                export::fetch(&client, &mut file).await?;
                export::rewind(&mut file)?;
                check(file, Source::Server(session.url), args.head, ui)
            }
        },
    }
}

async fn save(args: Export, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let Some(path) = args.out else {
        export::fetch(client, &mut std::io::stdout().lock()).await?;
        return Ok(());
    };
    let failed = |e: std::io::Error| Failure::failed(format!("cannot write {}: {e}", path.display()));
    let mut file = File::create_new(&path).map_err(failed)?;
    let bytes = export::fetch(client, &mut file).await?;
    file.flush().and_then(|()| file.sync_all()).map_err(failed)?;
    ui.show(&json!({"file": path, "bytes": bytes}), || {
        format!("{bytes} bytes in {0}\nCheck it: sopwith audit verify --file {0}", path.display())
    })
}

/// Where a chain came from, which decides what it is compared with.
enum Source {
    File,
    Server(String),
}

fn check(file: File, source: Source, given: Option<Head>, ui: &Ui) -> Result<(), Failure> {
    let mut heads = Heads::load()?;
    let mut entries = Entries::new(BufReader::new(file));
    let mut first: Option<Digest> = None;
    let remembered = |first: Option<Digest>, heads: &Heads| match &source {
        Source::Server(url) => heads.of_server(url),
        Source::File => first.and_then(|first| heads.of_chain(first)),
    };
    // An export knows no server; the chain that it is of is told by its first entry.
    let Some(opening) = entries.next() else {
        return finish_empty(entries, remembered(None, &heads).or(given));
    };
    first = first.or(Some(opening.hash));
    let known = remembered(first, &heads);
    let mut expected_seen = Witness::new([known, given]);
    let all = std::iter::once(opening).chain(entries.by_ref()).inspect(|entry| expected_seen.look(entry));
    let verified = verify(LEDGER_STREAM, all, None);
    entries.finish()?;
    let head = verified.map_err(|error| broken(&error))?;
    expected_seen.judge(head, matches!(source, Source::File).then_some(known).flatten())?;
    heads.remember(&source_url(&source), first, head)?;
    report(head, known, ui)
}

fn source_url(source: &Source) -> Option<String> {
    match source {
        Source::Server(url) => Some(url.clone()),
        Source::File => None,
    }
}

fn finish_empty(entries: Entries<BufReader<File>>, expected: Option<Head>) -> Result<(), Failure> {
    entries.finish()?;
    match expected {
        Some(head) => Err(broken(&ChainError::Truncated { last: 0, expected: head.seq })),
        None => Err(Failure::failed("the journal is empty: there is nothing to verify")),
    }
}

/// Heads that the chain must contain, compared while it passes by.
struct Witness {
    expected: Vec<Head>,
    other: Option<u64>,
}

impl Witness {
    fn new(expected: [Option<Head>; 2]) -> Self {
        Self { expected: expected.into_iter().flatten().collect(), other: None }
    }

    fn look(&mut self, entry: &sopwith_journal::Entry) {
        if self.expected.iter().any(|head| head.seq == entry.seq && head.hash != entry.hash) {
            self.other.get_or_insert(entry.seq);
        }
    }

    /// An old export ends before what is remembered of its chain; that is no cut.
    fn judge(&self, end: Head, may_lie_beyond: Option<Head>) -> Result<(), Failure> {
        if let Some(seq) = self.other {
            return Err(broken(&ChainError::Rewritten { seq }));
        }
        let beyond = self.expected.iter().find(|h| h.seq > end.seq && Some(**h) != may_lie_beyond);
        match beyond {
            Some(head) => Err(broken(&ChainError::Truncated { last: end.seq, expected: head.seq })),
            None => Ok(()),
        }
    }
}

fn broken(error: &ChainError) -> Failure {
    Failure::failed(format!("the journal does not hold: {error}")).help(
        "keep this export and the server's data as they are, stop automation with `sopwith stop`, \
         and compare with your backups",
    )
}

fn report(head: Head, known: Option<Head>, ui: &Ui) -> Result<(), Failure> {
    let raw = json!({
        "holds": true, "entries": head.seq, "head": head.hash.to_string(),
        "known": known.map(|k| json!({"seq": k.seq, "hash": k.hash.to_string()})),
    });
    ui.show(&raw, || {
        let compared = match known {
            Some(known) if known.seq > head.seq => {
                format!("It ends before entry {}, which was seen later.", known.seq)
            }
            Some(known) => format!("It contains entry {} as it was seen before.", known.seq),
            None => "It was not seen before; from now on a rewrite would be noticed.".into(),
        };
        let good = ui.paint(Tone::Good, "✓ The journal holds:");
        format!(
            "{good} {} entries, each follows the one before.\n{compared}\n  head {}:{}",
            head.seq, head.seq, head.hash
        )
    })
}
