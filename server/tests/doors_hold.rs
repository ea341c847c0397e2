//! Doors that are crowded or held open by slow peers: the others come in all the same, who is too many is turned
//! away, and it can be seen.

mod common;

use common::{World, read};
use reqwest::StatusCode;
use sopwith_server::config::Connections;
use sopwith_server::doors::Patience;
use sopwith_server::routes::Door;
use sopwith_server::turnstile::Full;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longest wait for what must come; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Short enough for a test to see the end of it.
const SHORT: Duration = Duration::from_secs(1);
/// Long enough for a small answer on a machine that is busy with other things.
const LONGER: Duration = Duration::from_secs(4);

fn few(config: &mut sopwith_server::config::Config) {
    config.connections = Connections { operators: 6, agents: 8, per_address: 5 };
}

/// Opens connections that say nothing.
async fn flood(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(TcpStream::connect(address).await.expect("the system accepts it"));
    }
    open
}

/// Waits until it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what} did not come about");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_one_door_locks_nobody_out_at_the_other() {
    let silent = Patience { handshake: Duration::from_secs(600), ..Patience::default() };
    let world = World::start_with(silent, few).await;
    let metrics = &world.running.app.metrics;
    let agent = world.agent("web-1").await;
    let crowd = flood(world.running.operator, 20).await;
    until("the refusal", || metrics.refused(Door::Operator, Full::Address) == 15).await;
    assert_eq!(metrics.open(Door::Operator), 5, "one address has its share, not the whole door");
    let stranger = world.http.get(world.url("/healthz")).send().await;
    assert!(stranger.is_err(), "the same address gets nothing more: {stranger:?}");
    agent.exchange(&agent.request()).await;
    drop(crowd);
    until("an empty door", || metrics.open(Door::Operator) == 0).await;
    let healthy = || world.http.get(world.url("/healthz")).send();
    assert_eq!(healthy().await.unwrap().status(), StatusCode::OK);

    // Strangers at the agents' door: the host that is known comes in with new connections too, and operators go on.
    let crowd = flood(world.running.agent, 20).await;
    until("the refusal", || metrics.refused(Door::Agent, Full::Address) >= 15).await;
    agent.exchange(&agent.request()).await;
    assert_eq!(healthy().await.unwrap().status(), StatusCode::OK);
    drop(crowd);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_behind_one_address_all_come_in() {
    let world = World::start_with(Patience::default(), |config| {
        config.connections = Connections { operators: 8, agents: 64, per_address: 3 };
    })
    .await;
    // One connection for joining stays open; each host has its own, and none of them counts for the address.
    let mut agents = Vec::new();
    for number in 0..8 {
        agents.push(world.agent(&format!("web-{number}")).await);
    }
    for agent in &agents {
        agent.exchange(&agent.request()).await;
    }
    let metrics = &world.running.app.metrics;
    assert!(metrics.open(Door::Agent) >= 8);
    assert_eq!(metrics.refused(Door::Agent, Full::Address), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_peers_are_given_up() {
    let short = Patience {
        handshake: SHORT,
        first_request: SHORT,
        head: SHORT,
        operator_request: LONGER,
        agent_request: LONGER,
        ..Patience::default()
    };
    let world = World::start_with(short, |config| config.operator_tls = false).await;
    let token = world.token("viewer").await;
    let head = format!(
        "POST /api/v1/stop HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"reason\":",
        world.token("admin").await
    );
    let whole =
        format!("GET /api/v1/whoami HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    let before = world.running.app.ledger.head();
    let table: [(&str, SocketAddr, String, &str); 5] = [
        ("says nothing", world.running.operator, String::new(), ""),
        ("no handshake", world.running.agent, String::new(), ""),
        ("half a head", world.running.operator, whole[..40].to_owned(), ""),
        ("half a body", world.running.operator, head, "408"),
        (
            "a whole request, then half of one",
            world.running.operator,
            format!("{whole}{}", &whole[..20]),
            "200",
        ),
    ];
    let mut all = JoinSet::new();
    for (what, address, text, status) in table {
        all.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // The end comes from the server: this side holds the connection open for ever.
            let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{what}: the connection stays open");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let told = answer.split(' ').nth(1).unwrap_or_default();
            assert_eq!(told, status, "{what}: {answer}");
        });
    }
    all.join_all().await;
    let metrics = &world.running.app.metrics;
    until("an empty door", || metrics.open(Door::Operator) + metrics.open(Door::Agent) == 0).await;
    assert_eq!(world.running.app.ledger.head(), before, "nothing half-said was carried out");
    assert!(world.running.app.ledger.state().stop.is_none());
    let answer =
        read(world.http.get(format!("http://{}/healthz", world.running.operator)).send().await.unwrap())
            .await;
    assert_eq!(answer.0, StatusCode::OK, "who is quick is served");
    world.stop().await;
}
