//! The standing policy as people read it: what may run without a person and under which brakes, what the budgets
//! leave at this moment, which windows hosts have declared, and what was in force before.

use super::components::{Tone, badge, empty, facts};
use super::frame::Frame;
use super::glyph::Glyph;
use super::when::{span, when};
use crate::ledger::policies::Kept;
use crate::views::Window;
use maud::{Markup, html};
use sopwith_domain::playbook::Risk;
use sopwith_domain::policy::{Hosts, Policy};
use sopwith_domain::state::{Installed, State};
use sopwith_domain::trust::{EVERYWHERE, Stage, UNSTATED};
use sopwith_protocol::api::{BudgetRow, TrustView};

/// An SOP that the policy names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    pub id: String,
    /// Nothing where no SOP of this name is installed.
    pub title: Option<String>,
    /// Its own risk class leaves each plan to people, whatever the policy says.
    pub for_people: bool,
    pub trust: Vec<TrustView>,
}

/// All that the page shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    pub policy: Option<Policy>,
    pub signer: String,
    pub named: Vec<Named>,
    pub budgets: Vec<BudgetRow>,
    pub windows: Vec<Window>,
    /// Newest first; the first is the one in force.
    pub history: Vec<Kept>,
}

impl View {
    /// Gathers what the state knows.
    pub fn of(state: &State, now: sopwith_domain::time::Timestamp, history: Vec<Kept>) -> Self {
        let in_force = state.policy.as_ref();
        let named = in_force.map(|p| p.policy.auto.clone()).unwrap_or_default().into_iter().map(|id| {
            let installed: Option<&Installed> = state.playbooks.get(&id).map(AsRef::as_ref);
            Named {
                id: id.to_string(),
                title: installed.map(|i| i.playbook.title.clone()),
                for_people: installed.is_some_and(|i| i.playbook.risk != Risk::Auto),
                trust: installed.map(|i| crate::views::trust_views(state, i)).unwrap_or_default(),
            }
        });
        Self {
            named: named.collect(),
            policy: in_force.map(|p| p.policy.clone()),
            signer: in_force.map(|p| p.signer.clone()).unwrap_or_default(),
            budgets: crate::views::budget_rows(state, now),
            windows: crate::views::windows(state, now),
            history,
        }
    }
}

pub fn content(frame: &Frame, view: &View) -> Markup {
    html! {
        header.head {
            h1 { "Policy and budgets" }
            p.status { (in_force(frame, view)) }
        }
        section.stack-s { h2 { "Runs without a person" } (alone(view)) }
        @if let Some(policy) = &view.policy { section.stack-s.prose { h2 { "Limits" } (limits(policy)) } }
        section.stack-s { h2 { "What is left" } (left(view)) }
        section.stack-s { h2 { "Windows and holds" } (windows(frame, &view.windows)) }
        section.stack-s { h2 { "What was in force" } (history(frame, &view.history)) }
    }
}

fn in_force(frame: &Frame, view: &View) -> Markup {
    html! {
        @match &view.policy {
            None => "No policy is in force: people decide about every plan.",
            Some(policy) => {
                "Version " (policy.version) ", signed by " (view.signer)
                @if let Some(newest) = view.history.first() { ", since " (when(&newest.at.to_string(), frame.now)) }
                "."
            },
        }
    }
}

fn alone(view: &View) -> Markup {
    html! {
        @if view.named.is_empty() {
            (empty("No SOP runs by itself.", "A signed policy names those that may: sopwith policy set FILE. Hosts check its signature themselves."))
        } @else {
            @if let Some(policy) = &view.policy { p.muted { "On " (hosts(policy)) "." } }
            ul.rows { @for named in &view.named { li { (sop(named)) } } }
        }
    }
}

