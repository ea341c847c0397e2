//! Settings of the kernel: what the files of this host's administrator and the declared norms say, against what the
//! kernel really runs with.

use super::host::{Host, Looked};
use super::norm::{self, Breach};
use crate::config::Wanted;
use crate::watcher::glob;
use sopwith_domain::declaration::Declaration;
use sopwith_domain::signal::{Severity, Subject};
use sopwith_domain::value::{Value, Words};
use std::collections::BTreeMap;

/// Folders of settings, those that count least first. A file hides all of its name that come before it.
const FOLDERS: &[&str] = &["/usr/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"];
/// What the administrator wrote himself. The vendor's files are many a kernel's and many a container's, not his.
const OWN: &[&str] = &["/etc/sysctl.d/", "/etc/sysctl.conf", "/run/sysctl.d/", "/usr/local/lib/sysctl.d/"];

/// Programs that have a host pass on packets of others, as far as the kernel keeps their names, and what the
/// interfaces of containers and virtual machines begin with.
pub const PASSING_ON: &[&str] = &[
    "dockerd",
    "containerd",
    "kubelet",
    "k3s-server",
    "crio",
    "libvirtd",
    "virtqemud",
    "keepalived",
    "zebra",
    "bird",
    "openvpn",
    "charon",
];
const ROLES: &[&str] =
    &["router", "gateway", "container", "docker", "kube", "hypervisor", "vpn", "nat", "firewall"];
const BRIDGES: &[&str] = &[
    "docker",
    "br-",
    "cni",
    "virbr",
    "podman",
    "flannel",
    "cali",
    "wg",
    "tun",
    "lxc",
    "lxd",
    "incus",
    "tailscale",
];
/// Files of the host's own packet filter, and the words by which they pass on packets of others.
const FILTERS: &[&str] = &["/etc/nftables.conf", "/etc/iptables/rules.v4", "/etc/iptables/rules.v6"];
const PASSES: &[&str] = &["masquerade", "MASQUERADE", "snat to", "-j SNAT", "dnat to", "-j DNAT"];

/// What a file says of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Said {
    value: String,
    path: String,
    /// Whether it may fail, by the hyphen before it.
    may_fail: bool,
}

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    let said = files(host, looked);
    for (key, said) in &said {
        // A declared norm says more, and is judged below.
        if host.norms.sysctl.keys().any(|name| dotted(name.as_str()) == *key) {
            continue;
        }
        if !OWN.iter().any(|own| said.path.starts_with(own)) || !is_ours(host, key) {
            continue;
        }
        let Some(actual) = running(host, key) else { continue };
        if plain(&actual) != plain(&said.value) && !said.may_fail {
            let wanted = plain(&said.value);
            let breach = drift(key, &plain(&actual), &wanted, Some(&said.path)).word("wanted", &wanted);
            looked.breach(settable(host, key, &wanted, breach));
        }
    }
    for (key, wanted) in &host.norms.sysctl {
        declared(host, &dotted(key.as_str()), wanted, said.get(&dotted(key.as_str())), looked);
    }
}

fn declared(host: &Host<'_>, key: &str, wanted: &Wanted, said: Option<&Said>, looked: &mut Looked) {
    let Some(actual) = running(host, key) else {
        return looked.trouble(format!("this kernel has no setting {key}, or does not let it be read"));
    };
    if !wanted.holds(&actual) {
        let path = said.map(|said| said.path.as_str());
        let breach = drift(key, &plain(&actual), &wanted.to_string(), path);
        let target = wanted.target().unwrap_or_default();
        let breach = breach.word("wanted", &target);
        looked.breach(settable(host, key, &target, breach));
    }
}

/// Adds what a repair has to know: the value as the kernel takes it, and whether the host passes on packets of others,
/// so that to forbid it that would cut them off.
fn settable(host: &Host<'_>, key: &str, wanted: &str, breach: Breach) -> Breach {
    let breach = match Words::new(plain(wanted)) {
        Ok(value) => breach.with("value", Value::Words(value)),
        Err(_) => breach,
    };
    let forwarding = key.ends_with(".forwarding") || key.ends_with("ip_forward");
    if !forwarding || plain(wanted) != "0" {
        return breach;
    }
    // What the host's administrator says it is counts as much as what is seen there, and more.
    if let Some(role) = host.declared.iter().find_map(role) {
        let breach = breach.with("forwards", Value::Boolean(true)).word("declared_role", role);
        return breach.severity(Severity::Information);
    }
    match passes_on(host) {
        true => breach.with("forwards", Value::Boolean(true)),
        false => breach,
    }
}

/// Returns the declared role of a host that is there to pass on packets of others.
fn role(declaration: &Declaration) -> Option<&str> {
    let Declaration::Fact { name, value } = declaration else { return None };
    let passes_on = name.as_str() == "role" && ROLES.iter().any(|role| value.as_str().contains(role));
    passes_on.then_some(value.as_str())
}

