//! The one conversation between agent and server. The agent posts what it has and gets what it is owed; delivery
//! repeats until it is acknowledged, on both sides, and both sides recognise repeats.
//!
//! `POST /agent/v1/exchange`, JSON, over mTLS. `POST /agent/v1/join`, JSON, over TLS with a pinned CA digest and a
//! single-use token.

use serde::{Deserialize, Serialize};
use sopwith_domain::command::Item;
use sopwith_domain::dry_run::Report;
use sopwith_domain::ids::{Digest, Epoch, HostId};
use sopwith_domain::order::SignedText;
use sopwith_domain::run::Record;
use sopwith_domain::time::Timestamp;
use std::collections::BTreeMap;

/// Largest body of one exchange, either way, in bytes.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most spool items, and most run records, in one exchange.
pub const BATCH_MAX: usize = 256;
/// Longest time the server may hold an exchange open for want of news, in milliseconds.
pub const WAIT_MS_MAX: u64 = 25_000;
/// Namespace of the server's signatures over orders and leases.
pub const SERVER_NAMESPACE: &str = "sopwith-server";

/// Consecutive items, the first of which has number `first_seq`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Batch<T> {
    pub first_seq: u64,
    pub items: Vec<T>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { first_seq: 1, items: Vec::new() }
    }
}

/// Where the agent's run journal stands, so that a memory that was set back is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalHead {
    pub seq: u64,
    pub hash: Digest,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRequest {
    pub host: HostId,
    pub epoch: Epoch,
    pub agent_version: String,
    #[serde(default)]
    pub items: Batch<Item>,
    #[serde(default)]
    pub records: Batch<Record>,
    /// Nothing while the runner cannot be asked.
    pub journal_head: Option<JournalHead>,
    /// Head that the server told last, remembered so that a rewritten server history is noticed.
    #[serde(default)]
    pub server_head: Option<JournalHead>,
    /// Random bytes of the runner, in hexadecimal, that the lease must repeat.
    pub challenge: String,
    /// Orders that the runner holds for later (busy with a run on the same resource); not sent again meanwhile.
    #[serde(default)]
    pub holding: Vec<Digest>,
    /// How long the server may wait for news before it answers, in milliseconds.
    #[serde(default)]
    pub wait_ms: u64,
    /// Address of the agent's own /metrics, for service discovery.
    #[serde(default)]
    pub metrics_address: Option<String>,
    /// What the host says of itself for people: system, kernel, whether systemd is there, what the agent cannot do.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// What the host found that plans would change, as the server asked; told again until an exchange went through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dry_runs: Vec<Report>,
    /// What programs of running steps said since; told once, and not at all while the server is away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<LiveOutput>,
}

/// Most pieces of live output in one exchange.
pub const LIVE_MAX: usize = 4;
/// Longest text of such a piece, in bytes.
pub const LIVE_TEXT_BYTES_MAX: usize = 12 * 1024;

/// What the program of a running step said meanwhile, for people only. A hole in the numbers was left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveOutput {
    pub run: Digest,
    pub step: usize,
    /// Bytes that the step had said before this, and with it.
    pub from: u64,
    pub through: u64,
    pub text: String,
}

/// Name of the fact by which an agent says that it answers dry runs; none are asked of one that does not.
pub const DRY_RUN_FACT: &str = "dry runs";
/// Name of the fact by which an agent says that it looks at its host where the policy's rule for diagnosis asks it to.
pub const DIAGNOSIS_FACT: &str = "diagnoses";
/// Most dry runs in one exchange, either way.
pub const DRY_RUNS_MAX: usize = 4;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeResponse {
    /// Durable at the server, without holes; the agent may forget items up to here.
    pub items_through: u64,
    pub records_through: u64,
    /// A [`Lease`] as JSON, signed by the server's order key.
    pub lease: SignedText,
    /// [`sopwith_domain::order::Order`]s as JSON, each signed by the server's order key.
    pub orders: Vec<SignedText>,
    /// Runs that somebody wants cancelled, with his name.
    pub cancels: Vec<(Digest, String)>,
    /// [`sopwith_domain::dry_run::Question`]s as JSON, each signed by the server's order key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dry_runs: Vec<SignedText>,
    /// The server seems to know more of this host than the host itself.
    #[serde(default)]
    pub begin_epoch: Option<BeginEpoch>,
    pub server_head: JournalHead,
}

