//! Files and keys that must stay as the administrator says they are.

use super::at::{At, Leaf, Period};
use super::backups::Mode;
use serde::Deserialize;
use sopwith_domain::signal::Severity;
use sopwith_domain::value::{AbsPath, Word};

/// What is said of one file or folder. What is not said is not looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub path: At<AbsPath>,
    /// `sha256:` and the digest of its content, or `first-seen`: as the agent finds it the first time.
    #[serde(default)]
    pub content: Option<At<Content>>,
    /// Copy that it must be equal to.
    #[serde(default)]
    pub known_good: Option<At<AbsPath>>,
    #[serde(default)]
    pub owner: Option<At<Word>>,
    #[serde(default)]
    pub group: Option<At<Word>>,
    /// Permission bits in octal.
    #[serde(default)]
    pub mode: Option<At<Mode>>,
    /// `absent`: it must not be there.
    #[serde(default)]
    pub absent: Option<At<bool>>,
    #[serde(default = "drift_for", rename = "for")]
    pub tolerance: At<Period>,
    #[serde(default = "drift_severity")]
    pub severity: At<Severity>,
}

fn drift_for() -> At<Period> {
    At::of(Period::secs(1))
}
fn drift_severity() -> At<Severity> {
    At::of(Severity::Warning)
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    FirstSeen,
    Sha256([u8; 32]),
}

impl Leaf for Content {
    fn read(text: &str) -> Result<Self, String> {
        if text == "first-seen" {
            return Ok(Self::FirstSeen);
        }
        let digest = text.strip_prefix("sha256:").and_then(|hex| hex::decode(hex).ok());
        let digest = digest.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        digest.map(Self::Sha256).ok_or_else(|| format!("{text:?} is neither first-seen nor sha256:DIGEST"))
    }
    fn placeholder() -> Self {
        Self::FirstSeen
    }
}
