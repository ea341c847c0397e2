//! What the administrator says of the rotation of logs.

use super::ConfigFile;
use super::at::{At, Period};
use serde::Deserialize;
use sopwith_domain::playbook::Finding;
use std::time::Duration;

/// Shortest time between two looks: logrotate goes through all its files.
const EVERY_MIN: Duration = Duration::from_secs(10);

/// Whether logrotate can read its configuration, and whether it runs. Watched where logrotate is installed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logrotate {
    pub watch: At<bool>,
    /// Longest time between two looks; a change of the configuration brings one at once.
    pub every: At<Period>,
    /// From so long on the last run is too long ago.
    pub max_age: At<Period>,
    /// Configuration files and their known-good copies.
    pub config: Vec<ConfigFile>,
}

impl Default for Logrotate {
    fn default() -> Self {
        let (every, max_age) = (At::of(Period::secs(3_600)), At::of(Period::secs(2 * 86_400)));
        Self { watch: At::of(true), every, max_age, config: Vec::new() }
    }
}

/// Adds everything that is wrong.
pub(super) fn findings(logrotate: &Logrotate, found: &mut Vec<Finding>) {
    if logrotate.every.0 < EVERY_MIN {
        found.push(logrotate.every.finding("every must be at least 10s"));
    }
    if logrotate.max_age.0 < Duration::from_secs(3_600) {
        found.push(logrotate.max_age.finding("max_age must be at least 1h"));
    }
}