fn hosts(policy: &Policy) -> String {
    match &policy.hosts {
        Hosts::All => "all hosts".into(),
        Hosts::Named(hosts) if hosts.is_empty() => "no host".into(),
        Hosts::Named(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn sop(named: &Named) -> Markup {
    let Some(title) = &named.title else {
        return html! {
            div.row.plain {
                span.text { span.what { (named.id) } span.more { "No SOP of this name is installed." } }
                span.state { (badge(Tone::Paused, Glyph::Cross, "Not installed")) }
                span.at {}
            }
        };
    };
    html! {
        a.row.plain href={ "/sops/" (named.id) } {
            span.text {
                span.what { (title) }
                span.more { (named.id) @if named.for_people { ". Its risk class leaves each plan to people, whatever the policy says." } }
            }
            span.state {
                @if named.for_people { (stage("suggest")) }
                @else if named.trust.is_empty() { (stage("auto")) }
                @for one in &named.trust { span.line-by { (stage(&one.stage)) @if named.trust.len() > 1 || one.environment != EVERYWHERE { span.muted { (environment(&one.environment)) } } } }
            }
            span.at {}
        }
    }
}

/// Returns how far an SOP is trusted.
pub fn stage(name: &str) -> Markup {
    match name {
        name if name == Stage::Auto.name() => badge(Tone::Ok, Glyph::Play, "By itself"),
        name if name == Stage::Suggest.name() => badge(Tone::Information, Glyph::Stamp, "Needs approval"),
        name if name == Stage::Shadow.name() => badge(Tone::Paused, Glyph::Eye, "Only watches"),
        other => badge(Tone::Information, Glyph::Info, other),
    }
}

/// Returns an environment in words.
pub fn environment(name: &str) -> String {
    match name {
        EVERYWHERE => "Everywhere".into(),
        UNSTATED => "Hosts that do not say where they belong".into(),
        other => other.into(),
    }
}

fn limits(policy: &Policy) -> Markup {
    let seconds = |s: u32| span(i64::from(s) * 1000);
    facts(&[
        (
            "Approvals",
            html! { (policy.approvers) ", within " (span(policy.proposal_valid_ms)) "; valid for " (span(policy.approval_valid_ms)) },
        ),
        ("Tries", html! { (policy.attempts_per_day) " automatic a day for one fault on one host" }),
        (
            "At once",
            html! { (policy.at_once.overall) " overall, " (policy.at_once.per_host) " on a host, " (policy.at_once.per_playbook) " of one SOP" },
        ),
        (
            "An hour",
            html! { (policy.per_hour) " runs of any kind; automatic ones: " (policy.budgets.per_host) " on a host, " (policy.budgets.per_playbook) " of one SOP, " (policy.budgets.per_service) " on one service" },
        ),
        (
            "Diagnosis",
            match policy.diagnosis {
                None => html! { "hosts are not looked at about what nothing mends" },
                Some(rule) => {
                    html! { "looks an hour about what nothing mends: " (rule.per_host) " at a host, " (rule.per_hour) " at all; they change nothing" }
                }
            },
        ),
        (
            "Many hosts",
            html! { "the same fault on " (policy.fleet.hosts) " hosts within " (seconds(policy.fleet.window_s)) " is told as one; one host first, others after " (seconds(policy.fleet.bake_s)) "; failed run " (policy.fleet.failures) " stops it" },
        ),
        (
            "Storm",
            html! { "nothing starts while " (policy.storm.sick_percent) " % of the hosts (at least " (policy.storm.sick_hosts) ") are sick, or after " (policy.storm.raised_per_minute) " faults in a minute, for " (seconds(policy.storm.cool_down_s)) },
        ),
        (
            "Trust",
            html! { @match &policy.promotion {
                None => "SOPs named above have nothing to earn",
                Some(promotion) => { (promotion.runs) " verified runs lift an SOP by one stage, one failure takes it down; it begins as “" (promotion.from.name()) "”" @if let Some(by) = &promotion.by { ", told apart by each host's " (by) } },
            } },
        ),
    ])
}

/// Returns what the budgets leave, the one that is nearest to its end first within each kind.
fn left(view: &View) -> Markup {
    let installed = |id: &str| view.named.iter().all(|named| named.id != id || named.title.is_some());
    html! {
        div.scroll tabindex="0" role="region" aria-label="Budgets" { table.table {
            thead { tr { th scope="col" { "Of" } th scope="col" { "At once" } th scope="col" { "This hour" } } }
            tbody { @for row in &view.budgets { tr {
                th scope="row" { (of(row, &installed)) }
                td { @match (row.under_way, row.at_once) { (Some(used), Some(max)) => (used_of(used, max)), _ => span.muted { "–" } } }
                td { (used_of(row.hour_used, row.hour_max)) }
            } } }
        } }
    }
}

fn of(row: &BudgetRow, installed: &dyn Fn(&str) -> bool) -> Markup {
    let name = row.name.as_deref().unwrap_or_default();
    html! {
        @match (row.of.as_str(), &row.host) {
            ("overall", _) => "All hosts together",
            ("sop", _) if installed(name) => { "SOP " a href={ "/sops/" (name) } { (name) } },
            ("sop", _) => { "SOP " (name) },
            ("host", _) => { "Host " (name) },
            ("service", Some(host)) => { (name) " on " (host) },
            (other, _) => { (other) " " (name) },
        }
    }
}

fn used_of(used: u32, max: u32) -> Markup {
    html! {
        (used) " of " (max)
        @if used >= max { " " (badge(Tone::Warning, Glyph::Triangle, "spent")) }
    }
}

fn windows(frame: &Frame, windows: &[Window]) -> Markup {
    html! {
        @if windows.is_empty() {
            (empty("No host has declared maintenance or a hold.", "Their administrators do so in /etc/sopwith/host.d; in its scope nothing is started."))
        } @else { ul.rows { @for window in windows { li { div.row.plain {
            span.text {
                span.what { (window.host) ": " (window.what) }
                span.more {
                    @for (index, scope) in window.scope.iter().enumerate() { @if index > 0 { ", " } (scope) }
                    " · " (window.by) ": " (window.reason)
                }
            }
            span.state {
                @if window.now { (badge(Tone::Paused, Glyph::Bars, "In force")) }
                @else { (badge(Tone::Information, Glyph::Info, "To come")) }
            }
            span.at {
                @match (window.now, &window.from, &window.until) {
                    (false, Some(from), _) => (when(&from.to_string(), frame.now)),
                    (_, _, Some(until)) => { "ends " (when(&until.to_string(), frame.now)) },
                    _ => "until told otherwise",
                }
            }
        } } } } }
    }
}

fn history(frame: &Frame, history: &[Kept]) -> Markup {
    html! {
        @if history.is_empty() {
            (empty("No policy was ever put in force here.", "Each one that is appears here, with who signed it and who put it there."))
        } @else { ul.rows { @for (index, kept) in history.iter().enumerate() { li { div.row.plain {
            div.text {
                span.what { "Version " (kept.version) }
                span.more { "signed by " (kept.signer) ", put in force by " (kept.by) }
                details id={ "policy-" (kept.version) } {
                    summary { "The signed text" }
                    pre tabindex="0" { (kept.text) }
                }
            }
            span.state { @if index == 0 { (badge(Tone::Ok, Glyph::Check, "In force")) } }
            span.at { (when(&kept.at.to_string(), frame.now)) }
        } } } } }
    }
}
