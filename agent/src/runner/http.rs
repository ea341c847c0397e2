//! Asks a service on this very host whether it is well: one call, of whose answer only the status line is read. It
//! goes to loopback and the host's own addresses and nowhere else, follows no redirection and speaks no TLS.

use super::checks::own;
use sopwith_domain::value::Url;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest time from connecting to the status line.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest status line, in bytes.
const STATUS_BYTES_MAX: usize = 1024;

/// Says whether the address answers with 200 to 299.
///
/// # Errors
/// Says what came instead.
pub fn ok(url: &Url) -> Result<(), String> {
    match call(url, "GET", TIMEOUT)? {
        status if (200..300).contains(&status) => Ok(()),
        status => Err(format!("it answered with {status}")),
    }
}

/// Calls the address and returns the status with which it answers. Another of its addresses is tried only where none
/// could be connected to: what was heard once is not said twice.
///
/// # Errors
/// Says why there is no answer.
pub fn call(url: &Url, method: &str, time_max: Duration) -> Result<u16, String> {
    let (host, target, addresses) = parts(url)?;
    let deadline = Instant::now() + time_max;
    let mut last = String::new();
    for address in addresses {
        match TcpStream::connect_timeout(&address, time_max.min(TIMEOUT)) {
            Ok(stream) => {
                return status(stream, deadline, method, (&host, &target)).map_err(|e| e.to_string());
            }
            Err(e) => last = e.to_string(),
        }
    }
    Err(last)
}

/// Says whether an address is one that may be called.
///
/// # Errors
/// Says why not.
pub fn is_own(url: &Url) -> Result<(), String> {
    parts(url).map(drop)
}

fn parts(url: &Url) -> Result<(String, String, Vec<SocketAddr>), String> {
    let rest = url.as_str().strip_prefix("http://");
    let rest = rest.ok_or("the runner speaks no TLS: use http:// to a loopback address, or a named check")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return Err("an address with a user in it is not asked".into());
    }
    let target = target.split('#').next().unwrap_or_default();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| format!("{port:?} is no port"))?)
        }
        _ => (authority, 80),
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let ips = if bare.eq_ignore_ascii_case("localhost") {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
    } else {
        vec![bare.parse().map_err(|_| format!("{host} is neither localhost nor an IP address"))?]
    };
    if let Some(other) = ips.iter().find(|ip| !own(**ip)) {
        return Err(format!("{other} is not this host's own address"));
    }
    Ok((authority.to_owned(), target, ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()))
}

fn status(
    mut stream: TcpStream,
    deadline: Instant,
    method: &str,
    (host, target): (&str, &str),
) -> std::io::Result<u16> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would mean for ever.
        left.max(Duration::from_millis(1))
    };
    stream.set_write_timeout(Some(left()))?;
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    // In one piece: who answers after the first has not read the rest, and what it says may be lost with that.
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sopwith-agent\r\nAccept: */*\r\n{length}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while !line.contains(&b'\n') && line.len() < STATUS_BYTES_MAX {
        if Instant::now() >= deadline {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => line.extend_from_slice(&buffer[..read]),
        }
    }
    let line = String::from_utf8_lossy(&line);
    let mut words = line.lines().next().unwrap_or_default().split(' ');
    let number = words.next().filter(|version| version.starts_with("HTTP/1.")).and(words.next());
    let number = number.filter(|n| n.len() == 3).and_then(|n| n.parse().ok());
    number.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "what answered is not HTTP/1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            if let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer);
            }
        });
        format!("http://127.0.0.1:{port}/health?deep=1")
    }

    #[test]
    fn only_a_success_of_this_host_is_one() {
        let ask = |url: &str| ok(&Url::new(url).expect("valid"));
        for (answer, good) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nfine"[..], true),
            (b"HTTP/1.0 204 No Content\r\n\r\n", true),
            (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", false),
            (b"HTTP/1.1 500 Oops\r\n\r\n", false),
            (b"HTTP/1.1 20 OK\r\n\r\n", false),
            (b"SSH-2.0-OpenSSH\r\n", false),
            (b"", false),
            (&[b'x'; 4096], false),
        ] {
            assert_eq!(ask(&answering(answer)).is_ok(), good, "{}", String::from_utf8_lossy(answer));
        }
        for url in [
            "https://127.0.0.1/",
            "http://192.0.2.1/",
            "http://example.com/",
            "http://localhost@192.0.2.1/",
            "http://127.0.0.1:99999/",
            "http://[::1/",
            "http://169.254.169.254/latest/",
        ] {
            assert!(ask(url).is_err(), "{url}");
        }
    }
}
