//! Looks at a request before any engine does: every text of it, whoever wrote it, wherever it
//! stands.
//!
//! It does not know the fields of the protocols one by one. It walks the whole document and asks
//! only who wrote a text; a field that nobody here has heard of is looked at like what the user
//! wrote. So a new field cannot become an unguarded one.

use crate::config::GuardConfig;
use crate::error::GatewayError;
use crate::guard::{Guard, filter_whole};
use crate::routes::RouteId;
use bytes::Bytes;
use ringfence_core::detection::{Channel, GuardAction, Scan, Step};
use ringfence_core::ids::RuleId;
use ringfence_core::json::parse_strict;
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// A request that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The octets for the upstream: as they came, unless something was redacted.
    pub bytes: Bytes,
    /// The model that is asked for.
    pub model: Option<String>,
    /// Rules that spoke without stopping the request.
    pub tagged: BTreeSet<RuleId>,
    /// How often the shield spoke without stopping the request.
    pub shield_hits: u64,
    /// How many spans were redacted.
    pub redactions: u64,
    /// Octets of text, for an estimate of tokens.
    pub text_bytes: u64,
}

/// A refused request, with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub error: GatewayError,
    /// In whose text, if the guard stopped it.
    pub channel: Option<Channel>,
}

impl From<GatewayError> for Stopped {
    fn from(error: GatewayError) -> Self {
        Self {
            error,
            channel: None,
        }
    }
}

/// Reads a request strictly and looks at every text in it.
pub fn examine(
    route: RouteId,
    bytes: Bytes,
    guard: &dyn Guard,
    config: &GuardConfig,
) -> Result<Inbound, Stopped> {
    let malformed = |why: &str| GatewayError::Malformed(why.to_owned());
    let mut document = parse_strict(&bytes).map_err(|e| GatewayError::Malformed(e.to_string()))?;
    let Value::Object(request) = &mut document else {
        return Err(malformed("it is not a JSON object").into());
    };
    check_shape(route, request)?;
    let model = request
        .get("model")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let mut look = Look {
        guard,
        config,
        tagged: BTreeSet::new(),
        shield_hits: 0,
        redactions: 0,
        text_bytes: 0,
        changed: false,
    };
    for (key, value) in request.iter_mut() {
        look.names(key, Channel::User)?;
        // Ollama reads names of fields in any case.
        if key.eq_ignore_ascii_case("context") && holds_numbers(value) {
            look.media("a context of token numbers")?;
        }
        match (key.as_str(), value) {
            ("model", Value::String(name)) => look.text(Channel::User, name, Fixed::Yes)?,
            ("seed", Value::Number(_)) => {}
            ("options", Value::Object(options)) => look.options(options)?,
            ("messages", Value::Array(messages)) => {
                for message in messages {
                    look.message(message)?;
                }
            }
            (key, value) if pictures(key, value) => look.media("images")?,
            (key, value) => look.value(top_level(key), value)?,
        }
    }
    let Look {
        tagged,
        shield_hits,
        redactions,
        text_bytes,
        changed,
        ..
    } = look;
    let bytes = if changed {
        let rewritten = serde_json::to_vec(&document);
        Bytes::from(rewritten.map_err(|_| GatewayError::Internal)?)
    } else {
        bytes
    };
    Ok(Inbound {
        bytes,
        model,
        tagged,
        shield_hits,
        redactions,
        text_bytes,
    })
}

/// What the protocol demands so that gateway and engine read the same thing.
fn check_shape(route: RouteId, request: &Map<String, Value>) -> Result<(), GatewayError> {
    let malformed = |why: &str| Err(GatewayError::Malformed(why.to_owned()));
    let chat = matches!(route, RouteId::OpenAiChat | RouteId::OllamaChat);
    match request.get("messages") {
        Some(Value::Array(messages)) if messages.iter().all(Value::is_object) => {}
        None if !chat => {}
        _ => return malformed("messages is not a list of objects"),
    }
    match request.get("model") {
        None | Some(Value::String(_)) => {}
        _ => return malformed("model is not a text"),
    }
    match request.get("stream") {
        None | Some(Value::Bool(_) | Value::Null) => Ok(()),
        _ => malformed("stream is not true or false"),
    }
}

/// Whether a field holds pictures, as Ollama reads its name: in any case, and with a long s for an
/// s (the folding of Go's `encoding/json`).
fn pictures(key: &str, value: &Value) -> bool {
    key.replace('\u{17f}', "s").eq_ignore_ascii_case("images")
        && value.as_array().is_some_and(|images| !images.is_empty())
}

/// Ollama's `context` is a conversation as token numbers: a whole attack can stand in it, and no
/// detector of text would see it.
fn holds_numbers(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::Array(items) => items.iter().any(holds_numbers),
        Value::Object(fields) => fields.values().any(holds_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// A number as a person would write it: the digits before the point. What stands behind it is a
/// measure, and coordinates look like cards often enough to matter.
fn digits(number: &Number) -> String {
    if let Some(n) = number.as_u64() {
        n.to_string()
    } else if let Some(n) = number.as_i64() {
        n.unsigned_abs().to_string()
    } else {
        let n = number.as_f64().unwrap_or_default();
        format!("{:.0}", n.abs().trunc())
    }
}

fn top_level(key: &str) -> Channel {
    match key {
        "system" | "template" => Channel::System,
        "tools" | "functions" | "response_format" | "format" => Channel::ToolSchema,
        "documents" => Channel::Document,
        _ => Channel::User,
    }
}

fn of_role(role: Option<&str>) -> Channel {
    match role {
        Some("system" | "developer") => Channel::System,
        Some("assistant") => Channel::Assistant,
        Some("tool" | "function" | "ipython") => Channel::ToolResult,
        _ => Channel::User,
    }
}

/// Whether a text may be rewritten.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fixed {
    Yes,
    No,
}

struct Look<'a> {
    guard: &'a dyn Guard,
    config: &'a GuardConfig,
    tagged: BTreeSet<RuleId>,
    shield_hits: u64,
    redactions: u64,
    text_bytes: u64,
    changed: bool,
}