/// Says that a request spoke from a memory that was set back. The request may have been old, delayed or doubled, so
/// the runner holds this against its own journal, and begins a new epoch only if it really stands behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginEpoch {
    pub reason: String,
    /// The life that the request spoke from; nothing needs to be done if the host lives another by now.
    pub epoch: Epoch,
    /// How far the server knows the run journal of that life; nothing if that life is over for certain.
    pub known_seq: Option<u64>,
    /// Hash of the journal's entry of that number, where the server knows it.
    pub known_hash: Option<Digest>,
}

impl BeginEpoch {
    /// Says whether a journal that ends at `head_seq`, and whose entry number `known_seq` has the hash `hash_there`,
    /// stands behind or beside what the server knows.
    pub fn holds(&self, epoch: Epoch, head_seq: u64, hash_there: Option<Digest>) -> bool {
        let Some(known_seq) = self.known_seq else { return epoch == self.epoch };
        epoch == self.epoch
            && (head_seq < known_seq || self.known_hash.is_some_and(|known| hash_there != Some(known)))
    }
}

/// The server's word that the host may start steps for a while. The runner counts [`LEASE_MS`] by its boot clock
/// from when it made the challenge, so a delayed lease is short and a replayed one is worthless.
///
/// [`LEASE_MS`]: sopwith_domain::warrant::LEASE_MS
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    pub host: HostId,
    pub epoch: Epoch,
    pub challenge: String,
    pub server_now: Timestamp,
    /// Why all automation is stopped, if it is.
    pub stop: Option<String>,
}

/// Asks to become a managed host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    pub token: String,
    pub host: HostId,
    pub epoch: Epoch,
    /// Certificate signing request in PEM; only its public key is used.
    pub csr_pem: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinResponse {
    pub certificate_pem: String,
    pub ca_pem: String,
    /// The server's order key, an OpenSSH public key line.
    pub server_key: String,
    /// The owners' allowed signers (OpenSSH format) to begin with; the host's own file decides from then on.
    pub allowed_signers: String,
}

/// Asks for a new certificate for the key that the host has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Certificate signing request in PEM, by the host's own key; only its public key is used.
    pub csr_pem: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewResponse {
    pub certificate_pem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_journal_that_stands_behind_begins_anew() {
        let (now, before) = (Epoch(2), Epoch(1));
        let (ours, other) = (Digest([1; 32]), Digest([2; 32]));
        let said =
            |epoch, known_seq, known_hash| BeginEpoch { reason: String::new(), epoch, known_seq, known_hash };
        let cases = [
            ("the journal was cut", said(now, Some(9), Some(ours)), 8, None, true),
            ("the journal was cut, no hash known", said(now, Some(9), None), 8, None, true),
            ("the journal was rewritten", said(now, Some(9), Some(ours)), 12, Some(other), true),
            ("an old request came late", said(now, Some(9), Some(ours)), 12, Some(ours), false),
            ("an old request came late, no hash known", said(now, Some(9), None), 9, Some(ours), false),
            ("that life is over already", said(before, Some(9), Some(ours)), 3, None, false),
            ("the disk is that of an earlier life", said(now, None, None), 12, None, true),
            ("a late request of an earlier life", said(before, None, None), 12, None, false),
        ];
        for (what, said, head_seq, hash_there, expected) in cases {
            assert_eq!(said.holds(now, head_seq, hash_there), expected, "{what}");
        }
    }
}
