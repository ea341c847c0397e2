//! Asks the programs that know best: sshd, visudo, logrotate, chronyc, systemctl. By argument vector, bounded in time
//! and output, and not more often than needed.

use super::host::{Answer, Asked};
use crate::watcher::process::{self, Ended, Program};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time and output of a program.
const TIME_MAX: Duration = Duration::from_secs(15);
const OUTPUT_BYTES_MAX: usize = 512 * 1024;
/// How often those are asked whose answers change by themselves.
const CHANGING_EVERY: Duration = Duration::from_secs(300);
/// Folder of such files: only this many are looked at for changes.
const FILES_MAX: usize = 1000;

/// What logrotate says where it cannot become another user.
pub const SWITCHING: &str = "error switching euid";
/// Most files of logrotate that are asked of one by one.
const ROTATED_MAX: usize = 64;

struct Question {
    asked: Asked,
    argv: &'static [&'static str],
    /// What it reads: a change there makes its answer old.
    files: &'static [&'static str],
}

const QUESTIONS: &[Question] = &[
    Question {
        asked: Asked::Visudo,
        argv: &["/usr/sbin/visudo", "-c"],
        files: &["/etc/sudoers", "/etc/sudoers.d"],
    },
    Question {
        asked: Asked::Sshd,
        argv: &["/usr/sbin/sshd", "-T"],
        files: &["/etc/ssh", "/etc/ssh/sshd_config.d"],
    },
    Question {
        asked: Asked::Logrotate,
        argv: &["/usr/sbin/logrotate", "-d", "/etc/logrotate.conf"],
        files: &["/etc/logrotate.conf", "/etc/logrotate.d"],
    },
    Question { asked: Asked::Chrony, argv: &["/usr/bin/chronyc", "-n", "-c", "tracking"], files: &[] },
    Question {
        asked: Asked::Timesync,
        argv: &[
            "/usr/bin/busctl",
            "--json=short",
            "get-property",
            "org.freedesktop.timesync1",
            "/org/freedesktop/timesync1",
            "org.freedesktop.timesync1.Manager",
            "NTPMessage",
        ],
        files: &[],
    },
    Question {
        asked: Asked::Timers,
        argv: &[
            "/usr/bin/systemctl",
            "show",
            "*.timer",
            "--all",
            "--timestamp=unix",
            "--property=Id,Unit,LoadState,UnitFileState,ActiveState,Result,ConditionResult,ConditionTimestampMonotonic,NextElapseUSecRealtime",
        ],
        files: &["/etc/systemd/system"],
    },
];

/// The last answers, and of when they are.
#[derive(Debug, Default)]
pub struct Answers {
    pub all: BTreeMap<Asked, Answer>,
    of: BTreeMap<Asked, (Instant, u64)>,
}

impl Answers {
    /// Asks what is to be asked again.
    pub async fn refresh(&mut self, every: Duration, running: &[String]) {
        for question in QUESTIONS {
            if !wanted(question.asked, running) {
                self.all.remove(&question.asked);
                self.of.remove(&question.asked);
                continue;
            }
            let seen = fingerprint(question.files);
            let every = if question.files.is_empty() || question.asked == Asked::Timers {
                every.min(CHANGING_EVERY)
            } else {
                every
            };
            let fresh =
                self.of.get(&question.asked).is_some_and(|(at, of)| at.elapsed() < every && *of == seen);
            if !fresh {
                let mut answer = ask(question.argv).await;
                if question.asked == Asked::Logrotate {
                    answer = one_by_one(answer).await;
                }
                self.all.insert(question.asked, answer);
                self.of.insert(question.asked, (Instant::now(), seen));
            }
        }
    }
}

/// Says whether there is any sense in asking: of a clock only the daemon that keeps it.
fn wanted(asked: Asked, running: &[String]) -> bool {
    let runs = |name: &str| running.iter().any(|running| running == name);
    match asked {
        Asked::Chrony => runs("chronyd"),
        Asked::Timesync => runs("systemd-timesyn"),
        Asked::Timers => Path::new("/run/systemd/system").exists(),
        Asked::Visudo | Asked::Sshd | Asked::Logrotate => true,
    }
}

async fn ask(argv: &[&str]) -> Answer {
    let program = argv.first().copied().unwrap_or_default();
    if !Path::new(program).exists() {
        return Answer::NotThere;
    }
    let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
    let asked = Program { argv, apart: true, quietly: true, ..Program::default() };
    match process::run_until(&asked, tokio::time::sleep(TIME_MAX), OUTPUT_BYTES_MAX).await {
        Err(e) => Answer::Failed(format!("failed to start {program}: {e}")),
        Ok((done, errors)) => match done.ended {
            Ended::Exited(code) => Answer::Said {
                code,
                output: String::from_utf8_lossy(&done.output).into_owned(),
                errors: String::from_utf8_lossy(&errors).into_owned(),
            },
            Ended::Signalled(signal) => Answer::Failed(format!("{program} was ended by signal {signal}")),
            Ended::TimedOut => Answer::Failed(format!("{program} did not answer within {TIME_MAX:?}")),
        },
    }
}

/// Logrotate ends where a file wants another user, whom only root can become; then each file is asked of by itself, so
/// that those after it are read as well.
async fn one_by_one(whole: Answer) -> Answer {
    let Answer::Said { code, output, mut errors } = whole else { return whole };
    if !errors.contains(SWITCHING) {
        return Answer::Said { code, output, errors };
    }
    let entries = std::fs::read_dir("/etc/logrotate.d").into_iter().flatten().flatten();
    let mut paths: Vec<_> =
        entries.map(|entry| entry.path().display().to_string()).take(ROTATED_MAX).collect();
    paths.sort();
    for path in paths {
        if let Answer::Said { errors: more, .. } = ask(&["/usr/sbin/logrotate", "-d", &path]).await {
            errors.push_str(&more);
        }
    }
    Answer::Said { code, output, errors }
}

/// Returns a number that changes when one of the files does, or one is added to or taken from a folder.
fn fingerprint(paths: &[&str]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let mut one = |path: &Path| {
        if let Ok(m) = std::fs::metadata(path) {
            (m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()).hash(&mut hasher);
        }
    };
    for path in paths {
        let path = Path::new(path);
        one(path);
        let below = std::fs::read_dir(path).into_iter().flatten().flatten().take(FILES_MAX);
        below.for_each(|entry| one(&entry.path()));
    }
    hasher.finish()
}
