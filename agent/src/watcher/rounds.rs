//! The loop of a source that looks at all it watches at once: at the start, whenever the kernel wakes it, and at
//! intervals, because the kernel may drop a notice. It remembers what was said, so that a source only ever returns
//! what it sees. A look that hangs is a state of the source and holds up nobody else.

use super::report::{Fault, Report, SourceState, Tolerance};
use super::sink::{Afresh, Sink, Stopping};
use sopwith_domain::ids::RuleId;
use sopwith_domain::signal::Subject;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a look may take before the source says that it hangs.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause after a notice of the kernel: what belongs together mostly comes at once.
const GATHER: Duration = Duration::from_millis(100);
/// A source takes at most one part in so many of a processor: where there is much to look at it looks more seldom.
const PARTS: u32 = 400;
/// Longest pause that this makes.
const PACE_MAX: Duration = Duration::from_secs(60);

/// What a look found.
#[derive(Debug, Default)]
pub struct Seen {
    /// Everything that holds now.
    pub holds: Vec<(Fault, Tolerance)>,
    /// What happened since the look before, and how long without it makes it over.
    pub happened: Vec<(Fault, Duration)>,
    /// What is to outlive a restart, by name; nothing takes a name away.
    pub remember: Vec<(String, Option<String>)>,
    /// What cannot be seen, and why.
    pub blind: Vec<String>,
}

impl Seen {
    pub fn hold(&mut self, fault: Fault, tolerance: Duration) {
        self.holds.push((fault, Tolerance::For(tolerance)));
    }
}

/// Something that looks. It may block, for it runs in a thread of its own.
pub trait Look: Send + 'static {
    fn look(&mut self) -> Seen;
    /// Returns how long to wait for the next look, unless something wakes the source.
    fn wait(&self) -> Duration;
}

/// Something that wakes a source.
pub trait Waking: Send {
    /// Returns when a look is worth its while.
    fn woken(&mut self) -> impl Future<Output = ()> + Send;
}

/// Nothing that wakes: only the intervals count.
#[derive(Debug)]
pub struct Asleep;

impl Waking for Asleep {
    async fn woken(&mut self) {
        std::future::pending::<()>().await;
    }
}

impl Waking for super::wake::Wake {
    async fn woken(&mut self) {
        self.changed().await;
    }
}

/// Looks until it is stopped.
///
/// # Errors
/// The agent is stopping, or a look broke off.
pub async fn run(
    mut looking: impl Look,
    mut waking: impl Waking,
    sink: &Sink,
    afresh: &Afresh,
    stop: &CancellationToken,
) -> Result<(), super::sources::SourceFailed> {
    let mut asked = afresh.asked();
    let mut told = Told::default();
    let mut again = false;
    loop {
        let Looked { back, seen, took, late } = tokio::select! {
            looked = look(looking, sink) => looked?,
            () = stop.cancelled() => return Ok(()),
        };
        looking = back;
        if late {
            told.was_late();
        }
        let wait = looking.wait().max((took * PARTS).min(PACE_MAX));
        told.tell(seen, std::mem::take(&mut again), sink).await?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
            () = waking.woken() => tokio::time::sleep(GATHER).await,
            Ok(()) = asked.changed() => again = true,
        }
    }
}

/// A look that has ended.
struct Looked<L> {
    back: L,
    seen: Seen,
    /// Processor time.
    took: Duration,
    /// Whether it took so long that the source was said to be broken.
    late: bool,
}

