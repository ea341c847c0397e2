//! Playbooks: all findings at once, signatures that OpenSSH's own tool accepts and makes, no signature for what does
//! not check.

mod common;

use common::{Home, Server, golden};
use serde_json::{Value as Json, json};
use sopwith_domain::order::SignedText;
use sopwith_protocol::signature::{AllowedSigners, PLAYBOOK_NAMESPACE};
use std::process::{Command, Stdio};

const GOOD: &str = "\
id: restart-demo
version: 2
title: Start the demo again
purpose: The demo is to run.
scope: demo.service on any host.
preconditions: [The demo is enabled.]
cautions: [Visitors see a short break.]
risk: approval
answers:
  - kind: unit.failed
    where: {unit_result: [exit-code, signal]}
    lacks: [config_drifted]
parameters:
  unit: {type: unit, from: subject, one_of: [demo.service], about: the demo}
  within: {type: integer, default: '30', min: 5, max: 60}
steps:
  - name: Start it
    require: [{check: unit.not-active, with: {unit: $unit}}]
    do: unit.start
    with: {unit: $unit}
    expect: [{check: unit.active, with: {unit: $unit}}]
    timeout_s: 30
verify:
  - check: unit.active
    with: {unit: $unit}
  - check: file.fresh
    with: {path: /run/demo.heartbeat, within_s: $within}
soak_s: 5
escalation: Call the owner of the demo.
";

fn home_with(text: &str) -> Home {
    let home = Home::new(None);
    std::fs::write(home.path("demo.yaml"), text).expect("the playbook is written");
    assert_eq!(home.sopwith(&["playbook", "keygen", "id", "--comment", "ops@example.net"]).code, 0);
    home
}

