//! A real server in this process, on ports and a folder of its own, with operators and agents that speak TLS to it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use sopwith_domain::command::{Command, Item};
use sopwith_domain::ids::{AccountName, Digest, Epoch, HostId, RuleId};
use sopwith_domain::inspection::{Day, Inspected, Inspection, Verdict};
use sopwith_domain::order::SignedText;
use sopwith_domain::people::{Role, SERVER_ACCOUNT};
use sopwith_domain::run::Record;
use sopwith_domain::signal::{Condition, Severity, Signal, SignalKind, Subject};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::{UnitName, Value, Word};
use sopwith_protocol::exchange::{
    Batch, ExchangeRequest, ExchangeResponse, JoinRequest, JoinResponse, JournalHead,
};
use sopwith_protocol::signature::{PLAYBOOK_NAMESPACE, POLICY_NAMESPACE, sign};
use sopwith_server::auth::token;
use sopwith_server::config::{Config, Connections};
use sopwith_server::doors::Patience;
use sopwith_server::exchange::join::make_token;
use sopwith_server::serve::Running;
use ssh_key::private::Ed25519Keypair;
use std::collections::BTreeMap;

pub const PLAYBOOK: &str = "\
id: start-it
version: 1
title: Start a service that failed
purpose: Starts it again.
scope: One unit.
risk: approval
answers:
  - kind: unit.failed
    priority: 10
parameters:
  unit: {type: unit, from: subject, about: the unit}
steps:
  - name: Start the unit
    do: unit.start
    with: {unit: $unit}
    expect:
      - {check: unit.active, with: {unit: $unit}}
    timeout_s: 30
verify:
  - {check: unit.active, with: {unit: $unit}}
soak_s: 5
escalation: Look at its log.
";

pub struct World {
    pub dir: tempfile::TempDir,
    pub running: Running,
    pub signer: ssh_key::PrivateKey,
    pub http: Client,
}

pub fn name(text: &str) -> AccountName {
    AccountName::new(text).unwrap()
}

pub fn host(text: &str) -> HostId {
    HostId::new(text).unwrap()
}

