//! Units of systemd: failed, not running, not well, flapping. Every change is heard over D-Bus as it happens; a look
//! at all units at the start, once a minute and when asked for keeps what was heard honest.

mod bus;
mod facts;
mod judge;
mod ports;
mod stuck;
mod wellness;

use super::{Context, Source, SourceFailed, Work};
use crate::config::{Config, Units};
use crate::watcher::report::{Fault, Look, Report, Tolerance};
use crate::watcher::sink::{Afresh, Sink};
use crate::watcher::{clock, files};
use bus::{Bus, Change};
use facts::{add_process, with_facts, with_surroundings};
use judge::{DISABLED, FAILED, FLAPPING, INACTIVE, Starts, UNHEALTHY, UnitView, Verdict};
use ports::Ports;
use sopwith_domain::signal::Subject;
use sopwith_domain::value::UnitName;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use stuck::passing;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use wellness::{SEEN_MAX, Seen, Wellness};

/// How often all units are looked at.
const EVERY: Duration = Duration::from_secs(60);
/// How long before a fault has held long enough to be told, what is known of it is gathered once more.
const ANEW: Duration = Duration::from_millis(50);
/// How often time is asked: heartbeats age and starts fall out of their window.
const ROUND: Duration = Duration::from_millis(500);
/// How long it must have run to count as having run well.
const RAN_WELL: Duration = Duration::from_secs(5);

pub fn make(config: &Config, context: &Context) -> Option<Box<dyn Source>> {
    let wanted = sd_notify::booted().unwrap_or(false) || !config.units.services.is_empty();
    let ports = Arc::new(Mutex::new(Ports::of(config)));
    let source = Systemd { units: config.units.clone(), ports, afresh: context.afresh.clone() };
    wanted.then(|| Box::new(source) as Box<dyn Source>)
}

/// What is known of the units' ports; it is asked in threads that may block.
type SharedPorts = Arc<Mutex<Ports>>;

struct Systemd {
    units: Units,
    ports: SharedPorts,
    afresh: Afresh,
}

impl Source for Systemd {
    fn run(self: Box<Self>, sink: Sink, stop: CancellationToken) -> Work {
        Box::pin(async move {
            let bus = Bus::connect().await.map_err(SourceFailed)?;
            let units = Watched { units: self.units, ports: self.ports, bus, sink, known: BTreeMap::new() };
            units.follow(&self.afresh, &stop).await
        })
    }
}

/// What is known of one unit.
#[derive(Debug, Default)]
struct Known {
    view: UnitView,
    starts: Starts,
    wellness: Wellness,
    /// Since when it last ran for a while.
    ran_well: Option<SystemTime>,
    /// Conditions that were said to hold.
    said: Vec<&'static str>,
    /// When what is known of its fault is gathered once more, in milliseconds of the boot clock.
    anew_at_ms: Option<u64>,
}

struct Watched {
    units: Units,
    ports: SharedPorts,
    bus: Bus,
    sink: Sink,
    known: BTreeMap<UnitName, Known>,
}

/// Looks that go on until it is dropped.
type Looking = (JoinSet<()>, DropGuard);

