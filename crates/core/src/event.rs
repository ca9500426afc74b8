//! Something that happened, as WATCH and the console see it. One type for denials, samples, guard
//! verdicts and breaker trips.

use crate::ids::{KeyId, ProjectId, RequestId, RuleId, SandboxId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an event, a breaker or an action is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "id")]
pub enum Target {
    /// A sandbox.
    Sandbox(SandboxId),
    /// An API key.
    Key(KeyId),
    /// One request.
    Request(RequestId),
    /// A process of a sandbox, by the pid its host sees.
    Process(u32),
    /// The host itself.
    Host,
}

/// Which layer of WATCH or which control spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// A measurement.
    Sample,
    /// Layer 0: an invariant or signature.
    Invariant,
    /// Layer 1: a robust statistic of one metric.
    Statistic,
    /// Layer 2: a joint residual.
    Residual,
    /// Layer 3: novelty in a sequence.
    Novelty,
    /// A control that denied something.
    Control,
}

/// What the control or detector concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventVerdict {
    /// For the record.
    Observed,
    /// Something was refused.
    Denied,
    /// Something should be looked at.
    Alert,
}

/// One event. Names of [`Event::kind`] are `stage.noun.verb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Version of this shape, 0.
    pub v: u32,
    /// Unique within the state directory.
    pub id: String,
    /// When.
    pub time: Timestamp,
    /// Start of the process that emitted it, as a random text: tells restarts apart.
    pub boot: String,
    /// Counts up by one within a boot, so that losses show.
    pub seq: u64,
    /// Whose project.
    pub project: ProjectId,
    /// What it is about.
    pub target: Target,
    /// `run.sandbox.denied`, `watch.breaker.trip`, …
    pub kind: String,
    /// Which layer spoke.
    pub layer: Layer,
    /// Which rule, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<RuleId>,
    /// What was concluded.
    pub verdict: EventVerdict,
    /// The event this one follows from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<String>,
    /// The request this belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace: Option<RequestId>,
    /// Further facts; never a prompt, a secret or a key.
    #[serde(default)]
    pub detail: BTreeMap<String, serde_json::Value>,
}

/// What a source of events knows; the sink adds id, boot and sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// When.
    pub time: Timestamp,
    /// Whose project.
    pub project: ProjectId,
    /// What it is about.
    pub target: Target,
    /// `stage.noun.verb`.
    pub kind: &'static str,
    /// Which layer spoke.
    pub layer: Layer,
    /// Which rule.
    pub rule: Option<RuleId>,
    /// What was concluded.
    pub verdict: EventVerdict,
    /// The request this belongs to.
    pub trace: Option<RequestId>,
    /// Further facts.
    pub detail: BTreeMap<String, serde_json::Value>,
}

impl Occurrence {
    /// An observed fact without rule, request or details.
    pub fn new(time: Timestamp, project: ProjectId, target: Target, kind: &'static str) -> Self {
        Self {
            time,
            project,
            target,
            kind,
            layer: Layer::Sample,
            rule: None,
            verdict: EventVerdict::Observed,
            trace: None,
            detail: BTreeMap::new(),
        }
    }

    /// The same occurrence as a refusal by a control.
    #[must_use]
    pub fn denied(mut self, rule: Option<RuleId>) -> Self {
        self.layer = Layer::Control;
        self.verdict = EventVerdict::Denied;
        self.rule = rule;
        self
    }

    /// The same occurrence within a request.
    #[must_use]
    pub fn within(mut self, trace: RequestId) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The same occurrence with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}
