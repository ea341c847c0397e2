//! Every component and every page with sample data, to be looked at together. Debug builds and tests only.

use super::components::{
    Tone, badge, digest, empty, host_state, phase, plan_state, priority, run_state, sparkline, verdict,
};
use super::frame::{Frame, Notice, Place, Viewer, notice_box, page};
use super::glyph::Glyph;
use super::samples::World;
use super::{
    account, approvals, audit, diff, hosts, incident, incidents, inspection, more, overview, people, policy,
    problems, run, runs, sample_access, sops,
};
use crate::views::{self, Presence};
use maud::{Markup, html};
use sopwith_domain::ids::Digest;
use sopwith_domain::people::Role;
use sopwith_protocol::api::{JoinToken, LiveView};

fn frame(world: &World, title: &str, place: Place, role: Role) -> Frame {
    Frame {
        title: title.into(),
        place,
        viewer: Viewer { name: "alice".into(), role },
        automation: views::automation(&world.state),
        waiting: world.state.incidents.values().filter(|i| i.phase.name() == "awaiting_approval").count(),
        now: world.now,
        notice: None,
        live: None,
    }
}

/// Returns all components on one page.
pub fn components(world: &World) -> Markup {
    let tones = [
        (Tone::Ok, Glyph::Check, "ok"),
        (Tone::Warning, Glyph::Triangle, "warning"),
        (Tone::Critical, Glyph::Diamond, "critical"),
        (Tone::Information, Glyph::Info, "information"),
        (Tone::Parked, Glyph::Square, "parked"),
        (Tone::Paused, Glyph::Bars, "paused"),
    ];
    let notice = |tone| Notice {
        tone,
        text: "What happened, in one sentence.".into(),
        help: Some("What to do about it.".into()),
    };
    let content = html! {
        h1 { "Components" }
        section.gallery.stack-s {
            h2 { "States" }
            div { @for (tone, glyph, word) in tones { (badge(tone, glyph, word)) } }
            div { @for name in ["P1", "P2", "P3", "P4"] { (priority(name)) } }
            div { @for name in ["detected", "awaiting_approval", "approved", "running", "watching", "needs_person", "closed"] { (phase(name)) } }
            div { @for name in ["waiting", "approved", "released", "accepted", "void"] { (plan_state(name)) } }
            div { @for name in ["accepted", "running", "verifying", "soaking", "undoing", "resolved", "rolled_back", "parked", "refused"] { (run_state(name)) } }
            div { @for name in ["connected", "silent", "revoked"] { (host_state(name)) } }
            div { @for name in ["ok", "warning", "critical", "unknown", "pending"] { (verdict(name)) } }
            h2 { "Drawings" }
            div { @for glyph in Glyph::ALL { (glyph.svg()) } }
            h2 { "Type" }
            h1 { "24, a title in plain words" }
            h2 { "18, a section" }
            p { "15, text. " a href="#x" { "A link" } ", " code { "code" } ", " (digest(&Digest::of(b"x"))) ", " var { "parameter" } }
            h3 { "13, a small heading" }
            h2 { "Actions" }
            div { button.primary { "Approve" } button { "Plain" } button.grave { "Deny" } button disabled { "Disabled" } }
            h2 { "Counts" }
            div { (sparkline(&[0, 1, 4, 2, 0, 0, 7, 3, 0, 1, 0, 2], "a sample")) }
        }
        section.stack-s {
            h2 { "Notices" }
            @for tone in [Tone::Ok, Tone::Warning, Tone::Critical] { (notice_box(&notice(tone))) }
            h2 { "Empty" }
            (empty("Nothing here.", "What will appear, and how to make it appear."))
        }
    };
    page(&frame(world, "Components", Place::More, Role::Admin), content)
}

