//! Random secrets and their hashes. The server stores hashes only; 256 random bits need no slow hash.

use sha2::{Digest as _, Sha256};

/// Makes a secret: a prefix that says what it is, and 256 random bits.
pub fn make(prefix: &str) -> String {
    format!("{prefix}_{}", hex::encode(rand::random::<[u8; 32]>()))
}

/// Makes a short random id, for things that are no secret.
pub fn id() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}

pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Hashes parts so that no two different lists of parts are hashed alike.
pub fn digest_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Says whether a text can be one of our secrets at all.
pub fn plausible(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
