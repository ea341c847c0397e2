//! The library of SOPs, and one of them as a document that people can read, print and follow by hand.

use super::components::{digest, empty, facts, risk_words};
use super::decision::record;
use super::frame::Frame;
use super::policy::{environment, stage};
use super::when::{span, when};
use super::wording;
use maud::{Markup, html};
use sopwith_domain::playbook::{CheckTemplate, Parameter, Playbook, StepTemplate};
use sopwith_domain::policy::{Hosts, Policy};
use sopwith_domain::state::{Installed, State};
use sopwith_domain::time::SECOND_MS;
use sopwith_domain::value::Word;
use sopwith_protocol::api::{SopRecord, TrustView};

/// One line of the library.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub id: String,
    pub version: u32,
    pub title: String,
    pub kinds: Vec<String>,
    pub standing: bool,
    pub never: bool,
    pub record: SopRecord,
}

pub fn select(state: &State) -> Vec<Entry> {
    let policy = state.policy();
    state
        .playbooks
        .values()
        .map(|installed| {
            let playbook = &installed.playbook;
            let mut kinds: Vec<String> =
                playbook.answers.iter().map(|answer| answer.kind.to_string()).collect();
            kinds.dedup();
            Entry {
                id: playbook.id.to_string(),
                version: playbook.version,
                title: playbook.title.clone(),
                kinds,
                standing: standing(playbook, policy),
                never: playbook.risk == sopwith_domain::playbook::Risk::Never,
                record: crate::views::sop_record(state, &playbook.id),
            }
        })
        .collect()
}

fn standing(playbook: &Playbook, policy: &Policy) -> bool {
    let some_host = !matches!(&policy.hosts, Hosts::Named(hosts) if hosts.is_empty());
    playbook.risk == sopwith_domain::playbook::Risk::Auto && policy.auto.contains(&playbook.id) && some_host
}

pub fn library(entries: &[Entry]) -> Markup {
    html! {
        h1 { "SOPs" }
        p.prose.muted { "Standard operating procedures: what may be done about which fault, checked step by step, with its way back." }
        @if entries.is_empty() {
            (empty(
                "No SOP is installed, so every incident goes to a person.",
                "Sign one with a key that your hosts trust (sopwith playbook sign FILE) and install it (sopwith playbook install FILE).",
            ))
        } @else {
            ul.rows { @for entry in entries {
                li { a.row.plain href={ "/sops/" (entry.id) } {
                    span.text {
                        span.what { (entry.title) }
                        span.more { (entry.id) " version " (entry.version) " · answers " (entry.kinds.join(", ")) " · " (record(&entry.record)) }
                    }
                    span.state.muted {
                        @if entry.never { "for people" } @else if entry.standing { "runs by itself" } @else { "needs approval" }
                    }
                    span.at {}
                } }
            } }
        }
    }
}

/// Returns the SOP page.
pub fn document(
    frame: &Frame,
    installed: &Installed,
    runs: &SopRecord,
    policy: &Policy,
    trust: &[TrustView],
) -> Markup {
    let sop = &installed.playbook;
    html! {
        article.sop {
            header.head {
                div.line { span { "SOP " (sop.id) " version " (sop.version) } (digest(&sop.digest)) }
                h1 { (sop.title) }
                p.status { (sop.purpose) }
            }
            section { (facts(&[
                ("Scope", html! { (sop.scope) }),
                ("Risk", html! { (crate::views::risk(sop.risk)) span.muted { ", " (risk_words(crate::views::risk(sop.risk))) } }),
                ("Runs", html! { @if standing(sop, policy) { "by itself, as the policy in force permits" } @else { "after people's approval" } }),
                ("Record", record(runs)),
                ("Signed by", html! { (installed.signer) ", installed " (when(&installed.installed_at.to_string(), frame.now)) }),
            ])) }
            section { h2 { "Trust" } (earned(frame, trust)) }
            (texts("Preconditions", &sop.preconditions))
            (texts("Cautions", &sop.cautions))
            section { h2 { "Answers" } (answers(sop)) }
            @if !sop.parameters.is_empty() { section { h2 { "Parameters" } (parameters(sop)) } }
            section {
                h2 { "Steps" }
                @if sop.steps.is_empty() { p { "None for the machine. People follow the text above." } }
                @else { ol.steps { @for step in &sop.steps { (template(step)) } } }
            }
            section { h2 { "Verification" } (checks(&sop.verify)) }
            section { h2 { "Soak" } p {
                @if sop.soak_ms == 0 { "None." }
                @else { "Verified again after " (span(sop.soak_ms)) "." }
            } }
            section { h2 { "Limits" } (limits(sop, policy)) }
            section { h2 { "Escalation" } p { (sop.escalation) } }
            details #text { summary { "The signed text" } pre tabindex="0" { (installed.signed.text) } pre tabindex="0" { (installed.signed.signature) } }
        }
    }
}

/// Says how far the SOP is trusted where: what it has earned, what it lacks, and what brought it there.
fn earned(frame: &Frame, trust: &[TrustView]) -> Markup {
    html! {
        @if trust.is_empty() { p { "It has nothing to earn: people decide about its plans, or the policy in force asks no record of it." } }
        @else { ul.rows { @for one in trust { li { div.row.plain {
            span.text {
                span.what { (environment(&one.environment)) }
                span.more { (progress(one)) }
                span.more { "Why it stands here: " (one.reason) @if let Some(since) = &one.since { ", " (when(since, frame.now)) } }
            }
            span.state { (stage(&one.stage)) }
            span.at {}
        } } } } }
    }
}

