use super::*;

fn uncommented() -> String {
    let settings =
        DEFAULT_TEXT.lines().filter(|l| !l.starts_with("##")).map(|l| l.strip_prefix('#').unwrap_or(l));
    settings.collect::<Vec<_>>().join("\n")
}

/// The examples in the comments, put into one document.
fn examples() -> String {
    let wanted =
        |line: &&str| line.starts_with("##") && !line.starts_with("## ") || line.starts_with("##   - ");
    let lists = ["processes", "checks", "logs", "backups"];
    let mut out = String::new();
    for block in DEFAULT_TEXT.split("\n\n") {
        let Some(name) = lists.iter().find(|n| block.contains(&format!("\n#{n}: []"))) else { continue };
        let from = block.lines().skip_while(|l| !wanted(l));
        let lines: Vec<_> = from.filter_map(|l| l.strip_prefix("##  ")).collect();
        out.push_str(&format!("{name}:\n{}\n", lines.join("\n")));
    }
    out
}

#[test]
fn the_shipped_file_states_every_default() {
    assert_eq!(Config::parse(&uncommented()), Ok(Config::default()));
    assert_eq!(Config::parse(DEFAULT_TEXT), Ok(Config::default()));
    assert_eq!(Config::parse(""), Ok(Config::default()));
}

#[test]
fn the_examples_in_the_shipped_file_can_be_used() {
    let config = Config::parse(&examples()).expect("the examples parse");
    assert_eq!((config.processes.len(), config.checks.len(), config.logs.len()), (2, 9, 4));
    assert_eq!(config.backups.len(), 4);
    let between = |from: &str| {
        let lines = DEFAULT_TEXT.lines().skip_while(|l| l.trim_end() != from);
        lines.take_while(|l| l.starts_with("##")).map(|l| &l[2..]).collect::<Vec<_>>().join("\n")
    };
    let config = Config::parse(&format!("units:\n{}", between("##  services:"))).expect("services parse");
    assert_eq!(config.units.services.len(), 1);
    let config = Config::parse(&format!("filesystems:\n{}", between("##  mounts:"))).expect("mounts parse");
    assert_eq!(config.filesystems.mounts.len(), 1);
    let config = Config::parse(&format!("metrics:\n{}", between("##  rules:"))).expect("rules parse");
    assert_eq!(config.metrics.rules.len(), 3);
}

#[test]
fn the_ssh_example_takes_the_address_that_sshd_wrote() {
    let config = Config::parse(&examples()).expect("the examples parse");
    let pattern = &config.logs[0].rules[0].pattern.as_ref().expect("it has one").regex();
    for line in [
        "sshd[7]: Failed password for invalid user $(id);`id` from 203.0.113.88 port 4711 ssh2",
        "sshd[7]: Failed password for invalid user x from 0.0.0.0/0; flush ruleset from 203.0.113.88 port 4712 ssh2",
        "sshd[7]: Failed password for invalid user from 127.0.0.1 port 22 ssh2 from 203.0.113.88 port 1 ssh2",
    ] {
        let found = pattern.captures(line.as_bytes()).expect(line);
        assert_eq!(&found["ip"], b"203.0.113.88", "{line}");
    }
}

#[test]
fn every_finding_is_told_with_its_place() {
    let bad = include_str!("tests/bad.yaml");
    let findings = Config::parse(bad).expect_err("it is full of mistakes");
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(told.join("\n") + "\n", include_str!("tests/bad.findings"));
}

#[test]
fn another_shape_is_a_finding_too() {
    for (text, line, says) in [
        ("units: 3\n", 1, ""),
        ("state_dir: /a\nstate_dri: /b\n", 2, "state_dri"),
        ("units:\n  failed: {watch: some}\n", 2, "all, none or a list"),
        ("logs:\n- paths: [/x]\n", 2, "name"),
        ("a: [", 1, ""),
        ("\tx", 1, ""),
    ] {
        let findings = Config::parse(text).expect_err(text);
        assert_eq!(findings.len(), 1, "{text}: {findings:?}");
        assert_eq!(findings[0].line, line, "{text}: {findings:?}");
        assert!(findings[0].text.contains(says), "{text}: {findings:?}");
    }
}

