//! Has Redis save a snapshot and waits for what comes of it, and says what keeps it from saving: the folder that it
//! saves into, held against what the configuration says of it. It changes no setting of Redis and restarts nothing.

use super::{command, enter, password, persistence, place, read_info};
use crate::config::{DataFolder, RedisProbe};
use crate::watcher::sources::checks::seen::{Finding, Seen};
use sopwith_domain::inspection::Verdict;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpStream, UnixStream};

const POLL: Duration = Duration::from_millis(100);
/// Free share of a file system below which it counts as full, in thousandths.
const FULL_THOUSANDTHS: u64 = 10;

/// It is so, or it is not; both with words. An error is that it cannot be told.
type Answer = Result<Result<String, String>, String>;

/// Adds what is known of the folder.
pub(super) fn with_folder(probe: &RedisProbe, finding: Finding) -> Finding {
    let Some(data) = &probe.data else { return finding };
    let finding = finding
        .path("directory", &data.path)
        .word("wanted_owner", data.owner.as_str())
        .word("wanted_group", data.group.as_str())
        .word("wanted_mode", &data.mode.to_string());
    let finding = if is_full(data) { finding.boolean("disk_full", true) } else { finding };
    match drifted(data) {
        Some(true) => finding.boolean("directory_drifted", true),
        _ => finding,
    }
}

fn is_full(data: &DataFolder) -> bool {
    rustix::fs::statvfs(data.path.path()).is_ok_and(|room| {
        let bytes = room.f_bavail.saturating_mul(1000) < room.f_blocks.saturating_mul(FULL_THOUSANDTHS);
        bytes || (room.f_files > 0 && room.f_favail == 0)
    })
}

/// Says whether owner, group or mode are not what they are to be; nothing where that cannot be known.
fn drifted(data: &DataFolder) -> Option<bool> {
    let metadata = std::fs::metadata(data.path.path()).ok()?;
    let id = |file: &str, name: &str| -> Option<u32> {
        let text = std::fs::read_to_string(file).ok()?;
        let number = |line: &str| {
            let mut parts = line.split(':');
            (parts.next()? == name).then(|| parts.nth(1)?.parse().ok()).flatten()
        };
        text.lines().find_map(number)
    };
    let (owner, group) = (id("/etc/passwd", data.owner.as_str())?, id("/etc/group", data.group.as_str())?);
    Some((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777) != (owner, group, data.mode.0))
}

/// What is wanted of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// That it saves a snapshot, and that is waited for.
    Save,
    /// That it says whether it can save.
    Tell,
}

/// Connects, and has it do what is wanted.
pub async fn ask(probe: &RedisProbe, wanted: Wanted) -> Answer {
    let password = probe.password_file.as_ref().map(|file| password(file.path())).transpose()?;
    let silent = |e: std::io::Error| format!("{} does not answer: {e}", place(probe));
    match &probe.socket {
        Some(socket) => {
            let stream = UnixStream::connect(socket.path()).await.map_err(silent)?;
            answer(probe, BufReader::new(stream), password, wanted).await
        }
        None => {
            let stream = TcpStream::connect((probe.connect.host.as_str(), probe.connect.port)).await;
            answer(probe, BufReader::new(stream.map_err(silent)?), password, wanted).await
        }
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    probe: &RedisProbe,
    mut stream: BufReader<S>,
    password: Option<String>,
    wanted: Wanted,
) -> Answer {
    let entered = enter(probe, &mut stream, password).await;
    entered.map_err(|e| format!("{} does not answer: {e}", place(probe)))??;
    match wanted {
        Wanted::Save => save(&mut stream).await,
        Wanted::Tell => tell(probe, &mut stream).await,
    }
}

async fn info<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
) -> Result<BTreeMap<String, String>, String> {
    let answer = command(stream, &["INFO", "persistence"]).await;
    let parts = answer.map_err(|e| format!("it does not answer: {e}"))??;
    Ok(read_info(&parts.concat()))
}

