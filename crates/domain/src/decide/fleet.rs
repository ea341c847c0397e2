//! One fault on many hosts. It is told as one incident. Its fix runs on one host first; until it has been verified there
//! and has lasted, no other host is touched by automation. Then it goes on in waves, each at most twice as wide as what
//! has lasted, in one failure domain at a time. The n-th failed run stops it on all hosts, n being `failures` of the policy.

use super::own::{self, Own};
use crate::common::{Common, Member, Symptom};
use crate::event::Event;
use crate::ids::{HostId, IncidentId};
use crate::incident::{Incident, Phase, WhyNot};
use crate::mutant::{self, Mutant};
use crate::signal::Signal;
use crate::state::State;
use crate::time::{HOUR_MS, Timestamp};
use std::collections::BTreeSet;

/// How long what became of a fix on one host counts for others, in milliseconds.
pub const FORGET_MS: i64 = HOUR_MS;
/// Most hosts that are named in a sentence.
const NAMED_MAX: usize = 8;

/// Why a host has to wait for others with the same fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The incident that is dealt with first, or stands for all.
    pub root: IncidentId,
    pub because: String,
    /// It failed on too many: nothing more is tried, and a person is needed.
    pub stopped: bool,
}

impl Held {
    pub fn why_not(self) -> WhyNot {
        WhyNot::OneOfMany { root: self.root, because: self.because }
    }
}

/// Says whether automation may act on this incident now, for all that is known of the same fault on other hosts.
///
/// # Errors
/// Says what has to come first. The text stays the same for as long as the reason does.
pub fn may_act(state: &State, signal: &Signal, now: Timestamp) -> Result<(), Held> {
    let Some(common) = state.common.get(&Symptom::of(signal)) else { return Ok(()) };
    let limits = &state.policy().fleet;
    let others = || common.members.iter().filter(|(_, member)| member.host != signal.host);
    let open = |id: &IncidentId| state.incidents.get(id).is_some_and(Incident::open);
    let Some(first) = others().find(|(id, member)| open(id) || touched(member, now)) else { return Ok(()) };
    let held = |(id, _): (&IncidentId, &Member), because: String, stopped: bool| {
        Err(Held { root: common.root.unwrap_or(*id), because, stopped })
    };
    let bake_ms = i64::from(limits.bake_s) * 1000;
    let failed: Vec<_> = common.members.iter().filter(|(_, member)| failures(member, now) > 0).collect();
    // That it came back on this host itself is only being recorded.
    let back = |(id, member): (&IncidentId, &Member)| {
        let lately = member.mended_at.is_some_and(|at| open(id) || now.since(at) < bake_ms);
        member.host == signal.host && lately
    };
    let failures: usize = failed.iter().map(|(_, member)| failures(member, now)).sum::<usize>()
        + common.members.iter().filter(|member| back(*member)).count();
    let bound = limits.failures as usize + usize::from(mutant::is(Mutant::FailuresOffByOne));
    if failures >= bound && !mutant::is(Mutant::IgnoreFleet) {
        let names = names(failed.iter().map(|(_, member)| &member.host));
        return held(
            first,
            format!("its fix failed {failures} times, on {names}; it is not tried again"),
            true,
        );
    }
    let lasts = |member: &Member| {
        member.mended_at.is_some_and(|at| now.since(at) >= bake_ms || mutant::is(Mutant::SkipBake))
    };
    let good: BTreeSet<&HostId> =
        others().filter(|(_, m)| touched(m, now) && lasts(m)).map(|(_, m)| &m.host).collect();
    let working: Vec<_> =
        others().filter(|(_, m)| m.under_way || (m.mended_at.is_some() && !lasts(m))).collect();
    let tried = others().find(|(id, m)| open(id) && crate::decide::fleet::failures(m, now) > 0);
    if mutant::is(Mutant::IgnoreFleet) {
        return Ok(());
    }
    if let Some(leader) = working.first().copied().or(tried)
        && good.is_empty()
    {
        return held(leader, format!("its fix is tried on {} first", leader.1.host), false);
    }
    let wave = (2 * good.len()).max(1);
    if working.len() >= wave {
        let because =
            format!("its fix is under way on {wave} hosts, as many as may be before it has lasted there");
        return held(working[0], because, false);
    }
    let here = domain(state, &signal.host);
    match working.iter().find(|(_, member)| domain(state, &member.host) != here) {
        Some(elsewhere) if !mutant::is(Mutant::IgnoreDomain) => {
            let named = domain(state, &elsewhere.1.host).unwrap_or_else(|| "the hosts that name none".into());
            held(*elsewhere, format!("its fix is under way in another failure domain, {named}"), false)
        }
        _ => Ok(()),
    }
}

fn failures(member: &Member, now: Timestamp) -> usize {
    member.failed_at.iter().filter(|at| now.since(**at) < FORGET_MS).count()
}

