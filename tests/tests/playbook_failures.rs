//! Every shipped SOP, failed at each of its steps in every way there is, its process killed at every record, its undo
//! begun twice: the host is as it was to the byte, or a person is called with what is left, and no step has its effect
//! twice.

use sopwith_domain::action::Undo;
use sopwith_domain::approval::{Approval, Basis, Decision, Vote};
use sopwith_domain::ids::AccountName;
use sopwith_domain::order::{Order, SignedText};
use sopwith_domain::plan::Plan;
use sopwith_domain::playbook::{Case, Playbook, Risk};
use sopwith_domain::run::{End, Executor, Host, Progress, Record, StepResult, What};
use sopwith_domain::time::Timestamp;
use sopwith_domain::warrant::{self, Warrant};
use sopwith_tests::model::{Fault, Journal, ModelHost, World};
use std::path::Path;

/// More calls than any run needs.
const CALLS_MAX: usize = 2000;

/// A plan that is approved, with what it is to be run on.
struct Sample {
    name: String,
    plan: Plan,
    warrant: Warrant,
    world: World,
}

fn yaml(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder can be listed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "yaml"));
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("readable")).collect()
}

/// Returns every plan that the shipped cases come to.
fn samples() -> Vec<Sample> {
    let playbooks: Vec<Playbook> =
        yaml("playbooks").iter().map(|text| Playbook::parse(text).expect("it parses")).collect();
    let cases = yaml("playbooks/cases").into_iter();
    let cases = cases.flat_map(|text| Case::parse_all(&text).expect("cases parse"));
    let samples: Vec<Sample> = cases
        .filter_map(|case| {
            let plan = case.hold(&playbooks).expect("the case holds")?;
            let playbook = playbooks.iter().find(|p| p.id == plan.playbook).expect("who was chosen");
            Some(sample(format!("{}: {}", plan.playbook, case.name), playbook, plan))
        })
        .collect();
    let able = playbooks.iter().filter(|p| samples.iter().any(|s| s.plan.playbook == p.id)).count();
    let never = playbooks.iter().filter(|p| p.steps.is_empty() || p.risk == Risk::Look).count();
    assert_eq!(able + never, playbooks.len(), "every SOP that does something is among the samples");
    samples
}

fn sample(name: String, playbook: &Playbook, plan: Plan) -> Sample {
    let decision = Decision {
        by: AccountName::new("alice").expect("an account name"),
        vote: Vote::Approve,
        plan: plan.digest(),
        at: Timestamp(0),
        reason: String::new(),
        signature: None,
    };
    let order = Order {
        target: plan.target.clone(),
        plan: plan.digest(),
        parameters: plan.parameters.clone(),
        approval: Approval {
            plan: plan.digest(),
            basis: Basis::People { decisions: vec![decision], required: 1 },
            granted_at: Timestamp(0),
            expires_at: Timestamp(i64::MAX),
        },
        playbook: SignedText { text: String::new(), signature: String::new() },
        policy: None,
    };
    let world = World::before(&plan);
    let facts = ModelHost::new(world.clone(), Fault::None).plain_facts();
    let reconstructed = warrant::reconstruct(&order, playbook, &facts);
    let warrant = reconstructed.expect("the order leads to the plan");
    Sample { name, plan, warrant, world }
}

/// Goes on until the run ends or its process dies.
fn advance(executor: &mut Executor, journal: &mut Journal, host: &mut ModelHost) -> Option<End> {
    for _ in 0..CALLS_MAX {
        let steps = executor.warrant().plan().steps.len();
        let done = executor.records().iter().filter(|r| is_done(r)).count();
        host.verifying(done == steps);
        match executor.advance(journal, host) {
            Err(_) => return None,
            Ok(Progress::Ended(end)) => return Some(end),
            Ok(Progress::Wait { ms }) => host.wait(ms),
            Ok(Progress::Moved) => {}
        }
    }
    panic!("the run does not end: {:#?}", journal.records);
}

fn is_done(record: &Record) -> bool {
    matches!(record.what, What::Finished { outcome: StepResult::Done { .. }, .. })
}

