//! Operators and what their roles let them do. Credentials live elsewhere and never enter the journal.

use serde::{Deserialize, Serialize};

/// Who the server itself is in the journal, when it installs signed documents from its own folder or is told
/// something on its own machine. No operator can have this name.
pub const SERVER_ACCOUNT: &str = "sopwith";

/// A role; each may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Approver,
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Approver, Role::Admin];
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = crate::ids::InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or_else(|| crate::ids::InvalidName::new("role", text, "viewer, operator, approver or admin"))
    }
}

/// An operator as the journal knows him.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    pub role: Role,
    pub disabled: bool,
}
