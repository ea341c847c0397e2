//! Plain sentences for signals and events, all in one place so that they can be translated together.

use sopwith_domain::event::Event;
use sopwith_domain::run::{Effect, End, StepResult, UndoResult, What};
use sopwith_domain::signal::{Signal, Subject};
use sopwith_domain::value::Word;

/// Returns what is wrong where, in plain words. The name parts are typed; unknown kinds fall back on the host's own
/// (tainted) summary.
pub fn title(signal: &Signal) -> String {
    let host = &signal.host;
    let name = subject_name(&signal.subject);
    let number = |field: &str| {
        Word::new(field).ok().and_then(|f| signal.fields.get(&f)).map(std::string::ToString::to_string)
    };
    match signal.kind.as_str() {
        "unit.failed" => format!("{name} on {host} has failed"),
        "unit.inactive" => format!("{name} on {host} is down"),
        "unit.unhealthy" => format!("{name} on {host} runs but does not answer"),
        "unit.flapping" => format!("{name} on {host} keeps restarting"),
        "process.missing" => format!("Process {name} on {host} is gone"),
        "check.failed" => format!("Check {name} fails on {host}"),
        "filesystem.full" => match number("used_percent") {
            Some(used) => format!("{name} on {host} is {used} % full"),
            None => format!("{name} on {host} is filling up"),
        },
        "filesystem.inodes" => match number("used_percent") {
            Some(used) => format!("{name} on {host} has used {used} % of its inodes"),
            None => format!("{name} on {host} runs out of inodes"),
        },
        "declaration.broken" => format!("The declarations of {host} cannot be read"),
        "source.broken" => format!("The agent on {host} cannot watch {name}"),
        _ if signal.summary.trim().is_empty() => format!("{} on {host}: {name}", signal.kind),
        _ => format!("{} ({host})", signal.summary.trim()),
    }
}

fn subject_name(subject: &Subject) -> String {
    match subject {
        Subject::Host => "the host".into(),
        Subject::Unit(unit) => unit.as_str().trim_end_matches(".service").into(),
        Subject::Path(path) | Subject::Mount(path) => path.to_string(),
        Subject::Process(name)
        | Subject::Check(name)
        | Subject::Account(name)
        | Subject::Package(name)
        | Subject::Sysctl(name) => name.to_string(),
        Subject::Address(ip) => ip.to_string(),
    }
}

/// Returns a run's record as a sentence; `names` are the plan's steps.
pub fn record_sentence(what: &What, names: &[String]) -> String {
    let step = |index: &usize| match names.get(*index) {
        Some(name) => format!("Step {} ({name})", index + 1),
        None => format!("Step {}", index + 1),
    };
    match what {
        What::Refused { refusal } => format!("The host refused the order: {refusal}"),
        What::Accepted { .. } => "The host checked the warrant and took the order".into(),
        What::Started { step: index, .. } => format!("{} began", step(index)),
        What::Finished { step: index, outcome: StepResult::Done { .. } } => {
            format!("{} is done", step(index))
        }
        What::Finished { step: index, outcome: StepResult::Failed { reason, .. } } => {
            format!("{} failed: {reason}", step(index))
        }
        What::Probed { step: index, effect } => match effect {
            Effect::Took { detail } => format!("{} was interrupted, but took effect: {detail}", step(index)),
            Effect::None { detail } => {
                format!("{} was interrupted before it took effect: {detail}", step(index))
            }
            Effect::Unknown { detail } => {
                format!("{} was interrupted; whether it took effect cannot be known: {detail}", step(index))
            }
        },
        What::Halted { reason } => format!("Halted, no further step starts: {reason}"),
        What::CancelRequested { by } => format!("Cancelled by {by}"),
        What::Verified { passed: true, detail } => with_detail("Verified: the fault is gone", detail),
        What::Verified { passed: false, detail } => with_detail("Verification failed", detail),
        What::Soaked { passed: true, detail } => with_detail("Still well after the soak", detail),
        What::Soaked { passed: false, detail } => {
            with_detail("The fix did not last through the soak", detail)
        }
        What::UndoStarted { step: index } => format!("{}: undo began", step(index)),
        What::UndoFinished { step: index, result: UndoResult::Restored { detail } } => {
            with_detail(&format!("{} put back", step(index)), detail)
        }
        What::UndoFinished { step: index, result: UndoResult::Untouched { detail } } => {
            with_detail(&format!("{} had changed nothing that lasts", step(index)), detail)
        }
        What::UndoFinished { step: index, result: UndoResult::Residue { what } } => {
            format!("{} could not be put back: {what}", step(index))
        }
        What::Ended { end: End::Resolved } => "Run ended: repaired and verified".into(),
        What::Ended { end: End::RolledBack { reason } } => {
            format!("Run ended: rolled back, everything begun was put back ({reason})")
        }
        What::Ended { end: End::Parked { reason, .. } } => {
            format!("Run ended: a person is needed ({reason})")
        }
    }
}

fn with_detail(text: &str, detail: &str) -> String {
    if detail.trim().is_empty() { text.into() } else { format!("{text}: {detail}") }
}

