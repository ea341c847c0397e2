//! The pages about accounts, sessions, tokens and join tokens, as a browser uses them: what each form does, and what it
//! says when it may not.

mod common;

use common::{World, host, name, read};
use reqwest::{Response, StatusCode, header};
use sopwith_domain::people::Role;
use sopwith_server::auth::accounts;

const PASSWORD: &str = "correct horse battery";

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Writes fields as a form sends them.
fn encoded(form: &[(&str, &str)]) -> String {
    let text = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    form.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join("&")
}

/// A person at a browser.
struct Browser<'a> {
    world: &'a World,
    cookie: String,
}

impl<'a> Browser<'a> {
    async fn sign_in(world: &'a World, who: &str, password: &str) -> Option<Self> {
        let form = [("name", who), ("password", password), ("next", "/")];
        let answer = world
            .http
            .post(world.url("/login"))
            .header(FORM.0, FORM.1)
            .body(encoded(&form))
            .send()
            .await
            .unwrap();
        let cookie = answer.headers().get(header::SET_COOKIE)?.to_str().unwrap().split(';').next()?;
        (answer.status() == StatusCode::SEE_OTHER).then(|| Self { world, cookie: cookie.to_owned() })
    }

    async fn see(&self, path: &str) -> (StatusCode, String) {
        let request = self.world.http.get(self.world.url(path)).header(header::COOKIE, &self.cookie);
        let answer = request.header(header::ACCEPT, "text/html").send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn send(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let request = self.world.http.post(self.world.url(path)).header(header::COOKIE, &self.cookie);
        request
            .header("sec-fetch-site", "same-origin")
            .header(FORM.0, FORM.1)
            .body(encoded(form))
            .send()
            .await
            .unwrap()
    }

    /// Sends a form that must lead on; returns where to.
    async fn done(&self, path: &str, form: &[(&str, &str)]) -> String {
        let answer = self.send(path, form).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}: {}", answer.text().await.unwrap());
        answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
    }
}

