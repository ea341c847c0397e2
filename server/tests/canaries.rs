//! Text as an attacker would write it, in every field that comes from outside: what hosts report, and the bodies of the
//! API as its own description lists them. Each field refuses it or keeps it as text: it stands on no page as markup, in
//! no plan, and nowhere in a shape that could command a terminal. The fields are found in the types as they are
//! written, so that a new one is tried by being there.

mod common;

use common::{Agent, World, inspection};
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use sopwith_domain::command::Item;
use sopwith_domain::declaration::{Declaration, Declarations};
use sopwith_domain::ids::Digest;
use sopwith_domain::run::{Effect, End, Record, StepResult, UndoResult, What};
use sopwith_domain::signal::{Condition, Evidence, Signal, Subject};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::{Value, Word};
use sopwith_protocol::exchange::{Batch, ExchangeRequest, JournalHead};
use sopwith_protocol::plain::misleading;
use sopwith_server::routes::{Door, Face, table};
use std::collections::{BTreeMap, BTreeSet};

/// What is tried. The first letters are ours, so that each can be found again wherever it got to.
const CANARIES: [&str; 14] = [
    "CANARY;touch /c",
    "CANARY$(touch /c)",
    "CANARY`touch /c`",
    "CANARY\nforged: line",
    "CANARY\0nul",
    "../../CANARY/etc/passwd",
    "--output=/CANARY",
    "-rf CANARY",
    "{{CANARY}}{%x%}",
    "CANARY\u{1b}[2J\u{1b}]0;x\u{7}",
    "CANARY<script>x</script>\"'&",
    "CANARY\u{202e}txt.exe",
    "CANARY\u{200b}\u{feff}\u{2028}",
    "CANARY'; DROP TABLE journal; --",
];

/// Returns the place of every text in a document.
fn texts(json: &Json, at: &str, found: &mut Vec<String>) {
    match json {
        Json::String(_) => found.push(at.to_owned()),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| texts(item, &format!("{at}/{n}"), found));
        }
        Json::Object(fields) => fields.iter().for_each(|(name, field)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            texts(field, &format!("{at}/{name}"), found);
        }),
        _ => {}
    }
}

/// Returns the document once for each of its texts, with the canary in its place, and whether its type takes that.
fn poisoned<T: Serialize + DeserializeOwned>(good: &T, canary: &str) -> Vec<(String, Option<T>)> {
    let json = serde_json::to_value(good).unwrap();
    let mut found = Vec::new();
    texts(&json, "", &mut found);
    let with = |at: String| {
        let mut json = json.clone();
        *json.pointer_mut(&at).unwrap() = canary.into();
        (at, serde_json::from_value(json).ok())
    };
    found.into_iter().map(with).collect()
}

/// Does so in all texts at once whose type takes it.
fn poisoned_all<T: Serialize + DeserializeOwned>(good: &T, canary: &str) -> T {
    let mut json = serde_json::to_value(good).unwrap();
    let mut found = Vec::new();
    texts(&json, "", &mut found);
    for at in found {
        let mut tried = json.clone();
        *tried.pointer_mut(&at).unwrap() = canary.into();
        if serde_json::from_value::<T>(tried.clone()).is_ok() {
            json = tried;
        }
    }
    serde_json::from_value(json).unwrap()
}

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

/// A signal in which every field holds something.
fn signal(agent: &Agent, unit: &str) -> Signal {
    let of = |value_type: sopwith_domain::value::ValueType, text: &str| value_type.parse(text).unwrap();
    use sopwith_domain::value::ValueType as T;
    let fields = [
        ("unit_result", of(T::Word, "signal")),
        ("count", of(T::Integer, "7")),
        ("sure", of(T::Boolean, "true")),
        ("config_path", of(T::Path, "/etc/shop.conf")),
        ("page", of(T::Url, "http://127.0.0.1/")),
        ("other", of(T::Unit, "b.service")),
        ("ip", of(T::Ip, "192.0.2.1")),
        ("names", of(T::Glob, "*.log")),
        ("holder", of(T::Process, "1@1")),
    ];
    Signal {
        evidence: vec![Evidence { title: "journal".into(), text: "it failed".into() }],
        cause: Some(Digest([7; 32])),
        depends_on: vec![Subject::Unit("db.service".parse().unwrap())],
        fields: fields.into_iter().map(|(name, value): (&str, Value)| (word(name), value)).collect(),
        ..agent.signal(unit, Condition::Raised)
    }
}

