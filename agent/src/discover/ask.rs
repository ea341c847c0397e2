//! Asks the host's own listeners whether they have a health address. Only if `--ask` says so, only by GET, only on
//! this host, and never what is known to speak something else.

use super::listeners::{Listening, own};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Addresses by which services tell of themselves.
const PATHS: [&str; 5] = ["/health", "/healthz", "/-/healthy", "/api/health", "/status"];
const TIME_MAX: Duration = Duration::from_secs(1);
/// Who would take a request for an attack.
const OTHERS: [&str; 12] = [
    "sshd",
    "redis-server",
    "valkey-server",
    "postgres",
    "mysqld",
    "mariadbd",
    "master",
    "exim4",
    "dnsmasq",
    "named",
    "unbound",
    "memcached",
];

/// Returns a unit's health address, and how it answered.
pub(super) fn health(listening: &[Listening], unit: &str) -> Option<(String, String)> {
    let own_ports = listening.iter().filter(|l| l.unit == unit && !OTHERS.contains(&l.program.as_str()));
    own_ports.take(4).find_map(|found| {
        let address = own(found);
        PATHS.iter().find_map(|path| {
            let status = get(address.parse().ok()?, path)?;
            let url = format!("http://{address}{path}");
            (200..300).contains(&status).then(|| (url, format!("It answers {status} to GET {path}.")))
        })
    })
}

/// Asks for a page, and returns the status of the answer.
fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let until = Instant::now() + TIME_MAX;
    let mut stream = TcpStream::connect_timeout(&address, TIME_MAX).ok()?;
    stream.set_read_timeout(Some(TIME_MAX)).ok()?;
    stream.set_write_timeout(Some(TIME_MAX)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < 64 && Instant::now() < until && stream.read(&mut byte).ok()? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}
