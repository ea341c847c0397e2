//! The pages: server-rendered, usable without JavaScript, live with it. They show views and turn forms into
//! commands for the ledger; they decide nothing. Text that came from a host is always escaped.

pub mod account;
mod account_forms;
mod answer;
pub mod approvals;
pub mod assets;
pub mod audit;
pub mod components;
pub mod decision;
#[cfg(any(test, debug_assertions))]
pub mod dev;
pub mod diagnosis;
pub mod diff;
pub mod dry_run;
mod entering;
mod forms;
pub mod frame;
pub mod glyph;
pub mod hosts;
pub mod incident;
pub mod incidents;
pub mod inspection;
pub mod more;
pub mod overview;
mod past;
pub mod people;
mod people_forms;
pub mod policy;
mod problems;
mod reading;
pub mod run;
pub mod runs;
#[cfg(any(test, debug_assertions))]
mod sample_access;
#[cfg(any(test, debug_assertions))]
mod sample_inspection;
#[cfg(any(test, debug_assertions))]
pub mod samples;
pub mod sops;
#[cfg(test)]
mod tests;
pub mod when;
pub mod wording;

use crate::problem::Fault;
use crate::routes::{Need, Route};
use axum::http::Method;
use axum::response::Response;
use sopwith_domain::people::Role;

/// Returns the pages' rows of the route table.
pub fn routes() -> Vec<Route> {
    let (get, post) = (|| Method::GET, || Method::POST);
    let viewer = Need::Role(Role::Viewer);
    let mut routes = vec![
        Route::page(get(), "/assets/{hash}/{name}", Need::Nobody, assets::serve),
        Route::page(get(), "/login", Need::Nobody, entering::form),
        Route::page(post(), "/login", Need::Nobody, entering::enter),
        Route::page(get(), "/login/once/{token}", Need::Nobody, entering::once_form),
        Route::page(post(), "/login/once/{token}", Need::Nobody, entering::once),
        Route::page(post(), "/logout", viewer, entering::leave),
        Route::page(get(), "/", viewer, reading::overview_page),
        Route::page(get(), "/incidents", viewer, reading::incidents_page),
        Route::page(get(), "/incidents/{id}", viewer, reading::incident_page),
        Route::page(post(), "/incidents/{id}/decision", Need::Role(Role::Approver), forms::decide),
        Route::page(post(), "/incidents/{id}/dry-run", Need::Role(Role::Operator), forms::dry_run),
        Route::page(post(), "/incidents/{id}/close", Need::Role(Role::Operator), forms::close),
        Route::page(get(), "/approvals", viewer, reading::approvals_page),
        Route::page(get(), "/runs", viewer, reading::runs_page),
        Route::page(get(), "/runs/{digest}", viewer, reading::run_page),
        Route::page(post(), "/runs/{digest}/cancel", Need::Role(Role::Operator), forms::cancel),
        Route::page(get(), "/problems", viewer, problems::list_page),
        Route::page(get(), "/problems/{id}", viewer, problems::page),
        Route::page(post(), "/problems/{id}/close", Need::Role(Role::Operator), problems::close),
        Route::page(get(), "/sops", viewer, reading::sops_page),
        Route::page(get(), "/sops/{id}", viewer, reading::sop_page),
        Route::page(get(), "/hosts", viewer, reading::hosts_page),
        Route::page(get(), "/hosts/{id}/inspection", viewer, reading::inspection_page),
        Route::page(post(), "/hosts/join-token", Need::Role(Role::Admin), forms::join_token),
        Route::page(post(), "/hosts/{id}/revoke", Need::Role(Role::Admin), forms::revoke),
        Route::page(post(), "/hosts/join-tokens/{id}/take-back", Need::Role(Role::Admin), forms::take_back),
        Route::page(get(), "/policy", viewer, reading::policy_page),
        Route::page(get(), "/account", viewer, account_forms::page),
        Route::page(post(), "/account/password", viewer, account_forms::password),
        Route::page(post(), "/account/tokens", viewer, account_forms::make_token),
        Route::page(post(), "/account/tokens/{id}/revoke", viewer, account_forms::revoke_token),
        Route::page(post(), "/account/sessions/{id}/end", viewer, account_forms::end_session),
        Route::page(get(), "/audit", viewer, reading::audit_page),
        Route::page(get(), "/more", viewer, reading::more_page),
        Route::page(get(), "/automation", viewer, reading::automation_page),
        Route::page(post(), "/automation/stop", Need::Role(Role::Operator), forms::stop),
        Route::page(post(), "/automation/resume", Need::Role(Role::Admin), forms::resume),
    ];
    routes.extend(people());
    #[cfg(debug_assertions)]
    routes.push(Route::page(get(), "/dev/components", viewer, || async {
        axum::response::Html(dev::components(&samples::ordinary()).into_string())
    }));
    routes.shrink_to_fit();
    routes
}

/// Returns the rows about others' accounts.
fn people() -> [Route; 9] {
    let admin = Need::Role(Role::Admin);
    let post = || Method::POST;
    [
        Route::page(Method::GET, "/people", admin, people_forms::list),
        Route::page(post(), "/people", admin, people_forms::add),
        Route::page(Method::GET, "/people/{name}", admin, people_forms::one),
        Route::page(post(), "/people/{name}/role", admin, people_forms::role),
        Route::page(post(), "/people/{name}/reset", admin, people_forms::reset),
        Route::page(post(), "/people/{name}/disable", admin, people_forms::disable),
        Route::page(post(), "/people/{name}/sign-out", admin, people_forms::sign_out),
        Route::page(post(), "/people/{name}/sessions/{id}/end", admin, people_forms::end_session),
        Route::page(post(), "/people/{name}/tokens/{id}/revoke", admin, people_forms::revoke_token),
    ]
}

/// Shows a person what went wrong.
pub fn fault(fault: &Fault) -> Response {
    answer::plain_fault(fault)
}
