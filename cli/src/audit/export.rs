//! An export: JSON Lines of audit entries, fetched and read back without holding it in memory.

use crate::client::Client;
use crate::failure::Failure;
use sopwith_journal::{BODY_BYTES_MAX, Digest, Entry};
use sopwith_protocol::api::AuditEntry;
use std::fs::File;
use std::io::{BufRead, Read, Seek, Write};

/// Longest line of an export, in bytes: a body in JSON may take six bytes for one.
const LINE_BYTES_MAX: u64 = 6 * BODY_BYTES_MAX as u64 + 4096;

/// Copies the server's journal; returns its length in bytes.
pub async fn fetch(client: &Client, out: &mut dyn Write) -> Result<u64, Failure> {
    let mut response = client.stream("/audit/export").await?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(|e| client.unreachable(&e))? {
        out.write_all(&chunk).map_err(|e| Failure::failed(format!("cannot write the export: {e}")))?;
        bytes += chunk.len() as u64;
    }
    Ok(bytes)
}

pub fn rewind(file: &mut File) -> Result<(), Failure> {
    file.rewind().map_err(|e| Failure::failed(format!("cannot read the export again: {e}")))
}

/// Reads entries until the end or the first line that is none; [`Entries::finish`] says which.
pub struct Entries<R> {
    source: R,
    line: u64,
    fault: Option<Failure>,
}

impl<R: BufRead> Entries<R> {
    pub fn new(source: R) -> Self {
        Self { source, line: 0, fault: None }
    }

    /// # Errors
    /// If reading ended before the export did.
    pub fn finish(self) -> Result<(), Failure> {
        self.fault.map_or(Ok(()), Err)
    }

    fn read(&mut self) -> Result<Option<Entry>, Failure> {
        let mut text = Vec::new();
        self.line += 1;
        let read = self.source.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        let wrong =
            |what: String| Failure::failed(format!("the export cannot be read, line {}: {what}", self.line));
        read.map_err(|e| wrong(e.to_string()))?;
        if text.is_empty() {
            return Ok(None);
        }
        if !text.ends_with(b"\n") && text.len() as u64 == LINE_BYTES_MAX {
            return Err(wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let entry: AuditEntry = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        Ok(Some(Entry {
            seq: entry.seq,
            at_ms: entry.at_ms,
            prev: Digest(entry.prev.0),
            hash: Digest(entry.hash.0),
            body: entry.body.into_bytes(),
        }))
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.fault.is_some() {
            return None;
        }
        match self.read() {
            Ok(entry) => entry,
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }
}
