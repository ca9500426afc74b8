//! One line of the log that can be proved.
//!
//! A leaf is versioned RFC 8785 canonical JSON of at most [`LEAF_BYTES_MAX`] octets. It never holds
//! plaintext personal data or a secret; digests of user text are keyed, so that erasing the key
//! erases what the digest could reveal.

use crate::digest::Digest;
use crate::ids::{ProjectId, RequestId};
use crate::json::{CanonicalError, canonical};
use crate::limits::LEAF_BYTES_MAX;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that [`Leaf::canonical`] writes.
pub const LEAF_VERSION: u32 = 0;

/// What kind of thing happened. Names are `noun.verb`, additive for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LeafAction {
    /// A project was scanned and a verdict reached.
    #[serde(rename = "admission.decide")]
    AdmissionDecide,
    /// A sandbox started; the object is its attestation.
    #[serde(rename = "sandbox.start")]
    SandboxStart,
    /// A sandbox ended.
    #[serde(rename = "sandbox.stop")]
    SandboxStop,
    /// The service started.
    #[serde(rename = "service.start")]
    ServiceStart,
    /// The service stopped.
    #[serde(rename = "service.stop")]
    ServiceStop,
    /// A role ended unexpectedly and was replaced.
    #[serde(rename = "service.recover")]
    ServiceRecover,
    /// An API key was made.
    #[serde(rename = "key.create")]
    KeyCreate,
    /// An API key was revoked.
    #[serde(rename = "key.revoke")]
    KeyRevoke,
    /// A rule was waived until a date.
    #[serde(rename = "waiver.create")]
    WaiverCreate,
    /// The effective configuration, or a change of it.
    #[serde(rename = "config.apply")]
    ConfigApply,
    /// The summary of one request.
    #[serde(rename = "request.settle")]
    RequestSettle,
    /// A case changed its state.
    #[serde(rename = "case.change")]
    CaseChange,
    /// A breaker changed its state.
    #[serde(rename = "breaker.change")]
    BreakerChange,
    /// A code execution through the exec API.
    #[serde(rename = "exec.finish")]
    ExecFinish,
    /// Somebody signed in, or tried to.
    #[serde(rename = "login.attempt")]
    LoginAttempt,
    /// A control was weakened on request of the operator.
    #[serde(rename = "control.weaken")]
    ControlWeaken,
    /// The log itself: a block of sequence numbers closed with numbers unaccounted for.
    #[serde(rename = "log.gap")]
    LogGap,
}

impl LeafAction {
    /// The name as it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AdmissionDecide => "admission.decide",
            Self::SandboxStart => "sandbox.start",
            Self::SandboxStop => "sandbox.stop",
            Self::ServiceStart => "service.start",
            Self::ServiceStop => "service.stop",
            Self::ServiceRecover => "service.recover",
            Self::KeyCreate => "key.create",
            Self::KeyRevoke => "key.revoke",
            Self::WaiverCreate => "waiver.create",
            Self::ConfigApply => "config.apply",
            Self::RequestSettle => "request.settle",
            Self::CaseChange => "case.change",
            Self::BreakerChange => "breaker.change",
            Self::ExecFinish => "exec.finish",
            Self::LoginAttempt => "login.attempt",
            Self::ControlWeaken => "control.weaken",
            Self::LogGap => "log.gap",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done as asked.
    Ok,
    /// Refused by a control.
    Denied,
    /// Failed; nothing was let through.
    Failed,
}

/// A value in [`Leaf::detail`]: what canonical JSON can hold without loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// True or false.
    Bool(bool),
    /// An integer within ±2^53.
    Integer(i64),
    /// Text without personal data or secrets.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl From<bool> for Detail {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}
