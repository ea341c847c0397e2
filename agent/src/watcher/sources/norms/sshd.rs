//! sshd as it really would run: what `sshd -T` says, against what is declared and what nobody should do.

use super::host::{Asked, Host, Looked};
use super::norm::{self, Breach};
use crate::config::Wanted;
use sopwith_domain::signal::Severity;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

/// Settings that are wrong everywhere: the name, what it must not be, how bad that is, the section of CIS.
const NEVER: &[(&str, &str, Severity, &str)] = &[
    ("permitemptypasswords", "yes", Severity::Critical, "CIS-5.1.19"),
    ("permitrootlogin", "yes", Severity::Warning, "CIS-5.1.20"),
    ("permituserenvironment", "yes", Severity::Warning, "CIS-5.1.21"),
    ("hostbasedauthentication", "yes", Severity::Warning, "CIS-5.1.10"),
    ("ignorerhosts", "no", Severity::Warning, "CIS-5.1.11"),
    ("strictmodes", "no", Severity::Warning, "man:sshd_config.5"),
];
/// Parts of names of algorithms that are broken, by the setting that lists them.
const WEAK: &[(&str, &[&str], &str)] = &[
    ("ciphers", &["3des", "arcfour", "blowfish", "cast128", "-cbc"], "CIS-5.1.6"),
    ("macs", &["hmac-md5", "hmac-ripemd160", "umac-64@"], "CIS-5.1.15"),
    ("kexalgorithms", &["group1-sha1", "group14-sha1", "group-exchange-sha1"], "CIS-5.1.12"),
];
/// In Debian's own configuration, so it is no breach unless declared.
const USUAL: &[&str] = &["umac-64@"];

/// Any of these has sshd start with the host, or when somebody calls.
const WANTED: &[&str] = &[
    "/etc/systemd/system/multi-user.target.wants/ssh.service",
    "/etc/systemd/system/multi-user.target.wants/sshd.service",
    "/etc/systemd/system/sockets.target.wants/ssh.socket",
];

pub fn look(host: &Host<'_>, looked: &mut Looked) {
    host_keys(host, looked);
    let Some((code, output, errors)) = host.answer(Asked::Sshd, looked) else { return };
    if code != 0 {
        let lower = errors.to_ascii_lowercase();
        // Where it was never started it needs no look.
        if lower.contains("privilege separation") {
            return;
        }
        // These say that we cannot ask; whether sshd could start the keys themselves have told.
        if ["permission denied", "no hostkeys available", "could not load host key"]
            .iter()
            .any(|sign| lower.contains(sign))
        {
            looked.trouble(format!("sshd cannot be asked: {}", errors.lines().next().unwrap_or_default()));
            return;
        }
        let (path, line) = errors.lines().find_map(place).unwrap_or(("/etc/ssh/sshd_config", 0));
        let text = format!(
            "sshd does not understand its configuration: {}",
            errors.lines().next().unwrap_or_default()
        );
        let breach = Breach::new(norm::SSHD_INVALID, norm::file(path), text).path("path", path);
        looked.breach(breach.unit("unit", "ssh.service").integer("line", line).show(errors));
        return;
    }
    let settings = settings(output);
    for (key, never, severity, reference) in NEVER {
        let declared = host.norms.sshd.keys().any(|name| name.as_str().eq_ignore_ascii_case(key));
        if !declared && settings.get(*key).is_some_and(|value| value == never) {
            looked.breach(drifted(key, never, &format!("!={never}"), reference).severity(*severity));
        }
    }
    for (key, weak, reference) in WEAK {
        let declared = host.norms.sshd.keys().any(|name| name.as_str().eq_ignore_ascii_case(key));
        let names = settings.get(*key).map(String::as_str).unwrap_or_default();
        let bad: Vec<_> = names
            .split(',')
            .filter(|name| weak.iter().any(|part| !USUAL.contains(part) && name.contains(part)))
            .collect();
        if !declared && !bad.is_empty() {
            looked.breach(drifted(key, &bad.join(","), "strong", reference));
        }
    }
    for (key, wanted) in &host.norms.sshd {
        declared(key.as_str(), wanted, &settings, looked);
    }
}

