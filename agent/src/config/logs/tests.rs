use super::*;
use crate::config::Config;

fn group(name: &str) -> Vec<LogRule> {
    shipped().get(&Word::new(name).expect("a word")).expect("a group").clone()
}

/// Returns the rules that a line fits, with what they take of it.
fn fits(rules: &[LogRule], line: &str) -> Vec<String> {
    let mut told = Vec::new();
    for rule in rules {
        let found = rule.all_patterns().find_map(|pattern| pattern.regex().captures(line.as_bytes()));
        let Some(found) = found else { continue };
        let values = rule.captures.iter().filter_map(|(name, kind)| {
            let text = std::str::from_utf8(found.name(name.as_str())?.as_bytes()).ok()?;
            Some(kind.parse(text).map_or(format!("{name}!"), |value| format!("{name}={value}")))
        });
        let values: Vec<_> = values.collect();
        told.push(format!("{} {}", *rule.name, values.join(" ")).trim_end().to_owned());
    }
    told
}

#[test]
fn the_shipped_rules_can_be_used() {
    let names: Vec<_> = shipped().values().flatten().map(|rule| rule.name.to_string()).collect();
    let text = format!("logs:\n- {{name: all, kernel: true, use: [{}]}}\n", names.join(", "));
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e:?}"));
    let rules = config.logs[0].effective();
    assert_eq!(rules.len(), names.len());
    let mut found = Vec::new();
    rules.iter().for_each(|rule| log_rule(rule, &mut found));
    assert_eq!(found, [], "each is sound by itself");
    assert!(rules.iter().all(|rule| rule.kind.is_some() && rule.severity.is_some()));
}

#[test]
fn a_group_leaves_out_what_a_source_says_itself() {
    let count = group("kernel").len();
    for (logs, kernel, left_out) in [
        ("kernel: true, use: [kernel]", "{}", 2),
        ("kernel: true, use: [kernel, oom-kill]", "{}", 1),
        ("kernel: true, use: [kernel]", "{oom: {watch: none}}", 1),
        ("kernel: true, use: [kernel]", "{oom: {watch: none}, mounts: {watch: none}}", 0),
        ("paths: [/srv/other-host.log], use: [kernel]", "{}", 0),
    ] {
        let text = format!("logs: [{{name: l, {logs}}}]\nkernel: {kernel}\n");
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert_eq!(config.logs[0].effective().len(), count - left_out, "{text}");
    }
}

#[test]
fn what_the_kernel_says() {
    let rules = group("kernel");
    for (line, expected) in [
        (
            "blk_update_request: I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0",
            "disk-error device=sda",
        ),
        ("critical medium error, dev nvme0n1, sector 4 op 0x0:(READ)", "disk-error device=nvme0n1"),
        ("Buffer I/O error on dev dm-0, logical block 1, async page read", "disk-error device=dm-0"),
        ("Buffer I/O error on dev sdb1, logical block 9, lost async page write", "disk-error device=sdb1"),
        ("nvme nvme0: I/O 22 QID 4 timeout, aborting", "disk-error device=nvme0"),
        ("sd 0:0:0:0: [sdc] tag#0 Sense Key : Medium Error [current]", "disk-error device=sdc"),
        ("md/raid1:md0: Disk failure on sdb1, disabling device.", "disk-error device=sdb1"),
        (
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/system.slice/\
             shop.service,task_memcg=/system.slice/shop.service,task=python3,pid=4711,uid=1000",
            "oom-kill exe=python3 pid=4711 unit=shop.service",
        ),
        (
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
             task_memcg=/system.slice/system-db.slice/db@1.service/worker,task=db,pid=7,uid=0",
            "oom-kill exe=db pid=7 unit=db@1.service",
        ),
        (
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,\
             task=init.sh,pid=8,uid=0",
            "oom-kill exe=init.sh pid=8",
        ),
        (
            "app[991]: segfault at 0 ip 00005581 sp 00007ffd error 4 in app[5581+1000] likely on CPU 1",
            "segfaults exe=app pid=991",
        ),
        ("traps: app[7] general protection fault ip:1 sp:2 error:0", "segfaults exe=app pid=7"),
        ("traps: app[8] trap invalid opcode ip:55 sp:7f error:0 in app[55+1]", "segfaults exe=app pid=8"),
        (
            "INFO: task nfsd:812 blocked for more than 120 seconds.",
            "hung-task blocked_s=120 exe=nfsd pid=812",
        ),
        ("EXT4-fs (sda1): Remounting filesystem read-only", "remounted-read-only device=sda1"),
        (
            "EXT4-fs error (device dm-2): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
            "filesystem-error device=dm-2",
        ),
        ("BTRFS info (device vda2: state E): forced readonly", "remounted-read-only device=vda2"),
        ("XFS (vdb): Metadata CRC error detected at xfs_agi_read_verify", "filesystem-error device=vdb"),
        ("Aborting journal on device sda1-8.", "filesystem-error device=sda1"),
        ("EXT4-fs (sda1): mounted filesystem with ordered data mode", ""),
        ("EXT4-fs (sda1): re-mounted. Opts: (null)", ""),
        ("sd 0:0:0:0: [sda] Attached SCSI disk", ""),
        ("INFO: rcu_sched self-detected stall on CPU", ""),
    ] {
        for head in ["kernel: ", "kernel: [ 4021.004711] ", "Jan  2 03:04:05 web-1 kernel: [12345.678901] "] {
            assert_eq!(fits(&rules, &format!("{head}{line}")).join("; "), expected, "{head}{line}");
        }
    }
    let others = "Jan  2 03:04:05 web-1 app[7]: I/O error, dev sda, sector 2048";
    assert_eq!(fits(&rules, others), [""; 0], "only the kernel speaks for it");
}

