//! The proposed plan and the decision on it. The form carries the digest of the plan that it stands beside, so a
//! plan that changed meanwhile is refused.

use super::components::{Tone, badge, digest, facts, plan_state, risk_words, sentences};
use super::frame::Frame;
use super::glyph::Glyph;
use super::overview::plural;
use super::when::{span, when};
use maud::{Markup, html};
use sopwith_domain::approval::Vote;
use sopwith_domain::matching::Candidate;
use sopwith_domain::people::Role;
use sopwith_domain::time::SECOND_MS;
use sopwith_protocol::api::{Budget, PlanView, SopRecord};

/// Returns the heading of a plan: what would be done, by which SOP, and where it stands.
pub fn heading(frame: &Frame, plan: &PlanView) -> Markup {
    html! {
        header.stack-xs {
            div.card-head { h2 { (plan.title) } (plan_state(&plan.state)) }
            p.meta {
                a href={ "/sops/" (plan.playbook) } { (plan.playbook) } " version " (plan.version)
                " · plan " (digest(&plan.digest))
                @if plan.attempt > 1 { " · try " (plan.attempt) }
                @if plan.state == "waiting" { " · expires " (when(&plan.expires_at, frame.now)) }
                @if let Some(until) = plan.approved_until.as_ref().filter(|_| plan.state == "approved") {
                    " · approved until " (when(until, frame.now))
                }
            }
        }
    }
}

/// Returns what the decision rests on: where, why, how it is verified, what if it fails, record and budget.
pub fn grounds(frame: &Frame, plan: &PlanView, why: &[String]) -> Markup {
    let mut pairs = vec![
        ("Where", html! { "one host, " strong { (plan.host) } }),
        (
            "Verified by",
            html! {
                (sentences(&plan.verify, "nothing"))
                @if plan.soak_s > 0 { span.muted { @if plan.verify.len() == 1 { ", " } "again after " (span(plan.soak_s * SECOND_MS)) } }
            },
        ),
        ("If it fails", html! { (if_it_fails(plan)) }),
        ("Record", record(&plan.record)),
    ];
    if !why.is_empty() {
        pairs.insert(1, ("Why this SOP", html! { (why.join("; ")) }));
    }
    if let Some(left) = &plan.budget {
        pairs.push(("Budget left", budget(left)));
    }
    pairs.push(("Decided", decisions(frame, plan)));
    facts(&pairs)
}

/// Returns the reasons for the plan's SOP.
pub fn why(candidates: &[Candidate], playbook: &str) -> Vec<String> {
    let chosen = candidates.iter().find(|candidate| candidate.playbook.as_str() == playbook);
    chosen.map(|c| c.reasons.iter().map(|reason| reason.text.clone()).collect()).unwrap_or_default()
}

/// Says what becomes of the host if a step or the verification fails.
pub fn if_it_fails(plan: &PlanView) -> String {
    let lost: Vec<String> = plan
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.irreversible)
        .map(|(index, _)| (index + 1).to_string())
        .collect();
    match lost.as_slice() {
        [] => "Every step that was begun is put back, in reverse; a person is called if that fails".into(),
        [one] => format!(
            "Steps are put back in reverse, except step {one}, which cannot be undone; a person is called"
        ),
        several => {
            format!(
                "Steps are put back in reverse, except steps {}, which cannot be undone; a person is called",
                several.join(", ")
            )
        }
    }
}

/// Returns how earlier runs ended, in words.
pub fn record(record: &SopRecord) -> Markup {
    html! {
        @if record.runs == 0 { "this SOP has not run yet" }
        @else {
            (record.runs) @if record.runs == 1 { " run" } @else { " runs" } ": "
            (record.resolved) " verified"
            @for (count, word) in [
                (record.rolled_back, "rolled back"),
                (record.parked, "handed to a person"),
                (record.refused, "refused by the host"),
                (record.under_way, "under way"),
            ] { @if count > 0 { ", " (count) " " (word) } }
        }
    }
}

fn budget(left: &Budget) -> Markup {
    let spent = left.tries_left == 0 || left.hour_left == 0 || left.playbook_left == 0;
    html! {
        (left.tries_left) " of " (left.tries_max) " automatic tries for this fault today, "
        (left.hour_left) " of " (left.hour_max) " runs this hour, "
        (left.playbook_left) " of " (left.playbook_max) " places for this SOP at once"
        @if spent { " " (badge(Tone::Warning, Glyph::Triangle, "spent")) }
    }
}

