//! Faults that the kernel tells of or keeps in its tables, made for real on one host: each becomes an incident about
//! the right thing, with its facts as typed fields; and a fault that follows from another is folded under it.

use sopwith_protocol::api::IncidentView;
use sopwith_tests::lab::Lab;
use sopwith_tests::rig::{Rig, test_playbooks};

const CONFIG: &str = include_str!("../lab/kernel.yaml");

/// Two file systems of the host's own, and what the agent is to watch besides.
const PREPARE: &str = "
mkdir -p /srv/extra /srv/small /var/lib/systemd/coredump
printf 'tmpfs /srv/extra tmpfs size=16m 0 0\ntmpfs /srv/small tmpfs size=16m 0 0\n' >> /etc/fstab
mount /srv/extra && mount /srv/small
ip link add demo0 type veth peer name demo1
ip addr add 10.77.0.1/24 dev demo0 && ip link set demo0 up && ip link set demo1 up
chmod 644 /etc/probe/web.conf
systemctl restart sopwith-runner && systemctl reload sopwith-agent
";

const BREAK: &str = r#"
ip link set dev demo0 mtu 576
mount -o remount,ro /srv/small
chmod 666 /etc/probe/web.conf
for i in 1 2 3 4 5 6; do echo x > /var/lib/systemd/coredump/core.probe.0.boot.$i.1.zst; done
cat > /opt/probe/zombies.py <<'PY'
import os, time
for _ in range(25):
    if os.fork() == 0:
        os._exit(0)
time.sleep(100000)
PY
systemd-run -q --unit=probe-zombies /usr/bin/python3 /opt/probe/zombies.py
systemd-run -q --unit=probe-other /usr/bin/python3 -m http.server 8099 --bind 127.0.0.1
sysctl -qw net.ipv4.ip_local_port_range='40000 40060'
"#;

const HOLD: &str = r#"
systemd-run -q --unit=probe-holder /usr/bin/python3 -c "
import os, time
f = open('/srv/extra/held.log', 'wb')
f.write(b'x' * (5 << 20))
f.flush()
os.unlink('/srv/extra/held.log')
time.sleep(100000)"
"#;

/// Waits for the incident about a subject and returns its fields as words.
fn seen(rig: &Rig, subject: &str, kind: &str) -> IncidentView {
    let mut found = None;
    rig.until(&format!("an incident {kind} about {subject}"), || {
        found = rig.about(subject).into_iter().find(|view| view.summary.kind == kind);
        found.is_some()
    });
    found.expect("until returns when it is there")
}

fn field(view: &IncidentView, name: &str) -> String {
    view.fields.get(name).cloned().unwrap_or_default()
}

#[test]
fn what_the_kernel_knows_becomes_incidents_about_the_right_thing() {
    let name = "what_the_kernel_knows_becomes_incidents_about_the_right_thing";
    let Some(lab) = Lab::open_or_skip(name) else { return };
    let rig = Rig::up(&lab, "kernel", &test_playbooks());
    let config = rig.host.run(&["cat", "/etc/sopwith/agent.yaml"]).expect("the configuration");
    let config = format!("{config}\n{CONFIG}");
    rig.host.write("/etc/sopwith/agent.yaml", config.as_bytes(), 0o644).expect("write");
    rig.sh("sopwith-agent check-config --config /etc/sopwith/agent.yaml");
    rig.sh(PREPARE);
    let settled = || {
        let metrics = rig.host.sh("curl -sf http://127.0.0.1:9631/metrics").map(|done| done.stdout);
        let well = [
            "mounts", "links", "ports", "tasks", "tables", "deleted", "cores", "baseline", "oom", "clock",
            "pressure",
        ];
        metrics.is_ok_and(|text| {
            well.iter().all(|s| text.contains(&format!("sopwith_agent_source_up{{source=\"{s}\"}} 1")))
        })
    };
    rig.until("all sources see", settled);
    // The interface has an address and is up: from here on it has a baseline.
    rig.sh(HOLD);
    let held = seen(&rig, "path:/srv/extra/held.log", "filesystem.held");
    assert_eq!(
        (field(&held, "unit"), field(&held, "mount")),
        ("probe-holder.service".into(), "/srv/extra".into())
    );
    rig.sh("systemctl stop probe-holder");

    rig.sh(BREAK);
    let mtu = seen(&rig, "check:link:demo0", "link.mtu");
    assert_eq!((field(&mtu, "mtu"), field(&mtu, "expected_mtu")), ("576".into(), "1500".into()));
    let read_only = seen(&rig, "mount:/srv/small", "mount.read-only");
    assert_eq!(field(&read_only, "fs_type"), "tmpfs");
    let drifted = seen(&rig, "path:/etc/probe/web.conf", "file.drifted");
    assert_eq!((field(&drifted, "mode"), field(&drifted, "expected_mode")), ("0666".into(), "0644".into()));
    let cores = seen(&rig, "path:/var/lib/systemd/coredump", "cores.piling");
    assert_eq!((field(&cores, "program"), field(&cores, "count")), ("probe".into(), "6".into()));
    let zombies = seen(&rig, "unit:probe-zombies.service", "process.zombies");
    assert_eq!(field(&zombies, "count"), "25");
    let taken = seen(&rig, "check:tcp:8099", "port.taken");
    let units = (field(&taken, "unit"), field(&taken, "holder_unit"));
    assert_eq!(units, ("probe-port.service".into(), "probe-other.service".into()));
    let narrowed = seen(&rig, "sysctl:net.ipv4.ip_local_port_range", "ports.narrowed");
    assert_eq!(
        (field(&narrowed, "range_low"), field(&narrowed, "expected_high")),
        ("40000".into(), "60999".into())
    );

    // The mount is the root; the check that needs it is folded under it, whichever was seen first.
    rig.sh("umount -l /srv/extra");
    let missing = seen(&rig, "mount:/srv/extra", "mount.missing");
    assert_eq!(field(&missing, "unit"), "srv-extra.mount");
    let folded = || {
        let (root, check) = (rig.newest("mount:/srv/extra"), rig.newest("check:probe-store"));
        root.zip(check).is_some_and(|(root, check)| {
            let under = check.why_not.is_some_and(|why| why.contains(&root.summary.number));
            under && root.stands_for == [check.summary.id]
        })
    };
    rig.until("the check is folded under the mount", folded);
    // Both are over by themselves once it is mounted again.
    rig.sh("mount /srv/extra");
    let over =
        || ["mount:/srv/extra", "check:probe-store"].iter().all(|s| rig.newest(s).is_some_and(|v| v.cleared));
    rig.until("both are over", over);
}
