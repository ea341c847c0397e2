//! The administrator's own checks: programs that exit with 0 while all is well, run at intervals, at once when their
//! files change, and when asked for. Each is bounded in time and output, and at most a few run at a time. The runner
//! starts them, as root: `nginx -t` and its like read keys and open logs, and would fail for the wrong reason here.

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Check, Config};
use crate::runner::Ending;
use crate::runner_protocol::{Client, Request, Response};
use crate::watcher::files;
use crate::watcher::metrics::Metrics;
#[cfg(test)]
use crate::watcher::process;
use crate::watcher::process::{Done, Ended};
use crate::watcher::report::{Fault, Report, SourceState, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{Value, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most checks that run at a time.
const RUNNING_MAX: usize = 4;
/// Most output of a check that is kept, in bytes.
#[cfg(test)]
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// How often and how long a runner that is away is waited for.
const TRIES_MAX: u32 = 10;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How much longer than its time a check may take until the runner has answered.
const ANSWER_MARGIN: Duration = Duration::from_secs(30);
/// Most outcomes that wait to be reported.
const OUTCOMES_MAX: usize = 64;

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let (checks, metrics, afresh) = (config.checks.clone(), context.metrics.clone(), context.afresh.clone());
    let by = By::Runner(config.runtime_dir.path().into());
    (!checks.is_empty()).then(|| Box::new(Checks { checks, metrics, afresh, by }) as Box<dyn Source>)
}

struct Checks {
    checks: Vec<Check>,
    metrics: Metrics,
    afresh: Afresh,
    by: By,
}

/// Who starts the programs.
#[derive(Clone, Debug)]
enum By {
    /// The runner whose socket lies in this folder.
    Runner(PathBuf),
    #[cfg(test)]
    Us,
}

impl By {
    async fn run(&self, check: &Check) -> Result<Done, String> {
        match self {
            #[cfg(test)]
            Self::Us => {
                let argv: Vec<String> = check.argv.iter().map(|argument| (**argument).clone()).collect();
                let done = process::run(&argv, check.timeout.0, OUTPUT_BYTES_MAX).await;
                done.map_err(|e| format!("failed to start {}: {e}", argv.first().map_or("", String::as_str)))
            }
            Self::Runner(folder) => {
                let (folder, name, timeout) = (folder.clone(), (*check.name).clone(), check.timeout.0);
                let asked = tokio::task::spawn_blocking(move || ask(&folder, &name, timeout));
                asked.await.map_err(|e| e.to_string())?
            }
        }
    }
}

/// Has the runner run a check. One that is just being started again is waited for.
fn ask(folder: &Path, name: &Word, timeout: Duration) -> Result<Done, String> {
    let failed = |e: std::io::Error| format!("failed to have the runner run check {name}: {e}");
    let mut tries = 0;
    let client = loop {
        match Client::connect(folder) {
            Ok(client) => break client,
            Err(e) if tries == TRIES_MAX => return Err(failed(e)),
            Err(_) => tries += 1,
        }
        std::thread::sleep(RETRY_PAUSE);
    };
    let mut client = client.patient(timeout + ANSWER_MARGIN).map_err(failed)?;
    match client.ask(&Request::Check { name: name.clone() }).map_err(failed)? {
        Response::Checked { ending, output } => {
            let ended = match ending {
                Ending::Exited(code) => Ended::Exited(code),
                Ending::Signalled(signal) => Ended::Signalled(signal),
                Ending::TimedOut => Ended::TimedOut,
                Ending::NotStarted(reason) => {
                    return Err(format!("check {name} cannot be started: {reason}"));
                }
            };
            Ok(Done { ended, output: output.into_bytes(), cut: 0 })
        }
        Response::Refused { reason } => Err(format!("the runner does not run check {name}: {reason}")),
        _ => Err(format!("the runner answered something else when asked to run check {name}")),
    }
}

/// What came of one run.
struct Outcome {
    name: String,
    report: Result<Report, String>,
    /// Whether it was run because all were to look afresh.
    afresh: bool,
}

impl Source for Checks {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let (to, outcomes) = mpsc::channel(OUTCOMES_MAX);
            let permits = Arc::new(Semaphore::new(RUNNING_MAX));
            let mut looking = JoinSet::new();
            for check in self.checks.iter().cloned() {
                let (to, permits) = (to.clone(), Arc::clone(&permits));
                let one = One { check, metrics: self.metrics.clone(), permits, to, by: self.by.clone() };
                looking.spawn(stop.clone().run_until_cancelled_owned(one.follow(self.afresh.clone())));
            }
            drop(to);
            let count = self.checks.len();
            stop.run_until_cancelled(tell(outcomes, count, &sink)).await.unwrap_or(Ok(()))
        })
    }
}

/// Passes outcomes on, and says which checks cannot be run at all.
async fn tell(mut outcomes: mpsc::Receiver<Outcome>, count: usize, sink: &Sink) -> Result<(), SourceFailed> {
    let mut broken: BTreeMap<String, String> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut settled = false;
    while let Some(outcome) = outcomes.recv().await {
        let before = broken.clone();
        match outcome.report {
            Ok(report) => {
                broken.remove(&outcome.name);
                sink.report(report).await?;
                if outcome.afresh {
                    sink.report(Report::LookedAfresh).await?;
                }
            }
            Err(reason) => _ = broken.insert(outcome.name.clone(), reason),
        }
        seen.insert(outcome.name);
        let all = seen.len() == count;
        if all && !settled {
            sink.report(Report::Settled).await?;
        }
        if all && (broken != before || !settled) {
            let told: Vec<_> = broken.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
            let state =
                if told.is_empty() { SourceState::Well } else { SourceState::Broken(told.join("; ")) };
            sink.state(state).await?;
        }
        settled = all;
    }
    Err(SourceFailed("the checks ended".into()))
}

