//! SSH keys of the person at the keyboard: read, unlocked when needed, used to sign, never kept or sent.

use crate::failure::Failure;
use clap::Args;
use rand::RngCore;
use sopwith_domain::order::SignedText;
use sopwith_protocol::signature;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};
use std::path::{Path, PathBuf};

/// Signs a text in the form of `ssh-keygen -Y sign`.
pub fn sign(key: &PrivateKey, namespace: &str, text: &str) -> Result<SignedText, Failure> {
    signature::sign(key, namespace, text).map_err(|e| Failure::failed(format!("the key cannot sign: {e}")))
}

/// Reads a private key, and asks for its passphrase if it has one.
pub fn load(path: &Path) -> Result<PrivateKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::failed(format!("cannot read the key {}: {e}", path.display())))?;
    let key = PrivateKey::from_openssh(&text).map_err(|e| {
        let help = if text.starts_with("ssh-") {
            "that is the public half; give the private key"
        } else {
            "an OpenSSH private key of type ed25519 or ecdsa-p256, as `ssh-keygen -t ed25519` makes it"
        };
        Failure::failed(format!("{} is no key that can sign: {e}", path.display())).help(help)
    })?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    let passphrase =
        rpassword::prompt_password(format!("Passphrase of {}: ", path.display())).map_err(|e| {
            Failure::usage(format!("{} has a passphrase, which cannot be asked for: {e}", path.display()))
        })?;
    key.decrypt(passphrase)
        .map_err(|_| Failure::failed(format!("that is not the passphrase of {}", path.display())))
}

#[derive(Args, Debug)]
pub struct Keygen {
    /// Where the private key goes; the public key goes beside it, with `.pub`.
    file: PathBuf,
    /// Name of the signer, as allowed_signers has it.
    #[arg(long, default_value = "sopwith")]
    comment: String,
}

/// Makes an Ed25519 key in OpenSSH's form. It overwrites nothing.
pub fn generate(args: &Keygen) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::failed(format!("cannot make the key: {e}"));
    if args.file.exists() {
        return Err(Failure::failed(format!("{} is there already", args.file.display())));
    }
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let pair = Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::new(pair.into(), args.comment.as_str()).map_err(|e| failed(&e))?;
    let private = key.to_openssh(LineEnding::LF).map_err(|e| failed(&e))?;
    let public = key.public_key().to_openssh().map_err(|e| failed(&e))?;
    crate::session::write_private(&args.file, private.as_bytes())?;
    let mut beside = args.file.clone().into_os_string();
    beside.push(".pub");
    std::fs::write(&beside, format!("{public}\n")).map_err(|e| failed(&e))?;
    crate::ui::print_out(&format!("{} {public}", args.comment))
}
