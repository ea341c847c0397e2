//! Whether a service that runs is well, by its health address and its heartbeat, counted from when it last became
//! active: what went before belongs to the run that is gone.

use crate::config::{Health, Heartbeat};
use crate::watcher::clock;
use sopwith_domain::value::UnitName;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Shortest and longest time between two looks at a heartbeat.
const LOOK_MIN: Duration = Duration::from_millis(200);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Most looks that wait for the source.
pub(super) const SEEN_MAX: usize = 256;

/// One look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Answered {
        unit: UnitName,
        failure: Option<Failure>,
    },
    /// When the heartbeat was written, by the wall clock; nothing if it is not there.
    Beat {
        unit: UnitName,
        written_ms: Option<i64>,
    },
}

/// How asking a health address failed. A service that answers is another case than one that does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// `timeout`, `refused`, `status` or `other`.
    pub kind: &'static str,
    pub status: Option<u16>,
    pub words: String,
}

/// What is known of a service's wellness.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wellness {
    active_since_ms: Option<u64>,
    failures: u32,
    last_failure: Option<Failure>,
    /// The newest heartbeat and when, by the boot clock, it was first seen or must have been written.
    beat: Option<(Option<i64>, u64)>,
}

/// Why a service is not well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unwell {
    pub reason: &'static str,
    pub words: String,
    /// How the last asking failed, where that is the reason.
    pub health: Option<Failure>,
}

impl Wellness {
    /// Notes whether the service is active; becoming active begins everything anew.
    pub(super) fn active(&mut self, active: bool, now_ms: u64) {
        match (active, self.active_since_ms) {
            (true, None) => (self.active_since_ms, self.failures) = (Some(now_ms), 0),
            (false, Some(_)) => self.active_since_ms = None,
            _ => {}
        }
    }

    pub(super) fn answered(&mut self, failure: Option<Failure>) {
        match failure {
            None => self.failures = 0,
            Some(failure) => {
                self.failures = self.failures.saturating_add(1);
                self.last_failure = Some(failure);
            }
        }
    }

    /// Notes a heartbeat. Its age runs by the boot clock from when it was first seen, so that a jump of the wall
    /// clock makes nobody sick; only at the first look is the wall clock believed.
    pub(super) fn beat(&mut self, written_ms: Option<i64>, wall_ms: i64, now_ms: u64) {
        match self.beat {
            Some((known, _)) if known == written_ms => {}
            Some(_) => self.beat = Some((written_ms, now_ms)),
            None => {
                let age_ms = written_ms.map_or(0, |at| wall_ms.saturating_sub(at).max(0).cast_unsigned());
                self.beat = Some((written_ms, now_ms.saturating_sub(age_ms)));
            }
        }
    }

    /// Returns why it is not well, if so.
    pub(super) fn unwell(
        &self,
        health: Option<&Health>,
        heartbeat: Option<&Heartbeat>,
        now_ms: u64,
    ) -> Option<Unwell> {
        let active_since_ms = self.active_since_ms?;
        if let (Some(heartbeat), Some((_, beat_ms))) = (heartbeat, self.beat) {
            let age_ms = now_ms.saturating_sub(beat_ms.max(active_since_ms));
            if age_ms >= heartbeat.max_age.ms() {
                let words = format!(
                    "no heartbeat for {} s, at most {} s are allowed",
                    age_ms / 1000,
                    heartbeat.max_age.0.as_secs()
                );
                return Some(Unwell { reason: "heartbeat", words, health: None });
            }
        }
        let health = health?;
        let last = self.last_failure.as_ref().filter(|_| self.failures >= *health.failures)?;
        let words = format!("{} failed {} times: {}", *health.url, self.failures, last.words);
        Some(Unwell { reason: "health", words, health: Some(last.clone()) })
    }
}

/// Asks a health address again and again.
pub(super) async fn ask(
    unit: UnitName,
    health: Health,
    client: reqwest::Client,
    to: mpsc::Sender<Seen>,
    stop: CancellationToken,
) {
    let mut every = tokio::time::interval(health.every.0);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        let asked = client.get(health.url.as_str()).timeout(health.timeout.0).send().await;
        let failure = match asked {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(Failure {
                kind: "status",
                status: Some(answer.status().as_u16()),
                words: format!("it answers {}", answer.status()),
            }),
            Err(e) => Some(no_answer(&e, health.timeout.0)),
        };
        if to.send(Seen::Answered { unit: unit.clone(), failure }).await.is_err() {
            return;
        }
    }
}

