//! Accounts by their lines: who is told, and who is not.

use super::super::host::fixture::{Fixture, TODAY, fields};
use super::*;

const ROOT: &str = "root:x:0:0:root:/root:/bin/bash\n";
const HASH: &str = "$y$j9T$abc";

fn told(passwd: &str, shadow: &str) -> String {
    let fixture = Fixture::new("");
    fixture
        .file("/etc/passwd", format!("{ROOT}{passwd}"))
        .file("/etc/shadow", format!("root:*:20000::::::\n{shadow}"));
    fixture.told(look)
}

#[test]
fn who_is_who() {
    for (passwd, shadow, says) in [
        ("", "", ""),
        ("toor:x:0:0::/root:/bin/sh", "", "account-uid-zero account:toor"),
        ("toor:x:0:0::/root:/usr/sbin/nologin", "toor:!h:20000::::::", "account-uid-zero account:toor"),
        ("toor:x:0:0::/root:/bin/sh", "toor:!h:20000:::::1:", "account-uid-zero account:toor"),
        ("toor:x:0:0::/root:/usr/sbin/nologin", "toor:!h:20000:::::1:", ""),
        ("a::1000:1000::/home/a:/bin/sh", "", "account-no-password account:a"),
        ("a:$6$x:1000:1000::/home/a:/bin/sh", "", "account-unshadowed account:a"),
        ("a:x:1000:1000::/home/a:/bin/sh", "a::20000:0:99999:7:::", "account-no-password account:a"),
        // Locked, whatever comes after.
        ("a:x:1000:1000::/home/a:/bin/sh", "a:!:20000:0:99999:7:::", ""),
        ("a:x:1000:1000::/home/a:/bin/sh\nb:x:1000:1000::/home/b:/bin/sh", "", "account-duplicate account:b"),
        ("a:x:1000:1::/a:/bin/sh\na:x:1001:1::/a:/bin/sh", "", "account-duplicate account:a"),
        ("not a line\n::::::::", "", ""),
    ] {
        assert_eq!(told(passwd, shadow), says, "{passwd} {shadow}");
    }
}

#[test]
fn who_works_must_not_have_run_out() {
    let past = TODAY - 1;
    for (shadow, cron, reason) in [
        (format!("a:{HASH}:{past}:0:99999:7:::"), true, None),
        (format!("a:{HASH}:{past}:0:99999:7::{past}:"), true, Some("account-expired")),
        // Who works for nobody may have run out: that is how an account is closed.
        (format!("a:{HASH}:{past}:0:99999:7::{past}:"), false, None),
        (format!("a:{HASH}:{}:0:30:7:::", TODAY - 31), true, Some("password-expired")),
        (format!("a:{HASH}:{}:0:30:7:::", TODAY - 30), true, None),
        // Cron refuses it even where no password opens it.
        (format!("a:!:{}:0:30:7:::", TODAY - 31), true, Some("password-expired")),
        (format!("a:{HASH}:0:0:99999:7:::"), true, Some("password-must-change")),
        (format!("a:{HASH}:{past}:0:99999:7::{}:", TODAY + 1), true, None),
    ] {
        let fixture = Fixture::new("");
        fixture
            .file("/etc/passwd", format!("{ROOT}a:x:900:900::/srv/a:/bin/sh\n"))
            .file("/etc/shadow", &shadow);
        if cron {
            fixture.file("/etc/cron.d/job", "SHELL=/bin/sh\n# x\n*/5 * * * * a /usr/bin/true\n");
        }
        let says = reason.map_or(String::new(), |_| "account-expired account:a".into());
        assert_eq!(fixture.told(look), says, "{shadow} {cron}");
        if let Some(reason) = reason {
            let told = fields(&fixture.looked(look));
            assert!(told.starts_with(&format!("account=a reason={reason} job=/etc/cron.d/job")), "{told}");
        }
    }
}

