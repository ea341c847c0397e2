//! A server that lies: it has all of the server's keys and sends orders that nobody approved as they are.
//! It cannot sign playbooks, policies or people's approvals, which are the owners' and the approvers' own.

use super::catalogue::{Catalogue, account};
use sopwith_domain::approval::{Basis, Decision, Vote};
use sopwith_domain::ids::{Digest, Epoch, HostId};
use sopwith_domain::order::Order;
use sopwith_domain::plan::Plan;
use sopwith_domain::playbook::Playbook;
use sopwith_domain::value::{UnitName, Value, Word};

/// Returns a forged order, made of a true one.
pub fn forge(true_order: &Order, how: u8, demand_signatures: bool, catalogue: &Catalogue) -> Order {
    let mut order = true_order.clone();
    match how {
        0 => order.target.host = HostId::new("h-9").expect("a name"),
        1 => order.target.epoch = Epoch(order.target.epoch.0 + 1000),
        2 => other_unit(&mut order),
        3 => {
            // The plan is right for its parameters, and nobody has approved it.
            other_unit(&mut order);
            rename(&mut order, catalogue, false);
        }
        4 => order.approval.expires_at = order.approval.granted_at,
        5 => order.playbook = catalogue.unsigned.signed.clone(),
        6 => order.playbook.text.push('\n'),
        7 => {
            order.target.attempt += 1;
            rename(&mut order, catalogue, true);
            order.approval.basis = forged_approval(&order, demand_signatures);
        }
        8 => {
            order.approval.basis = Basis::Standing { policy: Digest([7; 32]) };
            order.target.attempt += 1;
            rename(&mut order, catalogue, true);
        }
        // A true order of yesterday, word for word.
        _ => {}
    }
    order
}

fn other_unit(order: &mut Order) {
    let unit = UnitName::new("b.service").expect("a unit");
    let other = UnitName::new("a.service").expect("a unit");
    let name = Word::new("unit").expect("a word");
    if let Some(value) = order.parameters.get_mut(&name) {
        *value = Value::Unit(if *value == Value::Unit(unit.clone()) { other } else { unit });
    }
}

/// Gives the order the digest that its contents have, and the approval as well if wanted.
fn rename(order: &mut Order, catalogue: &Catalogue, approval: bool) {
    let playbook: Option<&Playbook> = catalogue.trusted(&order.playbook);
    let plan = playbook.and_then(|p| Plan::build(p, order.target.clone(), order.parameters.clone()).ok());
    if let Some(plan) = plan {
        order.plan = plan.digest();
        if approval {
            order.approval.plan = plan.digest();
        }
    }
}

/// Returns an approval by people that no person gave: where hosts demand the approvers' own signatures it has wrong
/// ones; elsewhere a server can say what it likes about people, so that only an empty one is forged.
fn forged_approval(order: &Order, demand_signatures: bool) -> Basis {
    if !demand_signatures {
        return Basis::People { decisions: Vec::new(), required: 0 };
    }
    let decision = Decision {
        by: account("alice"),
        vote: Vote::Approve,
        plan: order.plan,
        at: order.approval.granted_at,
        reason: String::new(),
        signature: Some("not hers".into()),
    };
    Basis::People { decisions: vec![decision], required: 1 }
}
