use super::*;
use crate::config::{Config, Kind};
use tokio::net::TcpListener;

fn judged(info: &str, stops_on_error: Option<bool>) -> Seen {
    let config = Config::parse("checks:\n- {name: c, redis: {}}\n").expect("it can be used");
    let Kind::Redis(probe) = config.checks[0].kind() else { panic!("no redis") };
    let info = info.split_whitespace().filter_map(|line| line.split_once(':'));
    judge(probe, &info.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(), stops_on_error)
}

/// Returns the findings as one text.
fn told(seen: &Seen) -> String {
    let one = |finding: &Finding| {
        let fields: Vec<_> = finding.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
        format!("{} {} {}", finding.kind, finding.verdict.word(), fields.join(","))
    };
    seen.findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_redis_says_of_itself() {
    let saved = "rdb_last_bgsave_status:ok aof_last_write_status:ok aof_last_bgrewrite_status:ok";
    for (info, stops, expected) in [
        (saved.to_owned(), Some(true), ""),
        (
            "rdb_last_bgsave_status:err rdb_changes_since_last_save:7".into(),
            Some(true),
            "redis.persistence critical reason=rdb,unsaved_changes=7,writes_refused=true",
        ),
        (
            "rdb_last_bgsave_status:err".into(),
            Some(false),
            "redis.persistence warning reason=rdb,unsaved_changes=0,writes_refused=false",
        ),
        (
            "rdb_last_bgsave_status:err".into(),
            None,
            "redis.persistence warning reason=rdb,unsaved_changes=0,writes_refused=false",
        ),
        (
            "aof_last_write_status:err".into(),
            Some(false),
            "redis.persistence critical reason=aof-write,unsaved_changes=0,writes_refused=true",
        ),
        (
            "aof_last_bgrewrite_status:err".into(),
            None,
            "redis.persistence warning reason=aof-rewrite,unsaved_changes=0,writes_refused=false",
        ),
        ("used_memory:90 maxmemory:100 maxmemory_policy:allkeys-lru".into(), None, ""),
        (
            "used_memory:85000000 maxmemory:100000000 maxmemory_policy:noeviction".into(),
            None,
            "redis.memory warning max_mb=95,used_percent=85",
        ),
        (
            "used_memory:99 maxmemory:100 maxmemory_policy:noeviction".into(),
            None,
            "redis.memory critical max_mb=0,used_percent=99",
        ),
        ("used_memory:99 maxmemory:0 maxmemory_policy:noeviction".into(), None, ""),
        (
            "role:slave master_link_status:down master_link_down_since_seconds:42".into(),
            None,
            "redis.replication critical down_s=42,reason=link-down",
        ),
        ("role:slave master_link_status:up".into(), None, ""),
    ] {
        assert_eq!(told(&judged(&info, stops)), expected, "{info}");
    }
}

/// Answers every command with the next of the replies, then closes.
async fn served(replies: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut buffer = [0; 1024];
        for reply in replies {
            let Ok(1..) = stream.read(&mut buffer).await else { return };
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    port
}

async fn asked(port: u16, more: &str) -> Result<Seen, String> {
    let text =
        format!("checks:\n- {{name: c, timeout: 500ms, redis: {{connect: '127.0.0.1:{port}'{more}}}}}\n");
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    super::super::look(&config.checks[0], &super::super::By::Us).await
}

#[tokio::test]
async fn answers_of_every_kind() {
    const SETTING: &str = "*2\r\n$27\r\nstop-writes-on-bgsave-error\r\n$3\r\nyes\r\n";
    for (replies, expected) in [
        (&["$25\r\nrdb_last_bgsave_status:ok\r\n", SETTING][..], ""),
        (&["$25\r\nrdb_last_bgsave_status:ok\r\n", "-ERR unknown command\r\n"], ""),
        (
            &["$26\r\nrdb_last_bgsave_status:err\r\n", SETTING],
            "redis.persistence critical reason=rdb,unsaved_changes=0,writes_refused=true",
        ),
        (&["-LOADING Redis is loading the dataset in memory\r\n"], "redis.down warning reason=loading"),
        (&["-ERR max number of clients reached\r\n"], "redis.down critical reason=refused-to-answer"),
        (&[], "redis.down critical reason=closed"),
        (&["HTTP/1.1 400 Bad Request\r\n"], "redis.down critical reason=other"),
        (&["$99999999999\r\n"], "redis.down critical reason=other"),
        (&["$-7\r\n"], "redis.down critical reason=other"),
        (&["*1\r\n$1\r\nx\r\n", "*9999\r\n"], "redis.down critical reason=other"),
        // It says less than it announced, and nothing more.
        (&["$99\r\nrdb_last_bgsave_status:ok\r\n"], "redis.down critical reason=closed"),
    ] {
        let port = served(replies).await;
        let seen = asked(port, "").await.expect("it can ask");
        assert_eq!(told(&seen), expected, "{replies:?}");
    }
    const REFUSALS: [&[&str]; 2] =
        [&["-NOAUTH Authentication required.\r\n"], &["-NOPERM this user has no permissions\r\n"]];
    for refusal in REFUSALS {
        let reason = asked(served(refusal).await, "").await.expect_err("it is not let in");
        assert!(reason.contains("does not let the agent in"), "{reason}");
    }
    let reason = asked(1, ", password_file: /does/not/exist").await.expect_err("there is no such file");
    assert!(reason.contains("/does/not/exist"), "{reason}");
}
