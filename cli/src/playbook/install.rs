//! Signing a playbook and handing it to the server. What does not check is not signed, and what is installed is the
//! file and its signature, byte for byte.

use super::read;
use crate::client::Client;
use crate::failure::Failure;
use crate::keys;
use crate::ui::Ui;
use clap::Args;
use reqwest::Method;
use sopwith_domain::order::SignedText;
use sopwith_domain::playbook::Playbook;
use sopwith_protocol::signature::PLAYBOOK_NAMESPACE;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "\
The signature goes to FILE.sig, in the form of
  ssh-keygen -Y sign -n sopwith-playbook -f KEY FILE

Example:
  sopwith playbook sign restart.yaml --key ~/.ssh/id_ed25519")]
pub struct Sign {
    file: PathBuf,
    /// An OpenSSH private key; hosts must have its public half in allowed_signers.
    #[arg(long)]
    key: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sopwith playbook install restart.yaml     # reads restart.yaml.sig too")]
pub struct Install {
    file: PathBuf,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

/// Signs a playbook that checks.
pub fn sign(args: Sign, ui: &Ui) -> Result<(), Failure> {
    let text = read(&args.file)?;
    let playbook = checked(&args.file, &text)?;
    let path = write_signature(&args.file, &args.key, PLAYBOOK_NAMESPACE, &text)?;
    let written = serde_json::json!({"file": args.file, "signature": path, "digest": playbook.digest});
    ui.show(&written, || format!("✓ signed {} version {}: {}", playbook.id, playbook.version, path.display()))
}

/// Installs a signed playbook.
pub async fn install(args: Install, client: &Client, ui: &Ui) -> Result<(), Failure> {
    let text = read(&args.file)?;
    let playbook = checked(&args.file, &text)?;
    let signed = SignedText { signature: read_signature(&args.file)?, text };
    ui.say(&format!(
        "This installs {} version {} ({}) at {}.\n  {}\nFrom then on it may be proposed for new incidents.",
        playbook.id,
        playbook.version,
        playbook.risk.sentence(),
        client.url(),
        playbook.title
    ))?;
    ui.confirm("Install it?", args.yes)?;
    let raw = client.send(Method::POST, "/playbooks", Some(&signed), None).await?;
    ui.show(&raw, || format!("✓ installed {} version {}", playbook.id, playbook.version))
}

/// Signs a text and writes the signature beside its file.
pub fn write_signature(file: &Path, key: &Path, namespace: &str, text: &str) -> Result<PathBuf, Failure> {
    let signed = keys::sign_with(key, namespace, text)?;
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
