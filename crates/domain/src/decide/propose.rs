//! From a raised condition to a plan: matching, declarations, budgets, standing approval, release, all in the batch
//! of the signal that asked for it. Where anything is unclear the answer is zero steps and a person.

use super::release::release_or_hold;
use super::{depend, diagnose, find, fleet, ladder, loops, problem, trust};
use crate::approval::{self, ApprovedPlan};
use crate::command::Refusal;
use crate::declaration::Declarations;
use crate::event::Event;
use crate::ids::{Digest, IncidentId};
use crate::incident::{Incident, Phase, WhyNot};
use crate::matching::{Candidate, Choice, choose_on};
use crate::mutant::{self, Mutant};
use crate::plan::{Plan, Target, parameters};
use crate::playbook::{Playbook, Risk};
use crate::policy::Policy;
use crate::signal::Signal;
use crate::state::{Raised, State};
use crate::time::Timestamp;
use crate::trust::may;

/// How the reason begins where the tries of a day are spent.
pub const GAVE_UP: &str = "gave up after";

/// What proposing looks at. The incident may have been opened in the same batch and not be in the state yet.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub id: IncidentId,
    pub signal: &'a Signal,
    attempts: u32,
    why_not: Option<&'a WhyNot>,
    candidates: &'a [Candidate],
    runs: &'a [Digest],
    /// When it was raised.
    raised: Raised,
    /// The open incident that stands for this fault on many hosts.
    root: Option<IncidentId>,
    /// The incident that tells of a storm.
    storm: Option<IncidentId>,
}

impl<'a> Case<'a> {
    pub fn opened(id: IncidentId, signal: &'a Signal, now: Timestamp) -> Self {
        let (why_not, candidates, runs) = (None, &[][..], &[][..]);
        let raised = loops::raised_now(now);
        Self { id, signal, attempts: 0, why_not, candidates, runs, raised, root: None, storm: None }
    }
    pub fn known(state: &State, incident: &'a Incident, signal: &'a Signal) -> Self {
        Self {
            id: incident.id,
            signal,
            attempts: incident.attempts,
            why_not: incident.why_not.as_ref(),
            candidates: &incident.candidates,
            runs: &incident.runs,
            raised: incident.raised,
            root: fleet::root(state, signal),
            storm: state.storm.as_ref().map(|storm| storm.root),
        }
    }

    /// The same, raised again in the batch at hand.
    pub fn again(self, now: Timestamp) -> Self {
        Self { raised: loops::raised_now(now), ..self }
    }

    /// The same, one of many for which this incident stands from now on.
    pub fn rooted(self, root: IncidentId) -> Self {
        Self { root: Some(root), ..self }
    }

    /// The same, told as part of what one incident stands for.
    pub fn under(self, root: Option<IncidentId>, storm: Option<IncidentId>) -> Self {
        Self { root, storm, ..self }
    }

    /// Returns what a person need not be called for, because one was called for all: a storm, or a fault of many hosts.
    /// What was begun on this host is not hidden.
    fn told(&self, reason: &str) -> Option<WhyNot> {
        if !self.runs.is_empty() {
            return None;
        }
        if let Some(root) = self.root {
            return Some(WhyNot::OneOfMany { root, because: reason.to_owned() });
        }
        self.storm.map(|root| WhyNot::Storm { root })
    }
}

/// Answers an incident once more whose plan fell: by what is installed now, and by what its host said last. It is a
/// decision of its own, so that each of many that fall together takes its place in the limits.
pub fn anew(state: &State, id: IncidentId, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let incident = find(state, id)?;
    if incident.phase != Phase::Detected || incident.why_not.is_some() {
        return Ok(vec![]);
    }
    Ok(propose(state, &Case::known(state, incident, &incident.signal), now))
}

