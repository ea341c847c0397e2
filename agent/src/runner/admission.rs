//! From bytes that anybody may have sent to a [`Warrant`]. The order of the checks is the point: the server's seal
//! before the order is parsed, the owners' signature before the playbook is, and only then what they say.

use super::gate::Gate;
use super::trusted;
use sopwith_domain::approval::{Basis, Vote};
use sopwith_domain::dry_run::Question;
use sopwith_domain::ids::Digest;
use sopwith_domain::order::{Order, SignedText};
use sopwith_domain::playbook::{Finding, Playbook, Risk};
use sopwith_domain::policy::Policy;
use sopwith_domain::warrant::{self, Refusal, Warrant};
use sopwith_protocol::exchange::{Lease, SERVER_NAMESPACE};
use sopwith_protocol::signature::{
    APPROVAL_NAMESPACE, AllowedSigners, PLAYBOOK_NAMESPACE, POLICY_NAMESPACE, SIGNERS_BYTES_MAX, verify_with,
};
use ssh_key::PublicKey;
use std::collections::BTreeSet;
use std::path::Path;

/// Longest order, in bytes of JSON: a playbook and a policy of their greatest lengths, and some room.
pub const ORDER_BYTES_MAX: usize = 384 * 1024;
/// Longest text that a refusal carries into the journal, in bytes.
const REASON_BYTES_MAX: usize = 1024;
const SERVER_KEY_BYTES_MAX: usize = 16 * 1024;

/// An order that bears the server's seal. Made only by [`Seal::open_order`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed(Order);

impl Sealed {
    pub fn order(&self) -> &Order {
        &self.0
    }
    pub fn digest(&self) -> Digest {
        self.0.plan
    }
}

/// The server's key, pinned when this host joined.
#[derive(Debug)]
pub struct Seal(PublicKey);

impl Seal {
    /// Reads the pinned key.
    ///
    /// # Errors
    /// Says why there is none that can be trusted; then nothing of the server is believed.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = trusted::read(path, SERVER_KEY_BYTES_MAX).map_err(|e| e.to_string())?;
        PublicKey::from_openssh(text.trim()).map(Self).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn open<T: serde::de::DeserializeOwned>(&self, what: &str, signed: &SignedText) -> Result<T, String> {
        if signed.text.len() > ORDER_BYTES_MAX {
            return Err(format!("{what} of {} bytes, at most {ORDER_BYTES_MAX}", signed.text.len()));
        }
        verify_with(&self.0, SERVER_NAMESPACE, signed)
            .map_err(|e| format!("the seal of {what} does not hold: {e}"))?;
        serde_json::from_str(&signed.text).map_err(|e| format!("{what} cannot be read: {e}"))
    }

    /// # Errors
    /// Says why the lease is not the server's, or cannot be read.
    pub fn open_lease(&self, signed: &SignedText) -> Result<Lease, String> {
        self.open("a lease", signed)
    }

    /// # Errors
    /// Says why the question is not the server's, or cannot be read.
    pub fn open_question(&self, signed: &SignedText) -> Result<Question, String> {
        self.open("a question", signed)
    }

    /// # Errors
    /// Says why the order is not the server's, or cannot be read.
    pub fn open_order(&self, signed: &SignedText) -> Result<Sealed, String> {
        self.open("an order", signed).map(Sealed)
    }
}

/// Reads the policy that came with a question, if the owners signed it.
///
/// # Errors
/// Says why it cannot be believed.
pub fn policy_signed(allowed_signers: &Path, policy: &SignedText) -> Result<Policy, String> {
    let signed = Signers::read(allowed_signers).verify(POLICY_NAMESPACE, policy);
    signed.map_err(|reason| format!("the signature of the policy does not hold: {reason}"))?;
    Policy::parse(&policy.text).map_err(|finding| format!("the policy cannot be read: {finding}"))
}

/// Checks the owners' signature over a playbook that is only to be looked with.
///
/// # Errors
/// Says why it does not hold.
pub fn playbook_signed(allowed_signers: &Path, playbook: &SignedText) -> Result<(), String> {
    let signed = Signers::read(allowed_signers).verify(PLAYBOOK_NAMESPACE, playbook);
    signed.map(drop).map_err(|reason| format!("the signature of the playbook does not hold: {reason}"))
}

