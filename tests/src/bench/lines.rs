//! A line is written to a log: how long until what it calls for is done. Ours beside fail2ban, by its default way of
//! reading logs and by its fastest.

use super::BenchError;
use super::figures::Figures;
use super::report::{self, Row};
use super::site::Site;
use super::stages::{self, Journal};
use sopwith_domain::signal::Subject;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const GOAL_RATIO: f64 = 0.05;
const VERIFIED_LIMIT: Duration = Duration::from_secs(20);
const UNIT: &str = "fail2ban.service";

/// How fail2ban reads logs. Its default, `auto`, is pyinotify where that is installed, and polling elsewhere.
pub const BACKENDS: [&str; 2] = ["polling", "pyinotify"];

/// What the rounds told, in milliseconds.
#[derive(Debug, Default)]
pub struct Lines {
    done: Vec<f64>,
    stages: [Vec<f64>; stages::NAMES.len()],
    fail2ban: [Vec<f64>; BACKENDS.len()],
}

impl Lines {
    /// Has an address named once for each of some numbers while the agent watches.
    pub fn ours(
        &mut self,
        site: &Site,
        journal: &mut Journal<'_>,
        numbers: &[usize],
    ) -> Result<(), BenchError> {
        site.agent_starts()?;
        for number in numbers {
            let address = address(0, *number);
            let measured = site.name_address(&address.to_string())?;
            let trace = journal.verified(&Subject::Address(address), measured.began_ms, VERIFIED_LIMIT)?;
            self.done.push(measured.took_ms);
            for (all, one) in self.stages.iter_mut().zip(trace.since(measured.began_ms)) {
                all.extend(one);
            }
        }
        site.agent_stops()
    }

    /// The same while fail2ban watches, for each of its backends.
    pub fn fail2ban(&mut self, site: &Site, numbers: &[usize]) -> Result<(), BenchError> {
        for (index, backend) in BACKENDS.iter().enumerate() {
            configure(site, backend)?;
            // Its log must be new to it: what the others had written is not its to answer.
            site.sh(": > /var/log/bench.log")?;
            site.peer_starts(UNIT)?;
            for number in numbers {
                let address = address(index + 1, *number);
                self.fail2ban[index].push(site.name_address(&address.to_string())?.took_ms);
            }
            site.peer_stops(UNIT)?;
        }
        Ok(())
    }

    pub fn ranges(&self) -> String {
        let mut all = vec![("action done".to_owned(), Figures::of(&self.done))];
        let stages = stages::NAMES.iter().zip(&self.stages);
        all.extend(stages.map(|(name, rounds)| ((*name).to_owned(), Figures::of(rounds))));
        let peers = BACKENDS.iter().zip(&self.fail2ban);
        all.extend(
            peers.map(|(name, rounds)| (format!("fail2ban, {name}: action done"), Figures::of(rounds))),
        );
        report::ranges("log line → …", &all)
    }

    pub fn rows(&self, fail2ban: &str) -> Vec<Row> {
        let Some(ours) = Figures::of(&self.done) else { return Vec::new() };
        let peers = BACKENDS.iter().zip(&self.fail2ban);
        peers
            .filter_map(|(backend, rounds)| {
                let peer = Figures::of(rounds)?;
                let name = format!("{fail2ban}, {backend}");
                Some(Row::times("log line → action done", &ours, &peer, &name, GOAL_RATIO))
            })
            .collect()
    }
}

/// Returns an address of its own for each who measures and each round, from the networks kept for documentation.
fn address(who: usize, number: usize) -> IpAddr {
    let networks = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
    let [a, b, c] = networks[who % networks.len()];
    IpAddr::V4(Ipv4Addr::new(a, b, c, u8::try_from(number).unwrap_or(0)))
}

/// Has fail2ban watch the log by one of its backends.
pub fn configure(site: &Site, backend: &str) -> Result<(), BenchError> {
    let files = [
        (
            "/etc/fail2ban/jail.local",
            format!(
                "[sshd]\nenabled = false\n[bench]\nenabled = true\nbackend = {backend}\nusedns = no\n\
                 logpath = /var/log/bench.log\nfilter = bench\nmaxretry = 1\nfindtime = 600\nbantime = 3600\n\
                 action = bench-mark\n"
            ),
        ),
        (
            "/etc/fail2ban/filter.d/bench.conf",
            "[Definition]\nfailregex = ^\\s*bench: refused <HOST>\\s*$\n".into(),
        ),
        (
            "/etc/fail2ban/action.d/bench-mark.conf",
            "[Definition]\nactionban = /usr/local/lib/bench/mark <ip>\n\
             actionunban = /usr/local/lib/bench/unmark <ip>\n"
                .into(),
        ),
    ];
    for (path, text) in files {
        let written = site.host.write(path, text.as_bytes(), 0o644);
        written.map_err(|e| format!("configure fail2ban: {e}"))?;
    }
    Ok(())
}