#[test]
fn every_finding_has_its_place() {
    let home = home_with(GOOD);
    let bad = GOOD
        .replace("version: 2", "version: 0")
        .replace("soak_s: 5", "soak_s: 99999")
        .replace("with: {unit: $unit}\n    expect", "with: {unit: $other}\n    expect");
    std::fs::write(home.path("bad.yaml"), bad).expect("written");
    std::fs::write(home.path("twin.yaml"), GOOD).expect("written");
    std::fs::write(home.path("broken.yaml"), "id: [\n").expect("written");
    let ran = home.sopwith(&[
        "playbook",
        "check",
        "demo.yaml",
        "bad.yaml",
        "twin.yaml",
        "broken.yaml",
        "gone.yaml",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    golden("check.txt", &ran.out);
    let good = home.sopwith(&["playbook", "check", "demo.yaml"]);
    assert_eq!(good.code, 0, "{good:?}");
}

#[test]
fn a_playbook_reads_as_a_procedure() {
    let home = home_with(GOOD);
    let shown = home.sopwith(&["playbook", "show", "demo.yaml"]);
    let markdown = home.sopwith(&["playbook", "show", "demo.yaml", "--markdown"]);
    golden("playbook.txt", &format!("{}\n=====\n{}", shown.out, markdown.out));
}

#[test]
fn what_does_not_check_is_not_signed_and_nothing_is_overwritten() {
    let home = home_with("id: x\n");
    let ran = home.sopwith(&["playbook", "sign", "demo.yaml", "--key", "id"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(!home.path("demo.yaml.sig").exists());
    assert_eq!(home.sopwith(&["playbook", "keygen", "id"]).code, 1, "a key is never overwritten");
    std::fs::write(home.path("demo.yaml"), GOOD).expect("written");
    let public = home.sopwith(&["playbook", "sign", "demo.yaml", "--key", "id.pub"]);
    assert!(public.code == 1 && public.err.contains("public half"), "{public:?}");
}

#[test]
fn a_signature_verifies_and_is_installed_byte_for_byte() {
    let server = Server::new();
    server.on("POST /playbooks", 200, &json!({}));
    let home = home_with(GOOD);
    assert_eq!(home.sopwith(&["playbook", "sign", "demo.yaml", "--key", "id"]).code, 0);
    let mut install = home.command(&["playbook", "install", "demo.yaml", "--yes"]);
    let ran = install.env("SOPWITH_URL", &server.url).env("SOPWITH_TOKEN", "t").output().expect("it runs");
    assert!(ran.status.success(), "{ran:?}");
    let sent: SignedText = serde_json::from_str(&server.writes()[0].body).expect("a signed text");
    assert_eq!(sent.text, GOOD);
    let line = std::fs::read_to_string(home.path("id.pub")).expect("a public key");
    let signers = AllowedSigners::parse(&format!("ops@example.net {line}")).expect("one signer");
    assert_eq!(signers.verify(PLAYBOOK_NAMESPACE, &sent).as_deref(), Ok("ops@example.net"));
    let other = SignedText { text: GOOD.replace("30", "31"), ..sent };
    assert!(signers.verify(PLAYBOOK_NAMESPACE, &other).is_err());
}

#[test]
fn a_policy_is_signed_and_shown() {
    let home = home_with(GOOD);
    std::fs::write(home.path("policy.yaml"), "version: 4\nauto: [restart-demo]\nhosts:\n  named: [web-1]\n")
        .expect("written");
    assert_eq!(home.sopwith(&["policy", "sign", "policy.yaml", "--key", "id"]).code, 0);
    assert!(home.path("policy.yaml.sig").exists());
    golden("policy.txt", &home.sopwith(&["policy", "show", "policy.yaml"]).out);
    std::fs::write(home.path("policy.yaml"), "version: 4\nauto: []\nhosts: all\nattempts_per_day: 9\n")
        .expect("written");
    let bad = home.sopwith(&["policy", "sign", "policy.yaml", "--key", "id"]);
    assert!(bad.code == 1 && bad.err.contains("policy.yaml:1:1: attempts_per_day is 9"), "{bad:?}");
}

/// OpenSSH's tool, or nothing where it is not installed (CI installs it).
fn ssh_keygen() -> Option<Command> {
    let found = std::path::Path::new("/usr/bin/ssh-keygen").exists();
    if !found {
        eprintln!("skipped: ssh-keygen is not installed");
    }
    found.then(|| Command::new("/usr/bin/ssh-keygen"))
}

#[test]
fn openssh_verifies_what_we_sign() {
    let Some(mut verify) = ssh_keygen() else { return };
    let home = home_with(GOOD);
    assert_eq!(home.sopwith(&["playbook", "sign", "demo.yaml", "--key", "id"]).code, 0);
    let line = std::fs::read_to_string(home.path("id.pub")).expect("a public key");
    std::fs::write(home.path("signers"), format!("ops@example.net {line}")).expect("written");
    verify.current_dir(home.dir.path()).args(["-Y", "verify", "-f", "signers", "-I", "ops@example.net"]);
    verify.args(["-n", PLAYBOOK_NAMESPACE, "-s", "demo.yaml.sig"]);
    let text = std::fs::File::open(home.path("demo.yaml")).expect("the playbook");
    let ran = verify.stdin(Stdio::from(text)).output().expect("ssh-keygen runs");
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn we_verify_what_openssh_signs_and_use_its_keys() {
    let Some(mut generate) = ssh_keygen() else { return };
    let home = home_with(GOOD);
    let ran = generate
        .current_dir(home.dir.path())
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "theirs"])
        .output();
    assert!(ran.expect("it runs").status.success());
    let mut sign = Command::new("/usr/bin/ssh-keygen");
    sign.current_dir(home.dir.path()).args([
        "-q",
        "-Y",
        "sign",
        "-n",
        PLAYBOOK_NAMESPACE,
        "-f",
        "theirs",
        "demo.yaml",
    ]);
    assert!(sign.output().expect("it runs").status.success());
    let signature = std::fs::read_to_string(home.path("demo.yaml.sig")).expect("a signature");
    let line = std::fs::read_to_string(home.path("theirs.pub")).expect("a public key");
    let signers = AllowedSigners::parse(&format!("them {line}")).expect("one signer");
    let signed = SignedText { text: GOOD.into(), signature };
    assert_eq!(signers.verify(PLAYBOOK_NAMESPACE, &signed).as_deref(), Ok("them"));
    let ours = home.sopwith(&["-o", "json", "playbook", "sign", "demo.yaml", "--key", "theirs"]);
    let written: Json = serde_json::from_str(&ours.out).expect("JSON");
    assert_eq!(written[0]["signature"], "demo.yaml.sig", "{ours:?}");
}
