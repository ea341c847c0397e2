//! The operating norms on one real host: all of them are broken at once, each is told with the right subject, by the
//! command and as an incident, and once mended none is told any more and the incidents close.

use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{Rig, test_playbooks};
use std::collections::BTreeSet;

const CONFIG: &str = "
norms:
  watch: all
  every: 5s
  login_defs: {PASS_MAX_DAYS: '<=90'}
  pwquality: {minlen: '>=14'}
  certificates: [/etc/norms/*.pem]
";

/// What there is on a host that is well.
const PREPARE: &str = "
set -e
mkdir -p /etc/norms /etc/security
openssl req -x509 -newkey rsa:2048 -nodes -days 60 -subj /CN=norms -keyout /etc/norms/key -out /etc/norms/web.pem 2>/dev/null
sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS\\t90/' /etc/login.defs
printf 'minlen = 14\\n' > /etc/security/pwquality.conf
useradd -m -s /bin/bash alice && useradd -m -s /bin/bash bob && echo '7 3 * * * true' | crontab -u bob -
mkdir -p /home/alice/.ssh && touch /home/alice/.ssh/authorized_keys
chown -R alice:alice /home/alice/.ssh && chmod 700 /home/alice/.ssh && chmod 600 /home/alice/.ssh/authorized_keys
printf 'net.ipv4.conf.all.log_martians = 0\\n' > /etc/sysctl.d/90-norms.conf
sysctl -q -p /etc/sysctl.d/90-norms.conf
ls /etc/ssh/ssh_host_ed25519_key
";

/// Norm and subject, what breaks it, and what mends it.
const BREACHES: &[(&str, &str, &str, &str)] = &[
    (
        "account-uid-zero",
        "account:toor",
        "useradd -o -u 0 -M -s /bin/bash toor",
        "sed -i '/^toor:/d' /etc/passwd /etc/shadow /etc/group /etc/gshadow",
    ),
    ("account-no-password", "account:alice", "passwd -q -d alice", "usermod -p '*' alice"),
    (
        "sudoers-nopasswd",
        "path:/etc/sudoers.d/norms-all",
        "printf 'alice ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/norms-all; chmod 440 /etc/sudoers.d/norms-all",
        "rm /etc/sudoers.d/norms-all",
    ),
    (
        "sudoers-writable",
        "path:/etc/sudoers.d/norms-open",
        "printf 'alice ALL=(root) /bin/true\\n' > /etc/sudoers.d/norms-open; chmod 446 /etc/sudoers.d/norms-open",
        "rm /etc/sudoers.d/norms-open",
    ),
    (
        "sudoers-invalid",
        "path:/etc/sudoers.d/norms-bad",
        "printf 'alice ALL=(ALL\\n' > /etc/sudoers.d/norms-bad; chmod 440 /etc/sudoers.d/norms-bad",
        "rm /etc/sudoers.d/norms-bad",
    ),
    (
        "keys-open",
        "path:/home/alice/.ssh/authorized_keys",
        "chmod 666 /home/alice/.ssh/authorized_keys",
        "chmod 600 /home/alice/.ssh/authorized_keys",
    ),
    (
        "sshd-drift",
        "check:sshd.permitrootlogin",
        "printf 'PermitRootLogin yes\\n' > /etc/ssh/sshd_config.d/norms.conf",
        "rm /etc/ssh/sshd_config.d/norms.conf",
    ),
    (
        "file-drift",
        "path:/etc/ssh/ssh_host_ed25519_key",
        "chmod 644 /etc/ssh/ssh_host_ed25519_key",
        "chmod 600 /etc/ssh/ssh_host_ed25519_key",
    ),
    (
        "login-defs-drift",
        "check:login-defs.PASS_MAX_DAYS",
        "sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS\\t99999/' /etc/login.defs",
        "sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS\\t90/' /etc/login.defs",
    ),
    (
        "pwquality-drift",
        "check:pwquality.minlen",
        "printf 'minlen = 6\\n' > /etc/security/pwquality.conf",
        "printf 'minlen = 14\\n' > /etc/security/pwquality.conf",
    ),
    (
        "certificate-expired",
        "path:/etc/norms/old.pem",
        "openssl req -x509 -newkey rsa:2048 -nodes -days -1 -subj /CN=old -keyout /etc/norms/oldkey -out /etc/norms/old.pem 2>/dev/null; \
         test -s /etc/norms/old.pem",
        "rm /etc/norms/old.pem",
    ),
    (
        "certificate",
        "path:/etc/norms/soon.pem",
        "openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=soon -keyout /etc/norms/soonkey -out /etc/norms/soon.pem 2>/dev/null",
        "rm /etc/norms/soon.pem",
    ),
    (
        "package-broken",
        "package:normspkg",
        "mkdir -p /root/p/DEBIAN; printf 'Package: normspkg\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' > /root/p/DEBIAN/control; \
         printf '#!/bin/sh\\nexit 1\\n' > /root/p/DEBIAN/postinst; chmod 755 /root/p/DEBIAN/postinst; dpkg-deb -b /root/p /root/p.deb >/dev/null; dpkg -i /root/p.deb >/dev/null 2>&1 || true",
        "rm -f /var/lib/dpkg/info/normspkg.postinst; dpkg --configure -a >/dev/null 2>&1",
    ),
    (
        "rotation-invalid",
        "path:/etc/logrotate.d/norms",
        "printf '/var/log/norms.log {\\n  size 1Q\\n}\\n' > /etc/logrotate.d/norms",
        "rm /etc/logrotate.d/norms",
    ),
    ("account-expired", "account:bob", "chage -E 1 bob", "chage -E -1 bob"),
    (
        "sysctl-drift",
        "sysctl:net.ipv4.conf.all.log_martians",
        "sysctl -qw net.ipv4.conf.all.log_martians=1",
        "sysctl -qw net.ipv4.conf.all.log_martians=0",
    ),
    (
        "timer-stopped",
        "unit:norms.timer",
        "printf '[Timer]\\nOnCalendar=daily\\n[Install]\\nWantedBy=timers.target\\n' > /etc/systemd/system/norms.timer; \
         printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/norms.service; systemctl daemon-reload; systemctl enable -q norms.timer",
        "systemctl start norms.timer",
    ),
];

/// Norms that wait a while before they count: for them the command is asked, not the server.
const LATER: &[&str] = &["package-broken", "timer-stopped"];

/// Returns what the command says now, as norm and subject.
fn told(rig: &Rig) -> BTreeSet<(String, String)> {
    let done = rig.host.sh("sopwith-agent norms --json").expect("it runs");
    let all: serde_json::Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
    let mut found = BTreeSet::new();
    collect(&all, &mut found);
    found
}

/// Takes every object that names a norm and a subject.
fn collect(value: &serde_json::Value, found: &mut BTreeSet<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(|v| v.as_str()).map(str::to_owned);
            if let (Some(norm), Some(subject)) = (text("norm"), text("subject")) {
                found.insert((norm, subject));
            }
            fields.values().for_each(|inner| collect(inner, found));
        }
        serde_json::Value::Array(all) => all.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}

/// Returns which of the breaches are told of.
fn of_ours(told: &BTreeSet<(String, String)>) -> BTreeSet<(&'static str, &'static str)> {
    let ours = BREACHES.iter().map(|(norm, subject, ..)| (*norm, *subject));
    ours.filter(|(norm, subject)| told.contains(&((*norm).to_owned(), (*subject).to_owned()))).collect()
}

#[test]
fn every_norm_that_is_broken_is_told_and_once_mended_no_more() {
    let Some(lab) = Lab::open_or_skip("every_norm_that_is_broken_is_told_and_once_mended_no_more") else {
        return;
    };
    let rig = Rig::up(&lab, "norms", &test_playbooks());
    let config = rig.host.run(&["cat", "/etc/sopwith/agent.yaml"]).expect("the configuration");
    let config = format!("{config}\n{CONFIG}");
    rig.host.write("/etc/sopwith/agent.yaml", config.as_bytes(), 0o644).expect("write");
    rig.sh("sopwith-agent check-config");
    rig.sh(PREPARE);
    rig.sh("systemctl restart sopwith-agent");
    assert_eq!(of_ours(&told(&rig)), BTreeSet::new(), "a host that is well");
    let all: BTreeSet<_> = BREACHES.iter().map(|(norm, subject, ..)| (*norm, *subject)).collect();
    for (norm, _, breaks, _) in BREACHES {
        assert!(rig.holds(breaks), "{norm} cannot be broken by: {breaks}");
    }
    let missed = || all.difference(&of_ours(&told(&rig))).copied().collect::<Vec<_>>();
    assert_eq!(missed(), [], "the command tells each: {:?}", told(&rig));
    let phase = |subject: &str| rig.newest(subject).map(|view| view.summary.phase);
    let now = BREACHES.iter().filter(|(norm, ..)| !LATER.contains(norm));
    for (norm, subject, ..) in now.clone() {
        rig.until(&format!("{norm} is an incident about {subject}"), || phase(subject).is_some());
    }
    for (norm, .., mends) in BREACHES {
        assert!(rig.holds(mends), "{norm} cannot be mended by: {mends}");
    }
    assert_eq!(of_ours(&told(&rig)), BTreeSet::new(), "all is mended");
    for (norm, subject, ..) in now {
        let over = || phase(subject).is_some_and(|phase| phase == "watching" || phase == "closed");
        rig.until(&format!("the incident of {norm} is over"), over);
    }
}