/// What an administrator can say of a host, one of each kind.
fn declarations() -> Declarations {
    let scope = vec![Subject::Unit("quiet.service".parse().unwrap())];
    let (from, to) = (Timestamp(1_767_225_600_000), Timestamp(4_000_000_000_000));
    let name = || "alice".parse().unwrap();
    Declarations {
        stated: vec![
            Declaration::Maintenance {
                id: word("MW-1"),
                scope: scope.clone(),
                from,
                to,
                by: "alice".into(),
                reason: "work".into(),
            },
            Declaration::Hold {
                scope: scope.clone(),
                by: "alice".into(),
                reason: "look".into(),
                until: Some(to),
            },
            Declaration::Expected { scope, load: sopwith_domain::declaration::Load::Cpu, from, to },
            Declaration::Allow { ip: None, account: Some(name()), note: "bastion".into() },
            Declaration::Account { name: name(), human: true },
            Declaration::Fact { name: word("role"), value: word("db") },
        ],
        broken: vec!["/etc/sopwith/host.d/x.yaml: line 1".into()],
    }
}

/// Returns a request of a host whose run journal stands there; another place would be a memory that was set back.
fn as_of(agent: &Agent, records: u64) -> ExchangeRequest {
    let head = JournalHead { seq: records, hash: Digest([1; 32]) };
    ExchangeRequest { journal_head: Some(head), ..agent.request() }
}

/// Sends items one by one; those that the server refuses leave no gap.
struct Sender<'a> {
    agent: &'a Agent,
    next: u64,
    /// Where the host's run journal stands.
    records: u64,
    taken: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Sender<'_> {
    async fn item(&mut self, what: &str, item: Option<Item>) {
        let Some(item) = item else {
            self.refused.insert(what.into());
            return;
        };
        let items = Batch { first_seq: self.next, items: vec![item] };
        let (status, answer) =
            self.agent.send(&ExchangeRequest { items, ..as_of(self.agent, self.records) }).await;
        assert!(!status.is_server_error(), "{what}: {status} {answer}");
        let took = status == StatusCode::OK && answer["items_through"] == self.next;
        self.next += u64::from(took);
        (if took { &mut self.taken } else { &mut self.refused }).insert(what.into());
    }
}

/// Approves the plan of the newest incident and has the host tell a whole run with the canary in all its texts.
async fn a_run(world: &World, agent: &Agent, records: &mut u64, approver: &str, canary: &str) {
    let plan = {
        let state = world.running.app.ledger.state();
        let newest = state.incidents.values().rev().find(|i| i.phase.name() == "awaiting_approval");
        let last = state.incidents.values().next_back().map(|i| (&i.phase, &i.signal.subject));
        let newest = newest.and_then(|i| i.proposal.as_ref());
        newest.unwrap_or_else(|| panic!("no plan waits: {last:?}")).plan.digest()
    };
    let path = format!("/api/v1/plans/{plan}/approve");
    let request = world.ask(approver, Method::POST, &path).header(header::IF_MATCH, format!("\"{plan}\""));
    // A reason is a person's own and has its bounds; what does not fit is refused there.
    let answer = request.json(&json!({ "reason": canary.replace('\0', "") })).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    let answer = agent.exchange(&as_of(agent, *records)).await;
    let order = answer.orders.first().unwrap_or_else(|| panic!("no order for {canary:?}"));
    let order = serde_json::from_str(&order.text).unwrap();
    let text = String::new;
    let all = [
        What::Accepted { order: Box::new(order) },
        What::Started { step: 0, prior: json!({ "before": canary }) },
        What::Probed { step: 0, effect: Effect::None { detail: "x".into() } },
        What::Started { step: 0, prior: Json::Null },
        What::Finished { step: 0, outcome: StepResult::Failed { reason: text(), output: text() } },
        What::Halted { reason: "x".into() },
        What::CancelRequested { by: "x".into() },
        What::UndoStarted { step: 0 },
        What::UndoFinished { step: 0, result: UndoResult::Residue { what: "x".into() } },
        What::Ended { end: End::Parked { reason: "x".into(), residue: vec!["x".into()] } },
    ];
    for (n, what) in all.into_iter().enumerate() {
        let what = if n == 0 { what } else { poisoned_all(&what, canary) };
        let record = Record { run: plan, at: Timestamp(1_767_225_600_000), what };
        let batch = Batch { first_seq: *records + 1, items: vec![record] };
        let (status, answer) =
            agent.send(&ExchangeRequest { records: batch, ..as_of(agent, *records) }).await;
        assert!(status == StatusCode::OK || status.is_client_error(), "{status} {answer}");
        *records += u64::from(status == StatusCode::OK && answer["records_through"] == *records + 1);
    }
}

