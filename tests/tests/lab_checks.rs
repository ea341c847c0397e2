//! Checks against the real things of Debian on one host: its monitoring plugins, nginx, PostgreSQL, Redis, ssh and a
//! resolver, each well and broken in the ways in which they break; by the command that speaks the plugin contract,
//! as incidents, and in the day's inspection report at the server.

use sopwith_protocol::api::{IncidentView, InspectionView};
use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{Rig, test_playbooks};
use std::time::{Duration, Instant};

const CONFIG: &str = include_str!("../lab/checks.yaml");
const PACKAGES: &[&str] =
    &["monitoring-plugins-basic", "monitoring-plugins-common", "ucf", "systemd-resolved"];

/// Longest time until a step shows.
const STEP_MAX: Duration = Duration::from_secs(20);

/// Services, a certificate and a name to resolve.
const PREPARE: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive
dpkg --force-depends --unpack /root/packages/*.deb && dpkg --force-depends --configure -a
mkdir -p /etc/demo && cd /etc/demo
openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj '/CN=demo authority' -keyout ca.key -out ca.pem
issue() {
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout shop.key -out shop.csr
    printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > shop.ext
    openssl x509 -req -in shop.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days "$1" -extfile shop.ext -out shop.pem
    chmod 644 shop.key
}
declare -f issue > issue.sh
issue 60
echo 'a shop' > /var/www/html/index.html
cat > /etc/nginx/sites-enabled/shop <<'CONF'
server {
    listen 127.0.0.1:8443 ssl;
    ssl_certificate /etc/demo/shop.pem;
    ssl_certificate_key /etc/demo/shop.key;
    root /var/www/html;
    index index.html;
}
CONF
echo '192.0.2.80 shop.demo.test' >> /etc/hosts
ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
systemctl start systemd-resolved postgresql redis-server nginx ssh
for i in $(seq 100); do su postgres -c 'psql -qtc "select 1"' >/dev/null 2>&1 && break; sleep 0.1; done
"#;

/// What is done to the host, the check that looks then, its exit code, and what its line says.
const STEPS: &[(&str, &str, i32, &str)] = &[
    ("", "plugin-load", 0, "plugin-load OK - "),
    ("", "plugin-load", 0, "'load1'="),
    ("", "plugin-disk", 0, "'/var/log/probe'="),
    ("", "plugin-low", 1, "plugin-low WARNING - DISK WARNING"),
    ("", "plugin-procs", 2, "plugin-procs CRITICAL - PROCS CRITICAL"),
    ("", "plugin-unknown", 3, "plugin-unknown UNKNOWN - UNKNOWN: nobody"),
    ("", "plugin-usage", 3, "plugin-usage UNKNOWN - "),
    ("", "plugin-hangs", 3, "not done within 200ms"),
    ("", "plugin-floods", 3, "not done within 300ms"),
    ("", "plugin-gone", 3, "failed to start /usr/lib/nagios/plugins/check_gone"),
    ("", "no-such-check", 3, "there is no such check; there are: plugin-load, "),
    ("", "shop", 0, "https://localhost:8443/ answers 200 OK"),
    ("", "shop-other", 2, "but not with \"a bakery\""),
    ("", "shop-untrusted", 2, "nobody whose certificates count has signed"),
    ("", "certificate", 0, "good until 20"),
    (
        "cd /etc/demo && . ./issue.sh && issue 50",
        "certificate",
        1,
        "serves another certificate than lies on disk",
    ),
    ("systemctl reload nginx", "certificate", 0, "good until 20"),
    ("cd /etc/demo && . ./issue.sh && issue 3 && systemctl reload nginx", "shop", 2, "expires in 2 days"),
    ("", "certificate", 1, "expires in 2 days"),
    (
        "mv /etc/demo/shop.key /etc/demo/away && openssl genrsa -out /etc/demo/shop.key 2048",
        "certificate",
        2,
        "is not the key of the certificate",
    ),
    ("mv /etc/demo/away /etc/demo/shop.key", "nginx", 0, "one that nginx would start with"),
    ("echo 'sevrer {}' > /etc/nginx/sites-enabled/typo", "nginx", 2, "unknown directive \"sevrer\""),
    ("", "nginx", 2, "the old one still serves"),
    ("rm /etc/nginx/sites-enabled/typo", "nginx", 0, "nginx OK"),
    ("systemctl stop nginx", "shop", 2, "does not answer"),
    ("", "ssh", 0, "says SSH-2.0-OpenSSH"),
    ("systemctl stop ssh", "ssh", 2, "no connection to 127.0.0.1:22"),
    ("", "resolver", 0, "1 of 1 name servers resolve shop.demo.test"),
    ("systemctl stop systemd-resolved", "resolver", 2, "name server 127.0.0.53 does not answer"),
    (
        "rm /etc/resolv.conf; echo 'search demo.test' > /etc/resolv.conf",
        "resolver",
        2,
        "names no name server",
    ),
    ("rm /etc/resolv.conf", "resolver", 2, "/etc/resolv.conf cannot be read"),
    ("", "database", 0, "primary, "),
    ("", "database-full", 2, "of 97 connections are in use"),
    ("", "database-standby", 2, "meant to be a standby"),
    ("", "database-stranger", 3, "psql cannot ask: "),
    (
        "systemd-run -q --unit=idler --uid=postgres /bin/sh -c '(echo begin\\;; sleep 1000) | psql -q'",
        "database",
        1,
        "a transaction is open and does nothing",
    ),
    ("systemctl stop idler", "database", 0, "0 slots"),
    ("systemctl stop postgresql", "database", 2, "No such file or directory"),
    ("", "cache", 0, "saved by snapshot"),
    ("redis-cli config set maxmemory 600kb", "cache", 2, "of the memory that it may"),
    ("redis-cli config set maxmemory 0", "cache", 0, "cache OK"),
];

/// Makes Redis fail to save, as a full disk does; what it keeps then is only in memory.
const UNSAVED: &str = "
mkdir /srv/cache && chown redis /srv/cache && mount -t tmpfs -o size=4k,uid=$(id -u redis) tmpfs /srv/cache
systemctl stop redis-server && mkdir -p /run/systemd/system/redis-server.service.d
printf '[Service]\nReadWriteDirectories=-/srv/cache\n' > /run/systemd/system/redis-server.service.d/cache.conf
sed -i 's#^dir .*#dir /srv/cache#' /etc/redis/redis.conf
systemctl daemon-reload && systemctl start redis-server && sleep 0.3
head -c 100000 /dev/urandom | base64 -w0 | redis-cli -x set big >/dev/null; redis-cli bgsave
for i in $(seq 50); do redis-cli info persistence | grep -q bgsave_status:err && break; sleep 0.1; done
";

#[test]
fn checks_see_what_is_wrong_with_real_services() {
    let Some(lab) = Lab::open_or_skip("checks_see_what_is_wrong_with_real_services") else { return };
    let rig = Rig::up(&lab, "checks", &test_playbooks());
    for (path, bytes) in lab.packages(PACKAGES).expect("packages") {
        rig.host.write(&path, &bytes, 0o644).expect("write");
    }
    let config = rig.host.run(&["cat", "/etc/sopwith/agent.yaml"]).expect("the configuration");
    rig.host
        .write("/etc/sopwith/agent.yaml", format!("{config}\n{CONFIG}").as_bytes(), 0o644)
        .expect("write");
    rig.sh("sopwith-agent check-config");
    rig.sh(PREPARE);
    for (script, name, code, says) in STEPS {
        rig.sh(script);
        let mut last = String::new();
        let deadline = Instant::now() + STEP_MAX;
        // What was just reloaded, started or stopped takes its moment.
        while !seen(&rig, name, *code, says, &mut last) {
            assert!(Instant::now() < deadline, "{script}\nexpected {code}, {says}, at last: {last}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    rig.sh("systemctl start postgresql ssh nginx systemd-resolved");
    as_incidents_and_in_the_report(&rig);
}

/// Says whether a check ends and says as expected; the text is for whoever reads a failure.
fn seen(rig: &Rig, name: &str, code: i32, says: &str, last: &mut String) -> bool {
    let done = rig.host.sh(&format!("sopwith-agent check {name}")).expect("it runs");
    *last = format!("{:?} {}{}", done.code, done.stdout, done.stderr);
    done.code == Some(code) && done.stdout.contains(says) && done.stdout.starts_with(name)
}

fn field(view: &IncidentView, name: &str) -> String {
    view.fields.get(name).cloned().unwrap_or_default()
}

fn as_incidents_and_in_the_report(rig: &Rig) {
    rig.sh(UNSAVED);
    // Both halves read the checks anew: the runner looks at what needs root or another account.
    rig.sh("systemctl restart sopwith-runner && systemctl restart sopwith-agent");
    let mut unsaved = None;
    rig.until("redis that cannot save is an incident", || {
        unsaved = rig.about("check:cache").into_iter().find(|view| view.summary.kind == "redis.persistence");
        unsaved.is_some()
    });
    let unsaved = unsaved.expect("until returns when it is there");
    assert_eq!(
        (field(&unsaved, "reason").as_str(), field(&unsaved, "writes_refused").as_str()),
        ("rdb", "true"),
        "{:?}",
        unsaved.fields
    );
    let low = rig.await_phase("check:plugin-low", &["detected", "needs_person", "awaiting_approval"]);
    assert_eq!((low.severity.as_str(), field(&low, "verdict").as_str()), ("warning", "warning"));
    let page =
        || rig.host.sh("curl -sf http://127.0.0.1:9631/metrics").map_or_else(|_| String::new(), |d| d.stdout);
    rig.until("a plugin's numbers are metrics", || {
        let page = page();
        page.contains("sopwith_agent_check_value{check=\"plugin-load\",label=\"load1\",unit=\"\"}")
            && page.contains("sopwith_agent_check_state{check=\"database\"} 0")
            && page.contains("sopwith_agent_check_state{check=\"plugin-gone\"} 3")
    });
    let report = report(rig);
    let verdict = |name: &str| {
        let found = report.checks.iter().find(|one| one.check == name);
        found.map_or("missing", |one| one.verdict.as_str())
    };
    let told = ["cache", "plugin-low", "plugin-unknown", "plugin-gone", "database", "nginx", "calendar"]
        .map(verdict);
    assert_eq!(told, ["critical", "warning", "unknown", "unknown", "ok", "ok", "ok"], "{report:?}");
    assert!(!report.complete && report.checks[0].verdict == "critical", "what is wrong comes first");
    let gone = "sopwith-agent status | grep -q 'checks: broken: .*plugin-gone: failed to start'";
    rig.until("what cannot look is a state of the source", || rig.holds(gone));
}

fn report(rig: &Rig) -> InspectionView {
    let mut found = None;
    rig.until("the day's report is at the server", || {
        found = rig.server.client().get(&format!("/hosts/{}/inspection", rig.host.name())).ok();
        found.is_some()
    });
    found.expect("until returns when it is there")
}
