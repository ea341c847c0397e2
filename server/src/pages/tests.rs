//! Every page of every sample world: nothing from a host becomes markup, nothing inline that the content security
//! policy forbids, nothing without a name.

use super::dev;
use super::samples::{self, World};
use sopwith_domain::people::Role;
use std::collections::BTreeSet;

fn pages() -> Vec<(String, String)> {
    let worlds: [(&str, World, Role); 5] = [
        ("empty", World::new(), Role::Admin),
        ("ordinary", samples::ordinary(), Role::Admin),
        ("viewer", samples::ordinary(), Role::Viewer),
        ("stopped", samples::stopped(), Role::Operator),
        ("overfull", samples::overfull(), Role::Approver),
    ];
    let named = |(world, state, role): (&'static str, World, Role)| {
        dev::all(&state, role)
            .into_iter()
            .map(move |(page, markup)| (format!("{world}/{page}"), markup.into_string()))
            .collect::<Vec<_>>()
    };
    worlds.into_iter().flat_map(named).collect()
}

/// Returns the opening tags of a document, with their attributes.
fn tags(page: &str) -> impl Iterator<Item = &str> {
    page.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split('"').next())
}

/// Says whether a tag has a style or a script in itself.
fn inline(tag: &str) -> bool {
    let names = tag.split('"').step_by(2).flat_map(str::split_whitespace);
    names.into_iter().any(|name| name.starts_with("style=") || name.starts_with("on"))
}

#[test]
fn hostile_text_is_shown_and_never_becomes_markup() {
    let all = pages();
    let shown = all.iter().filter(|(_, page)| page.contains("&lt;script&gt;alert(1)")).count();
    assert!(shown >= 4, "the hostile text should stand on incidents and runs, found {shown}");
    for (name, page) in &all {
        for tag in tags(page) {
            assert!(!tag.starts_with("img"), "{name}: {tag}");
            assert!(!tag.starts_with("script") || tag.starts_with("script src=\"/assets/"), "{name}: {tag}");
            assert!(!inline(tag), "{name}: inline in {tag}");
        }
        assert!(!page.contains("<style"), "{name}");
        assert!(!page.contains('\u{202e}'), "{name}: a character that turns text around");
    }
}

#[test]
fn what_a_host_captured_stands_on_no_page() {
    assert!(pages().iter().all(|(_, page)| !page.contains("hunter2")));
}

#[test]
fn ids_are_unique_and_every_field_has_a_label() {
    for (name, page) in pages() {
        let mut ids = BTreeSet::new();
        for id in tags(&page).filter_map(|tag| attribute(tag, "id")) {
            assert!(ids.insert(id), "{name}: id {id} stands twice");
        }
        let labelled: BTreeSet<&str> = tags(&page)
            .filter(|tag| tag.starts_with("label "))
            .filter_map(|tag| attribute(tag, "for"))
            .collect();
        for tag in
            tags(&page).filter(|t| ["input", "textarea", "select"].iter().any(|field| t.starts_with(field)))
        {
            let hidden = attribute(tag, "type") == Some("hidden");
            assert!(hidden || attribute(tag, "id").is_some_and(|id| labelled.contains(id)), "{name}: {tag}");
        }
        assert!(page.contains("<h1"), "{name}: no heading");
        assert_eq!(page.matches("<main").count(), 1, "{name}: one main part");
    }
}

#[test]
fn who_may_not_decide_gets_no_form() {
    for (name, page) in pages().iter().filter(|(name, _)| name.starts_with("viewer/")) {
        let posts: Vec<&str> =
            tags(page).filter(|tag| tag.starts_with("form") && tag.contains("post")).collect();
        // What is one's own, one may always.
        let own = |tag: &&str| ["/logout", "/login", "/account/"].iter().any(|own| tag.contains(own));
        assert!(posts.iter().all(own), "{name}: {posts:?}");
    }
}

#[test]
fn a_decision_carries_the_digest_of_the_plan_beside_it() {
    let world = samples::ordinary();
    for incident in world.state.incidents.values() {
        let Some(proposal) =
            incident.proposal.as_ref().filter(|_| incident.phase.name() == "awaiting_approval")
        else {
            continue;
        };
        let name = format!("incident-{}", incident.id.0);
        let all = dev::all(&world, Role::Approver);
        let (_, page) = all.iter().find(|(page, _)| *page == name).expect("the incident has a page");
        let field = format!("name=\"plan\" value=\"{}\"", proposal.plan.digest());
        assert!(page.0.contains(&field), "{name}");
    }
}