/// Says whether anything on the host looks as if it passed on packets of others: a program, an interface, or what its
/// packet filter is to load.
fn passes_on(host: &Host<'_>) -> bool {
    let interface = |name: &str| BRIDGES.iter().any(|bridge| name.starts_with(bridge));
    let filter = |path: &&str| {
        let text = std::fs::read_to_string(host.at(path)).unwrap_or_default();
        let lines = || text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        lines().any(|line| PASSES.iter().any(|word| line.contains(word)))
    };
    host.running.iter().any(|name| PASSING_ON.contains(&name.as_str()))
        || std::fs::read_dir(host.at("/sys/class/net"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.file_name().to_str().is_some_and(interface))
        || FILTERS.iter().any(filter)
}

fn drift(key: &str, actual: &str, wanted: &str, path: Option<&str>) -> Breach {
    let by = path.map_or_else(|| "declared".into(), |path| format!("{path} says"));
    let subject = norm::word(key).map_or(Subject::Host, Subject::Sysctl);
    let breach = Breach::new(
        norm::SYSCTL_DRIFT,
        subject,
        format!("the kernel runs with {key} = {actual}, {by} {wanted}"),
    );
    breach.word("key", key).word("actual", actual).path("path", path.unwrap_or_default())
}

/// Says whether this host can set it: in a container only the network is its own.
fn is_ours(host: &Host<'_>, key: &str) -> bool {
    !host.is_container() || key.starts_with("net.")
}

/// Returns what the files say, as systemd-sysctl reads them: by name of file, the last word counts.
fn files(host: &Host<'_>, looked: &mut Looked) -> BTreeMap<String, Said> {
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    for folder in FOLDERS {
        for name in host.names(folder, looked).into_iter().filter(|name| name.ends_with(".conf")) {
            by_name.insert(name.clone(), format!("{folder}/{name}"));
        }
    }
    let last = by_name.values().all(|path| !links_to_conf(host, path)).then(|| "/etc/sysctl.conf".to_owned());
    let (mut said, mut patterns) = (BTreeMap::new(), Vec::new());
    for path in by_name.values().chain(&last) {
        let text = host.text(path, looked).unwrap_or_default();
        for (key, value, may_fail) in text.lines().filter_map(line) {
            let one = Said { value, path: path.clone(), may_fail };
            match key.contains(['*', '?', '[']) {
                true => patterns.push((key, one)),
                false => _ = said.insert(key, one),
            }
        }
    }
    // A pattern counts for what is named nowhere by itself.
    for (pattern, one) in patterns {
        for key in matching(host, &pattern) {
            said.entry(key).or_insert_with(|| one.clone());
        }
    }
    said
}

/// Debian links /etc/sysctl.conf as 99-sysctl.conf into the folder.
fn links_to_conf(host: &Host<'_>, path: &str) -> bool {
    std::fs::read_link(host.at(path)).is_ok_and(|to| to.ends_with("sysctl.conf"))
}

/// Reads `key = value`, with a hyphen before what may fail.
fn line(line: &str) -> Option<(String, String, bool)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let (key, may_fail) = key.trim().strip_prefix('-').map_or((key.trim(), false), |key| (key, true));
    (!key.is_empty()).then(|| (dotted(key), value.trim().to_owned(), may_fail))
}

/// Returns the name with dots, in which slashes and dots change places where the first of them is a slash.
fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'/' => key
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn place(key: &str) -> String {
    let path: String = key
        .chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '/' {
                '.'
            } else {
                c
            }
        })
        .collect();
    format!("/proc/sys/{path}")
}

/// Returns the names that fit a pattern of the form `net.ipv4.conf.*.rp_filter`.
fn matching(host: &Host<'_>, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('.') {
        let mut next = Vec::new();
        for key in found {
            let joined = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
            if !part.contains(['*', '?', '[']) {
                next.push(joined(part));
                continue;
            }
            let mut ignored = Looked::default();
            let names = host.names(&place(&key), &mut ignored);
            next.extend(
                names
                    .iter()
                    .filter(|name| glob::fits(part, name))
                    .map(|name| joined(&name.replace('.', "/"))),
            );
        }
        found = next;
    }
    found
}

