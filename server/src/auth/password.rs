//! Passwords: Argon2id, computed off the async threads, few at a time.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

/// Passwords computed at once, at 19 MiB each.
const AT_ONCE: usize = 2;
pub const PASSWORD_BYTES_MIN: usize = 12;
pub const PASSWORD_BYTES_MAX: usize = 1024;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
/// What a log-in for an unknown name is compared with, so that it takes as long as for a known one.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hash_now(&super::secret::make("nobody")).unwrap_or_default());

/// Why a password is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    #[error("the password has {0} bytes, at least {PASSWORD_BYTES_MIN} are needed")]
    TooShort(usize),
    #[error("the password has {0} bytes, at most {PASSWORD_BYTES_MAX} are read")]
    TooLong(usize),
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

fn argon2() -> Argon2<'static> {
    // OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane; these are the crate's defaults.
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

fn hash_now(password: &str) -> Result<String, BadPassword> {
    let failed = |e: argon2::password_hash::Error| BadPassword::Hash(e.to_string());
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(failed)?;
    Ok(argon2().hash_password(password.as_bytes(), &salt).map_err(failed)?.to_string())
}

/// Checks a new password and hashes it.
///
/// # Errors
/// Says what is wrong with it.
pub async fn hash(password: String) -> Result<String, BadPassword> {
    match password.len() {
        short if short < PASSWORD_BYTES_MIN => return Err(BadPassword::TooShort(short)),
        long if long > PASSWORD_BYTES_MAX => return Err(BadPassword::TooLong(long)),
        _ => {}
    }
    let failed = |e: &dyn std::fmt::Display| BadPassword::Hash(e.to_string());
    let turn = TURNS.acquire().await.map_err(|e| failed(&e))?;
    let hashed = tokio::task::spawn_blocking(move || hash_now(&password)).await.map_err(|e| failed(&e))?;
    drop(turn);
    hashed
}

/// Says whether the password is right. Without a stored hash it takes as long, and is wrong.
pub async fn verify(password: String, stored: Option<String>) -> bool {
    if password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let Ok(turn) = TURNS.acquire().await else { return false };
    let verified = tokio::task::spawn_blocking(move || {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| NOBODY.clone());
        let right = PasswordHash::new(&stored)
            .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok());
        right && known
    });
    let right = verified.await.unwrap_or(false);
    drop(turn);
    right
}
