//! Settings that come with the agent and are enabled by name, `packs: [base, nginx]`. A pack holds only named things;
//! what the administrator says of a thing of that name goes before it.

use super::at::At;
use super::types::{Config, Service};
use super::watch::listed;
use sopwith_domain::playbook::Finding;
use sopwith_domain::value::Word;

/// The packs, by name.
const PACKS: &[(&str, &str)] = &[
    ("backup", include_str!("packs/backup.yaml")),
    ("base", include_str!("packs/base.yaml")),
    ("nginx", include_str!("packs/nginx.yaml")),
    ("postgresql", include_str!("packs/postgresql.yaml")),
    ("redis", include_str!("packs/redis.yaml")),
    ("ssh", include_str!("packs/ssh.yaml")),
    ("systemd", include_str!("packs/systemd.yaml")),
];

/// Returns the text of a pack.
pub fn pack(name: &str) -> Option<&'static str> {
    PACKS.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}

/// Returns the names of all packs.
pub fn pack_names() -> impl Iterator<Item = &'static str> {
    PACKS.iter().map(|(name, _)| *name)
}

/// Adds what is wrong with the names.
pub(super) fn findings(config: &Config, found: &mut Vec<Finding>) {
    for name in config.packs.iter().filter(|name| pack(name.as_str()).is_none()) {
        let known = pack_names().collect::<Vec<_>>().join(", ");
        found.push(name.finding(format!("{} is not one of the packs {known}", name.as_str())));
    }
}

/// Adds to the settings what its packs hold, but for what is said already or left out.
///
/// # Errors
/// A pack cannot be used, which no released agent's can.
pub(super) fn expand(config: &mut Config) -> Result<(), Vec<Finding>> {
    for name in config.packs.clone() {
        let Some(text) = pack(name.as_str()) else { continue };
        let pack = Config::parse(text).map_err(|found| {
            let told = found.iter().map(|f| name.finding(format!("pack {}: {f}", name.as_str())));
            told.collect::<Vec<_>>()
        })?;
        add(config, pack);
    }
    Ok(())
}

/// Adds the named things of a pack, but for those that are said already or left out.
pub(super) fn add(config: &mut Config, pack: Config) {
    let ignore = config.packs_ignore.clone();
    let wanted = |name: &str| !listed(&ignore, name);
    for (unit, service) in pack.units.services {
        if wanted(unit.as_str()) {
            let own = config.units.services.entry(unit).or_default();
            complete(own, service);
        }
    }
    let named =
        |own: &[&At<Word>], name: &At<Word>| own.iter().any(|own| **own == *name) || !wanted(name.as_str());
    for check in pack.checks {
        if !named(&config.checks.iter().map(|c| &c.name).collect::<Vec<_>>(), &check.name) {
            config.checks.push(check);
        }
    }
    for mut log in pack.logs {
        if named(&config.logs.iter().map(|l| &l.name).collect::<Vec<_>>(), &log.name) {
            continue;
        }
        log.rules.retain(|rule| wanted(rule.name.as_str()));
        log.shipped.retain(|rule| wanted(rule.as_str()));
        if !log.rules.is_empty() || !log.shipped.is_empty() {
            config.logs.push(log);
        }
    }
    for rule in pack.metrics.rules {
        if !named(&config.metrics.rules.iter().map(|r| &r.name).collect::<Vec<_>>(), &rule.name) {
            config.metrics.rules.push(rule);
        }
    }
}

