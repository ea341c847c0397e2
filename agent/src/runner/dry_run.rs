//! What a plan would change on this host, found out by looking. The server's question is believed no more than an
//! order: its seal, the owners' signature over the playbook and the plan's digest are checked before anything is
//! looked at. No step is begun, nothing is captured, no program is started and nothing is written: the thread that
//! looks has given up the right to write any file, where the kernel can take it (Landlock).

use super::actions::{self, Programs, Quarantine, Systemd, Workbench};
use super::admission::{self, Seal};
use super::settings::Settings;
use super::{checks, clock, declarations};
use landlock::{ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetStatus};
use sopwith_domain::dry_run::{Asked, Found, Question, REPORT_BYTES_MAX, Report, SENTENCE_BYTES_MAX, Step};
use sopwith_domain::order::SignedText;
use sopwith_domain::plan::Plan;
use sopwith_domain::playbook::{Playbook, Risk};
use sopwith_domain::run::StepContext;
use std::sync::Arc;

/// Answers a question, or says why it is none that could be answered.
///
/// # Errors
/// The question bears no seal of the server, or is for another host.
pub fn look(settings: &Arc<Settings>, stop: Option<String>, signed: &SignedText) -> Result<Report, String> {
    let question = open(settings, signed)?;
    let found = plan(settings, &question).and_then(|plan| match plan.risk {
        Risk::Look => Err("the playbook only looks, for which there has to be an approval".into()),
        _ => Ok(found(settings, stop, &plan)),
    });
    Ok(report(&question, found))
}

/// Opens a question that bears the server's seal and is for this host.
///
/// # Errors
/// Says why it is none that could be answered.
pub fn open(settings: &Settings, signed: &SignedText) -> Result<Question, String> {
    let question = Seal::read(&settings.server_key())?.open_question(signed)?;
    match question.target.host == settings.host {
        true => Ok(question),
        false => Err(format!("the question is for host {}, this is {}", question.target.host, settings.host)),
    }
}

/// Returns the answer to a question, within its bounds.
pub fn report(question: &Question, found: Result<Found, String>) -> Report {
    let found = found.unwrap_or_else(|reason| Found::Refused { reason: admission::short(reason) });
    let (plan, asked_at) = (question.plan, question.asked_at);
    let report = Report { plan, asked_at, looked_at: clock::wall(), found };
    match report.bound_broken() {
        None => report,
        Some(reason) => Report { found: Found::Refused { reason }, ..report },
    }
}

/// Rebuilds the plan from the signed playbook, or says why it is not the one that the server means.
pub fn plan(settings: &Settings, question: &Question) -> Result<Plan, String> {
    admission::playbook_signed(&settings.allowed_signers, &question.playbook)?;
    let playbook = Playbook::parse(&question.playbook.text).map_err(|findings| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        format!("the playbook cannot be read: {first}")
    })?;
    if playbook.risk == Risk::Never {
        return Err("the playbook is for people to carry out".into());
    }
    let plan = Plan::build(&playbook, question.target.clone(), question.parameters.clone());
    let plan = plan.map_err(|e| e.to_string())?;
    if plan.digest() == question.plan {
        return Ok(plan);
    }
    let (here, named) = (plan.digest(), question.plan);
    Err(format!("the plan recomputed here has digest {}, the question says {}", here.short(), named.short()))
}

fn found(settings: &Arc<Settings>, stop: Option<String>, plan: &Plan) -> Found {
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            write_nothing();
            looked(settings, stop, plan)
        });
        let fallen = |_| Found::Refused { reason: "looking ended in a fault of this program".into() };
        looking.join().unwrap_or_else(fallen)
    })
}

/// Takes the right to write any file from this thread and those that it starts, for as long as they live. Returns
/// whether the kernel did so; where it cannot, the actions' own word holds that foreseeing changes nothing.
pub fn write_nothing() -> bool {
    let writing = AccessFs::from_write(ABI::V5);
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(writing);
    let status = rules.and_then(Ruleset::create).and_then(RulesetCreated::restrict_self);
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

/// Returns what a thread that looks works with.
pub fn bench(settings: &Arc<Settings>, programs: Programs) -> Workbench {
    Workbench {
        quarantine: Quarantine::new(settings.quarantine()),
        systemd: Systemd::default(),
        programs,
        processes: settings.processes.clone(),
        reclaimable: settings.reclaimable.clone(),
        settings: Some(Arc::clone(settings)),
        own: settings.own.clone(),
        commands: settings.commands.clone(),
        tables: Default::default(),
    }
}

fn looked(settings: &Arc<Settings>, stop: Option<String>, plan: &Plan) -> Found {
    let mut bench = bench(settings, Programs::none());
    let subjects: Vec<_> = plan.touches().into_iter().collect();
    let forbidden = || declarations::read(&settings.declarations_dir).forbid(&subjects, clock::wall());
    let against = stop.or_else(|| forbidden().map(|forbidden| forbidden.to_string()));
    // So that even the longest plan's answer stays within its bound.
    let sentence_bytes_max = (REPORT_BYTES_MAX / 4 / plan.steps.len().max(1)).min(SENTENCE_BYTES_MAX * 4);
    let steps = plan.steps.iter().enumerate().map(|(index, step)| {
        let require: Vec<Asked> =
            step.require.iter().map(|check| checks::look(&mut bench, settings, check)).collect();
        let context = StepContext { run: plan.digest(), index, step };
        let cut = |text| admission::short_to(text, sentence_bytes_max);
        match actions::foresee(&mut bench, context) {
            Ok(would) => Step { require, would: vec![cut(would)], cannot: None },
            Err(reason) => Step { require, would: Vec::new(), cannot: Some(cut(reason)) },
        }
    });
    let steps = steps.collect();
    let verify = plan.verify.iter().map(|check| checks::look(&mut bench, settings, check)).collect();
    Found::Looked { against: against.map(admission::short), steps, verify }
}