/// Private keys of the host: sshd leaves one out that others may read, and does not start without any.
fn host_keys(host: &Host<'_>, looked: &mut Looked) {
    let names = host.names("/etc/ssh", looked);
    let keys: Vec<_> =
        names.iter().filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key")).collect();
    let installed = host.is_there("/usr/sbin/sshd");
    let wanted = || WANTED.iter().any(|wanted| std::fs::symlink_metadata(host.at(wanted)).is_ok());
    if keys.is_empty() && installed && wanted() {
        let text = "sshd has no host key: it does not start any more";
        let breach = Breach::new(norm::SSHD_INVALID, norm::file("/etc/ssh"), text).path("path", "/etc/ssh");
        looked.breach(breach.unit("unit", "ssh.service").word("reason", "no-host-keys"));
    }
    for name in keys {
        let path = format!("/etc/ssh/{name}");
        let Some(metadata) = host.metadata(&path, looked) else { continue };
        let mode = metadata.mode() & 0o7777;
        // Where a group of its own reads them, as on some distributions, that is meant.
        let group = mode & 0o070 != 0 && (metadata.gid() == 0 || mode & 0o030 != 0);
        if mode & 0o007 == 0 && !group || host.elsewhere.tells_of(&path) {
            continue;
        }
        let text = format!("{path} has mode {mode:04o}: sshd does not use a host key that others may read");
        let breach = Breach::new(norm::FILE_DRIFT, norm::file(&path), text).path("path", &path);
        let breach = breach.word("reason", "mode").word("drift", "mode").word("mode", &format!("{mode:04o}"));
        looked.breach(breach.word("set_mode", "0600").word("family", "ssh-host-key"));
    }
}

fn declared(key: &str, wanted: &Wanted, settings: &BTreeMap<String, String>, looked: &mut Looked) {
    match settings.get(&key.to_ascii_lowercase()) {
        Some(actual) if wanted.holds(actual) => {}
        Some(actual) => {
            let drifted = drifted(key, actual, &wanted.to_string(), norm::SSHD_DRIFT.reference);
            looked.breach(drifted.word("wanted", &wanted.target().unwrap_or_default()));
        }
        None => looked.trouble(format!("sshd knows no setting {key}")),
    }
}

fn drifted(key: &str, actual: &str, wanted: &str, reference: &'static str) -> Breach {
    let text = format!("sshd runs with {key} {actual}, wanted is {wanted} ({reference})");
    let subject = norm::word(&format!("sshd.{}", key.to_ascii_lowercase()));
    let subject =
        subject.map_or(sopwith_domain::signal::Subject::Host, sopwith_domain::signal::Subject::Check);
    Breach::new(norm::SSHD_DRIFT, subject, text)
        .word("key", key)
        .word("actual", actual)
        .word("section", reference)
        .path("path", "/etc/ssh/sshd_config")
        .unit("unit", "ssh.service")
}