/// Takes over what is not said of a service.
fn complete(own: &mut Service, pack: Service) {
    if !own.expect.is_said() {
        own.expect = pack.expect;
    }
    if !own.tolerance.is_said() {
        own.tolerance = pack.tolerance;
    }
    own.health = own.health.take().or(pack.health);
    own.heartbeat = own.heartbeat.take().or(pack.heartbeat);
    own.pidfile = own.pidfile.take().or(pack.pidfile);
    own.socket = own.socket.take().or(pack.socket);
    if own.config.is_empty() {
        own.config = pack.config;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Expect;
    use super::*;
    use sopwith_domain::value::UnitName;

    fn parse(text: &str) -> Config {
        Config::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"))
    }

    /// A pack may say only what expanding takes over: all of it is there afterwards, and nothing else changed.
    #[test]
    fn every_pack_can_be_used_and_is_taken_over_whole() {
        for (name, text) in PACKS {
            let alone = parse(text);
            let mut expanded = parse(&format!("packs: [{name}]\n"));
            expanded.packs.clear();
            assert_eq!(expanded, alone, "{name}");
            assert_ne!(expanded, Config::default(), "{name}");
        }
        let names: Vec<_> = pack_names().collect();
        let all = parse(&format!("packs: [{}]\n", names.join(", ")));
        let mut found = Vec::new();
        super::super::logs::findings(&all.logs, &mut found);
        super::super::metrics::findings(&all.metrics, &mut found);
        assert_eq!(found, [], "no two packs name the same thing");
    }

    #[test]
    fn what_the_administrator_says_goes_before() {
        let said = "
packs: [nginx, base]
packs_ignore: [link-*, nginx-upstream, segfaults]
units: {services: {nginx.service: {health: {url: 'http://127.0.0.1/'}}}}
checks: [{name: nginx-config, argv: [/bin/true]}]
metrics: {rules: [{name: memory-short, metric: node_load1, above: 5}]}
";
        let config = parse(said);
        let nginx = &config.units.services[&UnitName::new("nginx.service").expect("a unit")];
        assert_eq!(*nginx.expect, Expect::Active, "what is not said is the pack's");
        assert!(nginx.health.is_some(), "what is said stays");
        assert_eq!(config.checks.len(), 1);
        assert!(config.checks[0].nginx.is_none());
        let rules: Vec<_> = config.metrics.rules.iter().map(|r| r.name.to_string()).collect();
        assert_eq!(rules, ["memory-short", "textfile-unreadable"]);
        assert_eq!(config.metrics.rules[0].above.as_ref().map(|a| a.0), Some(5.0));
        let logs: Vec<_> = config
            .logs
            .iter()
            .map(|log| {
                let rules: Vec<_> = log.effective().iter().map(|rule| rule.name.to_string()).collect();
                format!("{}: {}", *log.name, rules.join(" "))
            })
            .collect();
        assert_eq!(
            logs,
            ["nginx-error: nginx-severe nginx-connections", "kernel: disk-error filesystem-error"]
        );
        let inactive = parse("packs: [nginx]\nunits: {services: {nginx.service: {expect: any}}}\n");
        let nginx = &inactive.units.services[&UnitName::new("nginx.service").expect("a unit")];
        assert_eq!(*nginx.expect, Expect::Any, "also where it is the default that is said");
    }

    #[test]
    fn a_pack_that_is_none_is_a_finding_with_its_place() {
        let found = Config::parse("packs: [base, apache]\n").expect_err("there is no such pack");
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("apache is not one of the packs backup, base"), "{found:?}");
        assert_eq!((found[0].line, found[0].column), (1, 15));
    }

    /// What the programs write, and what only looks like it because a stranger had a say.
    #[test]
    fn lines_of_the_packs_logs() {
        for (pack, line, expected) in [
            (
                "nginx",
                "2026/01/02 03:04:05 [emerg] 1#1: bind() to 0.0.0.0:80 failed (98: Address in use)",
                "nginx-severe",
            ),
            (
                "nginx",
                "2026/01/02 03:04:05 [error] 7#7: *31 connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.1",
                "nginx-upstream",
            ),
            (
                "nginx",
                "2026/01/02 03:04:05 [error] 7#7: *31 open() \"/srv/[crit] x\" failed (2: No such file or directory)",
                "",
            ),
            (
                "nginx",
                "2026/01/02 03:04:05 [warn] 7#7: 768 worker_connections are not enough",
                "nginx-connections",
            ),
            (
                "postgresql",
                "2026-01-02 03:04:05.678 UTC [77] PANIC:  could not write to file \"pg_wal/x\"",
                "postgresql-panic",
            ),
            (
                "postgresql",
                "2026-01-02 03:04:05.678 UTC [77] shop@shop FATAL:  sorry, too many clients already",
                "postgresql-connections",
            ),
            ("postgresql", "2026-01-02 03:04:05.678 UTC [77] shop@shop STATEMENT:  select 'PANIC:  '", ""),
            (
                "postgresql",
                "2026-01-02 03:04:05.678 UTC [77] LOG:  could not write temporary file: No space left on device",
                "postgresql-full",
            ),
            ("redis", "77:M 02 Jan 2026 03:04:05.678 # Background saving error", "redis-not-saved"),
            ("redis", "77:M 02 Jan 2026 03:04:05.678 * Background saving started by pid 8", ""),
            (
                "systemd",
                "systemd[1]: a.service: Found ordering cycle on b.service/start",
                "systemd-ordering-cycle",
            ),
            (
                "systemd",
                "systemd-journald[40]: Suppressed 812 messages from web.service",
                "journal-suppressed",
            ),
            ("backup", "restic[9]: Fatal: unable to open config file", "backup-failed"),
            ("backup", "borg[9]: Archive name: web-1", ""),
            ("backup", "2026-01-02 03:04:05.678 P00  ERROR: [055]: unable to open file", "pgbackrest-error"),
            ("ssh", "sshd[7]: Failed password for root from 192.0.2.66 port 4711 ssh2", "ssh-brute-force"),
        ] {
            let config = parse(&format!("packs: [{pack}]\n"));
            let rules = config.logs.iter().flat_map(super::super::logs::Log::effective);
            let fits: Vec<_> = rules
                .filter(|rule| rule.all_patterns().any(|p| p.regex().is_match(line.as_bytes())))
                .map(|rule| rule.name.to_string())
                .collect();
            assert_eq!(fits.join(" "), expected, "{line}");
        }
    }
}