impl Look<'_> {
    fn message(&mut self, message: &mut Value) -> Result<(), Stopped> {
        let channel = of_role(message.get("role").and_then(Value::as_str));
        if let Some(Value::Array(parts)) = message.get("content") {
            self.parts(channel, parts)?;
        }
        if let Value::Object(fields) = &*message
            && fields.iter().any(|(key, value)| pictures(key, value))
        {
            self.media("images")?;
        }
        self.value(channel, message)
    }

    /// Content in parts. An engine joins the texts, so they are looked at joined as well:
    /// otherwise an attack cut into two parts passes.
    fn parts(&mut self, channel: Channel, parts: &[Value]) -> Result<(), Stopped> {
        let mut texts: Vec<&str> = Vec::new();
        for part in parts {
            match part.get("type").and_then(Value::as_str) {
                Some("text" | "input_text" | "output_text" | "refusal") => {
                    texts.extend(part.get("text").and_then(Value::as_str));
                }
                Some("thinking" | "reasoning") => {}
                _ if part.is_string() => texts.extend(part.as_str()),
                _ => self.media("a content part that is not text")?,
            }
        }
        if texts.len() > 1 {
            self.shield(channel, &texts.concat())?;
            self.shield(channel, &texts.join("\n"))?;
        }
        Ok(())
    }

    fn value(&mut self, channel: Channel, value: &mut Value) -> Result<(), Stopped> {
        match value {
            Value::String(text) => self.text(channel, text, Fixed::No),
            Value::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.value(channel, item)),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    self.names(key, channel)?;
                    self.value(channel, value)?;
                }
                Ok(())
            }
            Value::Number(number) => {
                let written = digits(number);
                let mut text = written.clone();
                self.personal(channel, &mut text, Fixed::No)?;
                if text != written {
                    *value = Value::String(text);
                }
                Ok(())
            }
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    /// Ollama's settings. A seed never reaches the model, and one random seed in forty is a valid
    /// card number: redacting it would break honest requests.
    fn options(&mut self, options: &mut Map<String, Value>) -> Result<(), Stopped> {
        for (key, value) in options.iter_mut() {
            self.names(key, Channel::User)?;
            if key != "seed" || !value.is_number() {
                self.value(Channel::User, value)?;
            }
        }
        Ok(())
    }

    /// The name of a field reaches the model too, in a tool's schema for example. It is never
    /// rewritten: another name is another request. So what would be redacted is refused.
    fn names(&mut self, key: &str, channel: Channel) -> Result<(), Stopped> {
        self.shield(channel, key)?;
        let action = self.config.pii_inbound;
        if action == GuardAction::Pass {
            return Ok(());
        }
        let (_, hits, step) = filter_whole(self.guard.inbound(), key);
        let blocked = match step {
            Step::Block(hit) => Some(hit),
            _ if action == GuardAction::Tag => None,
            Step::Continue => hits.first().cloned(),
        };
        if let Some(hit) = blocked {
            return Err(Stopped {
                error: GatewayError::PiiBlocked(hit.rule),
                channel: Some(channel),
            });
        }
        self.tagged.extend(hits.into_iter().map(|hit| hit.rule));
        Ok(())
    }

    fn text(&mut self, channel: Channel, text: &mut String, fixed: Fixed) -> Result<(), Stopped> {
        self.text_bytes += text.len() as u64;
        self.shield(channel, text)?;
        self.personal(channel, text, fixed)
    }

    fn shield(&mut self, channel: Channel, text: &str) -> Result<(), Stopped> {
        let action = match channel {
            Channel::ToolResult | Channel::ToolSchema | Channel::Document => {
                self.config.shield_tools
            }
            _ => self.config.shield,
        };
        if action == GuardAction::Pass {
            return Ok(());
        }
        let stop = |error| {
            Err(Stopped {
                error,
                channel: Some(channel),
            })
        };
        match self.guard.scan(channel, text) {
            Scan::NotScanned(_) if self.config.unscanned == GuardAction::Pass => Ok(()),
            Scan::NotScanned(why) => stop(GatewayError::NotScanned(why)),
            Scan::Scanned(hits) => match hits.into_iter().next() {
                Some(hit) if action != GuardAction::Tag => {
                    stop(GatewayError::ShieldBlocked(hit.rule))
                }
                Some(hit) => {
                    self.tagged.insert(hit.rule);
                    self.shield_hits += 1;
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }

    fn personal(
        &mut self,
        channel: Channel,
        text: &mut String,
        fixed: Fixed,
    ) -> Result<(), Stopped> {
        let action = self.config.pii_inbound;
        if action == GuardAction::Pass {
            return Ok(());
        }
        let (filtered, hits, step) = filter_whole(self.guard.inbound(), text);
        if let Step::Block(hit) = step {
            let error = GatewayError::PiiBlocked(hit.rule);
            return Err(Stopped {
                error,
                channel: Some(channel),
            });
        }
        self.tagged.extend(hits.iter().map(|hit| hit.rule.clone()));
        if action == GuardAction::Redact && fixed == Fixed::No && filtered != *text {
            self.redactions += hits.len() as u64;
            self.changed = true;
            *text = filtered;
        }
        Ok(())
    }

    fn media(&mut self, what: &str) -> Result<(), Stopped> {
        match self.config.unscanned {
            GuardAction::Pass => Ok(()),
            _ => Err(GatewayError::NotScanned(what.to_owned()).into()),
        }
    }
}
