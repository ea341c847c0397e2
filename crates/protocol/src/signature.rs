//! SSH signatures as `ssh-keygen -Y sign` makes them and `ssh-keygen -Y verify` reads them: operators sign with the
//! keys they have. Verification is against an `allowed_signers` file that belongs to whoever verifies.

use sopwith_domain::order::SignedText;
use ssh_key::{HashAlg, PrivateKey, PublicKey, SshSig};

/// Namespace of signatures over playbooks.
pub const PLAYBOOK_NAMESPACE: &str = "sopwith-playbook";
/// Namespace of signatures over policies.
pub const POLICY_NAMESPACE: &str = "sopwith-policy";
/// Namespace of approvers' signatures over the text of a plan's digest (64 hexadecimal digits).
pub const APPROVAL_NAMESPACE: &str = "sopwith-approval";
/// Longest allowed-signers file, in bytes.
pub const SIGNERS_BYTES_MAX: usize = 256 * 1024;

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("the signature cannot be read: {0}")]
    Unreadable(String),
    #[error("it is signed for {found:?}, expected {expected:?}")]
    OtherNamespace { expected: String, found: String },
    #[error("the key {0} is not among the allowed signers")]
    UnknownKey(String),
    #[error("the signature does not fit the text")]
    Mismatch,
}

/// One line of an allowed-signers file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signer {
    principals: Vec<String>,
    /// Empty means every namespace.
    namespaces: Vec<String>,
    key: PublicKey,
}

/// Keys whose signatures count, by principal and namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllowedSigners(Vec<Signer>);

/// A line of an allowed-signers file that is not understood; nothing of such a file is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allowed signers, line {line}: {reason}")]
pub struct BadSigners {
    pub line: usize,
    pub reason: String,
}

impl AllowedSigners {
    /// Parses the OpenSSH format: `principals [options] keytype base64 [comment]`. Of the options, `namespaces` is
    /// honoured; every other one (`cert-authority`, `valid-before`, …) is refused rather than passed over.
    ///
    /// # Errors
    /// Names the first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, BadSigners> {
        if text.len() > SIGNERS_BYTES_MAX {
            let reason = format!("the file has {} bytes, at most {SIGNERS_BYTES_MAX} are read", text.len());
            return Err(BadSigners { line: 1, reason });
        }
        let lines = text.lines().enumerate().map(|(n, l)| (n + 1, l.trim()));
        lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| signer(line).map_err(|reason| BadSigners { line: number, reason }))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies a document and returns the principal who signed it.
    ///
    /// # Errors
    /// Says why the signature does not hold.
    pub fn verify(&self, namespace: &str, signed: &SignedText) -> Result<String, BadSignature> {
        let signature: SshSig =
            signed.signature.parse().map_err(|e: ssh_key::Error| BadSignature::Unreadable(e.to_string()))?;
        let key = PublicKey::from(signature.public_key().clone());
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let known = self.0.iter().find(|s| {
            s.key.key_data() == key.key_data()
                && (s.namespaces.is_empty() || s.namespaces.iter().any(|n| n == namespace))
        });
        let signer = known.ok_or(BadSignature::UnknownKey(fingerprint))?;
        check(&key, namespace, signed, &signature)?;
        Ok(signer.principals.first().cloned().unwrap_or_default())
    }
}

fn signer(line: &str) -> Result<Signer, String> {
    let mut parts = line.splitn(2, char::is_whitespace);
    let principals = parts.next().unwrap_or_default().split(',').map(str::to_owned).collect();
    let mut rest = parts.next().unwrap_or_default().trim_start();
    let mut namespaces = Vec::new();
    if let Some(value) = rest.strip_prefix("namespaces=\"") {
        let (list, after) = value.split_once('"').ok_or("namespaces=\" is not closed")?;
        namespaces = list.split(',').map(str::to_owned).collect();
        rest = after.trim_start();
    }
    let key = PublicKey::from_openssh(rest).map_err(|e| {
        format!("expected an option namespaces=\"…\" or a key such as ssh-ed25519 AAAA…: {e}")
    })?;
    Ok(Signer { principals, namespaces, key })
}

fn check(
    key: &PublicKey,
    namespace: &str,
    signed: &SignedText,
    signature: &SshSig,
) -> Result<(), BadSignature> {
    if signature.namespace() != namespace {
        return Err(BadSignature::OtherNamespace {
            expected: namespace.into(),
            found: signature.namespace().into(),
        });
    }
    key.verify(namespace, signed.text.as_bytes(), signature).map_err(|_| BadSignature::Mismatch)
}

/// Verifies a document against one known key (the server's order key).
///
/// # Errors
/// Says why the signature does not hold.
pub fn verify_with(key: &PublicKey, namespace: &str, signed: &SignedText) -> Result<(), BadSignature> {
    let signature: SshSig =
        signed.signature.parse().map_err(|e: ssh_key::Error| BadSignature::Unreadable(e.to_string()))?;
    if signature.public_key() != key.key_data() {
        let other = PublicKey::from(signature.public_key().clone());
        return Err(BadSignature::UnknownKey(other.fingerprint(HashAlg::Sha256).to_string()));
    }
    check(key, namespace, signed, &signature)
}

/// Signs a document.
///
/// # Errors
/// Returns the key's error, for instance because it is locked by a passphrase.
pub fn sign(key: &PrivateKey, namespace: &str, text: &str) -> Result<SignedText, ssh_key::Error> {
    let signature = SshSig::sign(key, namespace, HashAlg::Sha512, text.as_bytes())?;
    Ok(SignedText { text: text.into(), signature: signature.to_pem(ssh_key::LineEnding::LF)? })
}