async fn look<L: Look>(mut looking: L, sink: &Sink) -> Result<Looked<L>, super::sources::SourceFailed> {
    let mut work = tokio::task::spawn_blocking(move || {
        let before = processor_time();
        let seen = looking.look();
        (looking, seen, processor_time().saturating_sub(before))
    });
    let (done, late) = match tokio::time::timeout(LOOK_TIME_MAX, &mut work).await {
        Ok(done) => (done, false),
        Err(_) => {
            let reason = format!("a look has not ended after {} s", LOOK_TIME_MAX.as_secs());
            sink.state(SourceState::Broken(reason)).await?;
            (work.await, true)
        }
    };
    let (back, seen, took) = done.map_err(|e| super::sources::SourceFailed::new("look", &e))?;
    Ok(Looked { back, seen, took, late })
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a source has said.
#[derive(Debug, Default)]
struct Told {
    holds: BTreeMap<(Subject, RuleId), Fault>,
    blind: Option<Vec<String>>,
    settled: bool,
}

impl Told {
    /// Notes that the source was said to be broken meanwhile: how it is now is said again.
    fn was_late(&mut self) {
        self.blind = None;
    }

    async fn tell(&mut self, seen: Seen, again: bool, sink: &Sink) -> Result<(), Stopping> {
        let Seen { holds, happened, remember, blind } = seen;
        let first = !std::mem::replace(&mut self.settled, true);
        let mut reports = self.news(holds);
        reports.extend(
            happened.into_iter().map(|(fault, quiet)| Report::Happened { fault: Box::new(fault), quiet }),
        );
        if first {
            reports.push(Report::Settled);
        }
        if again {
            reports.push(Report::LookedAfresh);
        }
        match remember.is_empty() {
            true => sink.report_all(reports).await?,
            false => sink.commit(reports, remember).await?,
        }
        if let Some(state) = self.state(blind) {
            sink.state(state).await?;
        }
        Ok(())
    }

    /// Returns how the source is, if that is to be said.
    fn state(&mut self, blind: Vec<String>) -> Option<SourceState> {
        if self.blind.as_ref() == Some(&blind) {
            return None;
        }
        let state = match blind.is_empty() {
            true => SourceState::Well,
            false => SourceState::Broken(blind.join("; ")),
        };
        self.blind = Some(blind);
        Some(state)
    }

    /// Returns what is to be said: what holds and is new or changed, and what is over.
    fn news(&mut self, holds: Vec<(Fault, Tolerance)>) -> Vec<Report> {
        let mut now = BTreeMap::new();
        let mut reports = Vec::new();
        for (fault, tolerance) in holds {
            let key = (fault.subject.clone(), fault.rule.clone());
            if self.holds.remove(&key).as_ref() != Some(&fault) {
                reports.push(Report::holds(fault.clone(), tolerance));
            }
            now.insert(key, fault);
        }
        let over = std::mem::replace(&mut self.holds, now);
        reports.extend(over.into_keys().map(|(subject, rule)| Report::Over { rule, subject }));
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::signal::Severity;

    fn fault(rule: &str, count: u8) -> (Fault, Tolerance) {
        let mut fault = Fault::new(rule, "x.y", Subject::Host, Severity::Warning, "");
        fault.integer("count", count);
        (fault, Tolerance::NONE)
    }

    #[test]
    fn only_news_is_said() {
        let mut told = Told::default();
        for (holds, said) in [
            (vec![], ""),
            (vec![fault("a.a", 1), fault("b.b", 1)], "+a.a +b.b"),
            (vec![fault("a.a", 1), fault("b.b", 1)], ""),
            (vec![fault("a.a", 2), fault("b.b", 1)], "+a.a"),
            (vec![fault("b.b", 1)], "-a.a"),
            (vec![fault("a.a", 2)], "+a.a -b.b"),
            (vec![], "-a.a"),
        ] {
            let one = |report: Report| match report {
                Report::Holds { fault, .. } => format!("+{}", fault.rule),
                Report::Over { rule, .. } => format!("-{rule}"),
                other => panic!("{other:?}"),
            };
            let news: Vec<_> = told.news(holds).into_iter().map(one).collect();
            assert_eq!(news.join(" "), said);
        }
    }

    #[test]
    fn how_the_source_is_is_said_when_it_changes_and_after_a_look_that_was_late() {
        let mut told = Told::default();
        let broken = |why: &str| Some(SourceState::Broken(why.into()));
        for (late, blind, said) in [
            (false, "", Some(SourceState::Well)),
            (false, "", None),
            (true, "", Some(SourceState::Well)),
            (false, "x", broken("x")),
            (false, "x", None),
            (true, "x", broken("x")),
            (false, "", Some(SourceState::Well)),
        ] {
            if late {
                told.was_late();
            }
            let blind = blind.split_terminator(' ').map(str::to_owned).collect();
            assert_eq!(told.state(blind), said);
        }
    }
}
