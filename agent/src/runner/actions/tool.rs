//! Asks one of the system's own tools, by argument vector, and reads what it says, whole or not at all. For looking
//! only: what changes something is started under the supervisor (see [`super::command`]).

use crate::runner::confine::Confinement;
use crate::runner::step_exec::ENVIRONMENT;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Longest answer that is taken, in bytes: a ruleset of many thousand rules.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Longest complaint that is kept, in bytes.
const ERRORS_BYTES_MAX: u64 = 4 * 1024;
/// How long a tool may take that only looks.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What a tool said.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub errors: String,
}

impl Answer {
    /// Returns the first line of its complaint.
    pub fn complaint(&self) -> &str {
        self.errors.lines().next().unwrap_or("it gives no reason").trim()
    }
}

/// Asks a tool, which gets no more rights than it is given.
///
/// # Errors
/// It cannot be started, takes too long or says too much.
pub fn ask(confinement: &Confinement, argv: &[&str]) -> Result<Answer, String> {
    let [program, arguments @ ..] = argv else { return Err("no program is named".into()) };
    let mut child = start(confinement, program, arguments)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let descriptor = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let (done, waits) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = waits.recv_timeout(TIME_MAX) == Err(RecvTimeoutError::Timeout);
        if let Some(descriptor) = descriptor.filter(|_| late) {
            let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        }
        late
    });
    let errors = child.stderr.take().map(|pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.take(ERRORS_BYTES_MAX).read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let mut out = Vec::new();
    let read = child.stdout.take().map(|pipe| pipe.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut out));
    if out.len() as u64 > ANSWER_BYTES_MAX {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| format!("failed to wait for {program}: {e}"));
    drop(done);
    let late = watch.join().unwrap_or(true);
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    match read {
        _ if late => Err(format!("{program} takes too long")),
        _ if out.len() as u64 > ANSWER_BYTES_MAX => Err(format!("{program} says too much to be read")),
        Some(Ok(_)) => Ok(Answer { code: status?.code(), out, errors }),
        _ => Err(format!("failed to read what {program} says")),
    }
}

/// Starts it from a thread that has given up what the tool is not to have: a child has no more than who starts it.
fn start(confinement: &Confinement, program: &str, arguments: &[&str]) -> Result<Child, String> {
    let failed = |e: std::io::Error| format!("failed to start {program}: {e}");
    let spawn = || {
        confinement.apply_to_thread()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    };
    let child = std::thread::scope(|scope| scope.spawn(spawn).join());
    let child = child.map_err(|_| format!("failed to start {program}"))?.map_err(failed)?;
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // One that has ended meanwhile needs none.
        let _ = confinement.limit(Some(pid));
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_bound_and_this_program_is_not() {
        let profile = crate::runner::profiles::packet_filter();
        let answer =
            ask(&profile, &["/bin/grep", "-E", "^(NoNewPrivs|CapBnd|Seccomp):", "/proc/self/status"]);
        let said = String::from_utf8(answer.expect("it answers").out).expect("text");
        assert!(said.contains("NoNewPrivs:\t1"), "{said}");
        let own = std::fs::read_to_string("/proc/thread-self/status").expect("read");
        assert!(own.contains("NoNewPrivs:\t0"), "{own}");
    }

    #[test]
    fn a_tool_answers_whole_or_not_at_all() {
        let profile = Confinement::default();
        let answer = ask(&profile, &["/bin/sh", "-c", "echo out; echo why >&2; exit 3"]).expect("it answers");
        assert_eq!((answer.code, answer.out.as_slice()), (Some(3), &b"out\n"[..]));
        assert_eq!(answer.complaint(), "why");
        let endless = ask(&profile, &["/bin/cat", "/dev/zero"]).expect_err("it never ends");
        assert!(endless.contains("too much"), "{endless}");
        assert!(ask(&profile, &["/nonexistent"]).is_err());
    }
}
