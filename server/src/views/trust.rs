//! How far SOPs are trusted, and what each has to show before it runs by itself.

use sopwith_domain::playbook::Risk;
use sopwith_domain::state::{Installed, State};
use sopwith_domain::trust;
use sopwith_protocol::api::TrustView;

/// Returns how the SOP stands in each environment where it has a record, and where it begins in the others. Nothing
/// where the policy asks nothing of it.
pub fn trust_views(state: &State, installed: &Installed) -> Vec<TrustView> {
    let (policy, playbook) = (state.policy(), &installed.playbook);
    // What people decide anyway earns nothing by it.
    let promotion = trust::ladder(policy, &playbook.id).filter(|_| playbook.risk == Risk::Auto);
    let Some(promotion) = promotion else { return Vec::new() };
    let view = |environment: &str, standing: Option<&trust::Standing>| TrustView {
        environment: environment.to_owned(),
        stage: trust::stage(promotion, &playbook.digest, standing).name().into(),
        count: standing.filter(|s| s.text == playbook.digest).map_or(0, |s| s.count),
        runs: promotion.runs,
        since: standing.map(|standing| standing.since.to_string()),
        reason: match standing {
            None => "it begins here".into(),
            Some(standing) if standing.text != playbook.digest => "its text has changed since".into(),
            Some(standing) => standing.reason.clone(),
        },
    };
    let known = state.trust.iter().filter(|((id, _), _)| *id == playbook.id);
    let known: Vec<TrustView> =
        known.map(|((_, environment), standing)| view(environment, Some(standing))).collect();
    match (known.is_empty(), &promotion.by) {
        (false, None) => known,
        (true, None) => vec![view(trust::EVERYWHERE, None)],
        (_, Some(by)) => known.into_iter().chain([view(&format!("any other {by}"), None)]).collect(),
    }
}
