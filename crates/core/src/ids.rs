//! Identifiers, parsed at the door.
//!
//! A project id travels with every record, key, secret, case, sandbox, event and leaf, so that one
//! service can host projects of many owners and still keep them apart.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// LIMIT: characters in a [`ProjectId`] or [`OwnerId`]; fits a DNS label (RFC 1123, 63 octets).
pub const NAME_CHARS_MAX: usize = 63;
/// LIMIT: characters in a machine-made id such as [`SandboxId`] or [`RequestId`].
pub const ID_CHARS_MAX: usize = 64;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("an id cannot be empty")]
    Empty,
    /// The text is longer than the limit.
    #[error("an id has at most {limit} characters, this one has {length}")]
    TooLong {
        /// The limit that applies.
        limit: usize,
        /// The length that was given.
        length: usize,
    },
    /// A character outside the alphabet.
    #[error("character {0:?} is not allowed in an id")]
    Character(char),
}

fn check(text: &str, limit: usize, allowed: fn(char) -> bool) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > limit {
        return Err(IdError::TooLong {
            limit,
            length: text.len(),
        });
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

fn name_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $limit:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text, $limit, $allowed)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check(&text, $limit, $allowed)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

id!(
    /// A hosted project: lower-case letters, digits and `-`, at most 63 characters.
    ProjectId, NAME_CHARS_MAX, name_char
);
id!(
    /// Who owns a project.
    OwnerId, NAME_CHARS_MAX, name_char
);
id!(
    /// One sandbox, unique for the life of the state directory.
    SandboxId, ID_CHARS_MAX, id_char
);
id!(
    /// One API key's public part (never the secret).
    KeyId, ID_CHARS_MAX, id_char
);
id!(
    /// One request through the gateway; also the trace id in leaves and events.
    RequestId, ID_CHARS_MAX, id_char
);
id!(
    /// One case of the vulnerability lifecycle.
    CaseId, ID_CHARS_MAX, id_char
);
id!(
    /// A rule: `stage/kebab-name`-like, letters, digits, `-`, `_`, `.`, `/`.
    RuleId, ID_CHARS_MAX, |c| id_char(c) || c == '/'
);

impl ProjectId {
    /// The project of the host itself: actions that belong to no hosted project.
    pub fn host() -> Self {
        Self("host".to_owned())
    }
}

impl OwnerId {
    /// The owner of a project whose configuration names none.
    pub fn local() -> Self {
        Self("local".to_owned())
    }
}

impl RuleId {
    /// A rule id written in our own source. Falls back to `core/bad-rule-id` rather than panic;
    /// the test of each rule list proves that the fallback is never used.
    pub fn of(text: &'static str) -> Self {
        text.parse()
            .unwrap_or_else(|_| Self("core/bad-rule-id".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_accepted_at_the_limit_and_refused_one_above() {
        let at = "a".repeat(NAME_CHARS_MAX);
        assert_eq!(
            at.parse::<ProjectId>().map(|p| p.to_string()),
            Ok(at.clone())
        );
        let above = "a".repeat(NAME_CHARS_MAX + 1);
        assert_eq!(
            above.parse::<ProjectId>(),
            Err(IdError::TooLong {
                limit: NAME_CHARS_MAX,
                length: NAME_CHARS_MAX + 1
            })
        );
    }

    #[test]
    fn path_characters_are_refused_in_ids() {
        assert_eq!("../etc".parse::<ProjectId>(), Err(IdError::Character('.')));
        assert_eq!("a/b".parse::<SandboxId>(), Err(IdError::Character('/')));
        assert_eq!("".parse::<KeyId>(), Err(IdError::Empty));
    }
}
