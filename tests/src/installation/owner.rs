//! The owner of the hosts: a key made for one test, and what it signs. Signs with `ssh-keygen`, as a person would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sopwith_protocol::signature::{PLAYBOOK_NAMESPACE, POLICY_NAMESPACE};

use crate::lab::run_command;

const SIGN_LIMIT: Duration = Duration::from_secs(20);

/// Why something could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error("{what} {path:?}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("run ssh-keygen: {0}")]
    Keygen(String),
}

/// A key pair in a folder of its own.
#[derive(Debug, Clone)]
pub struct Owner {
    key: PathBuf,
}

impl Owner {
    /// Makes a key in a folder.
    pub fn make(dir: &Path) -> Result<Owner, OwnerError> {
        let key = dir.join("owner");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f"]).arg(&key);
        keygen(&mut command)?;
        Ok(Owner { key })
    }

    /// Returns the text of an `allowed_signers` file that trusts this owner alone.
    pub fn allowed_signers(&self) -> Result<String, OwnerError> {
        let public = self.key.with_extension("pub");
        let text = fs::read_to_string(&public).map_err(io_error("read", &public))?;
        Ok(format!("owner namespaces=\"{PLAYBOOK_NAMESPACE},{POLICY_NAMESPACE}\" {text}"))
    }

    /// Copies every playbook of a folder into another and signs it there; returns how many there were.
    pub fn sign_playbooks(&self, from: &Path, to: &Path) -> Result<usize, OwnerError> {
        fs::create_dir_all(to).map_err(io_error("create", to))?;
        let mut count = 0;
        for entry in fs::read_dir(from).map_err(io_error("list", from))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
                self.sign(&to.join(entry.file_name()), &text, PLAYBOOK_NAMESPACE)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Writes a policy and signs it.
    pub fn sign_policy(&self, to: &Path, text: &str) -> Result<(), OwnerError> {
        self.sign(to, text, POLICY_NAMESPACE)
    }

    fn sign(&self, to: &Path, text: &str, namespace: &str) -> Result<(), OwnerError> {
        fs::write(to, text).map_err(io_error("write", to))?;
        keygen(Command::new("ssh-keygen").args(["-Y", "sign", "-n", namespace, "-f"]).arg(&self.key).arg(to))
    }
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> OwnerError + 'a {
    move |source| OwnerError::Io { what, path: path.to_owned(), source }
}

fn keygen(command: &mut Command) -> Result<(), OwnerError> {
    let done = run_command(command, b"", SIGN_LIMIT).map_err(|e| OwnerError::Keygen(e.to_string()))?;
    if done.ok() { Ok(()) } else { Err(OwnerError::Keygen(done.stderr.trim().to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sopwith_domain::order::SignedText;
    use sopwith_protocol::signature::AllowedSigners;

    #[test]
    fn what_the_owner_signs_holds_for_its_purpose_and_for_no_other() {
        let dir = tempfile::tempdir().expect("folder");
        let owner = Owner::make(dir.path()).expect("key");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).expect("folder");
        fs::write(from.join("a.yaml"), "id: a\n").expect("write");
        fs::write(from.join("notes.txt"), "not a playbook").expect("write");
        assert_eq!(owner.sign_playbooks(&from, &to).expect("signed"), 1);
        let read = |name: &str| fs::read_to_string(to.join(name)).expect(name);
        let signed = SignedText { text: read("a.yaml"), signature: read("a.yaml.sig") };
        let signers = AllowedSigners::parse(&owner.allowed_signers().expect("text")).expect("valid");
        assert_eq!(signers.verify(PLAYBOOK_NAMESPACE, &signed).expect("holds"), "owner");
        assert!(signers.verify(POLICY_NAMESPACE, &signed).is_err());
        let changed = SignedText { text: "id: b\n".into(), ..signed };
        assert!(signers.verify(PLAYBOOK_NAMESPACE, &changed).is_err());
    }
}
