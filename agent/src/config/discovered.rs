//! What `sopwith-agent discover` proposed may stay in a file of its own, `discovered: /etc/sopwith/discovered.yaml`: it
//! can be made anew at any time, and what the administrator says himself goes before it.

use super::types::Config;
use super::{ConfigError, Norms, packs};
use sopwith_domain::playbook::Finding;
use std::path::Path;

/// Reads a file whole, or says why not.
pub type Reader<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

/// Adds to the settings what the file that they name proposes.
///
/// # Errors
/// The file cannot be read, or not be used; every finding names it.
pub(super) fn complete(config: &mut Config, named_in: &Path, read: Reader<'_>) -> Result<(), ConfigError> {
    let Some(path) = config.discovered.clone() else { return Ok(()) };
    let unread = |e: std::io::Error| {
        let text =
            format!("failed to read {}: {e}; `sopwith-agent discover --output` writes one", path.as_str());
        ConfigError::Findings { file: named_in.into(), findings: vec![path.finding(text)] }
    };
    let text = read(path.path()).map_err(unread)?;
    let proposed = Config::read(&text)
        .and_then(refuse_another)
        .map_err(|findings| ConfigError::Findings { file: path.path().into(), findings })?;
    add(config, proposed);
    Ok(())
}

/// One file may name another, and no more.
fn refuse_another(proposed: Config) -> Result<Config, Vec<Finding>> {
    match &proposed.discovered {
        None => Ok(proposed),
        Some(path) => Err(vec![path.finding("a proposal cannot name another one")]),
    }
}

fn add(config: &mut Config, mut proposed: Config) {
    let packs = std::mem::take(&mut proposed.packs);
    extend(&mut config.packs, packs, |own, new| **own == **new);
    config.packs_ignore.append(&mut proposed.packs_ignore);
    extend(&mut config.processes, std::mem::take(&mut proposed.processes), |own, new| *own.name == *new.name);
    extend(&mut config.backups, std::mem::take(&mut proposed.backups), |own, new| *own.name == *new.name);
    extend(&mut config.baseline, std::mem::take(&mut proposed.baseline), |own, new| *own.path == *new.path);
    let ports = std::mem::take(&mut proposed.kernel.ports.listen);
    let same = |own: &super::kernel::Listener, new: &super::kernel::Listener| {
        let udp = |listener: &super::kernel::Listener| listener.udp.as_ref().is_some_and(|udp| **udp);
        *own.port == *new.port && udp(own) == udp(new)
    };
    extend(&mut config.kernel.ports.listen, ports, same);
    if config.norms == Norms::default() {
        config.norms = std::mem::take(&mut proposed.norms);
    }
    packs::add(config, proposed);
}

/// Appends what is not there yet.
fn extend<T>(own: &mut Vec<T>, new: Vec<T>, same: impl Fn(&T, &T) -> bool) {
    for one in new {
        if !own.iter().any(|own| same(own, &one)) {
            own.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_TEXT, Expect};
    use sopwith_domain::value::UnitName;
    use std::io;

    const OWN: &str = "\
discovered: /etc/sopwith/discovered.yaml
packs_ignore: [tool]
units: {services: {web.service: {expect: any}}}
checks: [{name: front, argv: [/bin/true], every: 10s}]
kernel: {ports: {listen: [{port: 80, reach: true}]}}
baseline: [{path: /etc/hosts, mode: 0644}]
";
    const PROPOSED: &str = "\
packs: [nginx]
units: {services: {web.service: {expect: active, pidfile: /run/web.pid}, db.service: {expect: active}}}
checks: [{name: front, argv: [/bin/false], every: 1m}, {name: tool, argv: [/bin/false], every: 1m}]
kernel: {ports: {listen: [{port: 80, for: 10s}, {port: 80, udp: true}, {port: 22}]}}
baseline: [{path: /etc/hosts, mode: 0600}, {path: /etc/shadow, mode: 0640}]
norms: {watch: [cron-stopped]}
";

    fn read(own: &str, proposed: &'static str) -> Result<Config, ConfigError> {
        let file = |path: &Path| match path.to_str() {
            Some("/etc/sopwith/discovered.yaml") => Ok(proposed.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Config::from_text(Path::new("agent.yaml"), own, &file)
    }

    #[test]
    fn what_is_said_goes_before_what_was_found() {
        let config = read(OWN, PROPOSED).expect("it can be used");
        let service = |name: &str| config.units.services[&UnitName::new(name).expect("valid")].clone();
        assert_eq!(*service("web.service").expect, Expect::Any);
        assert_eq!(service("web.service").pidfile.expect("found").as_str(), "/run/web.pid");
        assert_eq!(*service("db.service").expect, Expect::Active);
        assert!(
            config.units.services.contains_key(&UnitName::new("nginx.service").expect("valid")),
            "its pack"
        );
        let checks: Vec<_> = config
            .checks
            .iter()
            .map(|check| (check.name.as_str(), check.every.as_ref().map_or(0, |every| every.ms())))
            .collect();
        assert!(
            checks.contains(&("front", 10_000)) && checks.contains(&("nginx-config", 300_000)),
            "{checks:?}"
        );
        assert!(!checks.iter().any(|(name, _)| *name == "tool"), "{checks:?}");
        let ports: Vec<_> = config.kernel.ports.listen.iter().map(|l| (*l.port, l.reach.is_some())).collect();
        assert_eq!(ports, [(80, true), (80, false), (22, false)]);
        let modes: Vec<_> = config.baseline.iter().map(|b| b.path.as_str()).collect();
        assert_eq!(modes, ["/etc/hosts", "/etc/shadow"]);
        assert_ne!(config.norms, Norms::default());
        let own =
            read(&format!("{OWN}norms: {{watch: none, every: 1h}}\n"), PROPOSED).expect("it can be used");
        assert_eq!(own.norms.every.ms(), 3_600_000);
    }

    #[test]
    fn what_is_wrong_names_the_file_that_it_stands_in() {
        let cases = [
            ("discovered: /nowhere.yaml\n", "", "agent.yaml:1:13: failed to read /nowhere.yaml"),
            ("discovered: ../x.yaml\n", "", "agent.yaml:1:13: "),
            (OWN, "checks: 7\n", "/etc/sopwith/discovered.yaml:1:9: "),
            (OWN, "discovered: /etc/x.yaml\n", "/etc/sopwith/discovered.yaml:1:13: a proposal cannot name"),
        ];
        for (own, proposed, expected) in cases {
            let told = read(own, proposed).expect_err(expected).to_string();
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(read(DEFAULT_TEXT, "").is_ok());
    }
}
