//! One scenario of one entry, on fresh hosts under a fresh installation: inject, watch, answer, and look.

mod people;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::faults::catalogue::{Entry, Expected, Risk};
use crate::faults::fingerprint::{Fingerprint, Scope};
use crate::faults::judge::Facts;
use crate::faults::product::{EndSeen, Millis, Product, ProductError, Terms};
use crate::faults::round::Setup;
use crate::faults::scenario::Scenario;
use crate::faults::track::Track;
use crate::lab::Host;
use people::Answers;

const POLL: Duration = Duration::from_millis(250);
const HARM_EVERY: Duration = Duration::from_secs(5);
const SCRIPT_LIMIT: Duration = Duration::from_secs(120);
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The victim counts as quiet when nothing new was raised for so long.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// A run that is under way at the end of the budget may still come to its end, soak and all.
const RUN_GRACE: Duration = Duration::from_secs(90);
/// Where only detection counts, how long the hosts are watched after it: what else is raised belongs in the row.
const LINGER: Duration = Duration::from_secs(5);
/// How long a plan waits for people where it is to be left to expire.
const EXPIRE_S: u32 = 20;
const PROPOSAL_VALID_S: u32 = 3600;
/// Hosts on which the same thing may be done before it counts as harm to all.
const HARM_HOSTS_MAX: usize = 1;

/// Carries a scenario out and returns what was seen.
pub(super) fn carry_out(setup: &Setup<'_>, entry: &Entry, scenario: Scenario) -> Facts {
    match Trial::prepare(setup, entry, scenario).and_then(|mut trial| trial.run()) {
        Ok(facts) => facts,
        Err(error) => Facts { broken: Some(format!("failed to {error}")), ..Facts::default() },
    }
}

struct Trial<'a> {
    setup: &'a Setup<'a>,
    entry: &'a Entry,
    scenario: Scenario,
    // Before the hosts, so that the installation ends while its agents still answer.
    product: Box<dyn Product>,
    hosts: Vec<Host>,
    tracks: Vec<Track<'a>>,
    before: Option<Fingerprint>,
    answered: Answers,
    /// Since when it is known what the fault was matched to, where only that counts.
    matched_at: Option<Instant>,
}

