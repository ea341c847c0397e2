//! What was seen of journals before: by server, and by the first entry of the chain for exports. Kept in
//! `~/.local/state/sopwith/heads.json`.

use crate::failure::Failure;
use crate::session::{state_dir, write_private};
use serde::{Deserialize, Serialize};
use sopwith_journal::{Digest, Head};
use std::collections::BTreeMap;

/// Most chains that are remembered; a person has a handful of servers.
const CHAINS_MAX: usize = 1000;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Heads {
    /// Address of a server → `SEQ:HASH`.
    servers: BTreeMap<String, String>,
    /// Hash of entry 1 → `SEQ:HASH`.
    chains: BTreeMap<String, String>,
}

impl Heads {
    pub fn load() -> Result<Self, Failure> {
        let path = state_dir()?.join("heads.json");
        let damaged = |e: &dyn std::fmt::Display| {
            Failure::failed(format!("what was seen before cannot be read from {}: {e}", path.display()))
                .help("a rewrite could hide behind this; move the file away if you accept that")
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| damaged(&e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(damaged(&e)),
        }
    }

    pub fn of_server(&self, url: &str) -> Option<Head> {
        self.servers.get(url).and_then(|text| parse(text).ok())
    }

    pub fn of_chain(&self, first: Digest) -> Option<Head> {
        self.chains.get(&first.to_string()).and_then(|text| parse(text).ok())
    }

    /// Remembers a head that was verified; an older one of a chain never replaces a newer.
    pub fn remember(
        &mut self,
        url: &Option<String>,
        first: Option<Digest>,
        head: Head,
    ) -> Result<(), Failure> {
        let text = format!("{}:{}", head.seq, head.hash);
        if let Some(url) = url {
            self.servers.insert(url.clone(), text.clone());
        }
        if let Some(first) = first
            && self.of_chain(first).is_none_or(|known| known.seq < head.seq)
        {
            self.chains.insert(first.to_string(), text);
        }
        if self.servers.len() + self.chains.len() > CHAINS_MAX {
            return Err(Failure::failed(format!("more than {CHAINS_MAX} journals are remembered"))
                .help("remove what you do not need from heads.json"));
        }
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Failure::failed(format!("cannot remember the head: {e}")))?;
        write_private(&state_dir()?.join("heads.json"), &bytes)
    }
}

/// Parses `SEQ:HASH`.
pub fn parse(text: &str) -> Result<Head, String> {
    let wrong = || format!("{text:?} is not SEQ:HASH, a number and 64 hexadecimal digits");
    let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Head { seq: seq.parse().map_err(|_| wrong())?, hash: hash.parse().map_err(|_| wrong())? })
}