/// Returns an event of the journal as a sentence for the audit.
pub fn event_sentence(event: &Event) -> String {
    match event {
        Event::ServerStarted => "the server started".into(),
        Event::HostEnrolled { host, .. } => format!("{host} joined"),
        Event::EpochBegan { host, reason, .. } => format!("{host} begins a new life: {reason}"),
        Event::HostRevoked { host, .. } => format!("{host} was revoked"),
        Event::HostSilent { host, .. } => format!("{host} went silent"),
        Event::HostHeard { host } => format!("{host} is heard again"),
        Event::ItemTaken { host, seq } => format!("item {seq} of {host} was taken over"),
        Event::GapRecorded { host, from_seq, through_seq, reason } => {
            format!("items {from_seq} to {through_seq} of {host} are lost: {reason}")
        }
        Event::DeclarationsReported { host, declarations } => {
            let (stated, broken) = (declarations.stated.len(), declarations.broken.len());
            match broken {
                0 => format!("{host} declares {stated} {}", if stated == 1 { "thing" } else { "things" }),
                _ => format!("{host} has declarations that cannot be read"),
            }
        }
        Event::InspectionReported { host, report } => {
            let when = if report.complete { "of" } else { "so far of" };
            format!("{host} reports what its {} checks said {when} {}", report.checks.len(), report.day)
        }
        Event::IncidentOpened { incident, signal, priority, .. } => {
            format!("{incident} opened as {priority}: {}", title(signal))
        }
        Event::SignalFolded { incident, .. } => format!("a repeat was folded into {incident}"),
        Event::IncidentReopened { incident, reason } => format!("{incident} reopened: {reason}"),
        Event::ConditionCleared { incident, .. } => format!("the condition of {incident} is gone"),
        Event::Matched { incident, chosen: Some(playbook), .. } => {
            format!("{incident} matched to {playbook}")
        }
        Event::Matched { incident, chosen: None, .. } => format!("no single SOP matches {incident}"),
        Event::Refrained { incident, why_not } => format!("{incident} is left alone: {why_not}"),
        Event::PlanProposed { incident, plan, .. } => {
            format!("plan {} ({}) proposed for {incident}", plan.digest().short(), plan.title)
        }
        Event::DryRunAsked { incident, plan, .. } => {
            format!("asked what plan {} for {incident} would change", plan.short())
        }
        Event::DryRunReported { incident, report } => {
            format!("the host of {incident} {}", report.sentence())
        }
        Event::DiagnosisApproved { incident, plan, .. } => {
            format!(
                "a look by {} for {incident} is approved by the policy's rule for diagnosis",
                plan.playbook
            )
        }
        Event::DiagnosisReported { incident, report } => {
            format!("the host of {incident} {}", report.sentence())
        }
        Event::DecisionTaken { incident, decision } => {
            let vote = match decision.vote {
                sopwith_domain::approval::Vote::Approve => "approved",
                sopwith_domain::approval::Vote::Deny => "denied",
            };
            with_detail(&format!("{vote} plan {} for {incident}", decision.plan.short()), &decision.reason)
        }
        Event::PlanApproved { incident, approval } => {
            format!("plan {} for {incident} is approved", approval.plan.short())
        }
        Event::PlanVoided { incident, plan, reason } => {
            format!("plan {} for {incident} is void: {reason}", plan.short())
        }
        Event::ReleaseHeld { incident, plan, reason } => {
            format!("order for plan {} ({incident}) waits: {reason}", plan.short())
        }
        Event::OrderReleased { incident, plan, automatic } => {
            let how = if *automatic { "by standing policy" } else { "approved by people" };
            format!("order for plan {} ({incident}) released, {how}", plan.short())
        }
        Event::RunOverdue { incident, reason, .. } => format!("{incident}: run overdue, {reason}"),
        Event::RunReported { host, record, .. } => {
            format!("{host}, run {}: {}", record.run.short(), record_sentence(&record.what, &[]))
        }
        Event::TrustMoved { playbook, environment, standing } => format!(
            "SOP {playbook} is at {} in {environment}, {} so far: {}",
            standing.stage.name(),
            standing.count,
            standing.reason
        ),
        Event::CancelRequested { run, .. } => format!("asked to cancel run {}", run.short()),
        Event::WatchBegan { incident, reason } => format!("{incident} is watched: {reason}"),
        Event::Escalated { incident, reason } => format!("{incident} needs a person: {reason}"),
        Event::TargetsFrozen { incident, targets, because } => {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            format!("automation leaves {} alone until {incident} is closed: {because}", targets.join(", "))
        }
        Event::IncidentClosed { incident, reason, .. } => format!("{incident} closed: {reason}"),
        Event::ProblemOpened { problem, incident, why } => format!("{problem} opened for {incident}: {why}"),
        Event::ProblemRecurred { problem, incident, .. } => {
            format!("{problem} showed itself again in {incident}")
        }
        Event::ProblemClosed { problem, root_cause, .. } => format!("{problem} closed: {root_cause}"),
        Event::StopSet { reason, .. } => format!("stopped all automation: {reason}"),
        Event::StopCleared { reason, .. } => with_detail("resumed automation", reason),
        Event::PlaybookInstalled { signer, .. } => format!("installed an SOP signed by {signer}"),
        Event::PlaybookRetired { playbook, .. } => format!("retired SOP {playbook}"),
        Event::PolicySet { signer, .. } => format!("set the policy signed by {signer}"),
        Event::PersonAdded { name, role, .. } => format!("added {name} as {role}"),
        Event::RoleChanged { name, role, .. } => format!("made {name} {role}"),
        Event::PersonDisabled { name, .. } => format!("disabled {name}"),
        Event::AccessChanged { what, .. } => what.clone(),
    }
}