/// Looks at every page and every answer of the API that there is, with the names that exist.
async fn look_everywhere(world: &World, admin: &str) -> usize {
    let ids = {
        let state = world.running.app.ledger.state();
        let many = |all: Vec<String>| all.into_iter().rev().take(120).collect::<Vec<_>>();
        let runs: Vec<String> = state.runs.keys().map(ToString::to_string).collect();
        BTreeMap::from([
            ("incidents", many(state.incidents.keys().map(|id| id.0.to_string()).collect())),
            ("runs", many(runs)),
            ("hosts", state.hosts.keys().map(ToString::to_string).collect()),
            ("people", state.people.keys().map(ToString::to_string).collect()),
            ("sops", state.playbooks.keys().map(ToString::to_string).collect()),
            ("playbooks", state.playbooks.keys().map(ToString::to_string).collect()),
        ])
    };
    let mut seen = 0;
    for route in table().into_iter().filter(|r| r.door == Door::Operator && r.method == Method::GET) {
        if route.path == "/api/v1/events" {
            continue;
        }
        let named = route.path.split('{').next().unwrap_or_default();
        let named = named.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let paths = match (route.path.contains('{'), ids.get(named)) {
            (false, _) => vec![route.path.to_owned()],
            (true, Some(ids)) => {
                let (before, rest) = route.path.split_once('{').unwrap();
                let after = rest.split_once('}').unwrap().1;
                ids.iter().map(|id| format!("{before}{id}{after}")).collect()
            }
            (true, None) => continue,
        };
        for path in paths {
            let request = world.ask(admin, Method::GET, &path).header(header::ACCEPT, "text/html, */*");
            let answer = request.send().await.unwrap();
            assert!(!answer.status().is_server_error(), "{path}: {}", answer.status());
            let text = answer.text().await.unwrap();
            seen += text.matches("CANARY").count();
            if route.face == Face::Page {
                let raw = text.chars().find(|c| misleading(*c));
                assert_eq!(raw, None, "{path} holds a character that commands or hides");
                assert!(!text.contains("CANARY<script"), "{path} holds markup of a stranger");
            } else {
                let raw = text.chars().find(|c| c.is_control() && *c != '\n');
                assert_eq!(raw, None, "{path} holds a control character");
            }
        }
    }
    seen
}

