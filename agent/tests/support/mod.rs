//! A host in a folder: its owners' keys, its server's key, its configuration, a playbook that mends a file, and
//! orders, leases and policies under any key. Shared by the tests inside the runner and those around it.
#![allow(dead_code, reason = "each test uses a part of it")]

use serde::Serialize;
use sopwith_domain::approval::{Approval, Basis, Decision, Vote};
use sopwith_domain::ids::{AccountName, Digest, Epoch, HostId, IncidentId};
use sopwith_domain::order::{Order, SignedText};
use sopwith_domain::plan::{Plan, Target};
use sopwith_domain::playbook::Playbook;
use sopwith_domain::policy::Policy;
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::{AbsPath, Value, Word};
use sopwith_protocol::exchange::{Lease, SERVER_NAMESPACE};
use sopwith_protocol::signature::{APPROVAL_NAMESPACE, PLAYBOOK_NAMESPACE, POLICY_NAMESPACE, sign};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The server's clock in all tests.
pub const SERVER_NOW: Timestamp = Timestamp(1_700_000_000_000);

pub struct World {
    pub folder: tempfile::TempDir,
    /// The runner's state, in memory where the machine has room for that: what these tests end are processes, not
    /// machines, and a disk that really has to write makes them ten times as long.
    pub state: tempfile::TempDir,
    pub server: PrivateKey,
    pub owner: PrivateKey,
    pub stranger: PrivateKey,
    pub host: HostId,
}

pub fn key(seed: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "test").expect("a key")
}

fn public(key: &PrivateKey) -> String {
    key.public_key().to_openssh().expect("encodes")
}

impl World {
    pub fn new() -> Self {
        Self::with_state(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("tempdir"))
    }

