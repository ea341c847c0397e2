//! The host's wall clock: steps, which the kernel tells, and its difference to the server's clock, which every answer
//! of the server tells.

use super::{Context, Source, SourceFailed, Work};
use crate::config::{self, Config};
use crate::watcher::clock;
use crate::watcher::notices::registered;
use crate::watcher::report::Fault;
use crate::watcher::rounds::{self, Look, Seen, Waking};
use crate::watcher::server_clock::ServerClock;
use crate::watcher::sink::{Afresh, Sink};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{UnitName, Value};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

const STEPPED: &str = "clock.stepped";
const OFFSET: &str = "clock.offset";
const EVERY: Duration = Duration::from_secs(10);
/// So long after a step it is over.
const STEP_QUIET: Duration = Duration::from_secs(600);
/// An answer of the server older than this says nothing of the clock now.
const ANSWER_AGE_MS_MAX: u64 = 120_000;
/// Far in the future: the timer never ends by itself.
const NEVER: Timespec = Timespec { tv_sec: 1 << 40, tv_nsec: 0 };

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let config = config.kernel.clock.clone();
    let wanted = !config.step.0.is_zero() || !config.offset.0.is_zero();
    let (afresh, server) = (context.afresh.clone(), context.server_clock.clone());
    wanted.then(|| Box::new(Clock { config, afresh, server }) as Box<dyn Source>)
}

struct Clock {
    config: config::Clock,
    afresh: Afresh,
    server: ServerClock,
}

impl Source for Clock {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let steps = Steps::start().map_err(|e| SourceFailed::new("be told of steps of the clock", &e))?;
            let (config, server) = (self.config, self.server);
            let watched = Watched { config, server, ahead_ms: ahead_ms(), offset_holds: false };
            rounds::run(watched, steps, &sink, &self.afresh, &stop).await
        })
    }
}

/// A timer that the kernel cancels when the wall clock is set.
struct Steps(AsyncFd<OwnedFd>);

impl Steps {
    fn start() -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let steps = Self(registered(timer, Interest::READABLE)?);
        steps.arm();
        Ok(steps)
    }

    fn arm(&self) {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let never = Itimerspec { it_interval: none, it_value: NEVER };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        // Where it cannot be armed the intervals find the step.
        let _ = timerfd_settime(self.0.get_ref(), flags, &never);
    }
}

impl Waking for Steps {
    async fn woken(&mut self) {
        match self.0.readable().await {
            Ok(mut guard) => {
                // Reading takes the cancellation out; it must be armed anew for the next.
                let _ = rustix::io::read(self.0.get_ref(), &mut [0_u8; 8]);
                guard.clear_ready();
                self.arm();
            }
            Err(_) => std::future::pending().await,
        }
    }
}

/// Returns how far the wall clock is ahead of the time since boot, which nobody sets.
fn ahead_ms() -> i64 {
    clock::now().0 - i64::try_from(clock::boot_ms()).unwrap_or(0)
}

struct Watched {
    config: config::Clock,
    server: ServerClock,
    ahead_ms: i64,
    offset_holds: bool,
}

impl Look for Watched {
    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        let ahead_ms = ahead_ms();
        let step_ms = ahead_ms - std::mem::replace(&mut self.ahead_ms, ahead_ms);
        if stepped(step_ms, self.config.step.ms()) {
            // What the server said before the step is of the clock before it.
            self.server.forget(clock::boot_ms());
            seen.happened.push((step_fault(step_ms), STEP_QUIET));
        }
        let offset_ms = self.server.offset_ms(clock::boot_ms(), ANSWER_AGE_MS_MAX);
        let Some(offset_ms) = offset_ms.filter(|_| !self.config.offset.0.is_zero()) else {
            self.offset_holds = false;
            return seen;
        };
        self.offset_holds = off(self.offset_holds, offset_ms, self.config.offset.ms());
        if self.offset_holds {
            seen.hold(offset_fault(offset_ms, self.config.offset.ms()), self.config.tolerance.0);
        }
        seen
    }

    fn wait(&self) -> Duration {
        EVERY
    }
}

fn stepped(step_ms: i64, limit_ms: u64) -> bool {
    limit_ms > 0 && step_ms.unsigned_abs() >= limit_ms
}

/// Once it is wrong, it is right only when it is so by half the limit.
fn off(before: bool, offset_ms: i64, limit_ms: u64) -> bool {
    offset_ms.unsigned_abs() >= if before { limit_ms / 2 } else { limit_ms }
}

fn step_fault(step_ms: i64) -> Fault {
    let way = if step_ms > 0 { "forward" } else { "back" };
    let text = format!("the clock was set {way} by {} s", step_ms.unsigned_abs() / 1000);
    let mut fault = Fault::new(STEPPED, "clock.stepped", Subject::Host, Severity::Warning, text);
    fault.integer("step_ms", step_ms);
    fault
}

fn offset_fault(offset_ms: i64, limit_ms: u64) -> Fault {
    let way = if offset_ms > 0 { "ahead of" } else { "behind" };
    let text = format!("the clock is {} s {way} the server's", offset_ms.unsigned_abs() / 1000);
    let mut fault = Fault::new(OFFSET, "clock.offset", Subject::Host, Severity::Warning, text);
    // In whole seconds, so that it is no news that it wavers.
    fault.integer("offset_ms", offset_ms / 1000 * 1000);
    fault.integer("limit_ms", limit_ms);
    // Who could set it right: only chrony steps a clock when it is asked to.
    if let Some(daemon) =
        Path::new("/usr/sbin/chronyd").exists().then(|| UnitName::new("chrony.service").ok()).flatten()
    {
        fault.field("daemon", Value::Unit(daemon));
    }
    // systemd-timesyncd says so; chrony and ntpd have their own words, which the inspections read.
    fault.field("synchronized", Value::Boolean(Path::new("/run/systemd/timesync/synchronized").exists()));
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_offsets() {
        for (step_ms, limit_ms, is) in
            [(0, 10, false), (9, 10, false), (10, 10, true), (-10, 10, true), (-9, 10, false), (99, 0, false)]
        {
            assert_eq!(stepped(step_ms, limit_ms), is, "{step_ms}");
        }
        for (before, offset_ms, is) in
            [(false, 99, false), (false, -100, true), (true, 50, true), (true, -49, false)]
        {
            assert_eq!(off(before, offset_ms, 100), is, "{before} {offset_ms}");
        }
    }

    #[test]
    fn the_servers_clock_makes_a_fault_and_takes_it_back() {
        let server = ServerClock::default();
        let config = config::Clock::default();
        let mut watched =
            Watched { config, server: server.clone(), ahead_ms: ahead_ms(), offset_holds: false };
        assert!(watched.look().holds.is_empty(), "nobody has said anything");
        server.note(clock::boot_ms(), -420_000);
        let seen = watched.look();
        assert_eq!(seen.holds[0].0.summary, "the clock is 420 s behind the server's");
        watched.ahead_ms -= 60_000;
        let seen = watched.look();
        assert_eq!(seen.happened[0].0.summary, "the clock was set forward by 60 s");
        assert!(seen.holds.is_empty(), "what was said before the step is forgotten");
    }

    #[tokio::test]
    async fn the_kernel_gives_the_timer() {
        let mut steps = Steps::start().expect("a timer");
        let woken = tokio::time::timeout(Duration::from_millis(20), steps.woken()).await;
        assert!(woken.is_err(), "nobody has set the clock");
    }
}