pub fn crypto() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn client(ca_pem: &str, identity: Option<Identity>) -> Client {
    crypto();
    let ca = Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    let builder = Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none());
    match identity {
        Some(identity) => builder.identity(identity).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

pub fn config(dir: &std::path::Path) -> Config {
    Config {
        data_dir: dir.join("data"),
        operator_listen: "127.0.0.1:0".parse().unwrap(),
        operator_tls: true,
        agent_listen: "127.0.0.1:0".parse().unwrap(),
        names: vec!["127.0.0.1".into()],
        playbooks_dir: Some(dir.join("playbooks")),
        policy: None,
        connections: Connections::default(),
    }
}

impl World {
    /// Starts a server with an owner's key, one signed playbook and the operators viewer, operator, approver, admin.
    pub async fn start() -> Self {
        Self::start_with(Patience::default(), |_| {}).await
    }

    /// Does so with another patience and configuration.
    pub async fn start_with(patience: Patience, change: impl FnOnce(&mut Config)) -> Self {
        crypto();
        let dir = tempfile::tempdir().unwrap();
        let signer = ssh_key::PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        std::fs::create_dir_all(dir.path().join("data")).unwrap();
        std::fs::create_dir_all(dir.path().join("playbooks")).unwrap();
        let line = format!("owner@example.com {}\n", signer.public_key().to_openssh().unwrap());
        std::fs::write(dir.path().join("data/allowed_signers"), line).unwrap();
        let signed = sign(&signer, PLAYBOOK_NAMESPACE, PLAYBOOK).unwrap();
        std::fs::write(dir.path().join("playbooks/start-it.yaml"), &signed.text).unwrap();
        std::fs::write(dir.path().join("playbooks/start-it.yaml.sig"), &signed.signature).unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let running = Running::start_with(config, patience).await.unwrap();
        let http = client(&running.app.keys.ca_pem, None);
        let world = Self { dir, running, signer, http };
        for role in Role::ALL {
            world.person(&role.to_string(), role).await;
        }
        world
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// Adds a person without a password.
    pub async fn person(&self, person: &str, role: Role) {
        let command = Command::AddPerson { name: name(person), role, by: name(SERVER_ACCOUNT) };
        self.running.app.ledger.decide(command).await.unwrap();
    }

    pub async fn token(&self, person: &str) -> String {
        token::make(&self.running.app, &name(person), "test".into(), None).await.unwrap().1
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.running.operator)
    }

    pub fn agent_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.running.agent)
    }

    pub fn ask(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(token)
    }

    pub async fn get(&self, token: &str, path: &str) -> (StatusCode, Json) {
        read(self.ask(token, Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Json) -> (StatusCode, Json) {
        read(self.ask(token, Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub fn signed(&self, namespace: &str, text: &str) -> SignedText {
        sign(&self.signer, namespace, text).unwrap()
    }

    pub fn policy(&self, text: &str) -> SignedText {
        self.signed(POLICY_NAMESPACE, text)
    }

    pub async fn join_token(&self, host: Option<HostId>) -> String {
        make_token(&self.running.app, &name(SERVER_ACCOUNT), host, 60_000).await.unwrap().token
    }

    pub async fn try_join(&self, token: &str, name: &str, epoch: u64, key: &KeyPair) -> (StatusCode, Json) {
        let csr = CertificateParams::default().serialize_request(key).unwrap().pem().unwrap();
        let request =
            JoinRequest { token: token.into(), host: host(name), epoch: Epoch(epoch), csr_pem: csr };
        read(self.http.post(self.agent_url("/agent/v1/join")).json(&request).send().await.unwrap()).await
    }

    /// Makes a host that has joined.
    pub async fn agent(&self, name: &str) -> Agent {
        let key = KeyPair::generate().unwrap();
        let token = self.join_token(Some(host(name))).await;
        let (status, answer) = self.try_join(&token, name, 1, &key).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let joined: JoinResponse = serde_json::from_value(answer).unwrap();
        Agent::new(self.agent_url("/agent/v1/exchange"), name, 1, &joined, &key)
    }
}

pub async fn read(response: Response) -> (StatusCode, Json) {
    let status = response.status();
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| json!({ "text": text }));
    (status, json)
}

/// An agent as the server sees one.
pub struct Agent {
    pub http: Client,
    pub url: String,
    pub host: HostId,
    pub epoch: Epoch,
    pub head: JournalHead,
}

impl Agent {
    pub fn new(url: String, name: &str, epoch: u64, joined: &JoinResponse, key: &KeyPair) -> Self {
        let pem = format!("{}{}", joined.certificate_pem, key.serialize_pem());
        let identity = Identity::from_pem(pem.as_bytes()).unwrap();
        let head = JournalHead { seq: 0, hash: Digest([0; 32]) };
        Self {
            http: client(&joined.ca_pem, Some(identity)),
            url,
            host: host(name),
            epoch: Epoch(epoch),
            head,
        }
    }

    pub fn request(&self) -> ExchangeRequest {
        ExchangeRequest {
            host: self.host.clone(),
            epoch: self.epoch,
            agent_version: "0.1.0".into(),
            items: Batch::default(),
            records: Batch::default(),
            journal_head: Some(self.head),
            server_head: None,
            challenge: "ab".repeat(32),
            holding: vec![],
            wait_ms: 0,
            metrics_address: Some("192.0.2.1:9631".into()),
            facts: BTreeMap::from([("system".into(), "Debian 12".into())]),
            dry_runs: vec![],
            live: vec![],
        }
    }

    pub async fn send(&self, request: &ExchangeRequest) -> (StatusCode, Json) {
        read(self.http.post(&self.url).json(request).send().await.unwrap()).await
    }

    pub async fn exchange(&self, request: &ExchangeRequest) -> ExchangeResponse {
        let (status, answer) = self.send(request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value(answer).unwrap()
    }

    pub async fn items(&self, first_seq: u64, items: Vec<Item>) -> ExchangeResponse {
        self.exchange(&ExchangeRequest { items: Batch { first_seq, items }, ..self.request() }).await
    }

    pub async fn records(&self, first_seq: u64, records: Vec<Record>) -> ExchangeResponse {
        self.exchange(&ExchangeRequest { records: Batch { first_seq, items: records }, ..self.request() })
            .await
    }

    pub fn raised(&self, unit: &str) -> Item {
        Item::Signal { signal: Box::new(self.signal(unit, Condition::Raised)) }
    }

    pub fn signal(&self, unit: &str, condition: Condition) -> Signal {
        Signal {
            host: self.host.clone(),
            epoch: self.epoch,
            rule: RuleId::new("units.failed").unwrap(),
            kind: SignalKind::new("unit.failed").unwrap(),
            subject: Subject::Unit(UnitName::new(unit).unwrap()),
            condition,
            severity: Severity::Critical,
            summary: format!("{unit} failed"),
            fields: BTreeMap::from([(
                Word::new("unit_result").unwrap(),
                Value::Word(Word::new("signal").unwrap()),
            )]),
            evidence: vec![],
            observed_at: Timestamp(1_767_225_600_000),
            cause: None,
            depends_on: Vec::new(),
        }
    }
}

/// Makes an inspection report of a day, with one check that is critical and one that has not run.
pub fn inspection(day: &str, complete: bool) -> Item {
    let one = |check: &str, verdict: Option<Verdict>| Inspected {
        check: Word::new(check).unwrap(),
        kind: Word::new("http").unwrap(),
        schedule: "every 1m".into(),
        runs: 3,
        warnings: 1,
        criticals: 1,
        unknowns: 0,
        missed: 2,
        verdict,
        since: verdict.map(|_| Timestamp(1_767_225_600_000)),
        last_at: verdict.map(|_| Timestamp(1_767_225_600_000)),
        line: "it answers 503".into(),
    };
    let report = Inspection {
        day: Day::new(day).unwrap(),
        made_at: Timestamp(1_767_225_600_000),
        complete,
        checks: vec![one("new", None), one("shop", Some(Verdict::Critical))],
        left_out: 0,
    };
    Item::Inspection { report: Box::new(report) }
}
