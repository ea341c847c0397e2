//! Signing a playbook and handing it to the server. What does not check is not signed, and what is installed is the
//! file and its signature, byte for byte.

use super::read;
use crate::client::Client;
use crate::failure::Failure;
use crate::keys;
use crate::ui::Ui;
use crate::words;
use clap::Args;
use reqwest::Method;
use sopwith_domain::order::SignedText;
use sopwith_domain::playbook::Playbook;
use sopwith_protocol::signature::PLAYBOOK_NAMESPACE;
use ssh_key::PrivateKey;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "\
The signature goes to FILE.sig, in the form of
  ssh-keygen -Y sign -n sopwith-playbook -f KEY FILE

Example:
  sopwith playbook sign playbooks/*.yaml --key ~/.ssh/id_ed25519")]
pub struct Sign {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// An OpenSSH private key; hosts must have its public half in allowed_signers.
    #[arg(long)]
    key: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Beside each FILE lies its signature, FILE.sig.

Example:
  sopwith playbook install playbooks/*.yaml")]
pub struct Install {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

/// Signs playbooks, if all of them check.
pub fn sign(args: Sign, ui: &Ui) -> Result<(), Failure> {
    let mut texts = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let playbook = checked(file, &text)?;
        texts.push((file, text, playbook));
    }
    // Unlocked once, however many files there are.
    let key = keys::load(&args.key)?;
    let mut written = Vec::new();
    let mut lines = Vec::new();
    for (file, text, playbook) in texts {
        let path = write_signature(file, &key, PLAYBOOK_NAMESPACE, &text)?;
        lines.push(format!("✓ signed {} version {}: {}", playbook.id, playbook.version, path.display()));
        written.push(serde_json::json!({"file": file, "signature": path, "digest": playbook.digest}));
    }
    ui.show(&written, || lines.join("\n"))
}

/// Installs signed playbooks.
pub async fn install(args: Install, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let mut signed = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let playbook = checked(file, &text)?;
        signed.push((SignedText { signature: read_signature(file)?, text }, playbook));
    }
    ui.say(&format!("This installs at {}:", client.url()))?;
    for (_, playbook) in &signed {
        let risk = playbook.risk.sentence();
        ui.say(&format!("  {} version {}, {risk}\n    {}", playbook.id, playbook.version, playbook.title))?;
    }
    ui.say("From then on they may be proposed for incidents.")?;
    ui.confirm(&format!("Install {}?", words::count(signed.len() as u64, "playbook")), args.yes)?;
    let mut answers = Vec::new();
    let mut lines = Vec::new();
    for (signed, playbook) in signed {
        let sent = client.send(Method::POST, "/playbooks", Some(&signed), None).await;
        answers.push(sent.map_err(|mut failure| {
            let done = lines.len();
            failure.text = format!("{}: {} ({done} before it were installed)", playbook.id, failure.text);
            failure
        })?);
        lines.push(format!("✓ installed {} version {}", playbook.id, playbook.version));
    }
    ui.show(&answers, || lines.join("\n"))
}

/// Signs a text and writes the signature beside its file.
pub fn write_signature(
    file: &Path,
    key: &PrivateKey,
    namespace: &str,
    text: &str,
) -> Result<PathBuf, Failure> {
    let signed = keys::sign(key, namespace, text)?;
    let path = beside(file);
    std::fs::write(&path, signed.signature)
        .map_err(|e| Failure::failed(format!("cannot write {}: {e}", path.display())))?;
    Ok(path)
}

/// Reads the signature beside a file.
pub fn read_signature(file: &Path) -> Result<String, Failure> {
    let path = beside(file);
    std::fs::read_to_string(&path).map_err(|e| {
        Failure::failed(format!("cannot read the signature {}: {e}", path.display()))
            .help("sign it first, with `sopwith playbook sign` or `sopwith policy sign`")
    })
}

fn beside(file: &Path) -> PathBuf {
    let mut path = file.to_path_buf().into_os_string();
    path.push(".sig");
    path.into()
}

fn checked(file: &Path, text: &str) -> Result<Playbook, Failure> {
    Playbook::parse(text).map_err(|findings| {
        let name = file.display();
        let mut failure = Failure::failed(format!("{name} does not check, so it is not used"));
        failure.details = findings.iter().map(|f| format!("{name}:{f}")).collect();
        failure
    })
}
