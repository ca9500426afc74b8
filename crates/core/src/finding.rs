//! What an inspector found, with a fingerprint that survives edits elsewhere in the file.

use crate::digest::hex;
use crate::ids::RuleId;
use crate::severity::{Confidence, Cvss, Severity};
use serde::{Deserialize, Serialize};

/// The parts a stable fingerprint is made of. Line numbers are never among them: a baseline must
/// not rot when a line is added above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Subject {
    /// A place in a source or configuration file.
    Source {
        /// Path relative to the project, with `/`.
        path: String,
        /// 1-based line, for people; not part of the fingerprint.
        line: Option<u32>,
        /// The matched text with white space folded, already redacted if it is a secret
        /// (then a keyed or truncated digest stands here).
        normalised: String,
        /// The enclosing function, class, table or section, if known.
        symbol: Option<String>,
        /// 0 for the first occurrence of the same text in the same symbol, then 1, …
        ordinal: u32,
    },
    /// A component of a lock file that an advisory names.
    Component {
        /// Alias group of the advisory, for example `GHSA-…` or `CVE-…`.
        advisory: String,
        /// Package URL without its version.
        purl: String,
        /// The locked version, for people; not part of the fingerprint.
        version: String,
        /// Path of the lock file.
        lock_path: String,
        /// 1-based line in the lock file, for people.
        line: Option<u32>,
    },
    /// A member of a model file.
    Model {
        /// Path of the file.
        path: String,
        /// Member inside an archive, or empty.
        member: String,
        /// The opcode with its global, or the tensor.
        detail: String,
        /// Byte offset, for people.
        offset: Option<u64>,
    },
    /// A route of a running service.
    Endpoint {
        /// HTTP method.
        method: String,
        /// Route pattern.
        route: String,
    },
}

impl Subject {
    /// The path a reader opens.
    pub fn path(&self) -> &str {
        match self {
            Self::Source { path, .. } | Self::Model { path, .. } => path,
            Self::Component { lock_path, .. } => lock_path,
            Self::Endpoint { route, .. } => route,
        }
    }

    /// The line a reader goes to.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Source { line, .. } | Self::Component { line, .. } => *line,
            Self::Model { .. } | Self::Endpoint { .. } => None,
        }
    }

    /// The parts that identify the finding, in a fixed order, for the fingerprint.
    pub fn identity(&self) -> Vec<String> {
        match self {
            Self::Source {
                path,
                normalised,
                symbol,
                ordinal,
                ..
            } => vec![
                "source".into(),
                normalised.clone(),
                symbol.clone().unwrap_or_default(),
                path.clone(),
                ordinal.to_string(),
            ],
            Self::Component {
                advisory,
                purl,
                lock_path,
                ..
            } => {
                vec![
                    "component".into(),
                    advisory.clone(),
                    purl.clone(),
                    lock_path.clone(),
                ]
            }
            Self::Model {
                path,
                member,
                detail,
                ..
            } => {
                vec!["model".into(), path.clone(), member.clone(), detail.clone()]
            }
            Self::Endpoint { method, route } => {
                vec!["endpoint".into(), method.clone(), route.clone()]
            }
        }
    }
}

/// 32 hex digits that name the same finding across scans.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Derives the fingerprint of a rule at a subject: the first 16 octets of a hash, handed in so
    /// that this crate needs no cryptography, over length-prefixed parts.
    pub fn derive(rule: &RuleId, subject: &Subject, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Self {
        let mut bytes = Vec::new();
        let identity = subject.identity();
        for part in std::iter::once(rule.as_str()).chain(identity.iter().map(String::as_str)) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(hex(&sha256(&bytes)[..16]))
    }

    /// The 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One replacement that would mend the finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Path relative to the project.
    pub path: String,
    /// Byte range to replace.
    pub start: u64,
    /// End of the byte range, exclusive.
    pub end: u64,
    /// What to put there.
    pub replacement: String,
}

/// Something an inspector found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable across scans; see [`Fingerprint`].
    pub fingerprint: Fingerprint,
    /// The rule that fired.
    pub rule: RuleId,
    /// Where.
    pub subject: Subject,
    /// One line: what is wrong.
    pub title: String,
    /// Qualitative severity.
    pub severity: Severity,
    /// Vector and score, when known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cvss: Option<Cvss>,
    /// How sure.
    pub confidence: Confidence,
    /// What an attacker gains.
    pub impact: String,
    /// The full fix: what to change, with exact versions where they exist.
    pub fix: String,
    /// What to do until then.
    pub mitigation: String,
    /// What was seen, with secrets redacted.
    pub evidence: String,
    /// Where to read more (URLs, advisory ids).
    #[serde(default)]
    pub references: Vec<String>,
    /// `CWE-502`, `LLM01`, `AML.T0010`, …
    #[serde(default)]
    pub tags: Vec<String>,
    /// A mechanical fix, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edit: Option<Edit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake_hash(bytes: &[u8]) -> [u8; 32] {
        let mut out = [0_u8; 32];
        for (i, b) in bytes.iter().enumerate() {
            out[i % 32] = out[i % 32].wrapping_mul(31).wrapping_add(*b);
        }
        out
    }

    fn source(line: u32, ordinal: u32, text: &str) -> Subject {
        Subject::Source {
            path: "a.py".into(),
            line: Some(line),
            normalised: text.into(),
            symbol: None,
            ordinal,
        }
    }

    #[test]
    fn the_fingerprint_ignores_lines_but_not_text_or_ordinal() {
        let rule = RuleId::of("admit/x");
        let of = |s: &Subject| Fingerprint::derive(&rule, s, fake_hash);
        assert_eq!(of(&source(1, 0, "k")), of(&source(99, 0, "k")));
        assert_ne!(of(&source(1, 0, "k")), of(&source(1, 1, "k")));
        assert_ne!(of(&source(1, 0, "k")), of(&source(1, 0, "l")));
    }
}
