//! The socket for local commands: only root and the server's own user are answered; one line of JSON each way.

use super::{Answer, Ask, perform};
use crate::app::App;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Name of the socket in the data folder.
const SOCKET: &str = "admin.sock";
/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// How long one conversation may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Conversations at once.
const AT_ONCE: usize = 8;

fn path(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// Begins to answer local commands.
///
/// # Errors
/// Says why the socket cannot be made.
pub fn listen(app: &App) -> io::Result<()> {
    let path = path(&app.config.data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    tokio::spawn(accept(app.clone(), listener));
    Ok(())
}

/// Removes the socket at the end.
pub fn unlink(app: &App) {
    // A socket that is left over is removed at the next start.
    let _ = std::fs::remove_file(path(&app.config.data_dir));
}

async fn accept(app: App, listener: UnixListener) {
    let turns = std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a local command was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = app.shutdown.cancelled() => return,
        };
        let (app, turns) = (app.clone(), turns.clone());
        tokio::spawn(async move {
            let Ok(_turn) = turns.acquire_owned().await else { return };
            match tokio::time::timeout(PATIENCE, converse(&app, stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a local command broke off"),
                Err(_) => tracing::warn!("a local command took too long"),
            }
        });
    }
}

async fn converse(app: &App, stream: UnixStream) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {uid} may not command here"),
        ));
    }
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Ask>(&line) {
        Ok(ask) => perform(app, ask).await,
        Err(error) => Answer::Refused { reason: format!("the command cannot be understood: {error}") },
    };
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    writing.write_all(&answer).await
}

/// Asks the running server.
///
/// # Errors
/// Says why it could not be asked or its answer not be understood.
pub async fn send(data: &Path, ask: &Ask) -> io::Result<Answer> {
    let stream = UnixStream::connect(path(data)).await?;
    let (reading, mut writing) = stream.into_split();
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    writing.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(reading.take(LINE_BYTES_MAX)).read_line(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}