/// Returns the secret of this kind that a page shows.
fn shown(page: &str, kind: &str) -> String {
    let at = page.find(kind).unwrap_or_else(|| panic!("no {kind} in {page}"));
    page[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// Returns the path of the first form that ends like this.
fn action(page: &str, end: &str) -> String {
    let mut actions = page.split("action=\"").skip(1).filter_map(|rest| rest.split('"').next());
    actions.find(|action| action.ends_with(end)).unwrap_or_else(|| panic!("no {end} in {page}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_adds_changes_resets_and_disables() {
    let world = World::start().await;
    accounts::set_password(&world.running.app, name("admin"), name("admin"), PASSWORD.into()).await.unwrap();
    let admin = Browser::sign_in(&world, "admin", PASSWORD).await.unwrap();
    assert!(admin.see("/people").await.1.contains("never in"));

    let page = admin.send("/people", &[("name", "dora"), ("role", "viewer")]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let password = shown(&page.text().await.unwrap(), "pw_");
    let dora = Browser::sign_in(&world, "dora", &password).await.expect("the password that was shown");
    assert_eq!(dora.see("/people").await.0, StatusCode::FORBIDDEN);
    let again = admin.send("/people", &[("name", "dora"), ("role", "admin")]).await;
    assert_eq!(again.status(), StatusCode::CONFLICT, "a name is taken once");
    let odd = admin.send("/people", &[("name", "../etc"), ("role", "viewer")]).await;
    assert_eq!(odd.status(), StatusCode::UNPROCESSABLE_ENTITY);

    let at = "/people/dora?did=role";
    assert_eq!(admin.done("/people/dora/role", &[("role", "operator")]).await, at);
    let state = || world.running.app.ledger.state().people[&name("dora")].clone();
    assert_eq!(state().role, Role::Operator);
    let (_, page) = admin.see(at).await;
    assert!(page.contains("The role is changed.") && page.contains("from 127.0.0.1"), "{page}");

    // Another site's page cannot do it with the admin's cookie.
    let request = world.http.post(world.url("/people/dora/disable")).header(header::COOKIE, &admin.cookie);
    let foreign = request.header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    assert!(!state().disabled);

    assert_eq!(dora.see("/").await.0, StatusCode::OK);
    admin.done(&action(&page, "/end"), &[]).await;
    assert_eq!(
        dora.see("/").await.0,
        StatusCode::SEE_OTHER,
        "the session that was ended leads to the log-in"
    );
    let dora = Browser::sign_in(&world, "dora", &password).await.unwrap();
    let page = admin.send("/people/dora/reset", &[]).await.text().await.unwrap();
    let newer = shown(&page, "pw_");
    assert_eq!(dora.see("/").await.0, StatusCode::SEE_OTHER, "a reset ends what there was");
    assert!(Browser::sign_in(&world, "dora", &password).await.is_none());
    let dora = Browser::sign_in(&world, "dora", &newer).await.unwrap();

    admin.done("/people/dora/sign-out", &[]).await;
    assert_eq!(dora.see("/").await.0, StatusCode::SEE_OTHER);
    admin.done("/people/dora/disable", &[]).await;
    assert!(state().disabled && Browser::sign_in(&world, "dora", &newer).await.is_none());
    assert_eq!(admin.send("/people/dora/reset", &[]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let last = admin.send("/people/admin/disable", &[]).await;
    assert!(last.status().is_client_error(), "the last admin stays: {}", last.status());
    assert_eq!(admin.see("/people/nobody").await.0, StatusCode::NOT_FOUND);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_password_sessions_and_tokens() {
    let world = World::start().await;
    accounts::set_password(&world.running.app, name("admin"), name("viewer"), PASSWORD.into()).await.unwrap();
    let viewer = Browser::sign_in(&world, "viewer", PASSWORD).await.unwrap();
    let other = Browser::sign_in(&world, "viewer", PASSWORD).await.unwrap();

    let page = viewer.send("/account/tokens", &[("label", "nightly <report>"), ("days", "30")]).await;
    let page = page.text().await.unwrap();
    let token = shown(&page, "spt_");
    assert_eq!(world.get(&token, "/api/v1/whoami").await.1["name"], "viewer");
    let (_, page) = viewer.see("/account").await;
    assert!(!page.contains(&token) && page.contains("nightly &lt;report&gt;"), "shown once, and as text");
    for (label, days) in [("", "30"), ("x", "31"), (&*"x".repeat(65), "30")] {
        let refused = viewer.send("/account/tokens", &[("label", label), ("days", days)]).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{label} {days}");
    }
    viewer.done(&action(&page, "/revoke"), &[]).await;
    assert_eq!(world.get(&token, "/api/v1/whoami").await.0, StatusCode::UNAUTHORIZED);

    viewer.done(&action(&page, "/end"), &[]).await;
    assert_eq!(other.see("/").await.0, StatusCode::SEE_OTHER, "the other session is ended");
    assert_eq!(viewer.see("/").await.0, StatusCode::OK, "one's own goes on");

    let newer = "battery staple correct";
    let refused = viewer.send("/account/password", &[("current", "wrong"), ("new", newer)]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let short = viewer.send("/account/password", &[("current", PASSWORD), ("new", "short")]).await;
    assert_eq!(short.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        viewer.done("/account/password", &[("current", PASSWORD), ("new", newer)]).await,
        "/account?did=password"
    );
    assert!(Browser::sign_in(&world, "viewer", PASSWORD).await.is_none());
    assert!(Browser::sign_in(&world, "viewer", newer).await.is_some());
    // A token does not make its finder the owner.
    let token = world.token("viewer").await;
    let form = [("current", newer), ("new", PASSWORD)];
    let by_token = world.http.post(world.url("/account/password")).bearer_auth(token);
    let by_token = by_token.header(FORM.0, FORM.1).body(encoded(&form));
    assert_eq!(by_token.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_taken_back_before_it_is_used() {
    let world = World::start().await;
    accounts::set_password(&world.running.app, name("admin"), name("admin"), PASSWORD.into()).await.unwrap();
    let admin = Browser::sign_in(&world, "admin", PASSWORD).await.unwrap();
    let page = admin.send("/hosts/join-token", &[("host", "db-2")]).await.text().await.unwrap();
    let token = shown(&page, "spj_");
    assert!(page.contains("For db-2"), "{page}");
    let (_, page) = admin.see("/hosts").await;
    assert!(!page.contains(&token), "it is shown once");
    assert_eq!(admin.done(&action(&page, "/take-back"), &[]).await, "/hosts?did=taken-back");
    let key = rcgen::KeyPair::generate().unwrap();
    assert_eq!(world.try_join(&token, "db-2", 1, &key).await.0, StatusCode::FORBIDDEN);
    assert!(!world.running.app.ledger.state().hosts.contains_key(&host("db-2")));
    let (_, page) = admin.see("/hosts").await;
    assert!(!page.contains("Join tokens that wait"), "{page}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_readable_with_what_it_leaves_and_what_was_before() {
    let world = World::start().await;
    let admin = world.token("admin").await;
    let put = async |version: u32| {
        let text = format!("version: {version}\nauto: [start-it]\nhosts: all\n");
        let body = serde_json::to_value(world.policy(&text)).unwrap();
        read(world.ask(&admin, reqwest::Method::PUT, "/api/v1/policy").json(&body).send().await.unwrap())
            .await
    };
    let viewer = world.token("viewer").await;
    let page = async || world.get(&viewer, "/policy").await.1["text"].as_str().unwrap().to_owned();
    assert!(page().await.contains("people decide about every plan"));
    for version in [1, 2] {
        let (status, answer) = put(version).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let page = page().await;
    for words in
        ["Version 2, signed by owner@example.com", "Start a service that failed", "0 of 60", "Version 1"]
    {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    world.stop().await;
}
