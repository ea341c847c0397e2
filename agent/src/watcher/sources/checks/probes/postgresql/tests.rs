use super::*;
use crate::config::Config;

fn check(more: &str) -> crate::config::Check {
    let text = format!("checks:\n- {{name: c, postgresql: {{{more}}}}}\n");
    Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}")).checks.remove(0)
}

fn probe(check: &crate::config::Check) -> &PostgresqlProbe {
    let Kind::Postgresql(probe) = check.kind() else { panic!("no postgresql") };
    probe
}

/// Returns the findings as one text.
fn told(seen: &Seen) -> String {
    let one = |finding: &Finding| {
        let fields: Vec<_> = finding.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
        format!("{} {} {}", finding.kind, finding.verdict.word(), fields.join(","))
    };
    seen.findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

const WELL: &str = "sees|1||\nversion|150006||\nmax|97||\nused|10||\nrecovery|0||\nlag|0||\n";

#[test]
fn what_postgresql_says_of_itself() {
    for (more, rows, expected) in [
        ("", WELL.to_owned(), ""),
        (
            "",
            WELL.replace("used|10", "used|80"),
            "postgresql.connections warning idle=0,idle_percent=0,max=97,reason=many,used=80,used_percent=82",
        ),
        (
            "",
            WELL.replace("used|10", "used|97"),
            "postgresql.connections critical idle=0,idle_percent=0,max=97,reason=many,used=97,used_percent=100",
        ),
        ("", format!("{WELL}read-only|0|default|0\n"), ""),
        (
            "",
            format!("{WELL}read-only|1|configuration file|1\n"),
            "postgresql.read-only critical set_in=alter-system",
        ),
        (
            "",
            format!("{WELL}read-only|1|configuration file|0\n"),
            "postgresql.read-only critical set_in=file",
        ),
        ("", format!("{WELL}read-only|1|user|0\n"), "postgresql.read-only critical set_in=role-or-database"),
        ("", format!("{WELL}read-only|1|session|0\n"), "postgresql.read-only critical set_in=elsewhere"),
        // A standby refuses writes anyway.
        ("", format!("{}read-only|1|configuration file|1\n", WELL.replace("recovery|0", "recovery|1")), ""),
        ("", format!("{WELL}idle|299|4711|\n"), ""),
        (
            "",
            format!("{WELL}idle|301|4711|\n"),
            "postgresql.idle-transaction warning backend_pid=4711,idle_s=301,limit_s=300",
        ),
        (
            "idle_in_transaction: {critical: 10s}",
            format!("{WELL}idle|11|4711|\n"),
            "postgresql.idle-transaction critical backend_pid=4711,idle_s=11,limit_s=10",
        ),
        ("", format!("{WELL}slot|standby_1|1|1048576\n"), ""),
        (
            "",
            format!("{WELL}slot|gone|0|{}\nslot|here|1|0\n", 2_u64 << 30),
            "postgresql.slot warning active=false,limit_mb=1024,retained_mb=2048,slot=gone",
        ),
        (
            "role: primary",
            WELL.replace("recovery|0", "recovery|1"),
            "postgresql.replication critical reason=role,standby=true",
        ),
        ("role: standby", WELL.to_owned(), "postgresql.replication critical reason=role,standby=false"),
        (
            "role: standby",
            WELL.replace("recovery|0", "recovery|1").replace("lag|0", "lag|61"),
            "postgresql.replication warning lag_s=61,reason=lag,standby=true",
        ),
    ] {
        let check = check(more);
        let seen = read(probe(&check), &rows).unwrap_or_else(|e| panic!("{rows}: {e}"));
        assert_eq!(told(&seen), expected, "{more} {rows}");
    }
    let check = check("");
    for (rows, says) in [
        (WELL.replace("sees|1", "sees|0"), "does not see the sessions of others"),
        ("ERROR: nonsense".into(), "answered something else"),
        (String::new(), "answered something else"),
    ] {
        let reason = read(probe(&check), &rows).expect_err(&rows);
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn a_server_that_is_down_and_an_agent_that_is_not_let_in() {
    let socket = "psql: error: connection to server on socket \"/var/run/postgresql/.s.PGSQL.5432\" failed: ";
    for (says, reason) in [
        (
            "No such file or directory\n\tIs the server running locally and accepting connections on that socket?",
            "refused",
        ),
        ("FATAL:  the database system is starting up", "starting"),
        ("FATAL:  the database system is shutting down", "stopping"),
        ("server closed the connection unexpectedly", "closed"),
        ("timeout expired", "timeout"),
        ("FATAL:  sorry, too many clients already", "exhausted"),
        (
            "FATAL:  remaining connection slots are reserved for non-replication superuser connections",
            "exhausted",
        ),
    ] {
        let seen = refused(&format!("{socket}{says}\n")).unwrap_or_else(|e| panic!("{says}: {e}"));
        assert!(told(&seen).contains(&format!("reason={reason}")), "{says}: {}", told(&seen));
    }
    for says in [
        "FATAL:  role \"sopwith\" does not exist",
        "FATAL:  Peer authentication failed for user \"x\"",
        "fe_sendauth: no password supplied",
        "FATAL:  database \"x\" does not exist",
    ] {
        assert!(refused(&format!("{socket}{says}\n")).is_err(), "{says}");
    }
}

#[test]
fn nothing_of_the_settings_is_read_as_more_than_itself() {
    let check = check("as: postgres, host: db.example.com, port: 5433, user: a-b, passfile: \"/x/it's\"");
    let argv = argv(probe(&check), Duration::from_secs(5), QUERY);
    assert_eq!(
        argv[..6],
        ["/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", "/usr/bin/psql"]
    );
    let at = argv.iter().position(|word| word == "-d").expect("a connection string") + 1;
    assert_eq!(
        argv[at],
        "host='db.example.com' port=5433 dbname='postgres' connect_timeout=5 application_name=sopwith-agent \
         user='a-b' passfile='/x/it\\'s'"
    );
    for bad in ["host: \"x' user='y\"", "host: \"\"", "host: 'a b'", "port: 0"] {
        let text = format!("checks:\n- {{name: c, postgresql: {{{bad}}}}}\n");
        assert!(Config::parse(&text).is_err(), "{bad}");
    }
}

#[test]
fn what_another_user_saw_is_taken_whole() {
    let seen = Seen::wrong(Finding::new("postgresql.slot", Verdict::Warning, "x").word("slot", "a"));
    let text = format!("a warning of psql\n{}\n", serde_json::to_string(&seen).expect("JSON"));
    let done = |text: &str| Done { ended: Ended::Exited(1), output: text.as_bytes().to_vec(), cut: 0 };
    let check = check("as: postgres");
    assert_eq!(whole(probe(&check), &done(&text)), Ok(seen));
    assert!(whole(probe(&check), &done("c UNKNOWN - no")).is_err());
}
