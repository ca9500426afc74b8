//! What remains of a request: one leaf and one event, whatever happened to it.
//!
//! INVARIANT: a settlement that is dropped settles itself. A client that goes away, a future that
//! is cancelled, an early return: none of them loses the leaf.

use crate::error::GatewayError;
use crate::pipeline::Gateway;
use ringfence_core::detection::Channel;
use ringfence_core::digest::hex;
use ringfence_core::error::Explain;
use ringfence_core::event::{EventVerdict, Layer, Occurrence, Target};
use ringfence_core::ids::{ProjectId, RequestId, RuleId};
use ringfence_core::leaf::{Leaf, LeafAction, Outcome};
use ringfence_core::ports::LeafSlot;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where a count of tokens comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenSource {
    /// Nothing was counted.
    #[default]
    None,
    /// The engine said so.
    Engine,
    /// Four octets of text are taken for one token.
    Estimate,
}

impl TokenSource {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Engine => "engine",
            Self::Estimate => "estimate",
        }
    }
}

/// What is known of a request so far. No text of it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its id.
    pub id: RequestId,
    /// Whose project.
    pub project: ProjectId,
    /// Who, as in leaves.
    pub actor: String,
    /// Who, as in events.
    pub target: Target,
    /// The route's path in the table.
    pub route: &'static str,
    /// The upstream's name.
    pub upstream: String,
    /// The model, if the upstream is known to have it; else `unlisted`.
    pub model: String,
    /// HTTP status sent to the client; 0 while there is none.
    pub status: u16,
    /// Code of the error, if there was one.
    pub code: Option<&'static str>,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of the prompt.
    pub tokens_in: u64,
    /// Tokens of the answer.
    pub tokens_out: u64,
    /// Where these come from.
    pub tokens_source: TokenSource,
    /// Octets of text seen, on the way in and out.
    pub text_bytes: (u64, u64),
    /// Rules that spoke.
    pub rules: BTreeSet<RuleId>,
    /// How often the shield spoke without stopping the request.
    pub shield_hits: u64,
    /// Spans redacted on the way in.
    pub redactions_in: u64,
    /// Spans redacted on the way out.
    pub redactions_out: u64,
    /// Keyed hash of the request body.
    pub input: Option<[u8; 32]>,
    /// Nanoseconds until the first octet of the answer.
    pub first_ns: Option<u64>,
}

/// The obligation to write a leaf.
pub struct Settlement {
    gateway: Arc<Gateway>,
    slot: Option<Box<dyn LeafSlot>>,
    start_ns: u64,
    ended: bool,
    /// What the leaf will say.
    pub facts: Facts,
}

impl Settlement {
    /// Takes the obligation on.
    pub fn new(
        gateway: Arc<Gateway>,
        slot: Box<dyn LeafSlot>,
        facts: Facts,
        start_ns: u64,
    ) -> Self {
        Self {
            gateway,
            slot: Some(slot),
            start_ns,
            ended: false,
            facts,
        }
    }

    /// Notes that the first octet of the answer is there.
    pub fn first_octet(&mut self) {
        if self.facts.first_ns.is_none() {
            self.facts.first_ns = Some(self.elapsed_ns());
        }
    }

    /// Notes that the request ended as asked.
    pub fn complete(&mut self) {
        self.ended = true;
    }

    /// Notes that the request ended with an error, and tells who watches.
    pub fn fail(&mut self, error: &GatewayError, channel: Option<Channel>) {
        self.ended = true;
        self.facts.code = Some(error.code().0);
        self.facts.outcome = if error.is_denial() {
            Outcome::Denied
        } else {
            Outcome::Failed
        };
        self.facts.rules.extend(error.rule().cloned());
        if self.facts.status == 0 {
            self.facts.status = error.status();
        }
        let facts = &self.facts;
        let mut event = Occurrence::new(
            self.gateway.now(),
            facts.project.clone(),
            facts.target.clone(),
            event_kind(error),
        )
        .within(facts.id.clone())
        .with("code", error.code().0)
        .with("route", facts.route);
        if error.is_denial() {
            event = event.denied(error.rule().cloned());
        } else {
            // A failure is no measurement: it must not be the first thing that is dropped.
            event.layer = Layer::Control;
            event.verdict = EventVerdict::Alert;
        }
        if let Some(channel) = channel {
            event = event.with(
                "channel",
                serde_json::to_value(channel).unwrap_or(Value::Null),
            );
        }
        self.gateway.emit(event);
    }

    fn elapsed_ns(&self) -> u64 {
        self.gateway.monotonic_ns().saturating_sub(self.start_ns)
    }

