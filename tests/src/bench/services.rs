//! A service's process is killed: how long until it runs again, and until that is verified. Ours beside Monit at its
//! fastest, once a second.

use super::BenchError;
use super::figures::Figures;
use super::report::{self, Row};
use super::site::{Site, name, service};
use super::stages::{self, Journal};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::UnitName;
use std::fmt::Write;
use std::time::Duration;

const GOAL_RATIO: f64 = 0.1;
const VERIFIED_LIMIT: Duration = Duration::from_secs(20);
const ENDED_LIMIT: Duration = Duration::from_secs(40);
/// The shipped playbook has at most three runs at once, and they soak for a while.
const AT_ONCE: usize = 2;
const MONIT: &str = "monit.service";

/// What the rounds told, in milliseconds.
#[derive(Debug, Default)]
pub struct Services {
    running: Vec<f64>,
    stages: [Vec<f64>; stages::NAMES.len()],
    monit: Vec<f64>,
}

impl Services {
    /// Kills each of some services once while the agent watches.
    pub fn ours(
        &mut self,
        site: &Site,
        journal: &mut Journal<'_>,
        numbers: &[usize],
    ) -> Result<(), BenchError> {
        site.agent_starts()?;
        let mut soaking: Vec<(Subject, f64)> = Vec::new();
        for number in numbers {
            if soaking.len() >= AT_ONCE {
                let (about, since_ms) = soaking.remove(0);
                journal.ended(&about, since_ms, ENDED_LIMIT)?;
            }
            let unit = UnitName::new(service(*number)).map_err(|e| e.to_string())?;
            let about = Subject::Unit(unit);
            let measured = site.kill(*number)?;
            let trace = journal.verified(&about, measured.began_ms, VERIFIED_LIMIT)?;
            self.running.push(measured.took_ms);
            for (all, one) in self.stages.iter_mut().zip(trace.since(measured.began_ms)) {
                all.extend(one);
            }
            soaking.push((about, measured.began_ms));
        }
        for (about, since_ms) in soaking {
            journal.ended(&about, since_ms, ENDED_LIMIT)?;
        }
        site.agent_stops()
    }

    /// Kills each of some services once while Monit watches.
    pub fn monit(&mut self, site: &Site, numbers: &[usize]) -> Result<(), BenchError> {
        site.peer_starts(MONIT)?;
        for number in numbers {
            self.monit.push(site.kill(*number)?.took_ms);
        }
        site.peer_stops(MONIT)
    }

    pub fn ranges(&self) -> String {
        let mut all = vec![("running again".to_owned(), Figures::of(&self.running))];
        let stages = stages::NAMES.iter().zip(&self.stages);
        all.extend(stages.map(|(name, rounds)| ((*name).to_owned(), Figures::of(rounds))));
        all.push(("Monit: running again".to_owned(), Figures::of(&self.monit)));
        report::ranges("service killed → …", &all)
    }

    pub fn rows(&self, monit: &str) -> Vec<Row> {
        let Some(peer) = Figures::of(&self.monit) else { return Vec::new() };
        let verified = &self.stages[stages::NAMES.len() - 1];
        let compared = [
            ("service killed → running again", &self.running),
            ("service killed → running again and verified", verified),
        ];
        let figures = compared.into_iter().filter_map(|(work, rounds)| Some((work, Figures::of(rounds)?)));
        figures.map(|(work, ours)| Row::times(work, &ours, &peer, monit, GOAL_RATIO)).collect()
    }
}

/// Writes Monit's configuration: it looks at every service once a second, the shortest time it can be told.
pub fn configure_monit(site: &Site, services: usize) -> Result<(), BenchError> {
    let mut text = String::from("set daemon 1\nset log /var/log/monit.log\n");
    for number in 1..=services {
        let (name, unit) = (name(number), service(number));
        let _ = writeln!(
            text,
            "check process {name} with pidfile /run/bench/{name}.pid\n  \
             start program = \"/bin/systemctl start {unit}\"\n  stop program = \"/bin/systemctl stop {unit}\""
        );
    }
    let written = site.host.write("/etc/monit/monitrc", text.as_bytes(), 0o600);
    written.map_err(|e| format!("configure Monit: {e}"))?;
    site.sh("monit -t")
}
