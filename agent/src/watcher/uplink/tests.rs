use super::*;
use crate::runner_protocol::{Delivery, Request, Response, SOCKET_NAME, Status, read_frame, write_frame};
use crate::watcher::sink::MESSAGES_MAX;
use crate::watcher::sink::Message;
use crate::watcher::spool::{Entry, Limits, Spool};
use sopwith_domain::command::Item;
use sopwith_domain::declaration::Declarations;
use sopwith_domain::ids::{Digest, Epoch};
use sopwith_domain::order::SignedText;
use sopwith_protocol::exchange::{BeginEpoch, ExchangeRequest, ExchangeResponse, JournalHead};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc as std_mpsc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const HEAD: JournalHead = JournalHead { seq: 5, hash: Digest([9; 32]) };

fn status(epoch: u64) -> Status {
    Status {
        epoch: Epoch(epoch),
        head: JournalHead { seq: 0, hash: Digest([1; 32]) },
        unsure_head: None,
        challenge: "c0".into(),
        active: Vec::new(),
        holding: vec![Digest([3; 32])],
        ended_count: 0,
        acked_through: 0,
        word_awaited: false,
        stop: None,
        leased: false,
        limitations: Vec::new(),
        rejected: Vec::new(),
    }
}

/// A runner that answers with what it is told to be and tells what it was asked.
fn runner(folder: &Path, is: Arc<Mutex<Status>>) -> std_mpsc::Receiver<Request> {
    let listener = UnixListener::bind(folder.join(SOCKET_NAME)).expect("bound");
    let (tell, asked) = std_mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, is, tell) = (stream.expect("accepted"), Arc::clone(&is), tell.clone());
            std::thread::spawn(move || {
                while let Ok(Some(request)) = read_frame::<Request>(&mut stream) {
                    if matches!(request, Request::Wait { .. }) {
                        std::thread::sleep(Duration::from_millis(20));
                    } else {
                        let _ = tell.send(request);
                    }
                    let now = is.lock().expect("unpoisoned").clone();
                    if write_frame(&mut stream, &Response::Status(now)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    asked
}

/// A server that gives one prepared answer after another and tells what it was sent.
async fn server(mut answers: Vec<String>) -> (Url, mpsc::UnboundedReceiver<ExchangeRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = Url::new(format!("http://{}", listener.local_addr().expect("an address"))).expect("a url");
    let (tell, sent) = mpsc::unbounded_channel();
    answers.reverse();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let body = loop {
                let mut chunk = [0; 4096];
                let count = stream.read(&mut chunk).await.expect("read");
                bytes.extend_from_slice(&chunk[..count]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if body.len() == length.and_then(|l| l.parse().ok()).unwrap_or(0) {
                    break body.to_owned();
                }
            };
            tell.send(serde_json::from_str(&body).expect("a request")).expect("somebody listens");
            let Some(answer) = answers.pop() else { return };
            stream.write_all(answer.as_bytes()).await.expect("answered");
        }
    });
    (url, sent)
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn answer(items_through: u64, begin_epoch: Option<&str>) -> String {
    let response = ExchangeResponse {
        items_through,
        records_through: 0,
        lease: SignedText { text: "lease".into(), signature: "s".into() },
        orders: vec![SignedText { text: "order".into(), signature: "s".into() }],
        cancels: Vec::new(),
        dry_runs: Vec::new(),
        begin_epoch: begin_epoch.map(|reason| BeginEpoch {
            reason: reason.into(),
            epoch: Epoch(42),
            known_seq: None,
            known_hash: None,
        }),
        server_head: HEAD,
    };
    http("200 OK", &serde_json::to_string(&response).expect("json"))
}

struct Bench {
    uplink: Uplink,
    said: mpsc::Receiver<Message>,
    _folder: tempfile::TempDir,
}

/// A watcher that the server has answered before.
fn bench(url: Url, folder: tempfile::TempDir) -> Bench {
    let bench = fresh_bench(url, folder);
    bench.uplink.spool.lock().acknowledge(0, 0).expect("greeted");
    bench
}

fn fresh_bench(url: Url, folder: tempfile::TempDir) -> Bench {
    let spool =
        SharedSpool::new(Spool::open(&folder.path().join("spool.db"), Limits::default()).expect("opens"));
    let (to, said) = mpsc::channel(MESSAGES_MAX);
    let uplink = Uplink {
        server: url,
        host: HostId::new("web-1").expect("a name"),
        joined_epoch: Epoch(70),
        client: reqwest::Client::builder().no_proxy().build().expect("a client"),
        runner: RunnerLink::start(folder.path()).expect("threads"),
        spool: spool.clone(),
        head: watch::channel(0).1,
        active: ActiveRuns::default(),
        metrics: Metrics::new(),
        sink: Sink::new("server", to, spool),
        facts: Arc::default(),
        metrics_address: None,
        state: Arc::default(),
        records_through: Arc::new(AtomicU64::new(u64::MAX)),
        asked: Arc::default(),
        leased: Arc::default(),
        dry_runs: super::DryRuns::new(folder.path().into()),
        server_clock: crate::watcher::server_clock::ServerClock::default(),
    };
    Bench { uplink, said, _folder: folder }
}

fn spool_items(uplink: &Uplink, count: usize) {
    let item = Item::Declarations { declarations: Declarations::default() };
    let entry = Entry { items: vec![item; count], ..Entry::default() };
    uplink.spool.lock().commit(&entry).expect("committed");
}

fn prepare() {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_go_up_and_the_answer_goes_to_the_runner_before_they_are_forgotten() {
    prepare();
    let (url, mut sent) = server(vec![answer(2, None), answer(3, None), answer(1, None)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let asked = runner(folder.path(), Arc::new(Mutex::new(status(42))));
    let mut bench = bench(url, folder);
    spool_items(&bench.uplink, 3);
    bench.uplink.exchange(Kind::Prompt).await.expect("taken");
    let request = sent.recv().await.expect("sent");
    assert_eq!((request.epoch, request.items.first_seq, request.items.items.len()), (Epoch(42), 1, 3));
    assert_eq!((request.challenge.as_str(), request.server_head, request.wait_ms), ("c0", None, 0));
    assert_eq!(request.holding, [Digest([3; 32])]);
    let delivered = asked.iter().find_map(|r| if let Request::Deliver(d) = r { Some(d) } else { None });
    let delivered = delivered.expect("delivered");
    assert_eq!((delivered.orders.len(), delivered.lease.is_some()), (1, true));
    assert_eq!(bench.uplink.spool.lock().acked(), 2);
    assert!(bench.uplink.pending());

    bench.uplink.exchange(Kind::Prompt).await.expect("taken");
    let request = sent.recv().await.expect("sent");
    assert_eq!((request.items.first_seq, request.server_head), (3, Some(HEAD)));
    assert!(!bench.uplink.pending());

    // The server was set back: what it lacks is a gap, and it hears everything again.
    bench.uplink.exchange(Kind::Waiting).await.expect("taken");
    assert!(sent.recv().await.expect("sent").items.items.is_empty());
    assert!(bench.uplink.pending());
    let batch = bench.uplink.spool.lock().batch(10, 1 << 20).expect("read");
    assert!(matches!(batch.items[..], [Item::Gap { from_seq: 2, .. }]), "{batch:?}");
    let mut said = Vec::new();
    while let Ok(message) = bench.said.try_recv() {
        said.extend(message.reports);
    }
    assert_eq!(said.iter().filter(|r| matches!(r, crate::watcher::report::Report::BeginAgain)).count(), 2);
}

/// The spool is an old image of itself: the server knows of more than it remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_was_set_back_begins_a_new_life_and_loses_nothing() {
    prepare();
    let (url, mut sent) = server(vec![answer(5, None), answer(2, None)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let is = Arc::new(Mutex::new(status(42)));
    let asked = runner(folder.path(), Arc::clone(&is));
    let bench = fresh_bench(url, folder);
    bench.uplink.spool.lock().begin_epoch(Epoch(42)).expect("begun");
    let reopened = Spool::open(&bench._folder.path().join("spool.db"), Limits::default()).expect("opens");
    *bench.uplink.spool.lock() = reopened;
    spool_items(&bench.uplink, 7);
    bench.uplink.exchange(Kind::Prompt).await.expect("answered");
    let request = sent.recv().await.expect("sent");
    assert!(request.items.items.is_empty(), "nothing is told before the server was heard");
    let wants = asked.iter().find_map(|r| match r {
        Request::Deliver(Delivery { begin_epoch: Some(begin), .. }) => Some(begin),
        _ => None,
    });
    assert_eq!(wants.map(|b| (b.epoch, b.known_seq)), Some((Epoch(42), None)));
    is.lock().expect("unpoisoned").epoch = Epoch(43);
    bench.uplink.exchange(Kind::Prompt).await.expect("taken");
    let request = sent.recv().await.expect("sent");
    assert_eq!((request.epoch, request.items.first_seq, request.items.items.len()), (Epoch(43), 1, 7));
}

/// What the runner recorded before the server was heard does not hide that its journal was set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_hears_of_the_head_that_is_certain_first() {
    prepare();
    let (url, mut sent) = server(vec![answer(0, None)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut now = status(42);
    now.head.seq = 9;
    now.unsure_head = Some(JournalHead { seq: 7, hash: Digest([7; 32]) });
    let _asked = runner(folder.path(), Arc::new(Mutex::new(now)));
    let bench = bench(url, folder);
    bench.uplink.exchange(Kind::Prompt).await.expect("answered");
    let request = sent.recv().await.expect("sent");
    assert_eq!(request.journal_head.map(|head| head.seq), Some(7));
    assert!(request.records.items.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_runner_what_is_seen_is_still_told() {
    prepare();
    let (url, mut sent) = server(vec![answer(1, None)]).await;
    let bench = bench(url, tempfile::tempdir().expect("a folder"));
    spool_items(&bench.uplink, 1);
    bench.uplink.exchange(Kind::Prompt).await.expect("taken");
    let request = sent.recv().await.expect("sent");
    assert_eq!((request.epoch, request.items.items.len(), request.challenge.len()), (Epoch(70), 1, 64));
    assert_eq!(bench.uplink.spool.lock().acked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_epoch_keeps_what_waits() {
    prepare();
    let (url, mut sent) = server(vec![answer(0, Some("set back")), answer(2, None)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let is = Arc::new(Mutex::new(status(42)));
    let asked = runner(folder.path(), Arc::clone(&is));
    let bench = bench(url, folder);
    spool_items(&bench.uplink, 2);
    bench.uplink.exchange(Kind::Prompt).await.expect("taken");
    let wants =
        asked.iter().find_map(|r| if let Request::Deliver(d) = r { Some(d.begin_epoch) } else { None });
    assert_eq!(wants.flatten().map(|b| b.reason).as_deref(), Some("set back"));
    assert_eq!(bench.uplink.spool.lock().acked(), 0, "nothing was taken over");
    is.lock().expect("unpoisoned").epoch = Epoch(43);
    bench.uplink.exchange(Kind::Prompt).await.expect("taken");
    sent.recv().await.expect("sent");
    let request = sent.recv().await.expect("sent");
    assert_eq!((request.epoch, request.items.first_seq, request.items.items.len()), (Epoch(43), 1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_none_change_nothing() {
    prepare();
    let problem =
        r#"{"type":"/problems/host-revoked","title":"No","status":403,"detail":"host web-1 is revoked"}"#;
    let huge = http("200 OK", &"x".repeat(sopwith_protocol::exchange::BODY_BYTES_MAX + 1));
    let answers =
        vec![http("403 Forbidden", problem), http("200 OK", "{}"), huge, http("502 Bad Gateway", "<html>")];
    let (url, _sent) = server(answers).await;
    let bench = bench(url, tempfile::tempdir().expect("a folder"));
    spool_items(&bench.uplink, 1);
    for says in ["403 host web-1 is revoked", "failed to read the server's answer", "more than", "502"] {
        let error = bench.uplink.exchange(Kind::Prompt).await.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let nobody = bench.uplink.exchange(Kind::Prompt).await.expect_err("nobody is there").to_string();
    assert!(nobody.starts_with("failed to reach the server"), "{nobody}");
    assert_eq!(bench.uplink.spool.lock().acked(), 0);
    assert!(bench.uplink.pending());
}
