//! What leads from a signal to a repair: matching, plans, orders, signatures. Whatever is changed on the way, what is
//! admitted is what people approved, and no text of a host's becomes more than the value of a parameter.

use super::targets::{clean, folder, must, text};
use sopwith_domain::action::Action;
use sopwith_domain::approval::{Approval, Basis, Decision, Vote};
use sopwith_domain::ids::{AccountName, Digest, Epoch, HostId};
use sopwith_domain::matching::{Choice, choose};
use sopwith_domain::order::{Order, SignedText};
use sopwith_domain::plan::{Plan, Target, parameters};
use sopwith_domain::playbook::{Case, Playbook};
use sopwith_domain::signal::Signal;
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::{self, Facts};
use sopwith_protocol::signature::{AllowedSigners, sign, verify_with};
use ssh_key::PrivateKey;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

const NAMESPACE: &str = "sopwith-order";
/// When the orders are looked at, and when their approval ends.
const NOW: Timestamp = Timestamp(1_000_000);
const EXPIRES: Timestamp = Timestamp(2_000_000);

fn library() -> &'static [Playbook] {
    static LIBRARY: OnceLock<Vec<Playbook>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        folder("playbooks").iter().filter_map(|bytes| Playbook::parse(text(bytes)?).ok()).collect()
    })
}

/// The plan, with its playbook, of every shipped case that leads to one.
fn plans() -> &'static BTreeMap<Digest, (&'static Playbook, Plan)> {
    static PLANS: OnceLock<BTreeMap<Digest, (&'static Playbook, Plan)>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let cases = folder("playbooks/cases");
        let cases = cases.iter().filter_map(|bytes| Case::parse_all(text(bytes)?).ok()).flatten();
        let planned = cases.filter_map(|case| {
            let plan = case.hold(library()).ok()??;
            let playbook = library().iter().find(|p| p.id == plan.playbook)?;
            Some((plan.digest(), (playbook, plan)))
        });
        planned.collect()
    })
}

/// Nothing of what the host itself says forbids an order.
fn facts(plan: &Plan) -> Facts {
    Facts {
        host: plan.target.host.clone(),
        epoch: plan.target.epoch,
        server_now: Some(NOW),
        stop: None,
        forbidden: None,
        automatic_tries: 0,
        automatic_tries_max: 2,
        demand_signatures: false,
        signed_by: BTreeSet::new(),
        reported: true,
        accepted_ago_ms: 0,
    }
}

fn approved_by(name: &str, plan: &Plan) -> Option<Decision> {
    Some(Decision {
        by: AccountName::new(name).ok()?,
        vote: Vote::Approve,
        plan: plan.digest(),
        at: Timestamp(0),
        reason: String::new(),
        signature: None,
    })
}

/// Orders as people approved them: by two where two are required.
pub(super) fn orders() -> Vec<Vec<u8>> {
    let order = |plan: &Plan, names: &[&str]| Order {
        target: plan.target.clone(),
        plan: plan.digest(),
        parameters: plan.parameters.clone(),
        approval: Approval {
            plan: plan.digest(),
            basis: Basis::People {
                decisions: names.iter().filter_map(|name| approved_by(name, plan)).collect(),
                required: u32::try_from(names.len()).unwrap_or(1),
            },
            granted_at: Timestamp(0),
            expires_at: EXPIRES,
        },
        playbook: SignedText { text: String::new(), signature: String::new() },
        policy: None,
    };
    let each = |plan: &Plan| [order(plan, &["alice"]), order(plan, &["alice", "bob"])];
    let all = plans().values().flat_map(|(_, plan)| each(plan));
    all.filter_map(|order| serde_json::to_vec(&order).ok()).collect()
}

/// An order that was changed on its way is admitted for the very plan that its digest names, on the host that it names,
/// while the approval of that plan holds; or not at all.
pub(super) fn warrant(input: &[u8]) -> Result<bool, String> {
    let Ok(order) = serde_json::from_slice::<Order>(input) else { return Ok(false) };
    let Some((playbook, plan)) = plans().get(&order.plan) else { return Ok(false) };
    let facts = facts(plan);
    let Ok(warrant) = warrant::admit(&order, playbook, None, &facts) else { return Ok(false) };
    must(warrant.plan() == plan, || "another plan was admitted under the digest".into())?;
    must(order.approval.plan == plan.digest(), || "the approval of another plan was taken".into())?;
    must(order.approval.expires_at > NOW, || "an approval that is over was taken".into())?;
    let Basis::People { decisions, required } = &order.approval.basis else {
        return Err("a standing approval was taken without its policy".into());
    };
    let of_it = |vote| decisions.iter().filter(move |d| d.plan == plan.digest() && d.vote == vote);
    let people: BTreeSet<&str> = of_it(Vote::Approve).map(|d| d.by.as_str()).collect();
    must(!people.is_empty() && people.len() >= *required as usize, || "too few approved it".into())?;
    must(of_it(Vote::Deny).next().is_none(), || "somebody denied it".into())?;
    for change in [other_host(&order), other_epoch(&order)].into_iter().flatten() {
        let refused = warrant::admit(&change, playbook, None, &facts).is_err();
        must(refused, || "it was admitted on another host, or in another life of it".into())?;
    }
    Ok(true)
}