/// Says what an SOP has to show at its stage, and what it lacks for the next one.
fn progress(one: &TrustView) -> String {
    let proofs = |n: u32| match (one.stage.as_str(), n) {
        ("shadow", 1) => "dry run with nothing in the way".to_owned(),
        ("shadow", _) => "dry runs with nothing in the way".to_owned(),
        (_, 1) => "verified run".to_owned(),
        _ => "verified runs".to_owned(),
    };
    if one.stage == "auto" {
        return format!(
            "It has earned to run by itself; {} {} since. One failure takes it down.",
            one.count,
            proofs(one.count)
        );
    }
    let (lacks, next) = (
        one.runs.saturating_sub(one.count),
        if one.stage == "shadow" { "people may approve it" } else { "it runs by itself" },
    );
    format!("It has {} of {} {}; {lacks} more and {next}.", one.count, one.runs, proofs(one.runs))
}

fn texts(title: &str, lines: &[String]) -> Markup {
    html! { @if !lines.is_empty() { section { h2 { (title) } ul.dots { @for line in lines { li { (line) } } } } } }
}

fn answers(sop: &Playbook) -> Markup {
    let names = |words: &[Word]| words.iter().map(Word::as_str).collect::<Vec<_>>().join(", ");
    html! {
        ul.dots { @for answer in &sop.answers { li {
            code { (answer.kind) }
            @for (field, wanted) in &answer.fields { ", " (field) " is " (wanted.join(" or ")) }
            @for (fact, wanted) in &answer.host { ", the host's " (fact) " is " (wanted.join(" or ")) }
            @for (field, bound) in &answer.at_least { ", " (field) " is at least " (bound) }
            @for (field, bound) in &answer.at_most { ", " (field) " is at most " (bound) }
            @if !answer.has.is_empty() { ", with " (names(&answer.has)) }
            @if !answer.lacks.is_empty() { ", without " (names(&answer.lacks)) }
            span.muted { ", priority " (answer.priority) }
        } } }
    }
}

fn parameters(sop: &Playbook) -> Markup {
    html! {
        dl.facts { @for (name, parameter) in &sop.parameters {
            div { dt { var { (name) } } dd { (bounds(parameter)) @if !parameter.about.is_empty() { span.muted { " " (parameter.about) } } } }
        } }
    }
}

fn bounds(parameter: &Parameter) -> String {
    let mut parts = vec![format!("{:?}", parameter.value_type).to_lowercase()];
    match parameter.from.as_ref().map(Word::as_str) {
        Some("subject") => parts.push("the signal's subject".into()),
        Some(field) => parts.push(format!("from the signal's {field}")),
        None => {}
    }
    parts.extend(parameter.default.as_ref().map(|default| format!("default {default}")));
    parts.extend(parameter.min.map(|min| format!("at least {min}")));
    parts.extend(parameter.max.map(|max| format!("at most {max}")));
    if !parameter.within.is_empty() {
        let folders: Vec<&str> =
            parameter.within.iter().map(sopwith_domain::value::AbsPath::as_str).collect();
        parts.push(format!("within {}", folders.join(", ")));
    }
    if !parameter.not_in.is_empty() {
        let networks: Vec<String> = parameter.not_in.iter().map(ToString::to_string).collect();
        parts.push(format!("not in {}", networks.join(", ")));
    }
    if !parameter.one_of.is_empty() {
        parts.push(format!("one of {}", parameter.one_of.join(", ")));
    }
    if parameter.optional {
        parts.push("optional: steps and checks that name it are left out without it".into());
    }
    format!("{}.", parts.join(", "))
}

fn template(step: &StepTemplate) -> Markup {
    let undo = html! {
        @match &step.irreversible_because {
            Some(because) => { strong.warn { "Cannot be undone." } " Accepted because: " (because) },
            None => (wording::undo(&step.action, &step.with)),
        }
    };
    let mut lines = Vec::new();
    if !step.require.is_empty() {
        lines.push(("Only if", checks(&step.require)));
    }
    lines.push(("Do", wording::action(&step.action, &step.with)));
    if !step.expect.is_empty() {
        lines.push(("Expect", checks(&step.expect)));
    }
    lines.push(("Undo", undo));
    lines.push(("At most", html! { (span(step.timeout_ms)) }));
    html! { li { p.does { (step.name) } (facts(&lines)) } }
}

fn checks(checks: &[CheckTemplate]) -> Markup {
    html! {
        @match checks {
            [] => span.muted { "nothing" },
            [one] => (wording::check(&one.check, &one.with)),
            several => ul.dots { @for check in several { li { (wording::check(&check.check, &check.with)) } } },
        }
    }
}

fn limits(sop: &Playbook, policy: &Policy) -> Markup {
    let tries = policy.attempts_per_day.min(sop.limits.attempts_per_day.unwrap_or(u32::MAX));
    let at_once = policy.at_once.per_playbook.min(sop.limits.at_once.unwrap_or(u32::MAX));
    let longest: i64 = sop.steps.iter().map(|step| step.timeout_ms).sum();
    html! {
        ul.dots {
            li { "At most " (tries) " automatic tries a day for one fault on one host." }
            li { "At most " (at_once) " runs of this SOP at once, one on a host's resource at a time." }
            @for stronger in &sop.stronger {
                li { "Where it did not help, " code { (stronger) } " is proposed next." }
            }
            li { "All steps together take at most " (span(longest.max(SECOND_MS))) "." }
        }
    }
}
