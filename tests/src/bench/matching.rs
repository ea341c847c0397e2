//! Fifty patterns are asked of a log of which one line in a hundred fits: how many bytes per second of processor time.
//! Ours as the agent reads its logs, with typed captures; ripgrep, which only counts, as the limit; and fail2ban.

use super::BenchError;
use super::figures::Figures;
use super::report::{self, Row};
use crate::lab::Host;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::time::Duration;

const CPU: &str = include_str!("../../bench/cpu.py");
const CPU_PATH: &str = "/usr/local/lib/bench/cpu.py";
const FOLDER: &str = "/var/tmp/matching";
/// Lines of the log, and of the part of it that the slowest is given.
const LINES: u64 = 1_200_000;
const LINES_SLOW: u64 = 60_000;
const HITS_IN: u64 = 100;
const LIMIT: Duration = Duration::from_secs(600);
const GOAL_RIPGREP: f64 = 0.6;
const GOAL_FAIL2BAN: f64 = 200.0;

const DAEMONS: [&str; 10] = [
    "sshd",
    "postfix/smtpd",
    "dovecot",
    "nginx",
    "vsftpd",
    "proftpd",
    "named",
    "asterisk",
    "mysqld",
    "openvpn",
];
/// What a daemon says of a stranger; ADDR stands for the address.
const EVENTS: [&str; 5] = [
    r"Failed password for .* from ADDR port \d+",
    r"authentication failure; .* rhost=ADDR",
    r"refused connect from ADDR",
    r"too many errors after \w+ from ADDR",
    r"lost connection .* client=ADDR",
];

/// Returns the fifty patterns, with a text in place of the address.
fn patterns(address: &str) -> Vec<String> {
    let each =
        |daemon: &str| EVENTS.map(|event| format!(r"{daemon}\[\d+\]: {}", event.replace("ADDR", address)));
    DAEMONS.iter().flat_map(|daemon| each(daemon)).collect()
}

/// Returns one line of the log; the same number is always the same line.
fn line(number: u64) -> String {
    let (minute, second, pid) = (number / 60 % 60, number % 60, 100 + number * 7919 % 30_000);
    let daemon = DAEMONS[(number / 7 % 10) as usize];
    let address = format!("203.0.113.{}", number * 31 % 250);
    let said = if number.is_multiple_of(HITS_IN) {
        match number / HITS_IN % 5 {
            0 => format!("Failed password for invalid user u{number} from {address} port 4711 ssh2"),
            1 => format!("authentication failure; logname= uid=0 tty=x ruser= rhost={address}"),
            2 => format!("refused connect from {address}"),
            3 => format!("too many errors after RCPT from {address}"),
            _ => format!("lost connection in idle, client={address}"),
        }
    } else {
        match number % 6 {
            0 => format!(
                "Accepted publickey for deploy from {address} port 4711 ssh2: ED25519 SHA256:{number:x}"
            ),
            1 => format!("connection {number} from {address} opened, 3 of 100 in use"),
            2 => {
                format!("request {number} GET /items/{pid} took {} ms, status 200, {pid} bytes", number % 90)
            }
            3 => format!("worker {} finished job {number} in {}.{} s", number % 8, number % 9, number % 10),
            4 => format!("session opened for user svc{}(uid={pid}) by (uid=0)", number % 40),
            _ => format!("cache hit ratio 0.{}, {number} entries, {pid} evicted", number % 100),
        }
    };
    format!("Jan  2 03:{minute:02}:{second:02} web-1 {daemon}[{pid}]: {said}")
}

#[derive(Deserialize)]
struct Answer {
    seconds: Vec<Vec<f64>>,
    said: Vec<String>,
}