/// Returns, folded, why the other SOPs were not chosen, and what the plan's parameters are.
pub fn background(candidates: &[Candidate], plan: Option<&PlanView>) -> Markup {
    let chosen = |c: &&Candidate| plan.is_none_or(|plan| c.playbook.as_str() != plan.playbook);
    let others: Vec<&Candidate> = candidates.iter().filter(chosen).collect();
    html! {
        div.folds {
            @if !others.is_empty() {
                details #others open[plan.is_none()] {
                    summary {
                        @match plan {
                            Some(_) => { "Why not " (plural(others.len(), "other SOP")) },
                            None => { (plural(others.len(), "SOP")) " weighed" },
                        }
                    }
                    @for candidate in others {
                        div.candidate {
                            p { a href={ "/sops/" (candidate.playbook) } { (candidate.playbook) } span.muted { " version " (candidate.version) } }
                            (reason_list(candidate))
                        }
                    }
                }
            }
            @if let Some(plan) = plan {
                details #plan-in-full {
                    summary { "Risk, parameters and the whole digest" }
                    (in_full(plan))
                }
            }
        }
    }
}

fn in_full(plan: &PlanView) -> Markup {
    let mut pairs = vec![("Risk", html! { (plan.risk) ", " (risk_words(&plan.risk)) })];
    pairs.extend(plan.parameters.iter().map(|(name, value)| (name.as_str(), html! { code { (value) } })));
    pairs.push(("Digest", html! { code { (plan.digest) } }));
    facts(&pairs)
}

fn reason_list(candidate: &Candidate) -> Markup {
    html! {
        ul.reasons {
            @for reason in &candidate.reasons {
                li {
                    @if reason.speaks_for { span.ok { (Glyph::Check.svg()) span.hidden { "for: " } } }
                    @else { span.crit { (Glyph::Cross.svg()) span.hidden { "against: " } } }
                    span { (reason.text) }
                }
            }
        }
    }
}

/// Returns who decided what so far.
fn decisions(frame: &Frame, plan: &PlanView) -> Markup {
    html! {
        @if plan.required_approvals > 1 { p { (approvals(plan)) " of " (plan.required_approvals) " approvals" } }
        @if plan.decisions.is_empty() && plan.state == "waiting" { "nobody yet" }
        @if plan.decisions.is_empty() && plan.state != "waiting" && plan.approved_until.is_some() { "by the standing policy" }
        @for decision in &plan.decisions {
            p {
                @match decision.vote {
                    Vote::Approve => (badge(Tone::Ok, Glyph::Check, "Approved")),
                    Vote::Deny => (badge(Tone::Critical, Glyph::Cross, "Denied")),
                }
                " by " strong { (decision.by) } ", " (when(&decision.at.to_string(), frame.now))
                @if decision.signature.is_some() { ", with a signature" }
                @if !decision.reason.is_empty() { span.muted { ": " (decision.reason) } }
            }
        }
    }
}

fn approvals(plan: &PlanView) -> usize {
    plan.decisions.iter().filter(|decision| decision.vote == Vote::Approve).count()
}

/// Returns the form, or why there is none. `reason` is what was typed before, if it has to be typed again.
pub fn form(frame: &Frame, plan: &PlanView, reason: &str) -> Markup {
    let decided = plan.decisions.iter().any(|decision| decision.by.as_str() == frame.viewer.name);
    let field = format!("reason-{}", plan.digest.short());
    html! {
        @if plan.state != "waiting" {}
        @else if decided { p.muted.decide { "You have decided. It waits for others." } }
        @else if !frame.may(Role::Approver) {
            p.muted.decide { "Deciding takes the role approver; you are " (frame.viewer.role) "." }
        } @else {
            form.decide method="post" action={ "/incidents/" (plan.incident.0) "/decision" }
                data-steps=(plan.steps.len()) data-host=(plan.host) data-title=(plan.title) data-plan=(plan.digest.short()) {
                @if frame.automation.stopped {
                    p.status { (badge(Tone::Paused, Glyph::Bars, "Automation is stopped")) " What you approve waits until it is resumed, or expires." }
                }
                input type="hidden" name="plan" value=(plan.digest);
                label for=(field) { "Reason " span.muted { "(needed to deny)" } }
                textarea id=(field) name="reason" rows="2" maxlength="1024" required { (reason) }
                div.actions {
                    button.primary name="vote" value="approve" formnovalidate data-confirm="approve" { "Approve" }
                    button.grave name="vote" value="deny" { "Deny" }
                }
            }
        }
    }
}