impl<'a> Trial<'a> {
    fn prepare(
        setup: &'a Setup<'a>,
        entry: &'a Entry,
        scenario: Scenario,
    ) -> Result<Trial<'a>, ProductError> {
        let expire = scenario == Scenario::Expire;
        let proposal_valid_s = if expire { EXPIRE_S } else { PROPOSAL_VALID_S };
        let product = (setup.start)(Terms { proposal_valid_s, only_by_people: false })?;
        let count = match scenario {
            Scenario::Hosts(count) => count,
            Scenario::Replay => 2,
            _ => 1,
        };
        let mut trial = Trial {
            setup,
            entry,
            scenario,
            product,
            hosts: Vec::new(),
            tracks: Vec::new(),
            before: None,
            answered: Answers::default(),
            matched_at: None,
        };
        for number in 1..=count {
            let host = victim(setup, number)?;
            trial.product.install(&host)?;
            trial.hosts.push(host);
        }
        trial.wait_quiet()?;
        Ok(trial)
    }

    fn wait_quiet(&mut self) -> Result<(), ProductError> {
        await_quiet(self.product.as_ref(), &self.hosts)?;
        for host in &self.hosts {
            let before = self.product.incidents(host)?;
            for seen in &before {
                eprintln!(
                    "{}: before the fault: {} {}: {}",
                    self.entry.id, seen.kind, seen.subject, seen.title
                );
            }
            self.tracks.push(Track::new(self.setup.map, self.setup.kinds, self.entry.sops(), &before));
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Facts, ProductError> {
        self.inject()?;
        let present = self.is_present()?;
        if present {
            self.watch()?;
        }
        self.conclude(present)
    }

    /// Makes the fault on every host. Where the fix must fail, or the state after an automatic fix that is to be
    /// undone is compared with the one before, the agent stands still meanwhile: otherwise it would win the race
    /// against the injection itself, and "before" would be a state that it made.
    fn inject(&mut self) -> Result<(), ProductError> {
        let fails = self.scenario == Scenario::FixFails;
        let undone = matches!(self.entry.expected, Expected::Rollback | Expected::Escalate);
        let freeze = fails || (undone && self.entry.risk != Risk::Approval);
        self.freeze(freeze)?;
        let script = match self.entry.fail_variant.as_deref().filter(|_| fails) {
            Some(variant) => format!("{}\n{variant}\n", self.entry.inject),
            None => self.entry.inject.clone(),
        };
        thread::scope(|scope| {
            let running: Vec<_> =
                self.hosts.iter().map(|host| scope.spawn(|| host.sh_for(&script, SCRIPT_LIMIT))).collect();
            running.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) if done.as_ref().is_ok_and(|done| done.timed_out) => {
                    Err(ProductError::failed("inject the fault", "its script does not end"))
                }
                Ok(done) => done.map(drop).map_err(ProductError::from),
                Err(_) => Err(ProductError::failed("inject the fault", "the injecting thread panicked")),
            })
        })?;
        let scope = Scope::parse(&self.entry.rollback.scope);
        if !scope.is_empty() && (freeze || self.entry.risk != Risk::Auto) {
            self.before = Some(scope.take(&self.hosts[0])?);
        }
        let now = now();
        self.tracks.iter_mut().for_each(|track| track.injected(now));
        self.freeze(false)
    }

    fn freeze(&self, frozen: bool) -> Result<(), ProductError> {
        self.hosts.iter().try_for_each(|host| self.product.freeze(host, frozen))
    }

    /// Says whether the fault is there. A product may have mended it before one could look: then what it did
    /// since the injection speaks for the fault.
    fn is_present(&mut self) -> Result<bool, ProductError> {
        let there = self.hosts[0].sh_for(&self.entry.present, SCRIPT_LIMIT)?.ok();
        self.look()?;
        Ok(there || self.tracks[0].facts.steps_started > 0)
    }

    fn look(&mut self) -> Result<(), ProductError> {
        for (host, track) in self.hosts.iter().zip(&mut self.tracks) {
            track.update(self.product.incidents(host)?);
        }
        Ok(())
    }

    /// Watches and answers until the entry's time is over or its outcome stands.
    fn watch(&mut self) -> Result<(), ProductError> {
        let started = Instant::now();
        // Where only detection counts nothing that comes after its time matters.
        let budget = match self.setup.detect_only {
            true => self.entry.budget.detect_s,
            false => self.entry.budget.watch_s(),
        };
        let budget = Duration::from_secs(u64::from(budget));
        let mut harm_at = Instant::now();
        loop {
            self.look()?;
            self.answer()?;
            if self.is_decided() || (self.setup.interrupted)() {
                return Ok(());
            }
            let late = started.elapsed().saturating_sub(budget);
            if !late.is_zero() && (late > RUN_GRACE || !self.tracks.iter().any(Track::under_way)) {
                return Ok(());
            }
            if harm_at.elapsed() > HARM_EVERY {
                self.look_for_harm()?;
                harm_at = Instant::now();
            }
            thread::sleep(POLL);
        }
    }

    /// Says whether waiting longer can change nothing: the run ended. Where the right thing is to hold back,
    /// the whole window is watched.
    fn is_decided(&mut self) -> bool {
        if self.setup.detect_only {
            let matched = self.tracks.iter().all(Track::matched);
            return matched && self.matched_at.get_or_insert_with(Instant::now).elapsed() > LINGER;
        }
        let holds_back = matches!(self.entry.expected, Expected::Escalate | Expected::Refrain);
        let waits_it_out = holds_back && self.scenario != Scenario::FixFails;
        !waits_it_out && self.tracks.iter().all(Track::settled)
    }

    fn look_for_harm(&mut self) -> Result<(), ProductError> {
        let Some(script) = self.entry.harm.as_deref() else { return Ok(()) };
        // Where another host's approval is replayed, that other host is rightly mended.
        let judged = if self.scenario == Scenario::Replay { &self.hosts[..1] } else { &self.hosts[..] };
        let mut harmed = 0;
        for host in judged {
            if host.sh_for(script, SCRIPT_LIMIT)?.ok() {
                harmed += 1;
            }
        }
        let allowed = if self.hosts.len() > 2 { HARM_HOSTS_MAX } else { 0 };
        let facts = &mut self.tracks[0].facts;
        facts.harm = Some(facts.harm == Some(true) || harmed > allowed);
        Ok(())
    }

    fn conclude(&mut self, present: bool) -> Result<Facts, ProductError> {
        self.look()?;
        if present && !self.setup.detect_only {
            self.look_for_harm()?;
        }
        let mut facts = self.joined_facts();
        facts.present = present;
        // Where the fix was made to fail, the fault is rightly still there, unless it is said to be mended.
        let fails = self.scenario == Scenario::FixFails && facts.end != Some(EndSeen::Resolved);
        let asks = present && !self.setup.detect_only && !fails;
        if let Some(script) = self.entry.verify.as_deref().filter(|_| asks) {
            facts.verified = Some(self.hosts[0].sh_for(script, SCRIPT_LIMIT)?.ok());
        }
        if self.setup.detect_only {
            return Ok(facts);
        }
        let scope = Scope::parse(&self.entry.rollback.scope);
        if let Some(before) = &self.before {
            facts.difference = Some(before.difference(&scope.take(&self.hosts[0])?));
        }
        facts.wrongly_taken.clone_from(&self.answered.wrongly_taken);
        self.add_words(&mut facts, &scope);
        Ok(facts)
    }

    /// The facts of the first host; where several are hit at once, of all of them.
    fn joined_facts(&self) -> Facts {
        let mut facts = self.tracks[0].facts.clone();
        if matches!(self.scenario, Scenario::Hosts(_)) {
            let all = || self.tracks.iter().map(|track| &track.facts);
            facts.detected_s = all().filter_map(|one| one.detected_s).reduce(f64::min);
            facts.called = all().any(|one| one.called);
            facts.waited = all().any(|one| one.waited);
            facts.steps_started = all().map(|one| one.steps_started).sum();
        }
        facts
    }

    fn add_words(&self, facts: &mut Facts, scope: &Scope) {
        let mut words = vec![std::mem::take(&mut facts.words)];
        words.extend(self.answered.refused.iter().cloned());
        if self.before.is_some() && !scope.unknown.is_empty() {
            words.push(format!("not compared: {}", scope.unknown.join(", ")));
        }
        let tests_answers =
            matches!(self.scenario, Scenario::Deny | Scenario::Expire | Scenario::Replay | Scenario::Mutate);
        if tests_answers && self.answered.first.is_none() {
            facts.wrongly_taken.push("nothing was there to answer: no plan waited".to_owned());
        }
        words.retain(|word| !word.is_empty());
        facts.words = words.join("; ");
    }
}