/// Runs a sample with a fault, its process dying at an append and starting again; returns how it ended.
fn run(sample: &Sample, fault: Fault, dies_at: Option<(usize, bool)>) -> (End, ModelHost, Journal) {
    let mut host = ModelHost::new(sample.world.clone(), fault);
    let mut journal = Journal {
        dies_at: dies_at.map(|(at, _)| at),
        durable: dies_at.is_some_and(|(_, durable)| durable),
        ..Journal::default()
    };
    for _ in 0..4 {
        let mut executor = Executor::resume(sample.warrant.clone(), journal.records.clone());
        match advance(&mut executor, &mut journal, &mut host) {
            Some(end) => return (end, host, journal),
            None => journal.dies_at = None,
        }
    }
    panic!("{}: the run never ends", sample.name);
}

/// Holds the end of a run against what was promised.
fn judge(sample: &Sample, what: &str, end: &End, host: &ModelHost, journal: &Journal) {
    let told = || format!("{} with {what}: {end:?}\n{:#?}\n{:#?}", sample.name, host.world, journal.records);
    let steps = sample.plan.steps.iter().enumerate();
    for (index, step) in steps.clone() {
        assert!(host.effects[index] <= 1, "step {index} ({}) had its effect twice; {}", step.name, told());
    }
    let mut left = steps.filter(|(index, s)| s.undo == Undo::Irreversible && host.effects[*index] > 0);
    match end {
        End::Resolved => {
            let failed = sample.plan.verify.iter().find(|check| !host.world.holds(check));
            assert!(failed.is_none(), "success though {failed:?} does not hold; {}", told());
        }
        End::RolledBack { .. } => {
            assert!(left.next().is_none(), "an irreversible step is passed over; {}", told());
            assert_eq!(host.world, sample.world, "{}", told());
        }
        End::Parked { residue, .. } => {
            // One that began and failed may have changed something: only a person can tell.
            let began = |index: usize| {
                journal.records.iter().any(|r| matches!(r.what, What::Started { step, .. } if step == index))
            };
            let mut steps = sample.plan.steps.iter().enumerate();
            let doubtful = steps.any(|(index, s)| s.undo == Undo::Irreversible && began(index));
            assert!(doubtful && !residue.is_empty(), "parked without a reason; {}", told());
        }
    }
}

#[test]
fn without_a_fault_every_sop_resolves() {
    for sample in samples() {
        let (end, host, journal) = run(&sample, Fault::None, None);
        assert_eq!(end, End::Resolved, "{}", sample.name);
        judge(&sample, "no fault", &end, &host, &journal);
        assert!(host.boot_ms() >= sample.plan.soak_ms, "{}: its soak was waited for", sample.name);
    }
}

fn faults(plan: &Plan) -> Vec<Fault> {
    let mut faults = vec![Fault::Verification, Fault::Soak];
    for (index, step) in plan.steps.iter().enumerate() {
        faults.extend([Fault::Capture(index), Fault::Before(index), Fault::After(index)]);
        faults.extend((!step.require.is_empty()).then_some(Fault::Requirement(index)));
        faults.extend((!step.expect.is_empty()).then_some(Fault::Expectation(index)));
    }
    faults
}

#[test]
fn failed_at_each_step_everything_is_as_it_was_or_named() {
    let mut ends = 0;
    for sample in samples() {
        for fault in faults(&sample.plan) {
            let (end, host, journal) = run(&sample, fault, None);
            assert_ne!(end, End::Resolved, "{} with {fault:?}", sample.name);
            judge(&sample, &format!("{fault:?}"), &end, &host, &journal);
            ends += 1;
        }
    }
    assert!(ends > 100, "only {ends} failures were tried");
}

/// The process dies before and after every record of every run, also in the middle of its undo, which is then begun
/// again: an undo that is done twice changes nothing more.
#[test]
fn killed_at_every_record_nothing_is_done_twice_and_nothing_forgotten() {
    let mut twice = 0;
    for sample in samples() {
        for fault in [Fault::None].into_iter().chain(faults(&sample.plan)) {
            for durable in [false, true] {
                for at in 0.. {
                    let (end, host, journal) = run(&sample, fault, Some((at, durable)));
                    judge(&sample, &format!("{fault:?}, dying at record {at}"), &end, &host, &journal);
                    let mut undone = host.undone.clone();
                    undone.sort_unstable();
                    twice += usize::from(undone.windows(2).any(|pair| pair[0] == pair[1]));
                    if at >= journal.records.len() {
                        break;
                    }
                }
            }
        }
    }
    assert!(twice > 50, "an undo was done twice only {twice} times");
}