/// Returns the events that answer a raised condition.
pub fn propose(state: &State, case: &Case<'_>, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(why_not) = depend::follows(state, case.id, case.signal, now) {
        return refrained(case, why_not);
    }
    if let Some(why_not) = refrain(state, case, std::slice::from_ref(&case.signal.subject), now) {
        return refrained(case, why_not);
    }
    let nothing = Declarations::default();
    let host = state.hosts.get(&case.signal.host).map_or(&nothing, |host| &host.declarations);
    let (choice, candidates) = choose_on(state.answering(case.signal), case.signal, host);
    let chosen = match &choice {
        Choice::One(playbook) => Some(playbook.id.clone()),
        _ => None,
    };
    if candidates != case.candidates {
        events.push(Event::Matched { incident: case.id, candidates, chosen });
    }
    match planned(state, case, &choice, now) {
        Err(NoPlan { reason, gave_up }) => match case.told(&reason) {
            Some(why_not) => events.extend(refrained(case, why_not)),
            None => {
                if gave_up {
                    events.push(freeze(case.id, vec![case.signal.subject.clone()], &reason));
                    events.extend(problem::because(state, case.id, case.signal.fingerprint(), &reason));
                }
                events.extend(called(state, case, reason, now));
            }
        },
        Ok((plan, rung)) => {
            let touches: Vec<_> = plan.touches().into_iter().collect();
            match refrain(state, case, &touches, now) {
                Some(why_not) => events.extend(refrained(case, why_not)),
                None => events.extend(braked_or_proposed(state, case, plan, rung, now)),
            }
        }
    }
    events
}

/// Calls a person, and has the host looked at meanwhile where that may be.
fn called(state: &State, case: &Case<'_>, mut reason: String, now: Timestamp) -> Vec<Event> {
    let look = match diagnose::begin(state, case, now) {
        Some(Err(spent)) => {
            reason.push_str("; not looked at, because ");
            reason.push_str(&spent);
            None
        }
        look => look.and_then(Result::ok),
    };
    [Some(Event::Escalated { incident: case.id, reason }), look].into_iter().flatten().collect()
}

fn refrain(
    state: &State,
    case: &Case<'_>,
    touches: &[crate::signal::Subject],
    now: Timestamp,
) -> Option<WhyNot> {
    if let Some(stop) = &state.stop
        && !mutant::is(Mutant::IgnoreStop)
    {
        return Some(WhyNot::Stopped { reason: format!("{} ({})", stop.reason, stop.by) });
    }
    if mutant::is(Mutant::IgnoreDeclarations) {
        return None;
    }
    let host = state.hosts.get(&case.signal.host)?;
    let forbidden = host.declarations.forbid(touches, now);
    let forbidden = forbidden.or_else(|| host.declarations.expected(case.signal, now));
    forbidden.map(|forbidden| WhyNot::Declared { forbidden })
}

/// Says why automation holds back, once: the same reason again is no news.
fn refrained(case: &Case<'_>, why_not: WhyNot) -> Vec<Event> {
    if case.why_not == Some(&why_not) {
        return vec![];
    }
    vec![Event::Refrained { incident: case.id, why_not }]
}

/// Why there is no plan, for people.
struct NoPlan {
    reason: String,
    /// The tries of automation are used up, and nothing stronger is left.
    gave_up: bool,
}

impl From<String> for NoPlan {
    fn from(reason: String) -> Self {
        Self { reason, gave_up: false }
    }
}

/// Says that automation leaves things alone until the incident is closed.
pub fn freeze(incident: IncidentId, targets: Vec<crate::signal::Subject>, because: &str) -> Event {
    Event::TargetsFrozen { incident, targets, because: because.to_owned() }
}

/// Which step of the ladder a plan is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rung {
    Chosen,
    Stronger,
}

