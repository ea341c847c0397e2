//! The rotation of logs: whether logrotate can read its configuration, by asking it, and whether it runs, by the age
//! of what it remembers. It never rotates anything.

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, ConfigFile, Logrotate};
use crate::watcher::family::Family;
use crate::watcher::files;
use crate::watcher::process::{Done, Ended, run};
use crate::watcher::report::{Fault, Report, SourceState, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::wake::Wake;
use sopwith_domain::ids::RuleId;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{AbsPath, Value, Word};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = "/usr/sbin/logrotate";
const CONFIG: &str = "/etc/logrotate.conf";
const FOLDER: &str = "/etc/logrotate.d";
const REMEMBERED: &str = "/var/lib/logrotate/status";
/// Any of these starts it every day.
const STARTERS: [&str; 2] =
    ["/etc/systemd/system/timers.target.wants/logrotate.timer", "/etc/cron.daily/logrotate"];
const TIME_MAX: Duration = Duration::from_secs(30);
/// What it says where it cannot become another user.
const SWITCHING: &str = "error switching euid";
/// Most files that are asked of one by one.
const FILES_MAX: usize = 64;
/// It says a few lines about each log.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Most faults that are told of at a time.
const FAULTS_MAX: usize = 50;
/// An editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(500);
/// After a long sleep it gets some time to be started.
const STALE_TOLERANCE: Duration = Duration::from_secs(3_600);

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let wanted = *config.logrotate.watch && Path::new(PROGRAM).exists() && Path::new(CONFIG).exists();
    let (mut settings, afresh) = (config.logrotate.clone(), context.afresh.clone());
    // A copy that is declared of the file itself is known to be good as well.
    let declared = config.baseline.iter().filter_map(|entry| {
        let known_good = entry.known_good.clone()?;
        Some(ConfigFile { path: entry.path.clone(), known_good })
    });
    settings.config.extend(declared.filter(|file| Family::of(file.path.as_str()) == Family::Logrotate));
    wanted.then(|| Box::new(Rotation { settings, afresh }) as Box<dyn Source>)
}

struct Rotation {
    settings: Logrotate,
    afresh: Afresh,
}

type Key = (Subject, RuleId);

impl Source for Rotation {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let (mut wake, mut asked) = (Wake::new(), self.afresh.asked());
            let mut told: BTreeMap<Key, ()> = BTreeMap::new();
            loop {
                wake.watch(Path::new(FOLDER), false);
                wake.watch(Path::new(CONFIG), false);
                match look(&self.settings).await {
                    Err(reason) => sink.state(SourceState::Broken(reason)).await?,
                    Ok(faults) => {
                        say(&sink, &mut told, faults).await?;
                        sink.settled().await?;
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = wake.changed() => tokio::time::sleep(SETTLE).await,
                    () = tokio::time::sleep(self.settings.every.0) => {}
                    Ok(()) = asked.changed() => sink.report(Report::LookedAfresh).await?,
                }
            }
        })
    }
}

async fn say(
    sink: &Sink,
    told: &mut BTreeMap<Key, ()>,
    faults: Vec<(Fault, Duration)>,
) -> Result<(), SourceFailed> {
    let now: BTreeMap<Key, ()> =
        faults.iter().map(|(fault, _)| ((fault.subject.clone(), fault.rule.clone()), ())).collect();
    let over = std::mem::replace(told, now);
    let over = over.into_keys().filter(|key| !told.contains_key(key));
    let mut reports: Vec<_> = over.map(|(subject, rule)| Report::Over { rule, subject }).collect();
    reports
        .extend(faults.into_iter().map(|(fault, tolerance)| Report::holds(fault, Tolerance::For(tolerance))));
    Ok(sink.report_all(reports).await?)
}