/// Returns the value with which the kernel runs; nothing where there is no such setting.
fn running(host: &Host<'_>, key: &str) -> Option<String> {
    if key.split(['.', '/']).any(|part| part.is_empty() || part == "..") {
        return None;
    }
    let text = std::fs::read_to_string(host.at(&place(key))).ok()?;
    Some(text.trim().to_owned())
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    fn fixture(norms: &str) -> Fixture {
        let fixture = Fixture::new(norms);
        fixture.file("/proc/sys/net/ipv4/ip_forward", "1\n").file("/proc/sys/kernel/pid_max", "4194304\n");
        fixture.file("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        fixture
            .file("/proc/sys/net/ipv4/conf/eth0/rp_filter", "0\n")
            .file("/proc/sys/net/ipv4/conf/eth0.5/rp_filter", "2\n");
        fixture
    }

    #[test]
    fn the_kernel_runs_with_what_is_said() {
        let drift = "sysctl-drift sysctl:net.ipv4.ip_forward";
        for (path, text, says) in [
            ("/etc/sysctl.d/90-x.conf", "net.ipv4.ip_forward = 1\n# net.ipv4.ip_forward = 0\n", ""),
            ("/etc/sysctl.d/90-x.conf", "net.ipv4.ip_forward=0", drift),
            ("/etc/sysctl.conf", "net/ipv4/ip_forward = 0", drift),
            ("/etc/sysctl.d/90-x.conf", "-net.ipv4.ip_forward = 0", ""),
            ("/etc/sysctl.d/90-x.conf", "net.ipv4.ip_local_port_range = 32768 60999", ""),
            ("/etc/sysctl.d/90-x.conf", "net.ipv4.nosuch = 1", ""),
            (
                "/etc/sysctl.d/90-x.conf",
                "net.ipv4.conf.*.rp_filter = 2",
                "sysctl-drift sysctl:net.ipv4.conf.eth0.rp_filter",
            ),
            ("/etc/sysctl.d/90-x.conf", "../../etc/passwd = 1", ""),
            // Not the administrator's own.
            ("/usr/lib/sysctl.d/50-x.conf", "net.ipv4.ip_forward = 0", ""),
            ("/etc/sysctl.d/90-x.txt", "net.ipv4.ip_forward = 0", ""),
        ] {
            let fixture = fixture("");
            fixture.file(path, text);
            assert_eq!(fixture.told(look), says, "{path} {text}");
        }
        let fixture = fixture("");
        fixture.file("/etc/sysctl.d/90-x.conf", "net.ipv4.ip_forward = 0");
        assert_eq!(
            fields(&fixture.looked(look)),
            "key=net.ipv4.ip_forward actual=1 path=/etc/sysctl.d/90-x.conf wanted=0 value=0"
        );
        // The last file counts, and one of the same name hides the others.
        fixture.file("/etc/sysctl.d/95-y.conf", "net.ipv4.ip_forward = 1");
        assert_eq!(fixture.told(look), "");
    }

    #[test]
    fn declared_settings_count_before_files() {
        for (norms, says) in [
            (", sysctl: {net.ipv4.ip_forward: '0'}", "sysctl-drift sysctl:net.ipv4.ip_forward"),
            (", sysctl: {net.ipv4.ip_forward: '1'}", ""),
            (", sysctl: {kernel.pid_max: '>=32768'}", ""),
            (
                ", sysctl: {kernel.nosuch: '1'}",
                "! this kernel has no setting kernel.nosuch, or does not let it be read",
            ),
        ] {
            let fixture = fixture(norms);
            fixture.file("/etc/sysctl.d/90-x.conf", "net.ipv4.ip_forward = 1");
            assert_eq!(fixture.told(look), says, "{norms}");
        }
    }

    #[test]
    fn in_a_container_only_the_network_is_its_own() {
        let fixture = fixture("");
        fixture.file("/run/systemd/container", "x");
        fixture.file("/etc/sysctl.d/90-x.conf", "kernel.pid_max = 1\nnet.ipv4.ip_forward = 0\n");
        assert_eq!(fixture.told(look), "sysctl-drift sysctl:net.ipv4.ip_forward");
    }

    #[test]
    fn a_host_that_passes_on_packets_is_known_by_what_it_says_and_by_what_is_seen() {
        for (path, text, role, says) in [
            ("/etc/hosts", "", "", ""),
            ("/etc/hosts", "", "web", ""),
            ("/etc/hosts", "", "edge-router", "forwards=true declared_role=edge-router"),
            ("/etc/nftables.conf", "# ip saddr 10.0.0.0/8 masquerade\n", "", ""),
            ("/etc/nftables.conf", "  ip saddr 10.0.0.0/8 masquerade\n", "", "forwards=true"),
            ("/etc/iptables/rules.v4", "-A POSTROUTING -o eth0 -j MASQUERADE\n", "", "forwards=true"),
            ("/sys/class/net/docker0", "", "", "forwards=true"),
            ("/sys/class/net/eth1", "", "", ""),
        ] {
            let mut fixture = fixture("");
            fixture.file("/etc/sysctl.d/90-x.conf", "net.ipv4.ip_forward = 0").file(path, text);
            let word = |text: &str| sopwith_domain::value::Word::new(text).expect("a word");
            fixture.declared = match role {
                "" => Vec::new(),
                role => vec![Declaration::Fact { name: word("role"), value: word(role) }],
            };
            let looked = fixture.looked(look);
            let severity =
                if role.contains("router") { Severity::Information } else { norm::SYSCTL_DRIFT.severity };
            assert_eq!(looked.breaches[0].severity, severity, "{path} {role}");
            let said = fields(&looked);
            let (_, more) = said.split_once("value=0").expect("it can be set");
            assert_eq!(more.trim(), says, "{path} {text} {role}");
        }
    }
}
