//! Answers `GET /metrics`, `GET /healthz` and, to this machine only, `GET /status`, and nothing else. Requests are
//! bounded in size, time and number; one connection carries one request.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Longest time for a request and its answer.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Most connections at a time; the next waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;

/// A page that is being written.
pub type Page<'a> = Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>>;

/// What can be asked for.
pub trait Pages: Send + Sync + 'static {
    /// Writes the metrics into a buffer that is used again.
    fn metrics(&self, page: Vec<u8>) -> Page<'_>;
    /// Returns whether all is well, and the text that says so.
    fn healthz(&self) -> (bool, String);
    fn status(&self) -> String;
}

/// Serves until it is stopped.
pub async fn serve(listener: TcpListener, pages: Arc<dyn Pages>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let spare = Arc::new(Mutex::new(Vec::new()));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, peer)) = accepted else {
            // Mostly too many open files: a moment later there may be one again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (pages, spare) = (Arc::clone(&pages), Arc::clone(&spare));
        tokio::spawn(async move {
            // Who asks too slowly gets nothing.
            let _ = tokio::time::timeout(TIME_MAX, answer(stream, peer, &*pages, &spare)).await;
            drop(permit);
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    peer: SocketAddr,
    pages: &dyn Pages,
    spare: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
        if request.len() > REQUEST_BYTES_MAX {
            return reply(&mut stream, "431 Request Header Fields Too Large", "text/plain", b"too long\n")
                .await;
        }
    }
    let line = String::from_utf8_lossy(&request);
    let mut words = line.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let plain = "text/plain; charset=utf-8";
    match (method, path) {
        ("GET", "/metrics") => {
            let page = std::mem::take(&mut *spare.lock().unwrap_or_else(PoisonError::into_inner));
            let page = pages.metrics(page).await;
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            let replied = reply(&mut stream, "200 OK", kind, &page).await;
            *spare.lock().unwrap_or_else(PoisonError::into_inner) = page;
            replied
        }
        ("GET", "/healthz") => {
            let (well, text) = pages.healthz();
            let status = if well { "200 OK" } else { "503 Service Unavailable" };
            reply(&mut stream, status, plain, text.as_bytes()).await
        }
        ("GET", "/status") if peer.ip().is_loopback() => {
            reply(&mut stream, "200 OK", "application/json", pages.status().as_bytes()).await
        }
        ("GET", _) => reply(&mut stream, "404 Not Found", plain, b"there is /metrics and /healthz\n").await,
        _ => reply(&mut stream, "405 Method Not Allowed", plain, b"only GET\n").await,
    }
}

async fn reply(stream: &mut TcpStream, status: &str, kind: &str, text: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text).await?;
    stream.shutdown().await
}

/// Asks a page of a watcher on this machine; blocking, for the command line.
///
/// # Errors
/// It does not answer, or answers something else than 200.
pub fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = std::net::TcpStream::connect_timeout(&address, TIME_MAX)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(4 * 1024 * 1024).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    match head.starts_with("HTTP/1.1 200") {
        true => Ok(body.to_owned()),
        false => Err(std::io::Error::other(head.lines().next().unwrap_or_default().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Pages for Fixed {
        fn metrics(&self, _: Vec<u8>) -> Page<'_> {
            Box::pin(async { b"m 1\n".to_vec() })
        }
        fn healthz(&self) -> (bool, String) {
            (false, "a source is broken\n".into())
        }
        fn status(&self) -> String {
            "{}".into()
        }
    }

    #[tokio::test]
    async fn pages_are_answered_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Arc::new(Fixed), stop.clone()));
        for (request, begins, ends) in [
            ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200", "m 1\n"),
            ("GET /metrics?x=1 HTTP/1.0\r\nA: b\r\n\r\n", "HTTP/1.1 200", "m 1\n"),
            ("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 503", "broken\n"),
            ("GET /status HTTP/1.1\r\n\r\n", "HTTP/1.1 200", "{}"),
            ("GET /../etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404", "\n"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405", "\n"),
            ("\u{1}\r\n\r\n", "HTTP/1.1 405", "\n"),
        ] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("answered");
            assert!(text.starts_with(begins) && text.ends_with(ends), "{request:?}: {text:?}");
        }
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(&vec![b'x'; REQUEST_BYTES_MAX + 1]).await.expect("sent");
        let mut text = String::new();
        // The rest of the request may still be in the way of the answer.
        let _ = stream.read_to_string(&mut text).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
        stop.cancel();
        server.await.expect("it ends");
    }
}