async fn look(settings: &Logrotate) -> Result<Vec<(Fault, Duration)>, String> {
    let argv = [PROGRAM, "--debug", CONFIG].map(str::to_owned);
    let done = run(&argv, TIME_MAX, OUTPUT_BYTES_MAX)
        .await
        .map_err(|e| format!("failed to start {PROGRAM}: {e}"))?;
    if done.ended == Ended::TimedOut {
        return Err(format!("{PROGRAM} did not end within {} s", TIME_MAX.as_secs()));
    }
    let done = one_by_one(done).await;
    let config = settings.config.clone();
    let max_age = settings.max_age.0;
    let looked = files::look(move || {
        let mut faults = complaints(&done, &config);
        faults.extend(stale(max_age).map(|fault| (fault, STALE_TOLERANCE)));
        faults
    });
    looked.await.ok_or_else(|| "the file system does not answer".to_owned())
}

/// Logrotate ends where a file wants another user, whom only root can become; then each file is asked of by itself, so
/// that those after it are read as well.
async fn one_by_one(mut done: Done) -> Done {
    if !String::from_utf8_lossy(&done.output).contains(SWITCHING) {
        return done;
    }
    let entries = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path().display().to_string()).take(FILES_MAX).collect();
    paths.sort();
    for path in paths {
        let argv = [PROGRAM.to_owned(), "--debug".to_owned(), path];
        if let Ok(more) = run(&argv, TIME_MAX, OUTPUT_BYTES_MAX).await {
            done.output.extend(more.output);
        }
        done.output.truncate(OUTPUT_BYTES_MAX);
    }
    done
}

/// Something that logrotate says is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Complaint {
    path: AbsPath,
    line: Option<u64>,
    reason: &'static str,
    text: String,
}

fn complaint(said: &str) -> Option<Complaint> {
    let text = said.strip_prefix("error: ")?;
    let (path, line, reason) = if let Some(rest) = text.strip_prefix("skipping \"") {
        (rest.split_once("\" because parent directory has insecure permissions")?.0, None, "permissions")
    } else if let Some(rest) = text.strip_prefix("Ignoring ") {
        (rest.split_once(" because")?.0, None, "ignored")
    } else {
        let (place, _) = text.split_once(' ')?;
        let (path, line) = place.trim_end_matches(':').rsplit_once(':')?;
        (path, Some(line.parse().ok()?), "syntax")
    };
    // Files of the folder are named without it.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{FOLDER}/{path}") };
    Some(Complaint { path: AbsPath::new(path).ok()?, line, reason, text: text.to_owned() })
}

/// Returns a fault for each file that logrotate complains of.
fn complaints(done: &Done, config: &[ConfigFile]) -> Vec<(Fault, Duration)> {
    let output = String::from_utf8_lossy(&done.output);
    let mut by_file: BTreeMap<AbsPath, Vec<Complaint>> = BTreeMap::new();
    for complaint in output.lines().filter_map(complaint) {
        if by_file.len() < FAULTS_MAX || by_file.contains_key(&complaint.path) {
            by_file.entry(complaint.path.clone()).or_default().push(complaint);
        }
    }
    let fault = |(path, complaints): (AbsPath, Vec<Complaint>)| {
        let first = &complaints[0];
        let text = format!("logrotate leaves logs alone: {}", first.text);
        let subject = Subject::Path(path.clone());
        let mut fault = Fault::new("logrotate.config", "logrotate.broken", subject, Severity::Warning, text);
        fault.word("reason", first.reason);
        first.line.inspect(|line| fault.integer("line", *line));
        fault.field("config_path", Value::Path(path.clone()));
        let known: Vec<_> = config.iter().filter(|file| *file.path == path).cloned().collect();
        files::add_drift(&mut fault, files::drifted(&known));
        let said: Vec<_> = complaints.iter().map(|complaint| complaint.text.as_str()).collect();
        fault.show("logrotate says", &said.join("\n"));
        (fault, Duration::ZERO)
    };
    by_file.into_iter().map(fault).collect()
}

