//! Tells systemd how the watcher is. Where systemd did not start it, nothing happens.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Notifier {
    /// How often systemd wants to hear, at least.
    every: Option<Duration>,
    told: Instant,
}

impl Notifier {
    pub fn from_environment() -> Self {
        let every = sd_notify::watchdog_enabled().map(|timeout| timeout / 3);
        Self { every, told: Instant::now() }
    }

    /// Feeds the watchdog; called in every round of the main loop.
    pub fn alive(&mut self) {
        let now = Instant::now();
        if self.every.is_some_and(|every| now - self.told >= every) {
            tell(&[NotifyState::Watchdog]);
            self.told = now;
        }
    }
}

/// Tells systemd something. That it cannot be told changes nothing for the watcher.
pub fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Says that the configuration is being read anew; `ready` must follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => tell(&[NotifyState::Reloading, since]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}
