//! pgBackRest: the backups of a stanza, through the JSON of its `info`, which its makers promise to keep stable.

use super::judge::{Copy, Found, Lock};
use super::tool::{self, Signs, Trouble};
use crate::config::{Period, PgBackRest};
use crate::watcher::process::Program;
use serde::Deserialize;
use std::path::Path;

const SIGNS: Signs = Signs {
    codes: &[(50, "locked"), (55, "no-repository")],
    words: &[
        ("unable to open missing file", "no-repository"),
        ("unable to acquire lock", "locked"),
        ("crypto", "password"),
    ],
};

#[derive(Deserialize)]
struct Stanza {
    status: Status,
    #[serde(default)]
    backup: Vec<Made>,
}

#[derive(Deserialize)]
struct Status {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    lock: Locks,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Locks {
    backup: Held,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Held {
    held: bool,
}

#[derive(Deserialize)]
struct Made {
    label: String,
    timestamp: Times,
    /// Whether pages with wrong checksums were found while it was made.
    #[serde(default)]
    error: Option<bool>,
    info: Sizes,
}

#[derive(Deserialize)]
struct Times {
    stop: i64,
}

#[derive(Deserialize)]
struct Sizes {
    size: u64,
}

fn program(backrest: &PgBackRest, arguments: &[&str]) -> Result<Program, Trouble> {
    let mut argv = vec![backrest.program.to_string(), format!("--stanza={}", backrest.stanza.as_str())];
    argv.extend(backrest.config.as_ref().map(|config| format!("--config={}", config.as_str())));
    // Its log belongs to the user that makes the backups.
    argv.push("--log-level-file=off".into());
    argv.extend(arguments.iter().map(ToString::to_string));
    let variables = tool::variables(backrest.environment.as_ref())?;
    Ok(Program { argv, variables, apart: true, ..Program::default() })
}

/// Asks what is there.
///
/// # Errors
/// See [`Trouble`].
pub async fn look(backrest: &PgBackRest) -> Result<Found, Trouble> {
    let asked = program(backrest, &["--output=json", "info"])?;
    read(&tool::ask(&asked, *backrest.timeout, &SIGNS).await?)
}

fn read(answer: &str) -> Result<Found, Trouble> {
    let stanzas: Vec<Stanza> = tool::parse("pgbackrest", answer)?;
    let wrong = |reason, words: &str| Err(Trouble::Repository { reason, words: words.to_owned() });
    let Some(stanza) = stanzas.into_iter().next() else {
        return wrong("no-repository", "it knows no such stanza");
    };
    let copy = |made: Made| Copy {
        id: made.label,
        at_s: made.timestamp.stop,
        bytes: Some(made.info.size),
        failed: made.error == Some(true),
    };
    let held = stanza.status.lock.backup.held;
    let found = Found {
        copies: stanza.backup.into_iter().map(copy).collect(),
        locks: held
            .then(|| Lock { holder: "pgbackrest".into(), age_s: 0, stale: false })
            .into_iter()
            .collect(),
        nothing_because: (stanza.status.code == 2).then_some("the repository is empty"),
        ..Found::default()
    };
    match stanza.status.code {
        // Repositories that differ, and a backup that was asked for and is not there, are no concern of ours.
        0 | 2 | 4 | 6 => Ok(found),
        1 | 3 => wrong("no-repository", &stanza.status.message),
        5 => wrong("mismatch", &stanza.status.message),
        _ if stanza.status.message.to_ascii_lowercase().contains("permission denied") => {
            Err(Trouble::Unasked(stanza.status.message))
        }
        _ => wrong("other", &stanza.status.message),
    }
}

/// Has it verify everything in the repository.
///
/// # Errors
/// See [`Trouble`]; a repository that is damaged is one.
pub async fn verify(backrest: &PgBackRest, time_max: Period) -> Result<(), Trouble> {
    let answer = tool::ask(&program(backrest, &["--output=text", "verify"])?, time_max, &SIGNS).await?;
    verdict(&answer)
}

/// It exits with 0 whatever it finds.
fn verdict(answer: &str) -> Result<(), Trouble> {
    let bad = |line: &str| {
        let line = line.trim();
        line == "status: error" || line.contains("status: invalid")
    };
    match answer.lines().any(bad) {
        true => Err(Trouble::Repository { reason: "corrupt", words: answer.to_owned() }),
        false => Ok(()),
    }
}

/// Returns the program that restores the newest backup into a folder.
///
/// # Errors
/// See [`Trouble`].
pub fn restore(backrest: &PgBackRest, id: &str, scratch: &Path) -> Result<Program, Trouble> {
    let into = scratch.join("data");
    let arguments = [
        format!("--set={id}"),
        format!("--pg1-path={}", into.display()),
        format!("--tablespace-map-all={}", scratch.join("tablespaces").display()),
        format!("--lock-path={}", scratch.join("lock").display()),
        "--archive-mode=off".into(),
        "--type=none".into(),
        "restore".into(),
    ];
    program(backrest, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_info_says() {
        let answer = |code: u32, held: bool, backup: &str| {
            format!(
                r#"[{{"backup":[{backup}],"name":"demo","status":{{"code":{code},"lock":{{"backup":{{"held":{held}}}}},"message":"m"}}}}]"#
            )
        };
        let made = r#"{"error":false,"info":{"delta":1,"size":39},"label":"20261124-095447F","timestamp":{"start":1,"stop":9},"type":"full"}"#;
        let failed = made.replace("false", "true");
        for (text, told) in [
            (answer(0, false, made), "20261124-095447F@9"),
            (answer(0, true, &failed), "20261124-095447F@9! locked"),
            (answer(2, false, ""), "the repository is empty"),
            (answer(1, false, ""), "no-repository"),
            (answer(99, false, ""), "other"),
            ("[]".into(), "no-repository"),
            ("nonsense".into(), "unasked"),
        ] {
            let said = match read(&text) {
                Ok(found) => {
                    let copies = found
                        .copies
                        .iter()
                        .map(|c| format!("{}@{}{}", c.id, c.at_s, if c.failed { "!" } else { "" }));
                    let locks = found.locks.iter().map(|_| "locked".to_owned());
                    let nothing = found.nothing_because.iter().map(ToString::to_string);
                    copies.chain(locks).chain(nothing).collect::<Vec<_>>().join(" ")
                }
                Err(Trouble::Repository { reason, .. }) => reason.into(),
                Err(Trouble::Unasked(_)) => "unasked".into(),
            };
            assert_eq!(said, told, "{text}");
        }
    }

    #[test]
    fn it_says_only_in_words_that_something_is_damaged() {
        let good = "stanza: demo\nstatus: ok\n";
        let bad = "stanza: demo\nstatus: error\n  backup: 20261124-095447F, status: invalid, total files checked: 965\n";
        for (answer, is) in [("", true), (good, true), (bad, false)] {
            assert_eq!(verdict(answer).is_ok(), is, "{answer}");
        }
    }
}