#[test]
fn who_a_service_runs_as_works() {
    let shadow = format!("a:!:{}:0:99999:7::{}:", TODAY - 9, TODAY - 1);
    for (unit, says) in [
        ("[Service]\nUser=a\nExecStart=/srv/a/run\n", "account-expired account:a"),
        ("[Service]\n#User=a\nExecStart=/srv/a/run\n", ""),
    ] {
        let fixture = Fixture::new("");
        fixture
            .file("/etc/passwd", format!("{ROOT}a:x:900:900::/srv/a:/usr/sbin/nologin\n"))
            .file("/etc/shadow", &shadow)
            .file("/etc/systemd/system/a.service", unit);
        assert_eq!(fixture.told(look), says, "{unit}");
    }
}

#[test]
fn whose_jobs_they_are() {
    for (line, user) in [
        ("*/5 * * * * alice /bin/true", Some("alice")),
        ("@daily bob /bin/true", Some("bob")),
        ("17 *\t* * *\troot\tcd / && run-parts", Some("root")),
        ("MAILTO=root", None),
        ("# 1 2 3 4 5 x", None),
        ("", None),
    ] {
        assert_eq!(crontab_user(line), user, "{line}");
    }
}

#[test]
fn whom_nobody_has_seen() {
    let fixture = |shadow: &str, shell: &str, uid: u32| {
        let fixture = Fixture::new("");
        fixture
            .file("/etc/passwd", format!("{ROOT}a:x:{uid}:1::/home/a:{shell}\n"))
            .file("/etc/shadow", shadow);
        fixture
    };
    let old = TODAY - 200;
    let stale = "account-stale account:a";
    for (shadow, shell, uid, says) in [
        (format!("a:{HASH}:{old}:0:99999:7:::"), "/bin/bash", 1000, stale),
        (format!("a:{HASH}:{}:0:99999:7:::", TODAY - 90), "/bin/bash", 1000, ""),
        (format!("a:{HASH}:{}:0:99999:7:::", TODAY - 91), "/bin/bash", 1000, stale),
        // Closed, in the ways in which accounts are closed.
        (format!("a:!{HASH}:{old}:0:99999:7:::"), "/bin/bash", 1000, ""),
        (format!("a:{HASH}:{old}:0:99999:7::1:"), "/bin/bash", 1000, ""),
        (format!("a:{HASH}:{old}:0:99999:7:::"), "/usr/sbin/nologin", 1000, ""),
        // No person.
        (format!("a:{HASH}:{old}:0:99999:7:::"), "/bin/bash", 999, ""),
        (format!("a:{HASH}:{old}:0:99999:7:::"), "/bin/bash", 65_534, ""),
    ] {
        assert_eq!(fixture(&shadow, shell, uid).told(look), says, "{shadow} {shell} {uid}");
    }
    let mut declared = fixture(&format!("a:{HASH}:{old}:0:99999:7:::"), "/bin/bash", 1000);
    let say = |text: &str| sopwith_domain::yaml::from_str(text).expect("it parses");
    declared.declared = say("- {kind: account, name: a, human: false}");
    assert_eq!(declared.told(look), "", "a service, as is declared");
    let mut person = fixture(&format!("a:{HASH}:{old}:0:99999:7:::"), "/bin/bash", 500);
    person.declared = say("- {kind: account, name: a, human: true}");
    assert_eq!(person.told(look), stale);
    let keys = fixture(&format!("a:!:{old}:0:99999:7:::"), "/bin/bash", 1000);
    keys.file("/home/a/.ssh/authorized_keys", "ssh-ed25519 AAAA a\n");
    assert_eq!(keys.told(look), stale, "a key opens it");
}

#[test]
fn terms_looser_than_the_policy() {
    let mut fixture = Fixture::new(", login_defs: {PASS_MAX_DAYS: '<=90'}");
    fixture.declared.clear();
    let shadow =
        format!("a:{HASH}:{TODAY}:0:99999:7:::\nb:{HASH}:{TODAY}:0:90:7:::\nc:!:{TODAY}:0:99999:7:::\n");
    let passwd = format!("{ROOT}a:x:1000:1::/a:/bin/sh\nb:x:1001:1::/b:/bin/sh\nc:x:1002:1::/c:/bin/sh\n");
    fixture.file("/etc/passwd", passwd).file("/etc/shadow", shadow);
    assert_eq!(fixture.told(look), "account-password-age account:a");
}
