//! What watcher and runner say to each other over `runtime_dir/runner.sock`: frames of a four-byte big-endian
//! length and that many bytes of JSON, one request and one response at a time, any number on one connection.
//! Types, framing and a blocking client; nothing here decides anything.

use crate::runner::Ending;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sopwith_domain::dry_run::Report;
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::SignedText;
use sopwith_domain::run::Record;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::Word;
use sopwith_protocol::exchange::{BeginEpoch, JournalHead};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Name of the socket in the runtime folder.
pub const SOCKET_NAME: &str = "runner.sock";
/// Largest frame, either way, in bytes.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Up to so many bytes a frame's room is taken before it has come, so that it is read at once.
const SHORT_FRAME_BYTES: usize = 64 * 1024;
/// Longest time a `wait` holds on, in milliseconds.
pub const WAIT_MS_MAX: u64 = 25_000;

/// A rule of the packet filter that blocks a port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Blocking {
    pub family: Word,
    pub table: Word,
    pub chain: Word,
    pub handle: u64,
    /// Names the rule by what it says, as `nft.delete-rule` wants it.
    pub digest: Word,
    /// The rule in nft's JSON, for people.
    pub shown: String,
}

/// What the watcher asks of the runner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Asks how things stand; with `challenge`, a new challenge is made, and the older ones stay good for the
    /// lease's length.
    Status {
        #[serde(default)]
        challenge: bool,
    },
    /// Hands over what the server said.
    Deliver(Delivery),
    /// Asks for the records after a number.
    Records { after_seq: u64, limit: usize },
    /// Answers as soon as there is a record after `after_seq`, or when the time is over.
    Wait { after_seq: u64, timeout_ms: u64 },
    /// Has one of the administrator's own checks asked, by its name in the runner's own configuration. Many need root.
    Check { name: Word },
    /// Asks which rule of the packet filter keeps others from a port. Only root sees the rules.
    Blocking {
        port: u16,
        #[serde(default)]
        udp: bool,
    },
    /// Has the host looked at for what a plan would change. Nothing is changed, so that it waits for no run to end.
    DryRun { question: SignedText },
}

/// The server's words, each still under its signature.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    #[serde(default)]
    pub lease: Option<SignedText>,
    #[serde(default)]
    pub orders: Vec<SignedText>,
    /// The server has made the records durable up to here.
    #[serde(default)]
    pub acked: Option<u64>,
    /// Runs that somebody wants cancelled, with his name.
    #[serde(default)]
    pub cancels: Vec<(Digest, String)>,
    /// The server takes this host's memory for one that was set back.
    #[serde(default)]
    pub begin_epoch: Option<BeginEpoch>,
}

/// What the runner answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    Status(Status),
    Records {
        first_seq: u64,
        records: Vec<Record>,
        status: Status,
    },
    /// How the check's program ended.
    Checked {
        ending: Ending,
        output: String,
    },
    /// The only rule that drops or rejects the port, if there is one.
    Blocked {
        by: Option<Blocking>,
    },
    /// What the plan would change, as far as looking tells.
    DryRun {
        report: Report,
    },
    /// The request was not understood or may not be made; nothing was done.
    Refused {
        reason: String,
    },
}

/// How things stand at the runner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub epoch: Epoch,
    pub head: JournalHead,
    /// Where the journal stood when it was last certain that nothing of it was lost, until the server has answered
    /// this process: only of that does the server hear till then.
    #[serde(default)]
    pub unsure_head: Option<JournalHead>,
    /// The newest challenge, 64 hexadecimal digits; a lease must repeat one that is not too old.
    pub challenge: String,
    /// Runs that have not ended, with what they touch.
    pub active: Vec<ActiveRun>,
    /// Orders that are kept until a run they collide with has ended, or until there is a lease.
    pub holding: Vec<Digest>,
    /// Runs that ended since this journal began.
    pub ended_count: u64,
    /// Highest record that the server has, as far as the runner was told.
    pub acked_through: u64,
    /// Whether a step waits for the server's word that it has the record of its run's acceptance.
    #[serde(default)]
    pub word_awaited: bool,
    /// Why no step starts here, if so.
    pub stop: Option<String>,
    /// Whether the lease is good at this moment.
    pub leased: bool,
    /// What the runner cannot do on this host, for people.
    pub limitations: Vec<String>,
    /// Orders and leases of this delivery that were thrown away unrecorded, with the reason (a seal that does not
    /// hold names no run that could be answered for).
    #[serde(default)]
    pub rejected: Vec<String>,
}

/// A run that has not ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ActiveRun {
    pub run: Digest,
    pub touches: Vec<Subject>,
}

/// Reads one frame, or nothing where the other side has closed between two.
///
/// # Errors
/// The connection broke, the frame is longer than [`FRAME_BYTES_MAX`] or is not what was expected.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut length[1..])?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        let text = format!("a frame of {length} bytes, at most {FRAME_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut body = Vec::new();
    if length <= SHORT_FRAME_BYTES {
        body.resize(length, 0);
        from.read_exact(&mut body)?;
    } else {
        // No more room is taken than has really come.
        from.take(length as u64).read_to_end(&mut body)?;
    }
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Writes one frame.
///
/// # Errors
/// The connection broke or the frame would be too long.
pub fn write_frame<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    if body.len() > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long for a frame"));
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame)
}

/// The watcher's end of the socket.
#[derive(Debug)]
pub struct Client(UnixStream);

impl Client {
    /// Connects to the runner of a runtime folder.
    ///
    /// # Errors
    /// The runner is not there or does not let this user in.
    pub fn connect(runtime_dir: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(runtime_dir.join(SOCKET_NAME))?;
        stream.set_read_timeout(Some(Duration::from_millis(WAIT_MS_MAX + 10_000)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(stream))
    }

    /// Waits longer than usual for each answer.
    ///
    /// # Errors
    /// The connection broke.
    pub fn patient(self, longest: Duration) -> io::Result<Self> {
        self.0.set_read_timeout(Some(longest))?;
        Ok(self)
    }

    /// Asks one thing and waits for its answer. After an error the connection is of no use any more.
    ///
    /// # Errors
    /// The connection broke or the answer was no answer.
    pub fn ask(&mut self, request: &Request) -> io::Result<Response> {
        write_frame(&mut self.0, request)?;
        read_frame(&mut self.0)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
