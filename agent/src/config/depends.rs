//! What cannot be well without what: as the administrator says it, and as it follows from what he says of services
//! and ports.

use super::at::At;
use super::types::{Config, Service};
use sopwith_domain::signal::Subject;
use sopwith_domain::value::{UnitName, Url, Word};
use std::collections::BTreeMap;

/// Subjects, and the subjects that each depends on.
pub type DependsOn = BTreeMap<Subject, Vec<At<Subject>>>;

impl Config {
    /// Returns everything that each subject depends on.
    pub fn dependencies(&self) -> BTreeMap<Subject, Vec<Subject>> {
        let mut all: BTreeMap<Subject, Vec<Subject>> = BTreeMap::new();
        for (what, on) in &self.depends_on {
            all.entry(what.clone()).or_default().extend(on.iter().map(|on| (**on).clone()));
        }
        for (unit, service) in &self.units.services {
            if let Some(heartbeat) = &service.heartbeat {
                // A service writes its heartbeat, which no full or read-only file system takes.
                let path = Subject::Path((*heartbeat.path).clone());
                all.entry(Subject::Unit(unit.clone())).or_default().push(path);
            }
        }
        for listener in &self.kernel.ports.listen {
            let Some(unit) = &listener.unit else { continue };
            all.entry(Subject::Unit((**unit).clone())).or_default().push(listener.subject());
        }
        for baseline in &self.baseline {
            let keys = self.keys_of(baseline.path.as_str());
            if !keys.is_empty() {
                all.entry(Subject::Path((*baseline.path).clone())).or_default().extend(keys);
            }
        }
        all
    }

    /// Returns the settings of a file that norms speak of one by one: that the file is not as it was follows from
    /// what is known to be wrong in it.
    fn keys_of(&self, path: &str) -> Vec<Subject> {
        let (norm, prefix, keys): (_, _, Vec<&Word>) = match path {
            "/etc/login.defs" => ("login-defs-drift", "login-defs", self.norms.login_defs.keys().collect()),
            "/etc/security/pwquality.conf" => {
                ("pwquality-drift", "pwquality", self.norms.pwquality.keys().collect())
            }
            "/etc/ssh/sshd_config" => ("sshd-drift", "sshd", self.norms.sshd.keys().collect()),
            _ => return Vec::new(),
        };
        if !self.norms.watch.takes(norm) {
            return Vec::new();
        }
        let subject = |key: &&Word| Word::new(format!("{prefix}.{}", key.as_str())).ok().map(Subject::Check);
        keys.iter().filter_map(subject).collect()
    }
}

impl Config {
    /// Returns the units that may be started anew without asking, and where each says how it is.
    pub fn restartable(&self) -> BTreeMap<UnitName, Option<Url>> {
        let health = |service: &Service| service.health.as_ref().map(|health| (*health.url).clone());
        let services = self.units.services.iter().filter(|(_, service)| *service.may_restart);
        services.map(|(unit, service)| (unit.clone(), health(service))).collect()
    }
}

impl super::Listener {
    pub fn protocol(&self) -> &'static str {
        if self.udp.as_ref().is_some_and(|udp| **udp) { "udp" } else { "tcp" }
    }

    /// Returns what faults of the port itself are about.
    pub fn subject(&self) -> Subject {
        let name = format!("{}:{}", self.protocol(), *self.port);
        Subject::Check(Word::new(name).expect("a protocol and a number make a word"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_and_following() {
        let config = "
depends_on:
  unit:web.service: [unit:db.service, mount:/srv]
  check:shop: [unit:web.service]
units: {services: {web.service: {heartbeat: {path: /srv/beat, max_age: 5s}}}}
kernel: {ports: {listen: [{port: 80, unit: web.service}, {port: 53, udp: true}]}}
norms: {watch: all, login_defs: {PASS_MAX_DAYS: '<=90'}, pwquality: {minlen: '>=14'}}
baseline: [{path: /etc/login.defs, content: first-seen}, {path: /etc/hosts, content: first-seen}]
";
        let config = Config::parse(config).unwrap_or_else(|e| panic!("{e:?}"));
        let told: Vec<_> = config
            .dependencies()
            .into_iter()
            .map(|(what, on)| {
                let on: Vec<_> = on.iter().map(ToString::to_string).collect();
                format!("{what} < {}", on.join(" "))
            })
            .collect();
        let expected = [
            "unit:web.service < unit:db.service mount:/srv path:/srv/beat check:tcp:80",
            "path:/etc/login.defs < check:login-defs.PASS_MAX_DAYS",
            "check:shop < unit:web.service",
        ];
        assert_eq!(told, expected);
        let findings = Config::parse("depends_on: {unit:web.service: [nothing]}").expect_err("no subject");
        assert!(findings[0].text.contains("subject"), "{findings:?}");
    }
}
