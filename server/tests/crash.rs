//! The server is killed before and after each of its commits, n = 1, 2, 3 …, until a run ends unkilled. Nothing that
//! was answered is lost, nothing is half-applied, and asking again ends where the unkilled run ends.
//! Needs the feature `test-hooks`.
#![cfg(feature = "test-hooks")]

mod common;

use common::{Agent, name};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, Identity, StatusCode};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use sopwith_domain::ids::Epoch;
use sopwith_domain::people::Role;
use sopwith_journal::sqlite::verify_in;
use sopwith_protocol::exchange::{Batch, ExchangeRequest, ExchangeResponse, JoinRequest, JoinResponse};
use sopwith_server::ledger::{STREAM, rebuild_projections};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// More commits than a run can have.
const COMMITS_MAX: u32 = 60;

struct Server {
    child: Child,
    operator: SocketAddr,
    agent: SocketAddr,
}

impl Server {
    fn start(dir: &Path, die_at: Option<&str>) -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sopwith-server"));
        command.arg("--config").arg(dir.join("server.yaml")).arg("serve").env("RUST_LOG", "info");
        if let Some(at) = die_at {
            command.env("SOPWITH_TEST_DIE_AT", at);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let Some(line) = log.by_ref().find(|line| line.contains("serving")) else {
            child.wait().unwrap();
            return None;
        };
        let address = |key: &str| {
            let text = line.split(key).nth(1).unwrap().split_whitespace().next().unwrap();
            text.parse::<SocketAddr>().unwrap()
        };
        let (operator, agent) = (address("operator="), address("agent="));
        // The pipe is drained so that the server never waits for it.
        std::thread::spawn(move || log.for_each(drop));
        Some(Self { child, operator, agent })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died as it was told to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The outside world: it asks until it is answered, and remembers what it was answered.
struct Outside<'a> {
    dir: &'a Path,
    die_at: Option<String>,
    server: Option<Server>,
    http: Client,
    agent_http: Option<Client>,
    token: String,
    deaths: u32,
}

impl Outside<'_> {
    fn server(&mut self) -> &Server {
        if self.server.is_none() {
            let started = Server::start(self.dir, self.die_at.as_deref());
            let started = started.or_else(|| {
                self.deaths += 1;
                self.die_at = None;
                Server::start(self.dir, None)
            });
            self.server = Some(started.expect("a server that is not killed starts"));
        }
        self.server.as_ref().unwrap()
    }

    /// Asks until there is an answer; a server that dies is started again, and dies no more.
    async fn until_answered(&mut self, agents: bool, path: &str, body: &Json) -> (StatusCode, Json) {
        loop {
            let address = if agents { self.server().agent } else { self.server().operator };
            let url =
                if agents { format!("https://{address}{path}") } else { format!("http://{address}{path}") };
            let client = if agents { self.agent_http.as_ref().unwrap_or(&self.http) } else { &self.http };
            let asked = client.post(url).bearer_auth(&self.token).json(body).send().await;
            match asked {
                Ok(response) => return common::read(response).await,
                Err(_) => {
                    self.server = None;
                    self.deaths += 1;
                    self.die_at = None;
                }
            }
        }
    }
}

