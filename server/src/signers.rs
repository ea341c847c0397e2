//! The owners' allowed signers, from the file `allowed_signers` in the data folder: whose signatures on playbooks,
//! policies and approvals count here. A file that is not understood is not used, and the one before stays.

use sopwith_domain::ids::AccountName;
use sopwith_domain::order::SignedText;
use sopwith_protocol::signature::{APPROVAL_NAMESPACE, AllowedSigners, BadSignature};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// The signers in use, with the text they came from.
#[derive(Debug, Default)]
pub struct Signers {
    path: PathBuf,
    current: RwLock<(String, AllowedSigners)>,
}

impl Signers {
    /// Takes the file of a data folder; see [`Self::reload`].
    pub fn at(data: &Path) -> Self {
        Self { path: data.join("allowed_signers"), current: RwLock::default() }
    }

    /// Reads the file again. Where there is none, nobody may sign.
    ///
    /// # Errors
    /// Says what is wrong with it; the signers in use stay.
    pub fn reload(&self) -> Result<(), String> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("failed to read {}: {error}", self.path.display())),
        };
        let signers = AllowedSigners::parse(&text).map_err(|error| error.to_string())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (text, signers);
        Ok(())
    }

    /// Returns the file's text, for hosts to begin with.
    pub fn text(&self) -> String {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Verifies a document and returns who signed it.
    ///
    /// # Errors
    /// Says why the signature does not hold.
    pub fn verify(&self, namespace: &str, signed: &SignedText) -> Result<String, BadSignature> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.verify(namespace, signed)
    }

    /// Verifies an approver's own signature over a plan's digest: the key must be his.
    ///
    /// # Errors
    /// Says why it does not count.
    pub fn verify_approval(&self, by: &AccountName, plan: &str, signature: &str) -> Result<(), String> {
        let signed = SignedText { text: plan.to_owned(), signature: signature.to_owned() };
        let signer = self.verify(APPROVAL_NAMESPACE, &signed).map_err(|error| error.to_string())?;
        if signer.split('@').next() == Some(by.as_str()) {
            return Ok(());
        }
        Err(format!("it is by the key of {signer}, the decision by {by}"))
    }
}