    /// Makes one whose state is in a folder of the caller's, such as one on a disk of its own.
    pub fn with_state(state: tempfile::TempDir) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let host = HostId::new("web-1").expect("valid");
        let world = Self { folder, state, server: key(1), owner: key(2), stranger: key(3), host };
        for made in ["etc/host.d", "state/runner", "run", "w"] {
            fs::create_dir_all(world.path(made)).expect("mkdir");
        }
        fs::write(world.path("state/runner/server_key"), public(&world.server)).expect("write");
        let signers = format!("alice {}\n", public(&world.owner));
        fs::write(world.path("etc/allowed_signers"), signers).expect("write");
        let config = format!(
            "host: web-1\nstate_dir: {1}\nruntime_dir: {0}/run\ndeclarations_dir: {0}/etc/host.d\n\
             allowed_signers: {0}/etc/allowed_signers\nstop_file: {1}/stop\n",
            world.folder.path().display(),
            world.state.path().display()
        );
        fs::write(world.path("etc/agent.yaml"), config).expect("write");
        fs::write(world.path("w/conf"), "broken").expect("write");
        fs::write(world.path("w/log"), "a\nb\n").expect("write");
        fs::write(world.path("w/stale"), "4711").expect("write");
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        if let Some(name) = name.strip_prefix("state/") {
            return self.state.path().join(name);
        }
        self.folder.path().join(name)
    }

    pub fn abs(&self, name: &str) -> AbsPath {
        AbsPath::new(self.path(name).to_str().expect("text")).expect("valid")
    }

    /// Three steps on files; `content` is what the last one writes and what the verification wants to see, so that
    /// with `wanted` another the fix fails.
    pub fn playbook(&self, content: &str, wanted: &str) -> String {
        fs::write(self.path("w/wanted"), wanted).expect("write");
        format!(
            r#"
id: mend-file
version: 1
title: Mend a file
purpose: A file is broken.
scope: One file.
risk: auto
risk_because: It is a test.
answers: [{{kind: check.failed}}]
parameters:
  target: {{type: path, from: config_path, within: ["{w}"], about: the file}}
steps:
  - name: Take the stale file away
    do: file.quarantine
    with: {{path: "{w}/stale"}}
    timeout_s: 5
  - name: Empty the log
    do: file.truncate
    with: {{path: "{w}/log"}}
    timeout_s: 5
  - name: Write the file
    do: file.write
    with: {{path: $target, content: "{content}"}}
    timeout_s: 5
verify:
  - {{check: file.same, with: {{path: $target, other: "{w}/wanted"}}}}
soak_s: 0
escalation: Call somebody.
"#,
            w = self.path("w").display()
        )
    }

    pub fn sign(&self, key: &PrivateKey, namespace: &str, text: &str) -> SignedText {
        sign(key, namespace, text).expect("signs")
    }

    /// Seals as the server does.
    pub fn seal<T: Serialize>(&self, what: &T) -> SignedText {
        self.sign(&self.server, SERVER_NAMESPACE, &serde_json::to_string(what).expect("encodes"))
    }

    pub fn lease(&self, challenge: &str, epoch: Epoch) -> Lease {
        let challenge = challenge.to_owned();
        Lease { host: self.host.clone(), epoch, challenge, server_now: SERVER_NOW, stop: None }
    }

    pub fn policy(&self) -> SignedText {
        let text = "version: 1\nauto: [mend-file]\nhosts: all\n";
        self.sign(&self.owner, POLICY_NAMESPACE, text)
    }

    /// An order that is right in every way, automatic, for one incident.
    pub fn order(&self, epoch: Epoch, incident: u64, playbook: &str) -> Order {
        let signed = self.sign(&self.owner, PLAYBOOK_NAMESPACE, playbook);
        let parsed = Playbook::parse(playbook).unwrap_or_else(|findings| panic!("{findings:?}"));
        let target = Target {
            host: self.host.clone(),
            epoch,
            incident: IncidentId(incident),
            attempt: 1,
            subject: "check:conf".parse().expect("valid"),
            fingerprint: Digest::of(&incident.to_be_bytes()),
        };
        let word = |text: &str| Word::new(text).expect("valid");
        let parameters = BTreeMap::from([(word("target"), Value::Path(self.abs("w/conf")))]);
        let plan = Plan::build(&parsed, target.clone(), parameters.clone()).unwrap_or_else(|e| panic!("{e}"));
        let policy = self.policy();
        let approval = Approval {
            plan: plan.digest(),
            basis: Basis::Standing { policy: Policy::parse(&policy.text).expect("parses").digest },
            granted_at: SERVER_NOW,
            expires_at: SERVER_NOW.plus(300_000),
        };
        Order { target, plan: plan.digest(), parameters, approval, playbook: signed, policy: Some(policy) }
    }

    /// The same order, approved by people instead.
    pub fn by_people(&self, order: Order, signer: &PrivateKey) -> Order {
        let signature = self.sign(signer, APPROVAL_NAMESPACE, &order.plan.to_string()).signature;
        let decision = Decision {
            by: AccountName::new("alice").expect("valid"),
            vote: Vote::Approve,
            plan: order.plan,
            at: SERVER_NOW,
            reason: "yes".into(),
            signature: Some(signature),
        };
        let basis = Basis::People { decisions: vec![decision], required: 1 };
        Order { approval: Approval { basis, ..order.approval.clone() }, policy: None, ..order }
    }

    pub fn add_key_to_signers(&self, line: &str) {
        fs::write(self.path("etc/allowed_signers"), line).expect("write");
    }

    /// The private key as a file, for programs.
    pub fn owner_pem(&self) -> String {
        self.owner.to_openssh(LineEnding::LF).expect("encodes").to_string()
    }

    /// Every file of the part that orders act on: name, content, mode, time to the nanosecond, number of names.
    pub fn fingerprint(&self) -> BTreeMap<String, String> {
        use std::os::unix::fs::MetadataExt;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(self.path("w")).expect("list") {
            let entry = entry.expect("entry");
            let m = entry.metadata().expect("stat");
            let content = fs::read_to_string(entry.path()).expect("read");
            let text = format!("{:o} {}.{} {} {content:?}", m.mode(), m.mtime(), m.mtime_nsec(), m.nlink());
            all.insert(entry.file_name().into_string().expect("text"), text);
        }
        all
    }
}