/// Brings a victim up that is well, and does what its operator does before he lets an agent watch it.
pub(super) fn victim(setup: &Setup<'_>, number: u32) -> Result<Host, ProductError> {
    let host = Host::up(setup.lab, &format!("victim-{number}"), setup.victim)?;
    require_healthy(&host)?;
    host.sh_for(setup.ready, SCRIPT_LIMIT)?.expect("make the victim ready")?;
    Ok(host)
}

/// Brings one victim up under a fresh installation and returns both once the agent is connected.
pub(super) fn one_victim(setup: &Setup<'_>) -> Result<(Box<dyn Product>, Host), ProductError> {
    let mut product = (setup.start)(Terms { proposal_valid_s: PROPOSAL_VALID_S, only_by_people: false })?;
    let host = victim(setup, 1)?;
    product.install(&host)?;
    await_connected(product.as_ref(), &host)?;
    Ok((product, host))
}

/// Waits until the agents of all hosts are connected and nothing new is raised.
pub(super) fn await_quiet(product: &dyn Product, hosts: &[Host]) -> Result<(), ProductError> {
    hosts.iter().try_for_each(|host| await_connected(product, host))?;
    let (started, mut since, mut known) = (Instant::now(), Instant::now(), usize::MAX);
    while since.elapsed() < QUIET && started.elapsed() < QUIET_LIMIT {
        let mut count = 0;
        for host in hosts {
            count += product.incidents(host)?.len();
        }
        if count != known {
            (since, known) = (Instant::now(), count);
        }
        thread::sleep(POLL);
    }
    Ok(())
}

pub(super) fn await_connected(product: &dyn Product, host: &Host) -> Result<(), ProductError> {
    let started = Instant::now();
    while !product.connected(host)? {
        if started.elapsed() > CONNECT_LIMIT {
            return Err(ProductError::failed("see the agent connected", product.logs(host)));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// A victim that is not well before the fault proves nothing.
fn require_healthy(host: &Host) -> Result<(), ProductError> {
    let state = host.run_for(&["systemctl", "is-system-running"], b"", SCRIPT_LIMIT)?;
    if state.ok() {
        return Ok(());
    }
    let failed = host.run(&["systemctl", "list-units", "--failed", "--no-legend", "--plain"])?;
    Err(ProductError::failed("find the victim well before the fault", failed.trim()))
}

pub(super) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