/// Returns every page of a world with its file name.
pub fn all(world: &World, role: Role) -> Vec<(String, Markup)> {
    let at = |title: &str, place| frame(world, title, place, role);
    let state = &world.state;
    let access = sample_access::of(world, role);
    let mut pages =
        vec![("components".to_owned(), components(world)), ("login".to_owned(), more::login(None, "", "/"))];
    let mut add =
        |name: &str, frame: Frame, content: Markup| pages.push((name.to_owned(), page(&frame, content)));
    let f = at("Overview", Place::Overview);
    add("overview", f.clone(), overview::content(&f, &views::overview(state, world.now)));
    let f = at("Incidents", Place::Incidents);
    let query = incidents::Query::default();
    add("incidents", f.clone(), incidents::content(&f, &query, &incidents::select(state, &query)));
    for known in state.incidents.values().take(12) {
        let view = views::incident_view(state, known, world.now);
        add(&format!("incident-{}", known.id.0), f.clone(), incident::content(&f, &view, ""));
    }
    let f = at("Approvals", Place::Approvals);
    let (waiting, further) = approvals::select(state, world.now);
    add("approvals", f.clone(), approvals::content(&f, &waiting, further));
    if let [a, b, ..] = waiting.as_slice()
        && let (Some(was), Some(now)) = (&a.plan_view, &b.plan_view)
    {
        add("changed", f.clone(), diff::refused(&f, Some(was), now));
    }
    let f = at("Runs", Place::Runs);
    add("runs", f.clone(), runs::content(&f, &runs::select(state, 0)));
    for (number, (id, known)) in state.runs.iter().enumerate() {
        let mut view = views::run_view(id, known);
        let speaks = view.records.iter().rev().find(|record| record.step.is_some());
        if let Some(step) = speaks.filter(|last| last.record == "started").and_then(|last| last.step) {
            let text = format!("{}\u{1b}[2Jdone 3 of 9\n", "reading block after block\n".repeat(30));
            view.live = Some(LiveView { step, text, before: 4096, through: 9000 });
        }
        add(&format!("run-{number}"), f.clone(), run::content(&f, &view));
    }
    let f = at("Problems", Place::Problems);
    let open = problems::select(state, &problems::Asked::default());
    add("problems", f.clone(), problems::list(&f, &open));
    for problem in state.problems.values() {
        let view = views::problem_view(state, problem);
        add(&format!("problem-{}", problem.id.0), f.clone(), problems::one(&f, &view, ""));
    }
    let f = at("SOPs", Place::Sops);
    add("sops", f.clone(), sops::library(&sops::select(state)));
    for (id, installed) in &state.playbooks {
        let record = views::sop_record(state, id);
        add(
            &format!("sop-{id}"),
            f.clone(),
            sops::document(
                &f,
                installed,
                &record,
                state.policy(),
                &crate::views::trust_views(state, installed),
            ),
        );
    }
    let f = at("Hosts", Place::Hosts);
    let seen =
        Presence { last_seen: Some(world.now), agent_version: Some("0.1.0".into()), ..Presence::default() };
    let all: Vec<_> = state.hosts.iter().map(|(id, host)| views::host_view(state, id, host, &seen)).collect();
    let token = JoinToken {
        token: "spj_example".into(),
        expires_at: world.now.plus(3_600_000).to_string(),
        ca_sha256: Digest::of(b"ca"),
        command: format!(
            "sopwith-agent join --server https://sopwith.example:8443 --token spj_example --ca-sha256 {}",
            Digest::of(b"ca")
        ),
    };
    add("hosts", f.clone(), hosts::content(&f, &all, (!all.is_empty()).then_some(&token), &access.waiting));
    for (number, (host, report)) in world.inspections().iter().enumerate() {
        let view = views::inspection_view(host, report, vec![report.day.to_string(), "2026-01-01".into()]);
        add(&format!("inspection-{number}"), f.clone(), inspection::content(&f, &view));
    }
    add("inspection-none", f.clone(), inspection::none("web-1", None, None));
    let f = at("Audit", Place::Audit);
    let entries = world.audit();
    add("audit", f.clone(), audit::content(&f, &entries[entries.len().saturating_sub(40)..]));
    let f = at("More", Place::More);
    add("more", f.clone(), more::more(&f));
    let f = at("Policy and budgets", Place::More);
    add("policy", f.clone(), policy::content(&f, &policy::View::of(state, world.now, world.policies())));
    let f = at("You", Place::More);
    add("account", f.clone(), account::content(&f, &access.of, access.token.as_ref()));
    if role == Role::Admin {
        let f = at("People", Place::More);
        add(
            "people",
            f.clone(),
            people::list(&f, &state.people, &access.summaries, access.password.as_ref()),
        );
        for (name, person) in &state.people {
            add(&format!("person-{name}"), f.clone(), people::one(&f, name, person, &access.of, None));
        }
    }
    let f = at("Automation", Place::More);
    add("automation", f.clone(), more::automation(&f, ""));
    add(
        "failure",
        f.clone(),
        more::failure(
            "There is no such page",
            "Nothing stands at this address.",
            "Follow the navigation or search.",
        ),
    );
    pages
}