impl Watched {
    async fn follow(mut self, afresh: &Afresh, stop: &CancellationToken) -> Result<(), SourceFailed> {
        let mut asked = afresh.asked();
        let (mut seen, _looking) = self.start_looking(stop)?;
        self.look_at_all().await?;
        self.sink.settled().await?;
        let mut minute = tokio::time::interval(EVERY);
        minute.reset();
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let anew = self.anew_in();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(anew.unwrap_or(EVERY)), if anew.is_some() => self.look_anew().await?,
                change = self.bus.change() => self.changed(change.map_err(SourceFailed)?).await?,
                Some(seen) = seen.recv() => self.seen(seen).await?,
                Ok(()) = asked.changed() => {
                    self.look_at_all().await?;
                    self.sink.report(Report::LookedAfresh).await?;
                }
                _ = minute.tick() => self.look_at_all().await?,
                _ = round.tick(), if self.ages() => self.age().await?,
            }
        }
    }

    /// Starts to ask health addresses and look at heartbeats, until the returned guard is gone.
    fn start_looking(
        &self,
        stop: &CancellationToken,
    ) -> Result<(mpsc::Receiver<Seen>, Looking), SourceFailed> {
        let (to, seen) = mpsc::channel(SEEN_MAX);
        let stop = stop.child_token();
        let mut looking = JoinSet::new();
        let mut client = None;
        for (unit, service) in &self.units.services {
            if let Some(health) = service.health.clone() {
                let client = match &client {
                    Some(client) => client,
                    None => client.insert(health_client()?),
                };
                looking.spawn(wellness::ask(unit.clone(), health, client.clone(), to.clone(), stop.clone()));
            }
            if let Some(heartbeat) = service.heartbeat.clone() {
                looking.spawn(wellness::feel(unit.clone(), heartbeat, to.clone(), stop.clone()));
            }
        }
        Ok((seen, (looking, stop.drop_guard())))
    }

    /// Returns how long it is until something is to be gathered once more.
    fn anew_in(&self) -> Option<Duration> {
        let at_ms = self.known.values().filter_map(|known| known.anew_at_ms).min()?;
        Some(Duration::from_millis(at_ms.saturating_sub(clock::boot_ms())))
    }

    /// Gathers once more what is known of faults that are about to be told: what explains them may have come after them.
    async fn look_anew(&mut self) -> Result<(), SourceFailed> {
        let now_ms = clock::boot_ms();
        let due = self.known.iter_mut().filter(|(_, known)| known.anew_at_ms.is_some_and(|at| at <= now_ms));
        let due: Vec<UnitName> = due
            .map(|(unit, known)| {
                known.anew_at_ms = None;
                unit.clone()
            })
            .collect();
        for unit in due {
            self.judge(&unit).await?;
        }
        Ok(())
    }

    /// Takes systemd's list as the truth.
    async fn look_at_all(&mut self) -> Result<(), SourceFailed> {
        let ports = Arc::clone(&self.ports);
        files::look(move || ports.lock().unwrap_or_else(PoisonError::into_inner).learn()).await;
        let listed = self.bus.list().await.map_err(SourceFailed)?;
        let mut interesting: Vec<UnitName> = self.units.services.keys().cloned().collect();
        for one in listed {
            let told = self.known.get(&one.unit).is_some_and(|known| !known.said.is_empty());
            let passes = passing(&one.active_state);
            if (one.active_state == "failed" || told || passes)
                && !self.units.services.contains_key(&one.unit)
            {
                interesting.push(one.unit);
            }
        }
        let gone: Vec<_> = self
            .known
            .iter()
            .filter(|(unit, known)| !known.said.is_empty() && !interesting.contains(unit))
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in interesting {
            match self.bus.view(&unit).await {
                Ok(view) => self.take_view(&unit, view).await?,
                // It went away between the list and the look, or its name is none that systemd takes.
                Err(e) => tracing::warn!(unit = %unit, "{e}"),
            }
        }
        for unit in gone {
            self.take_view(&unit, UnitView::default()).await?;
        }
        let (flapping, now_ms) = (self.units.flapping.clone(), clock::boot_ms());
        let services = &self.units.services;
        self.known.retain(|unit, known| {
            let told = services.contains_key(unit) || !known.said.is_empty();
            told || known.passes() || !known.starts.spent(&flapping, now_ms)
        });
        Ok(())
    }

    async fn take_view(&mut self, unit: &UnitName, view: UnitView) -> Result<(), SourceFailed> {
        let known = self.known.entry(unit.clone()).or_default();
        known.ran();
        let before = std::mem::replace(&mut known.view, view);
        // At the first look nothing is known of what went before.
        if before.started_us != 0 {
            known.starts.note(&before, &known.view, clock::boot_ms());
        }
        self.judge(unit).await
    }

    /// Takes a change that systemd told. Of a service it tells its kind's properties first and its state last.
    async fn changed(&mut self, change: Change) -> Result<(), SourceFailed> {
        let known = self.known.entry(change.unit.clone()).or_default();
        known.ran();
        let before = known.view.clone();
        change.apply(&mut known.view);
        if before.started_us != 0 || !before.active_state.is_empty() {
            known.starts.note(&before, &known.view, clock::boot_ms());
        }
        if !change.complete {
            return Ok(());
        }
        let unit = change.unit;
        let service = self.units.services.contains_key(&unit);
        let Some(known) = self.known.get_mut(&unit) else { return Ok(()) };
        if known.view.active_state == "failed" || service || !known.said.is_empty() {
            let new_here = known.view.result.is_empty() && unit.as_str().ends_with(".service");
            let looked = match new_here || !unit.as_str().ends_with(".service") {
                true => self.bus.view(&unit).await.map(|view| known.view = view),
                false => self.bus.complete(&unit, &mut known.view).await,
            };
            if let Err(e) = looked {
                // Mostly it was unloaded at once; the next look at all units finds what remains.
                tracing::debug!(unit = %unit, "{e}");
            }
        }
        self.judge(&unit).await
    }

    async fn seen(&mut self, seen: Seen) -> Result<(), SourceFailed> {
        let unit = seen.unit().clone();
        let known = self.known.entry(unit.clone()).or_default();
        wellness::note(&mut known.wellness, seen);
        self.judge_wellness(&unit, false).await
    }

    /// Says whether time alone can change anything.
    fn ages(&self) -> bool {
        let ages = |known: &Known| known.said.contains(&FLAPPING) || known.starts.any() || known.passes();
        self.known.values().any(ages)
    }

    /// Asks what time alone has changed.
    async fn age(&mut self) -> Result<(), SourceFailed> {
        let now_ms = clock::boot_ms();
        let flapping = &self.units.flapping;
        let changed = |known: &Known| {
            known.said.contains(&FLAPPING) != known.starts.flapping(flapping, now_ms).is_some()
        };
        let units: Vec<_> =
            self.known.iter().filter(|(_, known)| changed(known)).map(|(unit, _)| unit.clone()).collect();
        for unit in units {
            self.judge_flapping(&unit).await?;
        }
        self.age_stuck().await
    }

    async fn judge(&mut self, unit: &UnitName) -> Result<(), SourceFailed> {
        let now_ms = clock::boot_ms();
        let service = self.units.services.get(unit);
        let Some(known) = self.known.get_mut(unit) else { return Ok(()) };
        known.wellness.active(known.view.active(), now_ms);
        let said_failed = known.said.contains(&FAILED);
        let failed = judge::failed(unit, &known.view, &self.units.failed, service, said_failed);
        // What failed and was only reset is told once, as failed.
        let inactive = match judge::inactive(&known.view, service) {
            Verdict::Holds if said_failed && failed == Verdict::Unsettled => Verdict::Unsettled,
            verdict => verdict,
        };
        let fault = match (failed, inactive) {
            (Verdict::Holds, _) => Some(judge::failed_fault(unit, &known.view, known.starts.in_10m(now_ms))),
            (_, Verdict::Holds) => Some(judge::inactive_fault(unit, &known.view)),
            _ => None,
        };
        let fault = match fault {
            Some(mut fault) => {
                judge::add_required(&mut fault, &known.view);
                let ran_well = known.ran_well;
                // What systemd does not tell is not known, which says nothing.
                let taken = self.bus.taken(unit).await.unwrap_or_default();
                let fault = with_facts(fault, unit, service, &self.ports).await;
                Some(with_surroundings(fault, service, taken, ran_well).await)
            }
            None => None,
        };
        let own = service.map(|s| Tolerance::For(s.tolerance.0));
        let tolerances = [Tolerance::For(self.units.failed.tolerance.0), own.unwrap_or(Tolerance::NONE)];
        let verdicts = [(FAILED, failed), (INACTIVE, inactive)];
        for ((rule, verdict), tolerance) in verdicts.into_iter().zip(tolerances) {
            let fault = fault.clone().filter(|fault| fault.rule.as_str() == rule);
            match (verdict, fault) {
                (Verdict::Unsettled, _) => {}
                (Verdict::Holds, Some(fault)) => self.holds(unit, rule, fault, tolerance).await?,
                _ => self.over(unit, rule).await?,
            }
        }
        self.judge_disabled(unit, own.unwrap_or(Tolerance::NONE)).await?;
        self.judge_flapping(unit).await?;
        self.judge_stuck(unit).await?;
        self.judge_wellness(unit, true).await
    }

    async fn judge_disabled(&mut self, unit: &UnitName, tolerance: Tolerance) -> Result<(), SourceFailed> {
        let service = self.units.services.get(unit);
        let Some(known) = self.known.get(unit) else { return Ok(()) };
        match judge::disabled(&known.view, service) {
            Verdict::Unsettled => Ok(()),
            Verdict::Over => self.over(unit, DISABLED).await,
            Verdict::Holds => {
                let fault =
                    with_facts(judge::disabled_fault(unit, &known.view), unit, service, &self.ports).await;
                self.holds(unit, DISABLED, fault, tolerance).await
            }
        }
    }

    async fn judge_flapping(&mut self, unit: &UnitName) -> Result<(), SourceFailed> {
        let Some(known) = self.known.get(unit) else { return Ok(()) };
        let starts = known.starts.flapping(&self.units.flapping, clock::boot_ms());
        match starts.filter(|_| !known.view.masked()) {
            None => self.over(unit, FLAPPING).await,
            Some(starts) => {
                let mut fault = judge::flapping_fault(unit, starts, &self.units.flapping);
                judge::add_required(&mut fault, &known.view);
                let service = self.units.services.get(unit);
                let fault = with_facts(fault, unit, service, &self.ports).await;
                self.holds(unit, FLAPPING, fault, Tolerance::NONE).await
            }
        }
    }

    /// `anew` also brings up to date what is known of a fault that was told already.
    async fn judge_wellness(&mut self, unit: &UnitName, anew: bool) -> Result<(), SourceFailed> {
        let Some(service) = self.units.services.get(unit) else { return Ok(()) };
        let Some(known) = self.known.get(unit) else { return Ok(()) };
        let (health, heartbeat) = (service.health.as_ref(), service.heartbeat.as_ref());
        match known.wellness.unwell(health, heartbeat, clock::boot_ms()) {
            None => self.over(unit, UNHEALTHY).await,
            Some(unwell) => {
                if known.said.contains(&UNHEALTHY) && !anew {
                    return Ok(());
                }
                let mut fault = judge::unhealthy_fault(unit, &unwell, known.starts.in_10m(clock::boot_ms()));
                add_process(&mut fault, known.view.main_pid);
                judge::add_required(&mut fault, &known.view);
                let fault = with_facts(fault, unit, Some(service), &self.ports).await;
                self.holds(unit, UNHEALTHY, fault, Tolerance::NONE).await
            }
        }
    }

    async fn holds(
        &mut self,
        unit: &UnitName,
        rule: &'static str,
        fault: Fault,
        tolerance: Tolerance,
    ) -> Result<(), SourceFailed> {
        if let Some(known) = self.known.get_mut(unit)
            && !known.said.contains(&rule)
        {
            known.said.push(rule);
            if let Tolerance::For(time) = tolerance
                && let Some(wait) = time.checked_sub(ANEW).filter(|wait| !wait.is_zero())
            {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                known.anew_at_ms = Some(clock::boot_ms().saturating_add(wait_ms));
            }
        }
        let look = Some(Look::Journal(unit.clone()));
        self.sink.report(Report::Holds { fault: Box::new(fault), tolerance, look }).await?;
        Ok(())
    }

    /// Says that something is over, if it was said before.
    async fn over(&mut self, unit: &UnitName, rule: &'static str) -> Result<(), SourceFailed> {
        let Some(known) = self.known.get_mut(unit) else { return Ok(()) };
        let before = known.said.len();
        known.said.retain(|said| *said != rule);
        if known.said.len() != before {
            self.sink.report(Report::over(rule, Subject::Unit(unit.clone()))).await?;
        }
        Ok(())
    }
}

/// Makes what health addresses are asked with; it holds every authority that the host trusts.
fn health_client() -> Result<reqwest::Client, SourceFailed> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|e| SourceFailed::new("prepare for health addresses", &e))
}

impl Known {
    fn passes(&self) -> bool {
        passing(&self.view.active_state)
    }

    /// Notes since when it runs, where that is a while by now.
    fn ran(&mut self) {
        let now_us = clock::monotonic_us();
        let ran_us = now_us.saturating_sub(self.view.started_us);
        if self.view.active() && self.view.started_us != 0 && u128::from(ran_us) >= RAN_WELL.as_micros() {
            self.ran_well = SystemTime::now().checked_sub(Duration::from_micros(ran_us));
        }
    }
}
