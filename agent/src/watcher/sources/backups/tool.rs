//! Asks a backup program about its repository: by argument vector, bounded in time and output, its errors kept apart
//! from what it prints. It is never asked to change anything, nor to take a lock.

use crate::config::{At, Period};
use crate::watcher::process::{self, Ended, Program};
use sopwith_domain::value::AbsPath;
use std::io::{ErrorKind, Read};

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest file of variables, in bytes.
const VARIABLES_BYTES_MAX: u64 = 64 * 1024;

/// Why a program did not answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// We cannot ask: the source is broken.
    Unasked(String),
    /// The repository is at fault: a reason as a word, and the program's own words.
    Repository { reason: &'static str, words: String },
}

/// How a program tells what is wrong: exit codes first, then telling words, each with a reason.
#[derive(Debug)]
pub struct Signs {
    pub codes: &'static [(i32, &'static str)],
    pub words: &'static [(&'static str, &'static str)],
}

/// Runs the program to its end and returns what it printed.
///
/// # Errors
/// See [`Trouble`].
pub async fn ask(program: &Program, timeout: Period, signs: &Signs) -> Result<String, Trouble> {
    let name = program.argv.first().cloned().unwrap_or_default();
    let until = tokio::time::sleep(timeout.0);
    let ran = process::run_until(program, until, ANSWER_BYTES_MAX).await;
    let (done, errors) = ran.map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            Trouble::Unasked(format!("{name} is not there: install it, or take this backup out"))
        }
        _ => Trouble::Unasked(format!("failed to start {name}: {e}")),
    })?;
    let mut words = String::from_utf8_lossy(&errors).into_owned();
    if words.trim().is_empty() {
        words = String::from_utf8_lossy(&done.output).into_owned();
    }
    match done.ended {
        Ended::Exited(0) if done.cut > 0 => {
            Err(Trouble::Unasked(format!("{name} answered more than {ANSWER_BYTES_MAX} bytes")))
        }
        Ended::Exited(0) => Ok(String::from_utf8_lossy(&done.output).into_owned()),
        Ended::Exited(code) => Err(classify(signs, code, words)),
        Ended::TimedOut => {
            Err(Trouble::Repository { reason: "timeout", words: format!("no answer within {timeout:?}") })
        }
        Ended::Signalled(signal) => Err(Trouble::Unasked(format!("{name} was ended by signal {signal}"))),
    }
}

/// Says what an error means.
pub fn classify(signs: &Signs, code: i32, words: String) -> Trouble {
    let by_code = signs.codes.iter().find(|(of, _)| *of == code).map(|(_, reason)| *reason);
    let lower = words.to_ascii_lowercase();
    let reason = by_code.or_else(|| {
        // What we may not read says nothing about the repository.
        let all = [("permission denied", "permission")].iter().chain(signs.words);
        all.into_iter().find(|(telling, _)| lower.contains(telling)).map(|(_, reason)| *reason)
    });
    match reason {
        Some("permission") => Trouble::Unasked(format!("permission denied: {}", telling_lines(&words))),
        Some(reason) => Trouble::Repository { reason, words },
        None => Trouble::Repository { reason: "other", words },
    }
}

/// Returns the first lines of a text, for one line of a state.
fn telling_lines(words: &str) -> String {
    words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(300)
        .collect()
}

/// Reads NAME=VALUE lines. Nothing in them is expanded.
///
/// # Errors
/// The file cannot be read; told as a reason for which nothing can be asked.
pub fn variables(file: Option<&At<AbsPath>>) -> Result<Vec<(String, String)>, Trouble> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let mut text = String::new();
    let read =
        std::fs::File::open(file.path()).and_then(|f| f.take(VARIABLES_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|e| Trouble::Unasked(format!("failed to read {}: {e}", file.as_str())))?;
    let pair = |line: &str| {
        let line = line.trim().strip_prefix("export ").unwrap_or(line.trim());
        let (name, value) = line.split_once('=')?;
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        named.then(|| (name.to_owned(), bare.unwrap_or(value).to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// Parses the program's answer.
///
/// # Errors
/// It is not what such a program prints.
pub fn parse<T: serde::de::DeserializeOwned>(name: &str, answer: &str) -> Result<T, Trouble> {
    serde_json::from_str(answer)
        .map_err(|e| Trouble::Unasked(format!("failed to understand what {name} answers: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let signs = Signs { codes: &[(10, "no-repository")], words: &[("wrong password", "password")] };
        let reason = |code, words: &str| match classify(&signs, code, words.into()) {
            Trouble::Repository { reason, .. } => reason,
            Trouble::Unasked(_) => "unasked",
        };
        for (code, words, is) in [
            (10, "", "no-repository"),
            (1, "Fatal: Wrong password or no key found", "password"),
            (1, "open /x: permission denied", "unasked"),
            (1, "something else", "other"),
        ] {
            assert_eq!(reason(code, words), is, "{code} {words}");
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended() {
        let argv = ["/bin/sleep", "1000"].map(str::to_owned).to_vec();
        let signs = Signs { codes: &[], words: &[] };
        let program = Program { argv, apart: true, ..Program::default() };
        let asked = ask(&program, "100ms".parse().expect("a time"), &signs).await;
        assert!(matches!(asked, Err(Trouble::Repository { reason: "timeout", .. })), "{asked:?}");
    }

    #[test]
    fn variables_are_read_and_not_expanded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("env");
        std::fs::write(&path, "# keys\nA=1\nexport B=\"two words\"\nC=$(id)\n=x\nbad name=1\n")
            .expect("written");
        let file = At::of(AbsPath::new(path.to_string_lossy().into_owned()).expect("a path"));
        let read = variables(Some(&file)).expect("read");
        let told: Vec<_> = read.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(told, ["A=1", "B=two words", "C=$(id)"]);
    }
}