/// Returns the plan, or why there is none.
fn planned(
    state: &State,
    case: &Case<'_>,
    choice: &Choice<'_>,
    now: Timestamp,
) -> Result<(Plan, Rung), NoPlan> {
    let signal = case.signal;
    let playbook = match choice {
        Choice::One(playbook) => playbook,
        Choice::None => return Err(format!("no SOP answers {} of {}", signal.kind, signal.subject).into()),
        Choice::Tie(ids) => {
            let ids: Vec<_> = ids.iter().map(crate::ids::PlaybookId::as_str).collect();
            return Err(format!("several SOPs match equally well, so none is run: {}", ids.join(", ")).into());
        }
    };
    if matches!(playbook.risk, Risk::Never | Risk::Look) {
        return Err(format!("{}: {}", playbook.title, playbook.escalation).into());
    }
    let host = state.hosts.get(&signal.host).ok_or_else(|| format!("host {} is not known", signal.host))?;
    let target = Target {
        host: signal.host.clone(),
        epoch: host.epoch,
        incident: case.id,
        attempt: case.attempts + 1,
        subject: signal.subject.clone(),
        fingerprint: signal.fingerprint(),
    };
    let values = parameters(playbook, signal).map_err(|faults| faults.join("; "))?;
    let plan = ladder::fresh(state, playbook, target.clone(), &values)?;
    let policy = state.policy();
    if !policy.permits(&plan.playbook, plan.risk, &plan.target.host) || !may(trust::stage(state, &plan)).0 {
        return Ok((plan, Rung::Chosen));
    }
    let max = tries_max(policy, playbook);
    let tries = state.tries_today(&signal.fingerprint(), now);
    let spent = tries >= max + u32::from(mutant::is(Mutant::BudgetOffByOne));
    if spent || ladder::did_not_hold(state, case.runs, playbook) {
        if let Some(stronger) = ladder::next(state, case.runs, playbook, signal, &target) {
            return Ok((stronger, Rung::Stronger));
        }
        if spent {
            let tried = ladder::tried(state, case.runs, None);
            let reason = format!("{GAVE_UP} {tries} automatic tries within a day (at most {max}){tried}");
            return Err(NoPlan { reason, gave_up: true });
        }
    }
    Ok((plan, Rung::Chosen))
}

/// Returns how many automatic tries a day the policy and the playbook allow together.
pub fn tries_max(policy: &Policy, playbook: &Playbook) -> u32 {
    let own = playbook.limits.attempts_per_day.unwrap_or(u32::MAX);
    policy.attempts_per_day.min(own)
}

/// Proposes a plan, unless it would start by itself and a brake holds it.
fn braked_or_proposed(state: &State, case: &Case<'_>, plan: Plan, rung: Rung, now: Timestamp) -> Vec<Event> {
    let policy = state.policy();
    let climbs = rung == Rung::Chosen || policy.stronger_by_itself || mutant::is(Mutant::ClimbAlone);
    if !climbs || !policy.permits(&plan.playbook, plan.risk, &plan.target.host) {
        return proposed(state, case, plan, climbs, now);
    }
    if let Some(root) = case.storm {
        return refrained(case, WhyNot::Storm { root });
    }
    if let Some((root, because)) = loops::frozen(state, &case.signal.host, &plan.touches()) {
        let why_not = WhyNot::Frozen { root, because: because.to_owned() };
        // What was begun on the host is not hidden.
        let hidden = root != case.id && case.runs.is_empty();
        return match hidden {
            true => refrained(case, why_not),
            false => vec![Event::Escalated { incident: case.id, reason: why_not.to_string() }],
        };
    }
    if let Some(found) = loops::found(state, case.id, case.signal, &plan, case.raised) {
        let frozen = freeze(case.id, found.targets, &found.reason);
        return vec![frozen, Event::Escalated { incident: case.id, reason: found.reason }];
    }
    match fleet::may_act(state, case.signal, now) {
        Ok(()) => proposed(state, case, plan, true, now),
        // A person is called for it already where one incident stands for all.
        Err(held) if held.stopped && case.root.is_none() => {
            vec![Event::Escalated { incident: case.id, reason: held.why_not().to_string() }]
        }
        Err(held) => refrained(case, held.why_not()),
    }
}

/// Proposes a plan. `climbs` says whether it may start without a person, for all that the ladder has to say.
fn proposed(state: &State, case: &Case<'_>, plan: Plan, climbs: bool, now: Timestamp) -> Vec<Event> {
    let policy = state.policy();
    let mut events = vec![Event::PlanProposed {
        incident: case.id,
        plan: Box::new(plan.clone()),
        expires_at: now.plus(policy.proposal_valid_ms),
        required_approvals: policy.approvers,
    }];
    let (by_itself, by_people) = may(trust::stage(state, &plan));
    if !by_people {
        let reason = format!(
            "{} is in shadow, so it is shown and not run; see what it would change, and mend it by hand",
            plan.playbook
        );
        events.push(Event::Escalated { incident: case.id, reason });
        return events;
    }
    let standing = approval::standing(&plan, policy, now).filter(|_| by_itself && climbs);
    let Some(approval) = standing else { return events };
    events.push(Event::PlanApproved { incident: case.id, approval: approval.clone() });
    let approved = ApprovedPlan::recorded(plan, approval);
    events.extend(
        approved.and_then(|approved| release_or_hold(state, (case.id, case.signal), &approved, None, now)),
    );
    events
}