fn other_host(order: &Order) -> Option<Order> {
    let mut order = order.clone();
    order.target.host = HostId::new("some-other-host").ok()?;
    Some(order)
}

fn other_epoch(order: &Order) -> Option<Order> {
    let mut order = order.clone();
    order.target.epoch = Epoch(order.target.epoch.0.wrapping_add(1));
    Some(order)
}

/// A choice does not depend on the order of the library, and of what a host says only values of parameters get into
/// the plan, each with its type.
pub(super) fn matching(input: &[u8]) -> Result<bool, String> {
    let Ok(signal) = serde_json::from_slice::<Signal>(input) else { return Ok(false) };
    let (choice, candidates) = choose(library(), &signal);
    let (again, _) = choose(library().iter().rev(), &signal);
    must(named(&choice) == named(&again), || "the choice depends on the library's order".into())?;
    must(candidates.iter().all(|c| !c.reasons.is_empty()), || "a candidate has no reason".into())?;
    let Choice::One(playbook) = choice else { return Ok(false) };
    let Ok(values) = parameters(playbook, &signal) else { return Ok(false) };
    let target = Target {
        host: signal.host.clone(),
        epoch: signal.epoch,
        incident: sopwith_domain::ids::IncidentId(1),
        attempt: 1,
        subject: signal.subject.clone(),
        fingerprint: signal.fingerprint(),
    };
    let Ok(plan) = Plan::build(playbook, target.clone(), values.clone()) else { return Ok(false) };
    let twice = Plan::build(playbook, target, values);
    must(twice.is_ok_and(|twice| twice.digest() == plan.digest()), || "a plan has two digests".into())?;
    for step in &plan.steps {
        clean(&step.action.sentence())?;
        if let Action::Command { argv, undo_argv, probe_argv, .. } = &step.action {
            for word in argv.iter().chain(undo_argv).chain(probe_argv) {
                clean(word)?;
            }
        }
    }
    Ok(true)
}

fn named(choice: &Choice<'_>) -> Vec<String> {
    let mut names = match choice {
        Choice::One(playbook) => vec![playbook.id.to_string()],
        Choice::None => Vec::new(),
        Choice::Tie(ids) => ids.iter().map(ToString::to_string).collect(),
    };
    names.sort();
    names
}

fn key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&[7; 32]));
        PrivateKey::new(pair, "fuzz").expect("a key pair is a key")
    })
}

/// What was really signed.
fn originals() -> &'static [SignedText] {
    static SIGNED: OnceLock<Vec<SignedText>> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let texts = ["{\"plan\":\"1\"}", "{\"plan\":\"2\"}", "id: a\nversion: 1\n", ""];
        texts.iter().map(|text| sign(key(), NAMESPACE, text).expect("the key is open")).collect()
    })
}

pub(super) fn sealed() -> Vec<Vec<u8>> {
    originals().iter().filter_map(|signed| serde_json::to_vec(signed).ok()).collect()
}

pub(super) fn seal(input: &[u8]) -> Result<bool, String> {
    let Ok(signed) = serde_json::from_slice::<SignedText>(input) else { return Ok(false) };
    let public = key().public_key();
    let listed =
        format!("alice namespaces=\"{NAMESPACE}\" {}", public.to_openssh().map_err(|e| e.to_string())?);
    let signers = AllowedSigners::parse(&listed).map_err(|e| e.to_string())?;
    for other in ["", "sopwith-playbook", "file"] {
        must(verify_with(public, other, &signed).is_err(), || format!("it passes for {other:?}"))?;
        must(signers.verify(other, &signed).is_err(), || format!("it passes for {other:?}"))?;
    }
    let passes = verify_with(public, NAMESPACE, &signed).is_ok();
    must(passes == signers.verify(NAMESPACE, &signed).is_ok(), || "one key, two answers".into())?;
    let original = originals().iter().any(|one| one.text == signed.text);
    must(!passes || original, || "a text passes that nobody signed".into())?;
    Ok(passes)
}