/// Says how a service gave no answer. One that takes the connection and closes it has not answered either.
fn no_answer(error: &reqwest::Error, timeout: Duration) -> Failure {
    let (kind, words) = if error.is_timeout() {
        ("timeout", format!("no answer within {timeout:?}"))
    } else if error.is_connect() {
        ("refused", "no connection".to_owned())
    } else {
        let kind = if error.is_request() { "refused" } else { "other" };
        (kind, crate::watcher::uplink::chain(error))
    };
    Failure { kind, status: None, words }
}

/// Looks at a heartbeat again and again.
pub(super) async fn feel(
    unit: UnitName,
    heartbeat: Heartbeat,
    to: mpsc::Sender<Seen>,
    stop: CancellationToken,
) {
    let mut every = tokio::time::interval((heartbeat.max_age.0 / 20).clamp(LOOK_MIN, LOOK_MAX));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        let path = heartbeat.path.path().to_owned();
        let written = crate::watcher::files::look(move || {
            let written = std::fs::metadata(&path).ok()?.modified().ok()?;
            i64::try_from(written.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
        });
        // A file system that does not answer says nothing about the service.
        let Some(written_ms) = written.await else { continue };
        if to.send(Seen::Beat { unit: unit.clone(), written_ms }).await.is_err() {
            return;
        }
    }
}

/// Takes a look into account.
pub(super) fn note(wellness: &mut Wellness, seen: Seen) {
    match seen {
        Seen::Answered { failure, .. } => wellness.answered(failure),
        Seen::Beat { written_ms, .. } => wellness.beat(written_ms, clock::now().0, clock::boot_ms()),
    }
}

impl Seen {
    pub(super) fn unit(&self) -> &UnitName {
        match self {
            Self::Answered { unit, .. } | Self::Beat { unit, .. } => unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, Period};
    use sopwith_domain::value::{AbsPath, Url};

    const S: u64 = 1000;

    fn health() -> Health {
        Health {
            url: At::of(Url::new("http://127.0.0.1:1/h").expect("a url")),
            every: At::of(Period::secs(1)),
            timeout: At::of(Period::secs(1)),
            failures: At::of(2),
        }
    }

    fn heartbeat() -> Heartbeat {
        Heartbeat { path: At::of(AbsPath::new("/x").expect("a path")), max_age: At::of(Period::secs(10)) }
    }

    #[test]
    fn failures_count_in_a_row_and_from_activation_on() {
        let mut wellness = Wellness::default();
        let (health, fails) = (health(), || {
            Some(Failure { kind: "status", status: Some(503), words: "it answers 503".to_owned() })
        });
        let sick = |w: &Wellness| w.unwell(Some(&health), None, 0).map(|u| u.reason);
        wellness.answered(fails());
        wellness.answered(fails());
        assert_eq!(sick(&wellness), None, "it is not active");
        wellness.active(true, 0);
        assert_eq!(sick(&wellness), None, "that was before");
        for (failure, is) in
            [(fails(), None), (None, None), (fails(), None), (fails(), Some("health")), (None, None)]
        {
            wellness.answered(failure);
            assert_eq!(sick(&wellness), is);
        }
        wellness.answered(fails());
        wellness.answered(fails());
        wellness.active(true, 5);
        assert_eq!(sick(&wellness), Some("health"), "it was active all the while");
        wellness.active(false, 6);
        wellness.active(true, 7);
        assert_eq!(sick(&wellness), None);
    }

    #[test]
    fn a_heartbeat_ages_by_the_boot_clock_and_from_activation_on() {
        let mut wellness = Wellness::default();
        let heartbeat = heartbeat();
        let stale = |w: &Wellness, at_s: u64| w.unwell(None, Some(&heartbeat), at_s * S).is_some();
        wellness.active(true, 100 * S);
        assert!(!stale(&wellness, 500), "nothing was looked at yet");
        wellness.beat(Some(1_000_000), 1_004_000, 120 * S); // written four seconds ago
        assert!(!stale(&wellness, 125) && stale(&wellness, 126));
        wellness.beat(Some(1_011_000), 9_999_999_000, 127 * S); // the wall clock jumps
        assert!(!stale(&wellness, 136) && stale(&wellness, 137));
        wellness.active(false, 137 * S);
        assert!(!stale(&wellness, 140));
        wellness.active(true, 141 * S);
        wellness.beat(Some(1_011_000), 0, 142 * S);
        assert!(!stale(&wellness, 150) && stale(&wellness, 151), "a new run has its full time");
        wellness.beat(None, 0, 152 * S);
        assert!(!stale(&wellness, 161) && stale(&wellness, 162), "a file that went away is no heartbeat");
    }
}