/// Holds every plan that was made to the SOP: nothing of a stranger is part of what would be done.
fn no_plan_holds_a_canary(world: &World) -> usize {
    let state = world.running.app.ledger.state();
    let proposed = state.incidents.values().filter_map(|incident| Some(&incident.proposal.as_ref()?.plan));
    let all = proposed.chain(state.runs.values().filter_map(|run| run.plan.as_ref()));
    let mut plans = 0;
    for plan in all {
        let text =
            serde_json::to_string(&plan.steps).unwrap() + &serde_json::to_string(&plan.verify).unwrap();
        assert!(!text.contains("CANARY"), "{text}");
        plans += 1;
    }
    plans
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_say_stays_text() {
    let world = World::start().await;
    let (admin, approver) = (world.token("admin").await, world.token("approver").await);
    let agent = world.agent("web-1").await;
    let mut sender =
        Sender { agent: &agent, next: 1, records: 0, taken: BTreeSet::new(), refused: BTreeSet::new() };
    // The runs come first: so many faults in a minute as below are a storm, in which nothing starts.
    for (n, canary) in CANARIES.into_iter().enumerate() {
        let plain = Signal { cause: None, ..signal(&agent, &format!("run-{n}.service")) };
        sender.item("signal", Some(Item::Signal { signal: Box::new(plain) })).await;
        a_run(&world, &agent, &mut sender.records, &approver, canary).await;
    }
    for (n, canary) in CANARIES.into_iter().enumerate() {
        let whole = signal(&agent, &format!("shop-{n}.service"));
        for (at, poisoned) in poisoned(&whole, canary) {
            sender.item(&format!("signal{at}"), poisoned.map(|s| Item::Signal { signal: Box::new(s) })).await;
        }
        for (at, poisoned) in poisoned(&declarations(), canary) {
            // Nothing runs on a host while one of its files cannot be read; these are looked at by themselves.
            let item = poisoned
                .map(|d| Item::Declarations { declarations: Declarations { broken: Vec::new(), ..d } });
            sender.item(&format!("declarations{at}"), item).await;
        }
        for (at, poisoned) in poisoned(&inspection("2026-01-01", true), canary) {
            sender.item(&format!("inspection{at}"), poisoned).await;
        }
    }
    let broken = poisoned_all(&declarations(), CANARIES[9]);
    sender.item("declarations/broken/0", Some(Item::Declarations { declarations: broken })).await;
    // What a host says of itself, and who it says it is.
    for canary in CANARIES {
        for (at, request) in poisoned(&as_of(&agent, sender.records), canary) {
            let Some(request) = request else { continue };
            let (status, answer) = agent.send(&request).await;
            assert!(!status.is_server_error(), "{at}: {status} {answer}");
        }
    }
    for free in ["signal/summary", "signal/evidence/0/text", "declarations/stated/0/reason"] {
        assert!(sender.taken.contains(free), "{free} takes any text: {:?}", sender.taken);
    }
    for typed in ["signal/subject", "signal/fields/config_path/value", "signal/kind", "signal/host"] {
        assert!(sender.refused.contains(typed), "{typed} takes no such text: {:?}", sender.refused);
        assert!(!sender.taken.contains(typed), "{typed}");
    }
    assert!(no_plan_holds_a_canary(&world) >= CANARIES.len());
    assert!(look_everywhere(&world, &admin).await > 100, "what was taken can be read");
    world.stop().await;
}

/// Returns every text field of a body as the API's description has it, with a body in which the canary stands there.
fn bodies(schemas: &Json, name: &str, canary: &str) -> Vec<(String, Json)> {
    let properties = schemas[name]["properties"].as_object().cloned().unwrap_or_default();
    let is = |schema: &Json, wanted: &str| {
        schema["type"] == wanted || schema["type"].as_array().is_some_and(|all| all.contains(&wanted.into()))
    };
    let harmless = |schema: &Json| match () {
        () if is(schema, "string") => json!("harmless-text"),
        () if is(schema, "boolean") => json!(false),
        () if is(schema, "integer") => json!(60),
        () if is(schema, "array") => json!([]),
        () => Json::Null,
    };
    let whole: serde_json::Map<String, Json> =
        properties.iter().map(|(name, schema)| (name.clone(), harmless(schema))).collect();
    let with = |(name, schema): (&String, &Json)| {
        let value = match () {
            () if is(schema, "array") => json!([canary]),
            () => json!(canary),
        };
        let mut body = whole.clone();
        body.insert(name.clone(), value);
        (name.clone(), Json::Object(body))
    };
    properties.iter().map(with).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_is_sent_stays_text() {
    let world = World::start().await;
    let admin = world.token("admin").await;
    let description: Json = serde_json::from_str(&sopwith_server::api::openapi::text()).unwrap();
    let schemas = &description["components"]["schemas"];
    let mega = format!("CANARY{}", "x".repeat(1024 * 1024));
    let (mut fields, mut routes) = (0, 0);
    for route in table().into_iter().filter(|r| r.door == Door::Operator && r.takes.is_some()) {
        // A second session of a stranger is no matter here, and each guess would take its time.
        if route.path == "/api/v1/session" {
            continue;
        }
        routes += 1;
        let path =
            route.path.replace("{digest}", &"0".repeat(64)).replace("{id}", "1").replace("{name}", "viewer");
        for canary in CANARIES.into_iter().chain([mega.as_str()]) {
            for (field, body) in bodies(schemas, route.takes.unwrap(), canary) {
                let what = format!("{} {path} {field} {canary:.30}", route.method);
                let request = world.ask(&admin, route.method.clone(), &path).json(&body);
                let answer =
                    request.header(header::IF_MATCH, format!("\"{}\"", "0".repeat(64))).send().await.unwrap();
                let status = answer.status();
                assert!(!status.is_server_error(), "{what}: {status}");
                let text = answer.text().await.unwrap();
                if status.is_client_error() {
                    assert_eq!(text.chars().find(|c| misleading(*c)), None, "{what}: {text}");
                    let problem: Json = serde_json::from_str(&text).unwrap();
                    assert_eq!(problem["status"], status.as_u16(), "{what}: {text}");
                } else {
                    let raw = text.chars().find(|c| c.is_control());
                    assert_eq!(raw, None, "{what}: {text}");
                    assert!(canary.len() < 1000, "{what}: a megabyte was taken");
                }
                fields += 1;
            }
        }
    }
    assert!(routes >= 12 && fields >= 20 * CANARIES.len(), "{routes} routes, {fields} fields");
    let state = world.running.app.ledger.state().clone();
    assert!(state.people.keys().all(|name| !name.as_str().contains("CANARY")), "{:?}", state.people);
    assert!(state.hosts.is_empty() && state.playbooks.len() == 1 && state.policy.is_none());
    look_everywhere(&world, &admin).await;
    world.stop().await;
}