#[test]
fn jobs_of_cron_that_failed() {
    let rules = group("cron");
    for (line, expected) in [
        (
            "CRON[4242]: (CRON) error (grandchild #4243 failed with exit status 3)",
            "cron-job-failed exit_status=3 pid=4243",
        ),
        (
            "Jan  2 03:04:05 web-1 CRON[7]: (CRON) error (grandchild #8 failed with exit status 127)",
            "cron-job-failed exit_status=127 pid=8",
        ),
        ("CRON[4242]: (root) CMD (echo '(CRON) error (grandchild #8 failed with exit status 1)')", ""),
        ("app[1]: CRON[2]: (CRON) error (grandchild #8 failed with exit status 1)", ""),
        ("CRON[4242]: (root) CMD (/usr/local/sbin/collect)", ""),
        ("CRON[4242]: (CRON) info (No MTA installed, discarding output)", ""),
    ] {
        assert_eq!(fits(&rules, line).join("; "), expected, "{line}");
    }
}

#[test]
fn a_strangers_name_is_no_address() {
    let rules = group("ssh");
    for user in
        ["root", "invalid user admin", "invalid user x from 10.0.0.1 port 22 ssh2", "invalid user  from "]
    {
        for head in ["", "2026-01-02T03:04:05.678901+00:00 web-1 ", "Jan  2 03:04:05 web-1 "] {
            let line = format!("{head}sshd[777]: Failed password for {user} from 192.0.2.66 port 4711 ssh2");
            assert_eq!(fits(&rules, &line), ["ssh-brute-force ip=192.0.2.66"], "{line}");
        }
        let line =
            format!("sshd[7]: Connection closed by invalid user {user} 192.0.2.66 port 4711 [preauth]");
        assert_eq!(fits(&rules, &line), ["ssh-brute-force ip=192.0.2.66"], "{line}");
    }
    for line in [
        "su[9]: sshd[777]: Failed password for root from 192.0.2.66 port 4711 ssh2",
        "sshd[777]: Failed password for root from 192.0.2.66 port 4711 ssh2 and more",
        "sshd[777]: Accepted password for root from 192.0.2.66 port 4711 ssh2",
        "sshd[777]: Failed password for root from evil.example port 4711 ssh2",
    ] {
        assert_eq!(fits(&rules, line), [""; 0], "{line}");
    }
}

#[test]
fn a_shipped_rule_is_taken_over_and_changed() {
    let text = "logs:\n- name: auth\n  paths: [/var/log/auth.log]\n  use: [ssh, errors]\n  rules:\n  \
                - {name: ssh-brute-force, like: ssh-brute-force, rate: {count: 5, within: 1m, by: ip}, fields: {block_set: x}}\n";
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let rules = config.logs[0].effective();
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["ssh-brute-force", "error-burst"]);
    let rule = &rules[0];
    assert_eq!(rule.all_patterns().count(), 2);
    assert_eq!((*rule.rate.as_ref().expect("it has one").count, rule.fields.len()), (5, 1));
    assert_eq!((rule.severity(), rule.subject.len()), (Severity::Critical, 1));
}

#[test]
fn what_is_wrong_with_a_log_is_said() {
    for (log, says) in [
        ("{name: a, rules: []}", "say one of paths, journal and kernel"),
        ("{name: a, kernel: true, journal: {}, use: [kernel]}", "say one of paths, journal and kernel"),
        ("{name: a, kernel: true}", "say what to notice"),
        ("{name: a, kernel: true, use: [none]}", "is no shipped rule or group: cron, errors, kernel, ssh"),
        ("{name: a, kernel: true, rules: [{name: r}]}", "say a pattern, or silence"),
        ("{name: a, kernel: true, rules: [{name: r, like: x}]}", "x is no shipped rule"),
        ("{name: a, kernel: true, record: {}, use: [kernel]}", "either a start or a continuation"),
        ("{name: a, kernel: true, rules: [{name: r, silence: 10ms}]}", "must be 1s to 30d"),
        ("{name: a, kernel: true, rules: [{name: r, pattern: x, subject: [y]}]}", "not among the captures"),
        (
            "{name: a, kernel: true, rules: [{name: r, pattern: x, silence: 1m, rate: {count: 1, within: 1m}}]}",
            "at most one of",
        ),
        (
            "{name: a, kernel: true, rules: [{name: r, pattern: '(?P<k>x)', captures: {k: word}, unless: {pattern: y, within: 5s, by: k}}]}",
            "the pattern after unless has no group",
        ),
        ("{name: a, kernel: true, record: {start: x}, use: [kernel]}", "records are of files"),
        ("{name: a, paths: [/x], encoding: ebcdic, use: [ssh]}", "is not one of auto, utf-8"),
        ("{name: a, kernel: true, rules: [{name: r, pattern: x, cpu_percent: 0}]}", "must be 1 to 100"),
    ] {
        let findings = Config::parse(&format!("logs:\n- {log}\n")).expect_err(log);
        assert!(findings.iter().any(|f| f.text.contains(says)), "{log}: {findings:?}");
    }
}
