//! What is fuzzed, and what must hold of every input.

use super::authority;
use super::mutate::CANARIES;
use sopwith_domain::declaration::Declaration;
use sopwith_domain::ids::{Digest, HostId};
use sopwith_domain::order::SignedText;
use sopwith_domain::playbook::{Case, Playbook};
use sopwith_domain::policy::Policy;
use sopwith_domain::run::{End, Record, StepResult, UndoResult, What};
use sopwith_domain::signal::{Signal, Subject};
use sopwith_domain::time::Timestamp;
use sopwith_domain::value::ValueType;
use sopwith_protocol::signature::AllowedSigners;
use std::path::Path;

/// One reader.
pub struct Target {
    pub name: &'static str,
    pub about: &'static str,
    /// Good inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Says whether the reader took the input, or what did not hold of it.
    pub holds: fn(&[u8]) -> Result<bool, String>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "playbook",
        about: "an SOP: what is taken reads the same again, findings have a place, plans hold no foreign text",
        seeds: || folder("playbooks"),
        holds: playbook,
    },
    Target { name: "cases", about: "the cases of an SOP", seeds: || folder("playbooks/cases"), holds: cases },
    Target { name: "policy", about: "a policy: what is empty means nobody", seeds: policies, holds: policy },
    Target {
        name: "declaration",
        about: "what an administrator says in host.d",
        seeds: declarations,
        holds: declaration,
    },
    Target {
        name: "selector",
        about: "subjects: read and written they are the same",
        seeds: subjects,
        holds: subject,
    },
    Target {
        name: "capture",
        about: "typed values: nothing but their type gets through",
        seeds: values,
        holds: capture,
    },
    Target { name: "signers", about: "allowed_signers in OpenSSH's format", seeds: signers, holds: signer },
    Target { name: "signal", about: "a signal as a host sends it", seeds: signals, holds: signal },
    Target { name: "record", about: "an entry of the run journal", seeds: records, holds: record },
    Target {
        name: "matching",
        about: "a signal against the shipped SOPs: one choice in any order, plans without foreign text",
        seeds: signals,
        holds: authority::matching,
    },
    Target {
        name: "warrant",
        about: "an order: a changed one is admitted for the very plan that people approved, or not at all",
        seeds: authority::orders,
        holds: authority::warrant,
    },
    Target {
        name: "seal",
        about: "a signed text: no other text and no other purpose passes under its signature",
        seeds: authority::sealed,
        holds: authority::seal,
    },
];

pub(super) fn folder(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "yaml"));
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

pub(super) fn must(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}

fn playbook(input: &[u8]) -> Result<bool, String> {
    let Some(text) = text(input) else { return Ok(false) };
    match Playbook::parse(text) {
        Err(findings) => {
            let lines = u64::try_from(text.lines().count()).unwrap_or(u64::MAX) + 1;
            must(!findings.is_empty(), || "it is refused without a reason".into())?;
            let placed =
                |f: &&sopwith_domain::playbook::Finding| f.line >= 1 && f.line <= lines && f.column >= 1;
            must(findings.iter().filter(|f| !placed(f)).count() == 0, || {
                format!("a finding has no place: {findings:?}")
            })?;
            Ok(false)
        }
        Ok(playbook) => {
            must(Playbook::parse(text).as_ref() == Ok(&playbook), || {
                "it reads differently the second time".into()
            })?;
            must(playbook.steps.iter().all(|step| step.timeout_ms > 0), || "a step has no timeout".into())?;
            Ok(true)
        }
    }
}

fn cases(input: &[u8]) -> Result<bool, String> {
    Ok(text(input).is_some_and(|text| Case::parse_all(text).is_ok()))
}

fn policies() -> Vec<Vec<u8>> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/policy.yaml");
    let mut all = texts(&[
        "version: 1\nauto: []\nhosts: {named: []}\n",
        "version: 2\nauto: [a-b]\nhosts: all\napprovers: 2\n",
    ]);
    all.extend(std::fs::read(shipped));
    all
}

fn policy(input: &[u8]) -> Result<bool, String> {
    let Some(Ok(policy)) = text(input).map(Policy::parse) else { return Ok(false) };
    must(policy.approvers >= 1 && policy.attempts_per_day <= 2, || {
        format!("it grants too much: {policy:?}")
    })?;
    let (host, risk) =
        (HostId::new("host-1").map_err(|e| e.to_string())?, sopwith_domain::playbook::Risk::Auto);
    let granted = policy.auto.iter().any(|id| policy.permits(id, risk, &host));
    must(!granted || !policy.auto.is_empty(), || "nothing means all".into())?;
    for id in &policy.auto {
        for risk in [sopwith_domain::playbook::Risk::Approval, sopwith_domain::playbook::Risk::Never] {
            must(!policy.permits(id, risk, &host), || {
                format!("{id} of risk {risk:?} runs without a person")
            })?;
        }
    }
    Ok(true)
}

fn declarations() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"kind":"maintenance","id":"MW-1","scope":["unit:x.service"],"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","by":"alice","reason":"work"}"#,
        r#"{"kind":"hold","scope":["host"],"by":"alice","reason":"look first"}"#,
        r#"{"kind":"allow","ip":"192.0.2.1","note":"bastion"}"#,
        r#"{"kind":"fact","name":"role","value":"db"}"#,
    ])
}