#[test]
fn periods() {
    for (text, ms) in [
        ("500ms", Some(500)),
        ("10s", Some(10_000)),
        ("5m", Some(300_000)),
        ("2h", Some(7_200_000)),
        ("7d", Some(604_800_000)),
        ("0s", Some(0)),
        ("10", None),
        ("s", None),
        ("-1s", None),
        ("1.5s", None),
        ("99999999999999999999s", None),
        ("9999999999999999999d", None),
        ("1w", None),
    ] {
        assert_eq!(text.parse::<Period>().ok().map(Period::ms), ms, "{text}");
    }
}

#[test]
fn wildcards() {
    for (pattern, name, fits) in [
        ("a", "a", true),
        ("a", "b", false),
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*a", "a", false),
        ("*b*", "abc", true),
        ("*x*", "abc", false),
        ("getty@*.service", "getty@tty1.service", true),
    ] {
        assert_eq!(wildcard(pattern, name), fits, "{pattern} {name}");
    }
}

fn victims_ssh_rule(config: &Config) -> &LogRule {
    let auth = config.logs.iter().find(|log| log.name.as_str() == "auth").expect("the victim has one");
    &auth.rules[0]
}

/// What the operator of the fault catalogue's victim would write can be used.
#[test]
fn the_victims_configuration_can_be_used() {
    let config =
        Config::parse(include_str!("../../../tests/faults/victim-agent.yaml")).expect("it can be used");
    let fields = &victims_ssh_rule(&config).fields;
    let told: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", **value)).collect();
    assert_eq!(told, ["block_set=blocked", "block_table=filter"]);
}

/// A stranger chooses the user name; only the address that sshd wrote at the end of the line is taken.
#[test]
fn the_victims_ssh_pattern_takes_what_sshd_wrote() {
    let config =
        Config::parse(include_str!("../../../tests/faults/victim-agent.yaml")).expect("it can be used");
    let pattern = &victims_ssh_rule(&config).pattern.as_ref().expect("it has one").regex();
    let ip = |line: &str| {
        let found = pattern.captures(line.as_bytes())?;
        String::from_utf8(found.name("ip")?.as_bytes().to_vec()).ok()
    };
    let end = "from 192.0.2.66 port 4711 ssh2";
    for user in [
        "root",
        "invalid user admin",
        "invalid user $(touch /tmp/x);`touch /tmp/y`|touch /tmp/z",
        "invalid user x from 0.0.0.0/0; flush ruleset",
        "invalid user from 127.0.0.1 port 22 ssh2",
        "invalid user  from 127.0.0.1 port 22 ssh2 ",
    ] {
        for head in ["2026-01-02T03:04:05.678901+00:00 web-1 sshd[777]:", "Jan  2 03:04:05 web-1 sshd[777]:"]
        {
            let line = format!("{head} Failed password for {user} {end}");
            assert_eq!(ip(&line).as_deref(), Some("192.0.2.66"), "{line}");
        }
    }
    for line in [
        "Jan  2 03:04:05 web-1 su[9]: sshd[777]: Failed password for root from 192.0.2.66 port 4711 ssh2",
        "Jan  2 03:04:05 web-1 sshd[777]: Failed password for root from 192.0.2.66 port 4711 ssh2 and more",
        "Jan  2 03:04:05 web-1 sshd[777]: Accepted password for root from 192.0.2.66 port 4711 ssh2",
        "Jan  2 03:04:05 web-1 sshd[777]: Failed password for root from evil.example port 4711 ssh2",
    ] {
        assert_eq!(ip(line), None, "{line}");
    }
}
