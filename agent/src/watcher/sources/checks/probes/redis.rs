//! Asks Redis about itself over its own plain protocol: whether it keeps what it is given, how much memory it may
//! still use, whether a replica is connected. A server that refuses writes because it cannot save looks well to
//! everybody who only reads.

use super::{numbers, reason, rising};
use crate::config::RedisProbe;
use crate::watcher::sources::checks::perfdata::Perfdata;
use crate::watcher::sources::checks::seen::{Finding, Seen, one_line};
use sopwith_domain::inspection::Verdict;
use std::collections::BTreeMap;
use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

/// Longest answer, in bytes.
const REPLY_BYTES_MAX: usize = 256 * 1024;
/// Longest line of the protocol, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// Most parts of an answer that has parts.
const PARTS_MAX: usize = 64;
/// Longest password file, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// What Redis answered: texts, or its refusal.
type Reply = Result<Vec<String>, String>;

pub(in crate::watcher::sources::checks) mod save;

pub(super) async fn look(probe: &RedisProbe) -> Result<Seen, String> {
    let password = probe.password_file.as_ref().map(|file| password(file.path())).transpose()?;
    let answered = match &probe.socket {
        Some(socket) => match UnixStream::connect(socket.path()).await {
            Ok(stream) => ask(probe, stream, password).await,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Err(format!("failed to open {}: {e}", socket.as_str()));
            }
            Err(e) => Err(e),
        },
        None => match TcpStream::connect((probe.connect.host.as_str(), probe.connect.port)).await {
            Ok(stream) => ask(probe, stream, password).await,
            Err(e) => Err(e),
        },
    };
    match answered {
        Err(e) => {
            let words = format!("{} does not answer: {e}", place(probe));
            Ok(Seen::wrong(Finding::new("redis.down", Verdict::Critical, words).word("reason", reason(&e))))
        }
        Ok(Err(refusal)) if refusal.starts_with("LOADING") => {
            let words = format!("{} is still loading its data", place(probe));
            Ok(Seen::wrong(Finding::new("redis.down", Verdict::Warning, words).word("reason", "loading")))
        }
        Ok(Err(refusal))
            if ["NOAUTH", "WRONGPASS", "NOPERM"].iter().any(|code| refusal.starts_with(code)) =>
        {
            Err(format!("{} does not let the agent in: {}", place(probe), one_line(&refusal)))
        }
        Ok(Err(refusal)) => {
            let words = format!("{} refuses to say how it is: {refusal}", place(probe));
            Ok(Seen::wrong(
                Finding::new("redis.down", Verdict::Critical, words).word("reason", "refused-to-answer"),
            ))
        }
        Ok(Ok(Facts { info, stops_on_error })) => Ok(judge(probe, &info, stops_on_error)),
    }
}

fn place(probe: &RedisProbe) -> String {
    match &probe.socket {
        Some(socket) => format!("redis at {}", socket.as_str()),
        None => format!("redis at {}", *probe.connect),
    }
}

fn password(file: &std::path::Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|e| format!("failed to read the password in {}: {e}", file.display()))?;
    let word = text.trim_end_matches(['\n', '\r']);
    match word.is_empty() || word.len() > PASSWORD_BYTES_MAX || word.contains('\n') {
        true => Err(format!("{} does not hold one password", file.display())),
        false => Ok(word.to_owned()),
    }
}

/// What Redis said of itself.
struct Facts {
    info: BTreeMap<String, String>,
    /// Whether it refuses writes after a failed save; nothing where it does not tell.
    stops_on_error: Option<bool>,
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    probe: &RedisProbe,
    stream: S,
    password: Option<String>,
) -> io::Result<Result<Facts, String>> {
    let mut stream = BufReader::new(stream);
    if let Err(refusal) = enter(probe, &mut stream, password).await? {
        return Ok(Err(refusal));
    }
    let info = match command(&mut stream, &["INFO"]).await? {
        Ok(parts) => read_info(&parts.concat()),
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Who may not ask for the settings is told less, and no more is wrong than that.
    let setting = command(&mut stream, &["CONFIG", "GET", "stop-writes-on-bgsave-error"]).await?;
    let stops_on_error = setting.ok().and_then(|parts| parts.last().map(|value| value == "yes"));
    Ok(Ok(Facts { info, stops_on_error }))
}

/// Shows the password, where there is one.
async fn enter<S: AsyncRead + AsyncWrite + Unpin>(
    probe: &RedisProbe,
    stream: &mut BufReader<S>,
    password: Option<String>,
) -> io::Result<Result<(), String>> {
    let Some(password) = password else { return Ok(Ok(())) };
    let user = probe.user.as_ref().map(|user| user.as_str());
    let words: Vec<&str> = std::iter::once("AUTH").chain(user).chain([password.as_str()]).collect();
    Ok(command(stream, &words).await?.map(drop))
}

fn read_info(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

async fn command<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    words: &[&str],
) -> io::Result<Reply> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.get_mut().write_all(request.as_bytes()).await?;
    let first = line(stream).await?;
    match first.split_at_checked(1) {
        Some(("+" | ":", text)) => Ok(Ok(vec![text.to_owned()])),
        Some(("-", text)) => Ok(Err(text.to_owned())),
        Some(("$", length)) => bulk(stream, length).await.map(|text| Ok(vec![text])),
        Some(("*", count)) => {
            let count = length(count, PARTS_MAX)?;
            let mut parts = Vec::with_capacity(count);
            for _ in 0..count {
                let head = line(stream).await?;
                let size = head.strip_prefix('$').ok_or(io::ErrorKind::InvalidData)?;
                parts.push(bulk(stream, size).await?);
            }
            Ok(Ok(parts))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak the protocol of Redis")),
    }
}

async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut *stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).await?;
    match bytes.strip_suffix(b"\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).trim_end().to_owned()),
        None if bytes.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak the protocol of Redis")),
    }
}