    fn finish(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        if !self.ended {
            self.facts.code = Some("run/client-gone");
            self.facts.outcome = Outcome::Failed;
        }
        self.estimate();
        let latency_ns = self.elapsed_ns();
        slot.settle(self.leaf(latency_ns));
        let event = self.event(latency_ns);
        self.gateway.emit(event);
        let redactions = self.facts.redactions_in + self.facts.redactions_out;
        self.count("run.shield.tagged", self.facts.shield_hits);
        self.count("run.pii.redacted", redactions);
    }

    /// Tells how often something happened that did not stop the request.
    fn count(&self, kind: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        let facts = &self.facts;
        let (project, target) = (facts.project.clone(), facts.target.clone());
        let event = Occurrence::new(self.gateway.now(), project, target, kind)
            .within(facts.id.clone())
            .with("count", count);
        self.gateway.emit(event);
    }

    fn estimate(&mut self) {
        let facts = &mut self.facts;
        if facts.tokens_source == TokenSource::None && facts.text_bytes != (0, 0) {
            facts.tokens_in = facts.text_bytes.0.div_ceil(4);
            facts.tokens_out = facts.text_bytes.1.div_ceil(4);
            facts.tokens_source = TokenSource::Estimate;
        }
    }

    fn leaf(&self, latency_ns: u64) -> Leaf {
        let facts = &self.facts;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX).min(1 << 53);
        let rules = facts
            .rules
            .iter()
            .take(RULES_KEPT_MAX)
            .map(ToString::to_string)
            .collect();
        let mut leaf = Leaf::new(
            self.gateway.now(),
            facts.project.clone(),
            facts.actor.clone(),
            LeafAction::RequestSettle,
            facts.route,
        )
        .outcome(facts.outcome)
        .with("upstream", facts.upstream.as_str())
        .with("model", facts.model.as_str())
        .with("status", i64::from(facts.status))
        .with("tokens_in", number(facts.tokens_in))
        .with("tokens_out", number(facts.tokens_out))
        .with("tokens_source", facts.tokens_source.as_str())
        .with(
            "shield_rules",
            Vec::<String>::from_iter::<Vec<String>>(rules),
        )
        .with(
            "redactions",
            number(facts.redactions_in + facts.redactions_out),
        )
        .with("latency_ms", number(latency_ns / 1_000_000));
        if let Some(code) = facts.code {
            leaf = leaf.with("code", code);
        }
        if let Some(input) = &facts.input {
            leaf = leaf.with("input_hmac", hex(input));
        }
        leaf.trace = Some(facts.id.clone());
        leaf
    }

    fn event(&self, latency_ns: u64) -> Occurrence {
        let facts = &self.facts;
        Occurrence::new(
            self.gateway.now(),
            facts.project.clone(),
            facts.target.clone(),
            "run.request.finished",
        )
        .within(facts.id.clone())
        .with("route", facts.route)
        .with("upstream", facts.upstream.as_str())
        .with("model", facts.model.as_str())
        .with("status", facts.status)
        .with("code", facts.code.map_or(Value::Null, Value::from))
        .with("tokens_in", facts.tokens_in)
        .with("tokens_out", facts.tokens_out)
        .with("tokens_source", facts.tokens_source.as_str())
        .with("shield_hits", facts.rules.len())
        .with("redactions_in", facts.redactions_in)
        .with("redactions_out", facts.redactions_out)
        .with("latency_ms", latency_ns / 1_000_000)
        .with("latency_us", latency_ns / 1_000)
        .with(
            "first_ms",
            facts
                .first_ns
                .map_or(Value::Null, |ns| Value::from(ns / 1_000_000)),
        )
    }
}

/// LIMIT: rules named in one leaf, which has at most 8 KiB.
const RULES_KEPT_MAX: usize = 32;

impl Drop for Settlement {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The event that tells of an error.
pub fn event_kind(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::RouteUnknown | GatewayError::RouteClosed | GatewayError::Method => {
            "run.route.refused"
        }
        GatewayError::KeyMissing
        | GatewayError::KeyMalformed
        | GatewayError::KeyUnknown
        | GatewayError::KeyExpired
        | GatewayError::KeyRevoked
        | GatewayError::BackOff { .. } => "run.key.refused",
        GatewayError::Breaker => "run.breaker.refused",
        GatewayError::RateLimit { .. } => "run.limit.refused",
        GatewayError::Record => "run.record.refused",
        GatewayError::ShieldBlocked(_) | GatewayError::NotScanned(_) => "run.shield.blocked",
        GatewayError::PiiBlocked(_) => "run.pii.blocked",
        GatewayError::OutputBlocked(_) => "run.output.blocked",
        GatewayError::Malformed(_) | GatewayError::Body(_) => "run.request.malformed",
        GatewayError::AppUnknown => "run.app.refused",
        GatewayError::AppDown => "run.app.failed",
        _ => "run.upstream.failed",
    }
}