/// Says whether automation did something about it that still counts.
fn touched(member: &Member, now: Timestamp) -> bool {
    let recent = |at: Timestamp| now.since(at) < FORGET_MS;
    member.under_way || member.mended_at.is_some_and(recent) || failures(member, now) > 0
}

/// Returns the failure domain that a host's administrator names.
fn domain(state: &State, host: &HostId) -> Option<String> {
    let wanted = &state.policy().fleet.domain;
    state.hosts.get(host)?.declarations.fact(wanted).map(ToString::to_string)
}

/// Returns the open incident that stands for a fault of many hosts, if there is one.
pub fn root(state: &State, signal: &Signal) -> Option<IncidentId> {
    state.common.get(&Symptom::of(signal))?.root
}

/// Returns the events by which the server tells a fault as one, where this host is the one that makes it common.
pub fn becomes_common(
    state: &State,
    first: IncidentId,
    signal: &Signal,
    root: IncidentId,
    now: Timestamp,
) -> Vec<Event> {
    let symptom = Symptom::of(signal);
    let Some(common) = state.common.get(&symptom).filter(|common| common.root.is_none()) else {
        return vec![];
    };
    let limits = &state.policy().fleet;
    let window_ms = i64::from(limits.window_s) * 1000;
    let mut hosts: BTreeSet<&HostId> = lately(state, common, now, window_ms).collect();
    hosts.insert(&signal.host);
    if hosts.len() < limits.hosts as usize || mutant::is(Mutant::IgnoreCommon) {
        return vec![];
    }
    let first = common.members.keys().next().copied().unwrap_or(first);
    let named = names(hosts.iter().copied());
    let rule = format!("{}:{}", own::SAME_FAULT, symptom.concern());
    let own = Own {
        host: &signal.host,
        rule: rule.chars().take(128).collect(),
        kind: "fleet.same-fault",
        subject: signal.subject.clone(),
        summary: format!("{symptom} on {} hosts: {named}", hosts.len()),
        first: Some(first),
        reason: format!(
            "{} hosts have the same fault within {} s ({named}): look for what they share. A fix is tried on one \
             host first, and not on others before it has lasted there",
            hosts.len(),
            limits.window_s
        ),
    };
    own::open(state, root, own, now)
}

fn lately<'a>(
    state: &'a State,
    common: &'a Common,
    now: Timestamp,
    window_ms: i64,
) -> impl Iterator<Item = &'a HostId> {
    let holds = |id: &IncidentId| state.incidents.get(id).is_some_and(|i| i.open() && !i.cleared);
    let members =
        common.members.iter().filter(move |(id, m)| now.since(m.raised_at) < window_ms && holds(id));
    members.map(|(_, member)| &member.host)
}

/// Returns what becomes of the incidents that a new one stands for. Those of which a host has an order, or had one,
/// and those that people are deciding on, stay as they are.
pub fn fold_under(state: &State, root: IncidentId, but: IncidentId, signal: &Signal) -> Vec<Event> {
    let Some(common) = state.common.get(&Symptom::of(signal)) else { return vec![] };
    let mut events = Vec::new();
    for other in common.members.keys().filter(|id| **id != but).filter_map(|id| state.incidents.get(id)) {
        let waits = match &other.phase {
            Phase::Detected => matches!(other.why_not, None | Some(WhyNot::OneOfMany { .. })),
            Phase::NeedsPerson { .. } => true,
            Phase::Approved => other.proposal.as_ref().is_some_and(|p| {
                p.released_at.is_none() && p.approved.as_ref().is_some_and(super::release::automatic)
            }),
            _ => false,
        };
        if !waits || !other.runs.is_empty() || other.cleared {
            continue;
        }
        if let Some(proposal) = &other.proposal {
            let reason = format!("it is one of many, for which {root} stands");
            events.push(Event::PlanVoided { incident: other.id, plan: proposal.plan.digest(), reason });
        }
        let because = "many hosts have it".to_owned();
        events.push(Event::Refrained { incident: other.id, why_not: WhyNot::OneOfMany { root, because } });
    }
    events
}

/// Returns why an incident that stands for many is over, if it is.
pub fn over(state: &State, incident: &Incident) -> Option<String> {
    let first = state.incidents.get(&own::first_of(&incident.signal)?)?;
    let common = state.common.get(&Symptom::of(&first.signal))?;
    let open = |id: &IncidentId| state.incidents.get(id).is_some_and(Incident::open);
    (common.root == Some(incident.id) && !common.members.keys().any(open))
        .then(|| "no host has it any more".to_owned())
}

fn names<'a>(hosts: impl Iterator<Item = &'a HostId>) -> String {
    let hosts: BTreeSet<&HostId> = hosts.collect();
    let mut named: Vec<String> = hosts.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if hosts.len() > NAMED_MAX {
        named.push(format!("{} more", hosts.len() - NAMED_MAX));
    }
    named.join(", ")
}