/// The owners' keys as this host has them now, or why none can be used.
#[derive(Debug)]
pub struct Signers(Result<AllowedSigners, String>);

impl Signers {
    /// Reads the host's own file; what cannot be read or trusted allows nobody.
    pub fn read(path: &Path) -> Self {
        let text = trusted::read(path, SIGNERS_BYTES_MAX).map_err(|e| e.to_string());
        Self(text.and_then(|text| AllowedSigners::parse(&text).map_err(|e| e.to_string())))
    }

    fn verify(&self, namespace: &str, signed: &SignedText) -> Result<String, String> {
        let signers = self.0.as_ref().map_err(Clone::clone)?;
        signers.verify(namespace, signed).map_err(|e| e.to_string())
    }
}

/// Checks the owners' signatures over an order's documents.
///
/// # Errors
/// Names the document whose signature does not hold.
pub fn documents(order: &Order, signers: &Signers) -> Result<(), Refusal> {
    let check = |document: &str, namespace: &str, signed: &SignedText| {
        let refused = |reason| Refusal::Signature { document: document.into(), reason: short(reason) };
        signers.verify(namespace, signed).map(drop).map_err(refused)
    };
    check("playbook", PLAYBOOK_NAMESPACE, &order.playbook)?;
    order.policy.as_ref().map_or(Ok(()), |policy| check("policy", POLICY_NAMESPACE, policy))
}

/// Returns the login names of those whose own signature over this plan holds.
pub fn approvers(order: &Order, signers: &Signers) -> BTreeSet<String> {
    let Basis::People { decisions, .. } = &order.approval.basis else { return BTreeSet::new() };
    let approvals = decisions.iter().filter(|d| d.vote == Vote::Approve && d.plan == order.plan);
    approvals
        .filter_map(|decision| {
            let signature = decision.signature.clone()?;
            let signed = SignedText { text: order.plan.to_string(), signature };
            let principal = signers.verify(APPROVAL_NAMESPACE, &signed).ok()?;
            (principal == decision.by.as_str()).then_some(principal)
        })
        .collect()
}

/// Judges a sealed order.
///
/// # Errors
/// Returns the first reason against it.
pub fn admit(sealed: &Sealed, gate: &Gate) -> Result<Warrant, Refusal> {
    let order = sealed.order();
    documents(order, &Signers::read(&gate.settings.allowed_signers))?;
    let playbook = playbook(order)?;
    if playbook.risk == Risk::Never {
        return Err(Refusal::NotApproved { reason: "the playbook is for people to carry out".into() });
    }
    let policy = order.policy.as_ref().map(|signed| Policy::parse(&signed.text)).transpose();
    let policy = policy.map_err(|finding| unreadable(&[finding]))?;
    let claim = reconstruct(order, &playbook, gate)?;
    let facts = gate.facts(order, claim.plan());
    warrant::admit(order, &playbook, policy.as_ref(), &facts)
}

/// Rebuilds the warrant of an order that this host admitted before.
///
/// # Errors
/// Says why it does not lead to the same plan any more.
pub fn rebuild(order: &Order, gate: &Gate) -> Result<Warrant, Refusal> {
    reconstruct(order, &playbook(order)?, gate)
}

fn reconstruct(order: &Order, playbook: &Playbook, gate: &Gate) -> Result<Warrant, Refusal> {
    let nothing = sopwith_domain::warrant::Facts {
        host: gate.settings.host.clone(),
        epoch: order.target.epoch,
        server_now: None,
        stop: None,
        forbidden: None,
        automatic_tries: 0,
        automatic_tries_max: 0,
        demand_signatures: true,
        signed_by: BTreeSet::new(),
        reported: false,
        accepted_ago_ms: 0,
    };
    warrant::reconstruct(order, playbook, &nothing)
}

fn playbook(order: &Order) -> Result<Playbook, Refusal> {
    Playbook::parse(&order.playbook.text).map_err(|findings| unreadable(&findings))
}

fn unreadable(findings: &[Finding]) -> Refusal {
    let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
    Refusal::Unreadable { reason: short(texts.join("; ")) }
}

/// Cuts a text to what the journal takes.
pub fn short(text: String) -> String {
    short_to(text, REASON_BYTES_MAX)
}

/// Cuts a text to so many bytes, at a character's edge.
pub fn short_to(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