/// Makes a data folder with an admin and his token, to be copied for each run.
async fn prepare(dir: &Path) -> String {
    let config = sopwith_server::config::Config { operator_tls: false, ..common::config(dir) };
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let app = sopwith_server::app::App::open(config).unwrap();
    let add = sopwith_domain::command::Command::AddPerson {
        name: name("alice"),
        role: Role::Admin,
        by: name("sopwith"),
    };
    app.ledger.decide(add).await.unwrap();
    let token = sopwith_server::auth::token::make(&app, &name("alice"), "t".into(), None).await.unwrap().1;
    app.ledger
        .decide(sopwith_domain::command::Command::NoteAccess { by: name("alice"), what: "ready".into() })
        .await
        .unwrap();
    token
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("data")).unwrap();
    for file in std::fs::read_dir(from.join("data")).unwrap().map(Result::unwrap) {
        let target = to.join("data").join(file.file_name());
        if file.file_name() == "sopwith.db" {
            let db = Connection::open(file.path()).unwrap();
            db.execute("VACUUM INTO ?1", [target.to_str().unwrap()]).unwrap();
        } else if !file.file_name().to_string_lossy().starts_with("sopwith.db") {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
    let data = to.join("data");
    let text = format!(
        "data_dir: {}\noperator_listen: 127.0.0.1:0\noperator_tls: false\nagent_listen: 127.0.0.1:0\n\
         names: [127.0.0.1]\nplaybooks_dir: null\n",
        data.display()
    );
    std::fs::write(to.join("server.yaml"), text).unwrap();
}

/// One life: join, signals, stop, resume, a person, a closed incident. Returns how often the server died.
async fn live(dir: &Path, token: &str, die_at: Option<String>) -> u32 {
    let ca = std::fs::read(dir.join("data/ca.pem")).unwrap();
    let client = |identity: Option<Identity>| {
        let builder = Client::builder().tls_certs_only([Certificate::from_pem(&ca).unwrap()]);
        // A new connection each time: the server at the other end may be another one.
        let builder = builder.pool_max_idle_per_host(0);
        match identity {
            Some(identity) => builder.identity(identity).build().unwrap(),
            None => builder.build().unwrap(),
        }
    };
    let token = token.to_owned();
    let mut out =
        Outside { dir, die_at, server: None, http: client(None), agent_http: None, token, deaths: 0 };
    let ok = |(status, answer): (StatusCode, Json), what: &str, done: &str| {
        let kind = answer["type"].as_str().unwrap_or_default().to_owned();
        assert!(
            status.is_success() || (!done.is_empty() && kind.ends_with(done)),
            "{what}: {status} {answer}"
        );
        answer
    };
    let made = out.until_answered(false, "/api/v1/join-tokens", &json!({ "host": "web-1" })).await;
    let join_token = ok(made, "join token", "")["token"].as_str().unwrap().to_owned();
    let key = KeyPair::generate().unwrap();
    let csr_pem = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let request = JoinRequest { token: join_token, host: common::host("web-1"), epoch: Epoch(1), csr_pem };
    let request = serde_json::to_value(&request).unwrap();
    let joined = out.until_answered(true, "/agent/v1/join", &request).await;
    let joined: JoinResponse = serde_json::from_value(ok(joined, "join", "")).unwrap();
    let pem = format!("{}{}", joined.certificate_pem, key.serialize_pem());
    out.agent_http = Some(client(Some(Identity::from_pem(pem.as_bytes()).unwrap())));
    let agent = Agent::new(String::new(), "web-1", 1, &joined, &key);
    let mut through = 0;
    for n in 1..=3_u64 {
        let items = vec![agent.raised(&format!("s-{n}.service")), agent.raised(&format!("t-{n}.service"))];
        let batch = Batch { first_seq: 2 * n - 1, items };
        let head = sopwith_protocol::exchange::JournalHead { seq: n, ..agent.head };
        let request = ExchangeRequest { items: batch, journal_head: Some(head), ..agent.request() };
        let request = serde_json::to_value(&request).unwrap();
        let answer = out.until_answered(true, "/agent/v1/exchange", &request).await;
        let answer: ExchangeResponse = serde_json::from_value(ok(answer, "exchange", "")).unwrap();
        assert!(answer.items_through >= through, "what was acknowledged is not forgotten");
        assert_eq!(answer.begin_epoch, None);
        through = answer.items_through;
        assert_eq!(through, 2 * n);
    }
    let reason = json!({ "reason": "drill" });
    ok(out.until_answered(false, "/api/v1/stop", &reason).await, "stop", "unchanged");
    ok(out.until_answered(false, "/api/v1/resume", &reason).await, "resume", "unchanged");
    let bob = json!({ "name": "bob", "role": "viewer", "password": "correct horse battery" });
    ok(out.until_answered(false, "/api/v1/people", &bob).await, "person", "unchanged");
    ok(out.until_answered(false, "/api/v1/incidents/1/close", &reason).await, "close", "unchanged");
    out.deaths
}

/// What must be so in the end, however often the server died.
fn sound(dir: &Path) -> Vec<String> {
    let database: PathBuf = dir.join("data/sopwith.db");
    let db = Connection::open(&database).unwrap();
    verify_in(&db, STREAM, None).unwrap();
    let list = |sql: &str| -> Vec<String> {
        let mut select = db.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let projections = || {
        [
            list("SELECT id || rule || subject || phase || signals || opened_at FROM incidents ORDER BY id"),
            list(
                "SELECT host || state || items_through || items_lost || enrolled_at FROM hosts ORDER BY host",
            ),
            list("SELECT host || epoch || began_at FROM host_epochs ORDER BY 1"),
        ]
    };
    let written = projections();
    rebuild_projections(&database).unwrap();
    assert_eq!(projections(), written, "the projections are those of the journal");
    // Rows and events of one command are there together.
    assert_eq!(list("SELECT host FROM host_keys"), ["web-1"]);
    assert_eq!(list("SELECT name FROM accounts"), ["bob"]);
    let events = list("SELECT json_extract(CAST(body AS TEXT), '$.event') FROM journal ORDER BY seq");
    let count = |tag: &str| events.iter().filter(|event| *event == tag).count();
    assert_eq!(count("host_enrolled"), 1);
    assert_eq!(count("incident_opened"), 6, "each signal is an incident, once");
    assert_eq!(count("item_taken"), 6);
    assert_eq!((count("stop_set"), count("stop_cleared")), (1, 1));
    assert_eq!((count("person_added"), count("incident_closed")), (2, 1));
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_commit_nothing_is_lost_and_nothing_is_half() {
    common::crypto();
    let base = tempfile::tempdir().unwrap();
    let token = prepare(base.path()).await;
    for place in ["before-commit", "after-commit"] {
        let mut ended_unkilled = false;
        for n in 1..=COMMITS_MAX {
            let dir = tempfile::tempdir().unwrap();
            copy(base.path(), dir.path());
            let deaths = live(dir.path(), &token, Some(format!("{place}:{n}"))).await;
            sound(dir.path());
            if deaths == 0 {
                assert!(n > 8, "a run has more commits than {n}");
                ended_unkilled = true;
                eprintln!("{place}: killed at each of {} commits", n - 1);
                break;
            }
            assert_eq!(deaths, 1, "{place}:{n}");
        }
        assert!(ended_unkilled);
    }
}
