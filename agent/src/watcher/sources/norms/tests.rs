use super::host::fixture::Fixture;
use super::norm;
use super::*;
use sopwith_domain::signal::Subject;

#[test]
fn what_is_ignored_is_not_told() {
    let breach = Breach::new(norm::SUDOERS_NOPASSWD, norm::file("/etc/sudoers.d/90-cloud-init"), "");
    for (norms, told) in [
        ("", true),
        (", ignore: [sudoers-nopasswd]", false),
        (", ignore: ['sudoers-*']", false),
        (", ignore: ['sudoers-nopasswd path:/etc/sudoers.d/90-*']", false),
        (", ignore: ['sudoers-nopasswd path:/etc/sudoers']", true),
        (", ignore: ['account-*']", true),
    ] {
        assert_eq!(wanted(&Fixture::new(norms).norms, &breach), told, "{norms}");
    }
    let text = "norms: {watch: [account-*, sysctl-drift]}\n";
    let some = Config::parse(text).expect("it parses").norms;
    assert!(!wanted(&some, &breach));
    assert!(wanted(&some, &Breach::new(norm::UID_ZERO, Subject::Host, "")));
}

/// A host as Debian installs it raises nothing.
#[test]
fn a_healthy_host_is_quiet() {
    let fixture = Fixture::new("");
    let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nalice:x:1000:1000::/home/alice:/bin/bash\n";
    let today = super::host::fixture::TODAY;
    fixture.file("/etc/passwd", passwd);
    fixture.file("/etc/shadow", format!("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\nalice:$y$j9T$x:{today}:0:99999:7:::\n"));
    fixture.file("/etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\nPASS_MAX_DAYS 99999\n");
    fixture.file(
        "/etc/sudoers",
        "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
    );
    fixture
        .mode("/etc/sudoers", 0o440)
        .file("/etc/sudoers.d/README", "#\n")
        .mode("/etc/sudoers.d/README", 0o440);
    fixture.mode("/etc/sudoers.d", 0o750);
    fixture.file("/var/lib/dpkg/status", "Package: a\nStatus: install ok installed\n");
    fixture.file("/run/systemd/container", "systemd-nspawn");
    for (name, look) in PARTS {
        assert_eq!(fixture.told(look), "", "{name}");
    }
}

#[test]
fn a_breach_becomes_a_fault_with_its_reason() {
    let breach =
        Breach::new(norm::UID_ZERO, norm::account("toor"), "account toor has UID 0").word("account", "toor");
    let (fault, _) = breach.integer("uid", 0).fault();
    assert_eq!((fault.rule.as_str(), fault.kind.as_str()), ("norms.account-uid-zero", "account.uid-zero"));
    let fields: Vec<_> = fault.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(fields, ["account=toor", "reference=CIS-5.4.2.1", "uid=0"]);
    assert!(fault.evidence.iter().any(|e| e.title == "why it matters" && e.text.contains("CIS-5.4.2.1")));
}

/// What may not be read is told, and what is known of it is neither said nor taken back.
#[test]
fn what_may_not_be_read_is_told() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything; a folder in the place of a file nobody does.
        let fixture = Fixture::new("");
        fixture.file("/etc/passwd/x", "");
        assert!(fixture.told(accounts::look).starts_with("! failed to read /etc/passwd"));
        return;
    }
    let fixture = Fixture::new("");
    fixture.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n").file("/etc/shadow", "").mode("/etc/shadow", 0);
    assert!(fixture.told(accounts::look).starts_with("! failed to read /etc/shadow: Permission denied"));
}