/// Measures all three in turns on a host where the peers are, and the agent at `agent`.
pub fn measure(host: &Host, agent: &str, rounds: usize, versions: [&str; 2]) -> Result<Vec<Row>, BenchError> {
    let sizes = prepare(host)?;
    let (log, slow, filter) =
        (format!("{FOLDER}/bench.log"), format!("{FOLDER}/slow.log"), format!("{FOLDER}/filter.conf"));
    let (config, list) = (format!("{FOLDER}/agent.yaml"), format!("{FOLDER}/patterns"));
    let ours = vec![agent, "--config", &config, "try-log", "bench", &log];
    let ripgrep = vec!["rg", "--count", "--no-unicode", "--no-mmap", "-f", &list, &log];
    let fail2ban = vec!["fail2ban-regex", "--print-no-missed", "--print-no-ignored", &slow, &filter];
    let fast = run(host, rounds, &[ours, ripgrep])?;
    let hits = LINES / HITS_IN;
    let counted: u64 = fast.said[0]
        .lines()
        .filter(|line| line.starts_with('r'))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    if counted != hits || fast.said[1].trim() != hits.to_string() {
        return Err(format!("find {hits} lines: ours {counted}, ripgrep {}", fast.said[1].trim()));
    }
    let slow = run(host, rounds.div_ceil(5), &[fail2ban])?;
    let speed = |seconds: &[f64], bytes: u64| {
        let speeds: Vec<f64> = seconds.iter().map(|seconds| bytes as f64 / 1e6 / seconds).collect();
        Figures::of(&speeds).ok_or_else(|| "measure anything".to_owned())
    };
    let ours = speed(&fast.seconds[0], sizes[0])?;
    let peers = [
        (versions[0], speed(&fast.seconds[1], sizes[0])?, GOAL_RIPGREP),
        (versions[1], speed(&slow.seconds[0], sizes[1])?, GOAL_FAIL2BAN),
    ];
    let mut all = vec![("ours".to_owned(), Some(ours))];
    all.extend(peers.iter().map(|(name, figures, _)| ((*name).to_owned(), Some(*figures))));
    println!(
        "\n{}",
        report::ranges_in("log matching, 50 patterns, 1 % hits", "MB/s of processor time", &all)
    );
    let row = |(name, peer, goal): &(&str, Figures, f64)| {
        Row::speeds("log matching, 50 patterns, 1 % hits", &ours, peer, name, *goal)
    };
    Ok(peers.iter().map(row).collect())
}

fn run(host: &Host, rounds: usize, commands: &[Vec<&str>]) -> Result<Answer, BenchError> {
    let commands = serde_json::to_string(commands).map_err(|e| e.to_string())?;
    let rounds = rounds.to_string();
    let done = host
        .run_for(&["python3", CPU_PATH, &rounds, &commands], b"", LIMIT)
        .and_then(|done| done.expect("measure processor time"))
        .map_err(|e| e.to_string())?;
    serde_json::from_str(&done).map_err(|e| format!("read {done:?}: {e}"))
}

/// Lays the logs and the patterns out; returns the sizes of the logs.
fn prepare(host: &Host) -> Result<[u64; 2], BenchError> {
    let mut config = String::from("logs:\n- name: bench\n  paths: [/none]\n  rules:\n");
    for (number, pattern) in patterns("(?P<ip>[0-9A-Fa-f.:]+)").iter().enumerate() {
        let _ = writeln!(config, "  - {{name: r{number:02}, pattern: '{pattern}', captures: {{ip: ip}}}}");
    }
    let filter = format!("[Definition]\nfailregex = {}\n", patterns("<HOST>").join("\n            "));
    let list = patterns("[0-9A-Fa-f.:]+").join("\n") + "\n";
    for (path, text) in [
        (CPU_PATH.to_owned(), CPU.to_owned()),
        (format!("{FOLDER}/agent.yaml"), config),
        (format!("{FOLDER}/filter.conf"), filter),
        (format!("{FOLDER}/patterns"), list),
    ] {
        host.write(&path, text.as_bytes(), 0o644).map_err(|e| format!("place a file: {e}"))?;
    }
    let mut sizes = [0, 0];
    for (size, (name, lines)) in sizes.iter_mut().zip([("bench.log", LINES), ("slow.log", LINES_SLOW)]) {
        let path = host.root().join(FOLDER.trim_start_matches('/')).join(name);
        let failed = |e: std::io::Error| format!("write {}: {e}", path.display());
        let mut file = BufWriter::new(std::fs::File::create(&path).map_err(failed)?);
        for number in 0..lines {
            writeln!(file, "{}", line(number)).map_err(failed)?;
        }
        file.flush().map_err(failed)?;
        *size = file.get_ref().metadata().map_err(failed)?.len();
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_different_patterns() {
        let mut all = patterns("ADDR");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 50);
        assert!(line(0).ends_with("Failed password for invalid user u0 from 203.0.113.0 port 4711 ssh2"));
    }
}
