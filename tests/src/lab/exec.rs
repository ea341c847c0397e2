//! Runs one program to its end, with a limit on time and on what is kept of its output.
//!
//! Output goes through files, not pipes: a daemon that a script leaves behind may hold the descriptor
//! for ever, and must not keep the caller waiting.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{LabError, tail};

/// More output than any check in the catalogue prints; the rest is dropped.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
const POLL_MAX: Duration = Duration::from_millis(20);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; none after a signal or a time-out.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub timed_out: bool,
}

impl Finished {
    pub fn ok(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }

    /// Returns the standard output of a success; anything else becomes an error that names the work.
    pub fn expect(self, what: &str) -> Result<String, LabError> {
        if self.ok() {
            return Ok(self.stdout);
        }
        let tail = tail(&format!("{}\n{}", self.stdout, self.stderr));
        Err(LabError::Failed { what: what.to_owned(), code: self.code, tail })
    }
}

/// Runs a command until it ends or the limit passes, when it is killed.
pub fn run(command: &mut Command, stdin: &[u8], limit: Duration) -> io::Result<Finished> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(stdin_file(stdin)?).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn()?;
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= limit {
            timed_out = true;
            child.kill()?;
            break child.wait()?;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL_MAX);
    };
    let code = if timed_out { None } else { status.code() };
    Ok(Finished { code, stdout: read_back(&mut stdout)?, stderr: read_back(&mut stderr)?, timed_out })
}

fn stdin_file(bytes: &[u8]) -> io::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

fn read_back(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, stdin: &[u8], limit: Duration) -> Finished {
        run(Command::new("/bin/sh").args(["-c", script]), stdin, limit).expect("sh starts")
    }

    #[test]
    fn keeps_output_code_and_input() {
        let done = sh("cat; echo err >&2; exit 3", b"in", Duration::from_secs(20));
        assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (Some(3), "in", "err\n"));
        assert!(!done.ok());
    }

    #[test]
    fn a_daemon_that_keeps_the_output_open_does_not_hold_the_caller() {
        let done = sh("sleep 30 & echo started", b"", Duration::from_secs(20));
        assert!(done.ok());
        assert_eq!(done.stdout, "started\n");
    }

    #[test]
    fn the_limit_ends_it() {
        let done = sh("echo before; exec sleep 1000", b"", Duration::from_millis(300));
        assert!(done.timed_out && !done.ok());
        assert_eq!(done.stdout, "before\n");
    }

    #[test]
    fn output_is_bounded() {
        let done = sh("yes | head -c 3000000", b"", Duration::from_secs(20));
        assert_eq!(done.stdout.len() as u64, OUTPUT_BYTES_MAX);
    }
}
