//! Sessions, tokens and policies of the sample worlds. Debug builds and tests only.

use super::people::MadePassword;
use super::samples::{HOSTILE, World, person};
use crate::auth::access::{Access, Entered, SessionRow, Summary};
use crate::auth::token::TokenRow;
use crate::exchange::join::WaitingToken;
use crate::ledger::policies::Kept;
use sopwith_domain::command::Command;
use sopwith_domain::event::Event;
use sopwith_domain::order::SignedText;
use sopwith_domain::people::Role;
use sopwith_domain::policy::Policy;
use sopwith_domain::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use sopwith_protocol::api::NewToken;
use std::collections::BTreeMap;

/// What the pages about access are given.
pub struct Sample {
    pub of: Access,
    pub summaries: BTreeMap<String, Summary>,
    pub token: Option<NewToken>,
    pub password: Option<MadePassword>,
    pub waiting: Vec<WaitingToken>,
}

/// Returns what people have in a world: nothing in one without hosts.
pub fn of(world: &World, role: Role) -> Sample {
    let now = world.now;
    if world.state.hosts.is_empty() {
        let (of, summaries) = (Access::default(), BTreeMap::new());
        return Sample { of, summaries, token: None, password: None, waiting: Vec::new() };
    }
    let last = Some(Entered { at: now.plus(-3 * HOUR_MS), how: "from 192.0.2.17".into() });
    let session = |id: &str, this: bool, ago_ms: i64| SessionRow {
        id: id.into(),
        created_at: now.plus(-3 * HOUR_MS - ago_ms),
        seen_at: now.plus(-ago_ms),
        this,
    };
    let token = |id: &str, name: &str, ends: Option<i64>, revoked| TokenRow {
        id: id.into(),
        name: name.into(),
        created_at: now.plus(-9 * DAY_MS).to_string(),
        expires_at: ends.map(|ms| now.plus(ms).to_string()),
        revoked,
    };
    let of = Access {
        last: last.clone(),
        sessions: vec![
            session("5f3c9a1e77d0b642", true, 0),
            session("0b1d2c3e4f506172", false, 40 * MINUTE_MS),
        ],
        tokens: vec![
            token("a81f03c2d4e5b697", "nightly report", Some(21 * DAY_MS), false),
            token("00d1e2f3a4b5c6d7", HOSTILE, None, false),
            token("93b2c1d0e9f8a7b6", "old laptop", Some(-DAY_MS), true),
        ],
    };
    let waiting = |id: &str, host: Option<&str>| WaitingToken {
        id: id.into(),
        host: host.map(Into::into),
        by: "alice".into(),
        expires_at: now.plus(50 * MINUTE_MS),
    };
    let waiting = vec![waiting("77aa1c0f2e9d4b58", Some("db-2")), waiting("19c3d5e7f9a1b2c4", None)];
    Sample {
        summaries: BTreeMap::from([("alice".into(), Summary { last, sessions: 2, tokens: 1 })]),
        token: (role == Role::Admin).then(|| NewToken {
            id: "a81f03c2d4e5b697".into(),
            token: format!("spt_{}", "0123456789abcdef".repeat(4)),
            expires_at: Some(now.plus(30 * DAY_MS).to_string()),
        }),
        password: Some(MadePassword {
            name: "dora".into(),
            password: format!("pw_{}", "89abcdef".repeat(8)),
        }),
        waiting: if role == Role::Admin { waiting } else { Vec::new() },
        of,
    }
}

/// A policy that lets one SOP run by itself once it has earned it.
const POLICY: &str = "version: 2\nauto: [restart-failed-service, not-installed-here]\nhosts: all\npromotion: {runs: 3, from: suggest}\n";

impl World {
    /// Puts a policy in force after an emptier one.
    pub fn sets_policies(&mut self) {
        for text in ["version: 1\nauto: []\nhosts: {named: []}\n", POLICY] {
            let policy = SignedText { text: text.into(), signature: "(a signature)".into() };
            self.does(Command::SetPolicy { policy, signer: "ops@example.com".into(), by: person("alice") });
            self.passes(MINUTE_MS);
        }
    }

    /// Returns the policies that were put in force, newest first.
    pub fn policies(&self) -> Vec<Kept> {
        let kept = self.journal.iter().filter_map(|recorded| match &recorded.event {
            Event::PolicySet { policy, signer, by } => Some(Kept {
                version: Policy::parse(&policy.text).map_or(0, |policy| policy.version),
                at: recorded.at,
                by: by.to_string(),
                signer: signer.clone(),
                text: policy.text.clone(),
            }),
            _ => None,
        });
        let mut kept: Vec<Kept> = kept.collect();
        kept.reverse();
        kept
    }
}