/// Reads what `sshd -T` prints: one setting a line; of several of one name the first counts.
fn settings(output: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (key, value) in output.lines().filter_map(|line| line.trim().split_once(' ')) {
        settings.entry(key.to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
    }
    // An old name of the first of them.
    if settings.get("permitrootlogin").is_some_and(|value| value == "without-password") {
        settings.insert("permitrootlogin".into(), "prohibit-password".into());
    }
    settings
}

/// Returns file and line of `PATH: line N: what` or `PATH line N: what`.
fn place(line: &str) -> Option<(&str, u32)> {
    let (path, rest) = line.split_once(" line ")?;
    let number = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let path = path.trim_end_matches(':');
    path.starts_with('/').then_some((path, number))
}

#[cfg(test)]
mod tests {
    use super::super::host::fixture::{Fixture, fields};
    use super::*;

    const GOOD: &str = "port 22\npermitrootlogin without-password\npermitemptypasswords no\nignorerhosts yes\nciphers aes256-gcm@openssh.com,aes128-ctr\nmacs umac-64@openssh.com,hmac-sha2-256\nkexalgorithms curve25519-sha256,diffie-hellman-group14-sha256\nmaxauthtries 6\n";

    #[test]
    fn what_sshd_really_does() {
        for (norms, output, says) in [
            ("", GOOD.to_owned(), ""),
            ("", GOOD.replace("without-password", "yes"), "sshd-drift check:sshd.permitrootlogin"),
            (", sshd: {permitrootlogin: 'yes'}", GOOD.replace("without-password", "yes"), ""),
            (
                "",
                GOOD.replace("permitemptypasswords no", "permitemptypasswords yes"),
                "sshd-drift check:sshd.permitemptypasswords",
            ),
            ("", GOOD.replace("aes128-ctr", "aes128-cbc,3des-cbc"), "sshd-drift check:sshd.ciphers"),
            ("", GOOD.replace("group14-sha256", "group1-sha1"), "sshd-drift check:sshd.kexalgorithms"),
            (", sshd: {MaxAuthTries: '<=4'}", GOOD.to_owned(), "sshd-drift check:sshd.maxauthtries"),
            (", sshd: {maxauthtries: '<=6', permitrootlogin: prohibit-password}", GOOD.to_owned(), ""),
            (", sshd: {nosuch: x}", GOOD.to_owned(), "! sshd knows no setting nosuch"),
        ] {
            let mut fixture = Fixture::new(norms);
            fixture.answer(Asked::Sshd, 0, &output, "");
            assert_eq!(fixture.told(look), says, "{norms}");
        }
        assert_eq!(Fixture::new("").told(look), "", "it is not installed");
    }

    #[test]
    fn what_it_does_not_understand() {
        let mut fixture = Fixture::new("");
        fixture.answer(
            Asked::Sshd,
            255,
            "",
            "/etc/ssh/sshd_config.d/a.conf line 3: Bad configuration option: Foo\nterminating\n",
        );
        assert_eq!(fixture.told(look), "sshd-invalid path:/etc/ssh/sshd_config.d/a.conf");
        assert!(fields(&fixture.looked(look)).ends_with("unit=ssh.service line=3"));
        fixture.answer(Asked::Sshd, 1, "", "sshd: no hostkeys available -- exiting.\n");
        assert!(fixture.told(look).starts_with("! sshd cannot be asked"));
    }

    #[test]
    fn keys_of_the_host() {
        let key = "/etc/ssh/ssh_host_ed25519_key";
        for (files, mode, says) in [
            (&[key, "/usr/sbin/sshd", WANTED[0]][..], 0o600, ""),
            (&[key, "/usr/sbin/sshd", WANTED[0]], 0o604, "file-drift path:/etc/ssh/ssh_host_ed25519_key"),
            (&[key], 0o622, "file-drift path:/etc/ssh/ssh_host_ed25519_key"),
            (&["/usr/sbin/sshd", WANTED[0]], 0, "sshd-invalid path:/etc/ssh"),
            (
                &["/usr/sbin/sshd", "/etc/ssh/ssh_host_ed25519_key.pub", WANTED[2]],
                0,
                "sshd-invalid path:/etc/ssh",
            ),
            // Nobody wants it to run.
            (&["/usr/sbin/sshd"], 0, ""),
            (&["/etc/hosts"], 0, ""),
        ] {
            let fixture = Fixture::new("");
            files.iter().for_each(|path| _ = fixture.file(path, ""));
            if mode != 0 {
                fixture.mode(key, mode);
            }
            assert_eq!(fixture.told(look), says, "{files:?} {mode:o}");
            if mode == 0o604 {
                let fields = fields(&fixture.looked(look));
                assert!(fields.contains("drift=mode mode=0604 set_mode=0600"), "{fields}");
            }
        }
    }
}
