use super::*;
use crate::watcher::sink::{MESSAGES_MAX, Sink};
use crate::watcher::spool::{Limits, Spool};
use std::path::Path;

/// A keeper at work on a spool, and a way to it.
struct Bench {
    spool: SharedSpool,
    to: mpsc::Sender<Message>,
    sources: watch::Sender<Vec<&'static str>>,
    stop: CancellationToken,
    keeper: tokio::task::JoinHandle<Result<(), SpoolError>>,
}

impl Bench {
    fn start(file: &Path) -> Self {
        let spool = SharedSpool::new(Spool::open(file, Limits::default()).expect("the spool opens"));
        let (to, from) = mpsc::channel(MESSAGES_MAX);
        let (sources, seen) = watch::channel(vec!["s"]);
        let keeper = Keeper {
            host: HostId::new("web-1").expect("a name"),
            spool: spool.clone(),
            metrics: Metrics::new(),
            states: SourceStates::default(),
            active: ActiveRuns::default(),
            head: watch::channel(0).0,
            evidencer: Evidencer::new(&to),
            notifier: Notifier::from_environment(),
            sources: seen,
            declared: None,
        };
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keeper.run(from, stop.clone()));
        Self { spool, to, sources, stop, keeper }
    }
    fn sink(&self) -> Sink {
        Sink::new("s", self.to.clone(), self.spool.clone())
    }
    async fn end(self) {
        self.stop.cancel();
        self.keeper.await.expect("it does not break off").expect("the spool holds");
    }
    fn told(&self) -> Vec<String> {
        let batch = self.spool.lock().batch(100, 1 << 20).expect("read");
        let one = |item: Item| match item {
            Item::Signal { signal } => {
                let mark = if signal.condition == Condition::Raised { "+" } else { "-" };
                format!("{mark}{}{}", signal.rule, if signal.cause.is_some() { " caused" } else { "" })
            }
            Item::Declarations { .. } => "declarations".into(),
            Item::Inspection { report } => format!("inspection {}", report.day),
            Item::Gap { .. } => "gap".into(),
        };
        batch.items.into_iter().map(one).collect()
    }
}

fn fault(rule: &str) -> Fault {
    let subject = Subject::Check(Word::new(rule).expect("a word"));
    Fault::new(&format!("checks.{rule}"), "check.failed", subject, Severity::Warning, "words")
}

fn holds(rule: &str) -> Report {
    Report::holds(fault(rule), Tolerance::NONE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_with_a_cursor_is_durable_when_the_call_returns() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("spool.db");
    let bench = Bench::start(&file);
    let sink = bench.sink();
    sink.begin().await.expect("taken");
    sink.settled().await.expect("taken");
    let cursor = vec![("log".to_owned(), Some("7".to_owned()))];
    sink.commit(vec![holds("a")], cursor).await.expect("written");
    let seen = Spool::open(&file, Limits::default()).expect("the spool opens beside it");
    assert_eq!((seen.head(), seen.cursors("s").expect("read")["log"].as_str()), (1, "7"));
    assert_eq!(sink.cursors().expect("read").len(), 1);
    assert_eq!(bench.told(), ["+checks.a"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_outlive_a_restart_and_what_went_meanwhile_is_cleared() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("spool.db");
    let bench = Bench::start(&file);
    let sink = bench.sink();
    sink.begin().await.expect("taken");
    sink.commit(vec![holds("stays"), holds("went"), holds("gone"), Report::Settled], vec![])
        .await
        .expect("written");
    bench.end().await;

    let bench = Bench::start(&file);
    let sink = bench.sink();
    sink.begin().await.expect("taken");
    sink.commit(vec![holds("stays")], vec![]).await.expect("written");
    assert_eq!(bench.told().len(), 3, "nothing new is to be said");
    sink.commit(vec![Report::over("checks.went", fault("went").subject)], vec![]).await.expect("written");
    sink.commit(vec![Report::Settled], vec![]).await.expect("written");
    assert_eq!(bench.told()[3..], ["-checks.went", "-checks.gone"]);
    bench.sources.send(vec!["other"]).expect("the keeper listens");
    while bench.told().len() < 6 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.told()[5], "-checks.stays");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn said_again_only_when_the_last_word_was_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::start(&folder.path().join("spool.db"));
    bench.spool.lock().acknowledge(0, 0).expect("greeted");
    let sink = bench.sink();
    sink.begin().await.expect("taken");
    let declared = Report::Declared(Declarations::default());
    sink.commit(vec![declared, holds("a"), Report::Settled], vec![]).await.expect("written");
    sink.commit(vec![Report::LookedAfresh], vec![]).await.expect("written");
    assert_eq!(bench.told(), ["declarations", "+checks.a"], "it still waits to be sent");
    bench.spool.lock().acknowledge(2, 0).expect("acknowledged");
    sink.commit(vec![Report::LookedAfresh], vec![]).await.expect("written");
    assert_eq!(bench.told(), ["+checks.a"]);
    bench.spool.lock().acknowledge(3, 2).expect("acknowledged");
    sink.commit(vec![Report::BeginAgain], vec![]).await.expect("written");
    assert_eq!(bench.told(), ["declarations", "+checks.a"], "a server that begins anew hears everything");
    bench.end().await;
}

#[test]
fn a_run_is_the_cause_of_what_it_touches() {
    let subject = |text: &str| text.parse::<Subject>().expect("a subject");
    let active = ActiveRuns::default();
    let run = Digest([7; 32]);
    active.set(vec![(run, vec![subject("unit:x.service"), subject("path:/var/log")])]);
    for (text, is) in [
        ("unit:x.service", true),
        ("unit:y.service", false),
        ("path:/var/log/a", true),
        ("mount:/var", true),
        ("path:/etc", false),
    ] {
        assert_eq!(active.on(&subject(text)).is_some(), is, "{text}");
    }
}