fn length(text: &str, max: usize) -> io::Result<usize> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {text:.20} bytes"));
    match text.parse::<i64>() {
        // Nothing at all is as good as empty.
        Ok(-1) => Ok(0),
        Ok(length) => usize::try_from(length).ok().filter(|length| *length <= max).ok_or_else(wrong),
        Err(_) => Err(wrong()),
    }
}

async fn bulk<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, size: &str) -> io::Result<String> {
    if size == "-1" {
        return Ok(String::new());
    }
    let mut bytes = vec![0; length(size, REPLY_BYTES_MAX)? + 2];
    stream.read_exact(&mut bytes).await?;
    bytes.truncate(bytes.len() - 2);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Holds what Redis says of itself against what is well.
fn judge(probe: &RedisProbe, info: &BTreeMap<String, String>, stops_on_error: Option<bool>) -> Seen {
    let text = |name: &str| info.get(name).map_or("", String::as_str);
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    let mut seen = Seen::well(String::new());
    let (used, most) = (number("used_memory"), number("maxmemory"));
    persistence(probe, info, stops_on_error, &mut seen);
    if let Some(percent) = (used * 100).checked_div(most) {
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        // A cache that throws the oldest away is meant to be full.
        let full = rising(&probe.memory_percent, &percent);
        if full != Verdict::Ok && text("maxmemory_policy") == "noeviction" {
            let words =
                format!("redis uses {percent} % of the memory that it may; when full it refuses writes");
            let finding = Finding::new("redis.memory", full, words);
            seen.find(finding.integer("used_percent", percent).integer("max_mb", most >> 20));
        }
    }
    if text("role") == "slave" && text("master_link_status") == "down" {
        let since = number("master_link_down_since_seconds");
        let words = format!("this replica has no connection to its master for {since} s");
        let finding = Finding::new("redis.replication", Verdict::Critical, words);
        seen.find(finding.word("reason", "link-down").integer("down_s", since));
    }
    seen.line = one_line(&format!(
        "redis {} uses {} MB{}, {} clients, saved {}",
        text("redis_version"),
        used >> 20,
        if most > 0 { format!(" of {} MB", most >> 20) } else { String::new() },
        text("connected_clients"),
        if text("aof_enabled") == "1" { "by log" } else { "by snapshot" }
    ));
    seen.line_from_findings();
    measure(probe, &number, &mut seen);
    seen
}

fn persistence(
    probe: &RedisProbe,
    info: &BTreeMap<String, String>,
    stops_on_error: Option<bool>,
    seen: &mut Seen,
) {
    let failed = |name: &str| info.get(name).is_some_and(|value| value == "err");
    let (snapshot, log) = (failed("rdb_last_bgsave_status"), failed("aof_last_write_status"));
    let (reason, words) = if log {
        ("aof-write", "redis cannot write its log")
    } else if snapshot {
        ("rdb", "redis cannot save a snapshot")
    } else if failed("aof_last_bgrewrite_status") {
        ("aof-rewrite", "redis cannot rewrite its log, which grows")
    } else {
        return;
    };
    let refused = log || (snapshot && stops_on_error.unwrap_or(false));
    let verdict = if refused { Verdict::Critical } else { Verdict::Warning };
    let words = if refused { format!("{words} and refuses all writes (MISCONF)") } else { words.into() };
    let unsaved = info.get("rdb_changes_since_last_save").and_then(|n| n.parse::<i64>().ok()).unwrap_or(0);
    let finding = Finding::new("redis.persistence", verdict, words)
        .word("reason", reason)
        .boolean("writes_refused", refused)
        .integer("unsaved_changes", unsaved);
    seen.find(save::with_folder(probe, finding));
}

#[expect(clippy::cast_precision_loss, reason = "what is shown needs no last digit")]
fn measure(probe: &RedisProbe, number: &dyn Fn(&str) -> u64, seen: &mut Seen) {
    let most = number("maxmemory") as f64;
    let (warning, critical) = numbers(&probe.memory_percent, |percent| most * f64::from(*percent) / 100.0);
    let memory = Perfdata::new("used_memory", number("used_memory") as f64, "B");
    seen.measure(if most > 0.0 { memory.limits(warning, critical) } else { memory });
    for (name, unit) in [
        ("connected_clients", ""),
        ("blocked_clients", ""),
        ("evicted_keys", "c"),
        ("rejected_connections", "c"),
        ("rdb_changes_since_last_save", ""),
    ] {
        seen.measure(Perfdata::new(name, number(name) as f64, unit));
    }
}

#[cfg(test)]
mod tests;
