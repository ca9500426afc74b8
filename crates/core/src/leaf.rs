//! One line of the log that can be proved.
//!
//! A leaf is versioned RFC 8785 canonical JSON of at most [`LEAF_BYTES_MAX`] octets. It never holds
//! plaintext personal data or a secret; digests of user text are keyed, so that erasing the key
//! erases what the digest could reveal.
//!
//! Version 1 is frozen: `docs/schema/leaf-v1.json` says what it may hold, and
//! `docs/schema/leaf-v1.golden.jsonl` has a leaf of each kind, octet for octet. From here on it only
//! grows: an action is never renamed or removed, and a field never changes its meaning.

use crate::digest::Digest;
use crate::ids::{ProjectId, RequestId};
use crate::json::{CanonicalError, SAFE_INTEGER_MAX};
use crate::limits::LEAF_BYTES_MAX;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that [`Leaf::canonical`] writes.
pub const LEAF_VERSION: u32 = 1;

/// Declares the actions once: variant, name and meaning.
macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What kind of thing happened. Names are `noun.verb`, additive for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum LeafAction {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl LeafAction {
            /// All of them, in the order of the schema.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name as it stands in the log.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

actions! {
    /// A project was scanned and a verdict reached.
    AdmissionDecide = "admission.decide",
    /// A sandbox started; the object is its attestation.
    SandboxStart = "sandbox.start",
    /// A sandbox ended.
    SandboxStop = "sandbox.stop",
    /// A sandbox was refused something, or its state was changed from outside.
    SandboxEvent = "sandbox.event",
    /// The service started.
    ServiceStart = "service.start",
    /// The service stopped.
    ServiceStop = "service.stop",
    /// A role ended unexpectedly and was replaced.
    ServiceRecover = "service.recover",
    /// An API key was made.
    KeyCreate = "key.create",
    /// An API key was revoked.
    KeyRevoke = "key.revoke",
    /// A secret was handed to whom it is for.
    SecretUse = "secret.use",
    /// A secret was stored, rotated or removed.
    SecretChange = "secret.change",
    /// Somebody asked for access; the detail says who and why.
    AccessRequest = "access.request",
    /// Access was granted or refused.
    AccessDecide = "access.decide",
    /// A rule was waived until a date.
    WaiverCreate = "waiver.create",
    /// The effective configuration, or a change of it.
    ConfigApply = "config.apply",
    /// The summary of one request.
    RequestSettle = "request.settle",
    /// A model called a tool, or was kept from it.
    ToolCall = "tool.call",
    /// A case changed its state.
    CaseChange = "case.change",
    /// A breaker changed its state.
    BreakerChange = "breaker.change",
    /// A code execution through the exec API.
    ExecFinish = "exec.finish",
    /// A sandbox reached a host for the first time.
    EgressOpen = "egress.open",
    /// A model was registered or changed its stage.
    ModelStage = "model.stage",
    /// A training run began or ended; the detail names data, code and output.
    TrainingRun = "training.run",
    /// Somebody signed in, or tried to.
    LoginAttempt = "login.attempt",
    /// A control was weakened on request of the operator.
    ControlWeaken = "control.weaken",
    /// The keys of a person's sealed payloads were destroyed.
    SubjectErase = "subject.erase",
    /// The log itself: a block of sequence numbers closed with numbers unaccounted for.
    LogGap = "log.gap",
    /// The log itself: tiles were copied to storage that keeps them from being changed.
    LogExport = "log.export",
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

/// One line of the log. The fields stand in the order of their names, which is the order of
/// canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// What was done.
    pub action: LeafAction,
    /// Who did it: `key:…`, `user:…`, `sandbox:…`, `service`.
    pub actor: String,
    /// Digest of a sealed payload kept outside the log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blob: Option<Digest>,
    /// Digest of the effective configuration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<Digest>,
    /// Further facts, by names of ASCII.
    #[serde(default)]
    pub detail: BTreeMap<String, Detail>,
    /// What it was done to.
    pub object: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Digest of the policy that decided, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<Digest>,
    /// Whose project.
    pub project: ProjectId,
    /// When, by the clock of who wrote it.
    pub time: Timestamp,
    /// The request this belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace: Option<RequestId>,
    /// [`LEAF_VERSION`].
    pub v: u32,
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
    /// A name in the details that is not ASCII: its place in canonical JSON would be another.
    #[error("names of details are ASCII, this one is not: {0}")]
    Name(String),
    /// A leaf of a version that this program does not know.
    #[error("a leaf of version {0}; this program knows version {LEAF_VERSION}")]
    Version(u32),
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
        let safe = |n: i64| n.unsigned_abs() <= SAFE_INTEGER_MAX;
        for (name, value) in &self.detail {
            if !name.is_ascii() {
                return Err(LeafError::Name(name.clone()));
            }
            if matches!(value, Detail::Integer(n) if !safe(*n)) {
                return Err(CanonicalError.into());
            }
        }
        if !safe(self.time.0) {
            return Err(CanonicalError.into());
        }
        // The fields of every part stand in canonical order, and the writer escapes as RFC 8785
        // wants, so that nothing is left to sort; a law holds this against the general function.
        let bytes = serde_json::to_vec(self).map_err(|e| LeafError::Malformed(e.to_string()))?;
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(LeafError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads octets back and refuses what [`Leaf::canonical`] would not have written.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        let leaf: Self =
            serde_json::from_slice(bytes).map_err(|e| LeafError::Malformed(e.to_string()))?;
        if leaf.v != LEAF_VERSION {
            return Err(LeafError::Version(leaf.v));
        }
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
    use crate::json::canonical;
    use std::collections::BTreeSet;

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
    fn action_names_agree_with_their_serialised_form_and_stand_once() {
        let names: BTreeSet<&str> = LeafAction::ALL.iter().map(|a| a.as_str()).collect();
        assert_eq!(names.len(), LeafAction::ALL.len());
        for action in LeafAction::ALL {
            let text = serde_json::to_string(action).unwrap();
            assert_eq!(text, format!("\"{}\"", action.as_str()));
        }
    }

    #[test]
    fn the_octets_are_those_that_rfc_8785_asks_for() {
        let strange: String = (0..0x300_u32)
            .chain([0x2028, 0xfeff, 0xfffd, 0x1_f600])
            .filter_map(char::from_u32)
            .collect();
        for leaf in [
            leaf(),
            full(),
            leaf().with(&strange[..0x80], strange.as_str()),
            leaf().with("z", -5_i64).with("A", true).with("a", 1_u32),
            leaf().with("list", vec![strange.clone(), String::new()]),
        ] {
            let general = canonical(&serde_json::to_value(&leaf).unwrap()).unwrap();
            assert_eq!(leaf.canonical().unwrap(), general);
        }
    }

    #[test]
    fn integers_are_written_up_to_two_to_the_53_and_refused_beyond() {
        let most = i64::try_from(SAFE_INTEGER_MAX).unwrap();
        for (n, written) in [
            (most, true),
            (-most, true),
            (most + 1, false),
            (-most - 1, false),
        ] {
            assert_eq!(leaf().with("n", n).canonical().is_ok(), written, "{n}");
            let mut timed = leaf();
            timed.time = Timestamp(n);
            assert_eq!(timed.canonical().is_ok(), written, "{n}");
        }
        assert!(matches!(
            leaf().with("\u{e9}", true).canonical(),
            Err(LeafError::Name(_))
        ));
        let mut other = leaf();
        other.v = LEAF_VERSION + 1;
        let bytes = other.canonical().unwrap();
        assert_eq!(Leaf::parse(&bytes), Err(LeafError::Version(2)));
    }

    /// A leaf with every field.
    fn full() -> Leaf {
        let mut leaf = leaf()
            .outcome(Outcome::Denied)
            .with("bool", true)
            .with("integer", -1_i64)
            .with("list", vec!["a".to_owned(), "b".to_owned()])
            .with("text", "t");
        leaf.policy = Some(Digest([1; 32]));
        leaf.config = Some(Digest([2; 32]));
        leaf.blob = Some(Digest([3; 32]));
        leaf.trace = Some("req-0001".parse().unwrap());
        leaf
    }

    fn schema() -> serde_json::Value {
        let text = include_str!("../../../docs/schema/leaf-v1.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_published_schema_names_every_field_and_every_action() {
        let schema = schema();
        let actions: Vec<&str> = LeafAction::ALL.iter().map(|a| a.as_str()).collect();
        let properties = &schema["properties"];
        assert_eq!(properties["action"]["enum"], serde_json::json!(actions));
        let value = serde_json::to_value(full()).unwrap();
        let fields: Vec<&String> = value.as_object().unwrap().keys().collect();
        let named: Vec<&String> = properties.as_object().unwrap().keys().collect();
        assert_eq!(fields, named);
        let value = serde_json::to_value(leaf()).unwrap();
        let least: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(schema["required"], serde_json::json!(least));
        assert_eq!(schema["additionalProperties"], false);
    }

    /// FROZEN: these octets are in logs. A change that fails here is a new version, not an edit.
    #[test]
    fn the_golden_leaves_of_version_1_read_back_octet_for_octet() {
        let golden = include_str!("../../../docs/schema/leaf-v1.golden.jsonl");
        let mut seen = BTreeSet::new();
        for line in golden.lines() {
            let leaf = Leaf::parse(line.as_bytes()).unwrap();
            assert_eq!(leaf.canonical().unwrap(), line.as_bytes());
            seen.insert(leaf.action);
        }
        assert_eq!(seen, LeafAction::ALL.iter().copied().collect());
        let lines: Vec<&str> = golden.lines().collect();
        let ours = String::from_utf8(full().canonical().unwrap()).unwrap();
        assert_eq!(lines.last(), Some(&ours.as_str()));
    }
}