async fn save<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> Answer {
    let runs = |info: &BTreeMap<String, String>| {
        ["rdb_bgsave_in_progress", "aof_rewrite_in_progress"]
            .iter()
            .any(|name| info.get(*name).is_some_and(|value| value == "1"))
    };
    // One that runs already began before what is to be saved was mended.
    while runs(&info(stream).await?) {
        tokio::time::sleep(POLL).await;
    }
    let asked = command(stream, &["BGSAVE"]).await.map_err(|e| format!("it does not answer: {e}"))?;
    if let Err(refusal) = asked {
        return Ok(Err(format!("it refuses to save: {refusal}")));
    }
    loop {
        tokio::time::sleep(POLL).await;
        let info = info(stream).await?;
        if !runs(&info) {
            let saved = info.get("rdb_last_bgsave_status").is_some_and(|status| status == "ok");
            return Ok(match saved {
                true => Ok("a snapshot is saved".into()),
                false => Err("it could not save a snapshot".into()),
            });
        }
    }
}

async fn tell<S: AsyncRead + AsyncWrite + Unpin>(probe: &RedisProbe, stream: &mut BufReader<S>) -> Answer {
    let mut seen = Seen::well(String::new());
    persistence(probe, &info(stream).await?, None, &mut seen);
    seen.line_from_findings();
    Ok(if seen.verdict == Verdict::Ok { Ok("it saves".into()) } else { Err(seen.line) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kind};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn probe(text: &str) -> RedisProbe {
        let config =
            Config::parse(&format!("checks:\n- {{name: c, redis: {text}}}\n")).expect("it can be used");
        let Kind::Redis(probe) = config.checks[0].kind() else { panic!("no redis") };
        probe.clone()
    }

    /// A Redis that answers each command with the next of these.
    async fn redis(answers: &'static [&'static str]) -> RedisProbe {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut buffer = [0; 1024];
            for answer in answers {
                if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
                let text = if answer.starts_with(['+', '-']) {
                    format!("{answer}\r\n")
                } else {
                    format!("${}\r\n{answer}\r\n", answer.len())
                };
                stream.write_all(text.as_bytes()).await.expect("written");
            }
        });
        probe(&format!("{{connect: '127.0.0.1:{port}'}}"))
    }

    #[tokio::test]
    async fn a_snapshot_is_waited_for_and_its_failure_told() {
        const RUNS: &str = "rdb_bgsave_in_progress:1\r\nrdb_last_bgsave_status:err";
        const FAILED: &str = "rdb_bgsave_in_progress:0\r\nrdb_last_bgsave_status:err";
        const SAVED: &str = "rdb_bgsave_in_progress:0\r\nrdb_last_bgsave_status:ok";
        for (answers, is) in [
            (&[FAILED, "+Background saving started", RUNS, SAVED][..], Ok(true)),
            (&[RUNS, FAILED, "+Background saving started", FAILED], Ok(false)),
            (&[FAILED, "-ERR can't fork"], Ok(false)),
            (&["-NOPERM"], Err(())),
            (&[], Err(())),
        ] {
            let probe = redis(answers).await;
            let answer = ask(&probe, Wanted::Save).await;
            assert_eq!(answer.clone().map(|is| is.is_ok()).map_err(drop), is, "{answers:?}: {answer:?}");
        }
        let saves = redis(&[SAVED]).await;
        assert!(ask(&saves, Wanted::Tell).await.expect("told").is_ok());
        let fails = redis(&[FAILED]).await;
        assert!(ask(&fails, Wanted::Tell).await.expect("told").is_err());
    }

    #[test]
    fn a_folder_is_held_against_what_is_declared() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |mode: &str| {
            let text = format!(
                "{{data: {{path: {}, owner: root, group: root, mode: {mode}}}}}",
                folder.path().display()
            );
            drifted(probe(&text).data.as_ref().expect("said"))
        };
        let metadata = std::fs::metadata(folder.path()).expect("metadata");
        let own = metadata.uid() == 0 && metadata.gid() == 0;
        assert_eq!(told(&format!("{:04o}", metadata.mode() & 0o7777)), Some(!own));
        assert_eq!(told("0001"), Some(true));
    }
}