impl From<i64> for Detail {
    fn from(v: i64) -> Self {
        Self::Integer(v)
    }
}
impl From<u32> for Detail {
    fn from(v: u32) -> Self {
        Self::Integer(v.into())
    }
}
impl From<&str> for Detail {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}
impl From<String> for Detail {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}
impl From<Vec<String>> for Detail {
    fn from(v: Vec<String>) -> Self {
        Self::List(v)
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// [`LEAF_VERSION`].
    pub v: u32,
    /// When, by the clock of who wrote it.
    pub time: Timestamp,
    /// Whose project.
    pub project: ProjectId,
    /// Who did it: `key:…`, `user:…`, `sandbox:…`, `service`.
    pub actor: String,
    /// What was done.
    pub action: LeafAction,
    /// What it was done to.
    pub object: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Digest of the policy that decided, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<Digest>,
    /// Digest of the effective configuration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<Digest>,
    /// Digest of a sealed payload kept outside the log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blob: Option<Digest>,
    /// The request this belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace: Option<RequestId>,
    /// Further facts.
    #[serde(default)]
    pub detail: BTreeMap<String, Detail>,
}

/// Why a leaf cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// An integer outside ±2^53.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Longer than [`LEAF_BYTES_MAX`].
    #[error("a leaf has at most {LEAF_BYTES_MAX} octets, this one has {0}")]
    TooLong(usize),
    /// Not JSON of a leaf, or not canonical.
    #[error("not a canonical leaf: {0}")]
    Malformed(String),
}

impl Leaf {
    /// A leaf with the parts that every leaf has.
    pub fn new(
        time: Timestamp,
        project: ProjectId,
        actor: impl Into<String>,
        action: LeafAction,
        object: impl Into<String>,
    ) -> Self {
        Self {
            v: LEAF_VERSION,
            time,
            project,
            actor: actor.into(),
            action,
            object: object.into(),
            outcome: Outcome::Ok,
            policy: None,
            config: None,
            blob: None,
            trace: None,
            detail: BTreeMap::new(),
        }
    }

    /// The same leaf with another outcome.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same leaf with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Detail>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// The octets that are hashed and stored.
    pub fn canonical(&self) -> Result<Vec<u8>, LeafError> {
        let value = serde_json::to_value(self).map_err(|e| LeafError::Malformed(e.to_string()))?;
        let bytes = canonical(&value)?;
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(LeafError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads octets back and refuses what [`Leaf::canonical`] would not have written.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        let leaf: Self =
            serde_json::from_slice(bytes).map_err(|e| LeafError::Malformed(e.to_string()))?;
        if leaf.canonical()? != bytes {
            return Err(LeafError::Malformed(
                "the octets are not in canonical form".to_owned(),
            ));
        }
        Ok(leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Leaf {
        Leaf::new(
            Timestamp(1),
            ProjectId::host(),
            "service",
            LeafAction::ServiceStart,
            "ringfence",
        )
    }

    #[test]
    fn a_leaf_reads_back_and_any_other_spelling_is_refused() {
        let leaf = leaf()
            .with("walls", vec!["seccomp".to_owned()])
            .with("n", 3_i64);
        let bytes = leaf.canonical().unwrap();
        assert_eq!(Leaf::parse(&bytes), Ok(leaf));
        let mut spaced = bytes.clone();
        spaced.insert(1, b' ');
        assert!(matches!(Leaf::parse(&spaced), Err(LeafError::Malformed(_))));
    }

    #[test]
    fn a_leaf_is_accepted_at_the_size_limit_and_refused_one_above() {
        let base = leaf().with("t", "").canonical().unwrap().len();
        let fill = |n: usize| leaf().with("t", "x".repeat(n)).canonical();
        assert_eq!(
            fill(LEAF_BYTES_MAX - base).map(|b| b.len()),
            Ok(LEAF_BYTES_MAX)
        );
        assert_eq!(
            fill(LEAF_BYTES_MAX - base + 1),
            Err(LeafError::TooLong(LEAF_BYTES_MAX + 1))
        );
    }

    #[test]
    fn action_names_agree_with_their_serialised_form() {
        for action in [
            LeafAction::AdmissionDecide,
            LeafAction::RequestSettle,
            LeafAction::LogGap,
        ] {
            let text = serde_json::to_string(&action).unwrap();
            assert_eq!(text, format!("\"{}\"", action.as_str()));
        }
    }
}