/// Returns a fault if logrotate should be started every day and has not run for too long.
fn stale(max_age: Duration) -> Option<Fault> {
    if !STARTERS.iter().any(|starter| Path::new(starter).symlink_metadata().is_ok()) {
        return None;
    }
    let written = std::fs::metadata(REMEMBERED).and_then(|m| m.modified()).ok()?;
    let age = SystemTime::now().duration_since(written).ok().filter(|age| *age > max_age)?;
    let subject = Subject::Check(Word::new("logrotate").expect("it is a word"));
    let text = format!("logrotate did not run for {} h: logs grow", age.as_secs() / 3600);
    let mut fault = Fault::new("logrotate.age", "logrotate.stale", subject, Severity::Warning, text);
    fault.integer("age_s", age.as_secs());
    fault.integer("max_age_s", max_age.as_secs());
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logrotate_complains_of() {
        for (said, expected) in [
            ("error: demo:2 unknown unit 'Q'", Some(("/etc/logrotate.d/demo", Some(2), "syntax"))),
            (
                "error: /etc/logrotate.conf:9 unknown option 'x' -- ignoring line",
                Some(("/etc/logrotate.conf", Some(9), "syntax")),
            ),
            (
                "error: demo:12 lines must begin with a keyword or a filename (possibly in double quotes)",
                Some(("/etc/logrotate.d/demo", Some(12), "syntax")),
            ),
            (
                "error: skipping \"/srv/log/a.log\" because parent directory has insecure permissions (It's world writable or writable by group which is not \"root\") Set \"su\" directive",
                Some(("/srv/log/a.log", None, "permissions")),
            ),
            (
                "error: Ignoring demo because of bad file mode - must be 0644 or 0444.",
                Some(("/etc/logrotate.d/demo", None, "ignored")),
            ),
            (
                "error: Ignoring demo because the file owner is wrong (should be root or user with uid 0).",
                Some(("/etc/logrotate.d/demo", None, "ignored")),
            ),
            ("error: stat of /var/log/x failed: Permission denied", None),
            ("error: found error in /var/log/x , skipping", None),
            ("considering log /var/log/x:1 error: demo:2 x", None),
            ("error: ../../etc/x:1 y", None),
            ("", None),
        ] {
            let told = complaint(said);
            let told = told.as_ref().map(|c| (c.path.as_str(), c.line, c.reason));
            assert_eq!(told, expected, "{said}");
        }
    }

    #[test]
    fn a_file_is_one_fault_with_all_that_is_said_of_it() {
        let output = b"reading config file demo\nerror: demo:2 unknown unit 'Q'\nerror: demo:3 x y\n\xff\nerror: other:1 z\n";
        let done = Done { ended: Ended::Exited(1), output: output.to_vec(), cut: 0 };
        let faults = complaints(&done, &[]);
        let told: Vec<_> =
            faults.iter().map(|(f, _)| (f.subject.to_string(), f.evidence[0].text.clone())).collect();
        assert_eq!(
            told,
            [
                ("path:/etc/logrotate.d/demo".to_owned(), "demo:2 unknown unit 'Q'\ndemo:3 x y".to_owned()),
                ("path:/etc/logrotate.d/other".to_owned(), "other:1 z".to_owned()),
            ]
        );
    }

    /// Asks the real logrotate, where it is installed, about a file with a mistake.
    #[tokio::test]
    async fn the_real_logrotate_is_understood() {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: logrotate is not installed; what it says was not compared");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("demo");
        std::fs::write(&path, "/var/log/none/*.log {\n  size 1Q\n  missingok\n}\n").expect("written");
        let argv = [PROGRAM.to_owned(), "--debug".to_owned(), path.display().to_string()];
        let done = run(&argv, TIME_MAX, OUTPUT_BYTES_MAX).await.expect("it runs");
        let faults = complaints(&done, &[]);
        let output = String::from_utf8_lossy(&done.output);
        assert_eq!(faults.len(), 1, "{output}");
        assert_eq!(
            faults[0].0.fields.get(&Word::new("line").expect("a word")),
            Some(&Value::Integer(2)),
            "{output}"
        );
    }
}