/// One check.
struct One {
    check: Check,
    metrics: Metrics,
    permits: Arc<Semaphore>,
    to: mpsc::Sender<Outcome>,
    by: By,
}

impl One {
    async fn follow(self, all_afresh: Afresh) {
        let mut wake = Wake::new();
        let mut asked = all_afresh.asked();
        let mut afresh = false;
        loop {
            wake.forget_missing();
            self.check.files.iter().for_each(|file| wake.watch(file.path(), true));
            let report = self.look().await;
            let outcome = Outcome { name: self.check.name.to_string(), report, afresh };
            if self.to.send(outcome).await.is_err() {
                return;
            }
            afresh = tokio::select! {
                () = tokio::time::sleep(self.check.every.0) => false,
                () = wake.changed() => false,
                Ok(()) = asked.changed() => true,
            };
        }
    }

    async fn look(&self) -> Result<Report, String> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.map_err(|e| e.to_string())?;
        let done = self.by.run(&self.check).await;
        drop(permit);
        let name = self.check.name.as_str();
        let count = |result: &str| self.metrics.check_runs.with_label_values(&[name, result]).inc();
        match done {
            Err(e) => {
                count("not-started");
                Err(e)
            }
            Ok(Done { ended: Ended::Exited(0), .. }) => {
                count("ok");
                Ok(Report::over(&rule(&self.check), Subject::Check((*self.check.name).clone())))
            }
            Ok(done) => {
                count("failed");
                let config = self.check.config.clone();
                let drifted = files::look(move || files::drifted(&config).cloned()).await.flatten();
                let mut fault = fault(&self.check, &done);
                files::add_drift(&mut fault, drifted.as_ref());
                Ok(Report::holds(fault, tolerance(&self.check)))
            }
        }
    }
}

fn rule(check: &Check) -> String {
    format!("checks.{}", *check.name)
}

fn tolerance(check: &Check) -> Tolerance {
    match &check.failures {
        Some(failures) => Tolerance::Times { count: *failures.count, within: failures.within.0 },
        None => Tolerance::For(check.tolerance.0),
    }
}

fn fault(check: &Check, done: &Done) -> Fault {
    let name = &*check.name;
    let how = match done.ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signalled(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => format!("not done within {:?}", check.timeout.0),
    };
    let text = format!("check {name} failed: {how}");
    let subject = Subject::Check(name.clone());
    let mut fault = Fault::new(&rule(check), "check.failed", subject, *check.severity, text);
    fault.field("check", Value::Word(name.clone()));
    if let Ended::Exited(code) = done.ended {
        fault.integer("exit_status", code);
    }
    if let Some(unit) = &check.unit {
        fault.field("unit", Value::Unit((**unit).clone()));
    }
    let mut output = String::from_utf8_lossy(&done.output).into_owned();
    if done.cut > 0 {
        output.push_str(&format!("\n({} bytes more were cut)", done.cut));
    }
    fault.show("its output", &output);
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, more: &str) -> Check {
        let text = format!(
            "checks:\n- {{name: c, argv: [/bin/sh, -c, '{script}'], timeout: 300ms, unit: x.service{more}}}\n"
        );
        Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).checks.remove(0)
    }

    async fn look(check: Check) -> Result<Report, String> {
        let (to, _outcomes) = mpsc::channel(1);
        let permits = Arc::new(Semaphore::new(1));
        One { check, metrics: Metrics::new(), permits, to, by: By::Us }.look().await
    }

    #[tokio::test]
    async fn what_a_check_says() {
        for (script, says) in [
            ("exit 0", "over"),
            ("echo why; exit 3", "check c failed: exit code 3 check=c,exit_status=3,unit=x.service why"),
            ("kill -9 $$", "check c failed: ended by signal 9 check=c,unit=x.service "),
            ("sleep 100", "check c failed: not done within 300ms check=c,unit=x.service "),
        ] {
            let said = match look(check(script, "")).await {
                Ok(Report::Holds { fault, tolerance, .. }) => {
                    assert_eq!(tolerance, Tolerance::NONE);
                    let fields: Vec<_> = fault.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
                    let shown = fault.evidence.first().map_or("", |e| e.text.trim());
                    format!("{} {} {shown}", fault.summary, fields.join(","))
                }
                Ok(Report::Over { .. }) => "over".into(),
                other => format!("{other:?}"),
            };
            assert_eq!(said, says, "{script}");
        }
    }

    #[tokio::test]
    async fn a_check_that_cannot_be_started_is_not_a_failed_check() {
        let mut missing = check("exit 0", "");
        missing.argv[0] = crate::config::At::of("/does/not/exist".into());
        let reason = look(missing).await.expect_err("there is no such program");
        assert!(reason.starts_with("failed to start /does/not/exist"), "{reason}");
    }

    #[test]
    fn tolerances() {
        let times = tolerance(&check("exit 1", ", failures: {count: 3, within: 5m}"));
        assert_eq!(times, Tolerance::Times { count: 3, within: Duration::from_secs(300) });
        let time = tolerance(&check("exit 1", ", for: 10s"));
        assert_eq!(time, Tolerance::For(Duration::from_secs(10)));
    }
}