fn declaration(input: &[u8]) -> Result<bool, String> {
    let Ok(read) = serde_json::from_slice::<Declaration>(input) else { return Ok(false) };
    same_again(&read)
}

fn subjects() -> Vec<Vec<u8>> {
    texts(&[
        "host",
        "unit:shop.service",
        "path:/etc/x",
        "mount:/srv",
        "address:192.0.2.1",
        "check:disk",
        "process:1",
    ])
}

fn subject(input: &[u8]) -> Result<bool, String> {
    let Some(Ok(subject)) = text(input).map(str::parse::<Subject>) else { return Ok(false) };
    let again: Result<Subject, _> = subject.to_string().parse();
    must(again.as_ref().ok() == Some(&subject), || format!("{subject} reads differently the second time"))?;
    clean(&subject.to_string())?;
    Ok(true)
}

const TYPES: [ValueType; 9] = [
    ValueType::Word,
    ValueType::Integer,
    ValueType::Boolean,
    ValueType::Path,
    ValueType::Url,
    ValueType::Unit,
    ValueType::Ip,
    ValueType::Glob,
    ValueType::Process,
];

fn values() -> Vec<Vec<u8>> {
    let mut all = texts(&[
        "word",
        "42",
        "true",
        "/etc/x",
        "http://127.0.0.1/",
        "a.service",
        "192.0.2.1",
        "*.log",
        "1@1",
    ]);
    all.extend(texts(&CANARIES));
    all
}

/// What a capture lets through is one word of its type: no line break, no control character, nothing that goes up.
fn capture(input: &[u8]) -> Result<bool, String> {
    let Some(text) = text(input) else { return Ok(false) };
    let mut taken = false;
    for value_type in TYPES {
        let Ok(value) = value_type.parse(text) else { continue };
        taken = true;
        let shown = value.to_string();
        clean(&shown)?;
        must(value_type.parse(&shown).as_ref() == Ok(&value), || {
            format!("{shown} reads differently the second time")
        })?;
        let is_path = value_type == ValueType::Path;
        must(!is_path || shown.starts_with('/'), || format!("{shown} is no absolute path"))?;
        must(!is_path || !shown.split('/').any(|part| part == ".."), || format!("{shown} goes up"))?;
        let option = matches!(value_type, ValueType::Unit | ValueType::Word) && shown.starts_with('-');
        must(!option, || format!("{shown} would pass for an option"))?;
    }
    Ok(taken)
}

pub(super) fn clean(text: &str) -> Result<(), String> {
    must(!text.chars().any(char::is_control), || format!("{text:?} holds a control character"))
}

fn signers() -> Vec<Vec<u8>> {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqmFHyXfYUx9rWbg1JuTMFDYo2y5oqDqRTDYEVYGkEd";
    texts(&[
        &format!("alice {key}\n"),
        &format!("alice namespaces=\"sopwith-playbook\" {key} note\n# nobody\n"),
    ])
}

fn signer(input: &[u8]) -> Result<bool, String> {
    let Some(Ok(signers)) = text(input).map(AllowedSigners::parse) else { return Ok(false) };
    let forged = SignedText { text: "x".into(), signature: "nothing".into() };
    must(signers.verify("sopwith-playbook", &forged).is_err(), || "an empty signature holds".into())?;
    Ok(!signers.is_empty())
}

fn signals() -> Vec<Vec<u8>> {
    let cases = folder("playbooks/cases");
    let cases = cases.iter().filter_map(|text| Case::parse_all(self::text(text)?).ok()).flatten();
    cases.filter_map(|case| serde_json::to_vec(&case.signal).ok()).collect()
}

fn signal(input: &[u8]) -> Result<bool, String> {
    let Ok(signal) = serde_json::from_slice::<Signal>(input) else { return Ok(false) };
    let again: Signal = serde_json::to_vec(&signal)
        .and_then(|bytes| serde_json::from_slice(&bytes))
        .map_err(|e| format!("written it cannot be read: {e}"))?;
    must(again.fingerprint() == signal.fingerprint(), || {
        "its fingerprint is another the second time".into()
    })?;
    Ok(signal.bound_broken().is_none())
}

fn records() -> Vec<Vec<u8>> {
    let text = String::new;
    let all = [
        What::Started { step: 0, prior: serde_json::json!({"before": "x"}) },
        What::Finished { step: 0, outcome: StepResult::Failed { reason: text(), output: text() } },
        What::UndoFinished { step: 0, result: UndoResult::Residue { what: text() } },
        What::Ended { end: End::Parked { reason: text(), residue: vec![text()] } },
    ];
    let run = Digest::of(b"run");
    all.into_iter()
        .filter_map(|what| serde_json::to_vec(&Record { run, at: Timestamp(0), what }).ok())
        .collect()
}

fn record(input: &[u8]) -> Result<bool, String> {
    let Ok(record) = serde_json::from_slice::<Record>(input) else { return Ok(false) };
    same_again(&record)
}

/// What was read is written and read again as the same.
fn same_again<T>(read: &T) -> Result<bool, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq,
{
    let again: T = serde_json::to_vec(read)
        .and_then(|bytes| serde_json::from_slice(&bytes))
        .map_err(|e| format!("written it cannot be read: {e}"))?;
    must(again == *read, || "it reads differently the second time".into())?;
    Ok(true)
}
