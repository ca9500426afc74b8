//! Filters what a model says, wherever in an answer it says it.
//!
//! Like the way in, the way out does not know the fields of the protocols one by one. Each text
//! of an answer is one of three kinds, by its field's name: structure (ids, model names), which
//! the model cannot write; a whole value (a tool's name, parsed arguments), filtered by itself;
//! anything else is a channel that goes on from frame to frame, with a filter of its own for each
//! place it stands at: content, reasoning, refusal, arguments of a tool call, of every choice. A
//! field that nobody here has heard of is a channel.
//!
//! INVARIANT: what is held back for a channel is written before the frame that ends it.

use crate::error::GatewayError;
use crate::guard::{Guard, filter_whole};
use ringfence_core::detection::{Channel, Hit, Step, Stream};
use ringfence_core::ids::RuleId;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// LIMIT: channels of one answer: choices times kinds of text times tool calls.
pub const CHANNELS_MAX: usize = 256;

/// Fields that the engine writes and the model cannot.
const STRUCTURE: [&str; 26] = [
    "id",
    "object",
    "model",
    "role",
    "type",
    "finish_reason",
    "stop_reason",
    "done_reason",
    "system_fingerprint",
    "service_tier",
    "created_at",
    "modified_at",
    "digest",
    "owned_by",
    "root",
    "parent",
    "parent_model",
    "format",
    "family",
    "families",
    "parameter_size",
    "quantization_level",
    "code",
    "request_id",
    "event",
    "param",
];

/// Fields that repeat the answer token by token, where no filter can see a value that spans two
/// tokens. They are emptied.
const TOKENWISE: [&str; 6] = [
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "completion_probabilities",
    "token_ids",
    "prompt_token_ids",
];

/// One step on the way to a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A field.
    Key(String),
    /// An element, by its `index` field, or its position if it has none.
    Element {
        /// Which.
        index: u64,
        /// Whether the element says so itself.
        named: bool,
    },
}

/// Where a channel stands in each frame.
pub type Place = Vec<Segment>;

/// The filters of one answer.
pub struct OutputFilter {
    guard: Arc<dyn Guard>,
    streams: BTreeMap<Place, Box<dyn Stream>>,
    tally: Tally,
}

/// What the filters saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Spans that were acted upon.
    pub hits: u64,
    /// The rules that spoke.
    pub rules: BTreeSet<RuleId>,
    /// Octets of text.
    pub text_bytes: u64,
}

impl Tally {
    fn add(&mut self, hits: &[Hit]) {
        self.hits += hits.len() as u64;
        self.rules.extend(hits.iter().map(|hit| hit.rule.clone()));
    }
}

/// Whether a document goes on in the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Frame,
    Whole,
}

impl OutputFilter {
    /// Filters at the start of an answer.
    pub fn new(guard: Arc<dyn Guard>) -> Self {
        Self {
            guard,
            streams: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Filters one frame of a stream. Returns whether it was changed.
    pub fn frame(&mut self, frame: &mut Value) -> Result<bool, GatewayError> {
        self.walk(frame, &mut Vec::new(), Mode::Frame)
    }

    /// Filters a whole answer. Returns whether it was changed.
    pub fn whole(&mut self, answer: &mut Value) -> Result<bool, GatewayError> {
        let mut changed = self.walk(answer, &mut Vec::new(), Mode::Whole)?;
        changed |= self.drop_context(answer);
        Ok(changed)
    }

    /// Removes Ollama's `context`, the conversation as token numbers, if anything was redacted:
    /// it would carry what the text no longer does.
    pub fn drop_context(&self, answer: &mut Value) -> bool {
        self.tally.hits > 0
            && answer
                .as_object_mut()
                .is_some_and(|a| a.remove("context").is_some())
    }

    /// Ends the channels whose place starts with `prefix` and returns what they held back.
    pub fn flush(&mut self, prefix: &[Segment]) -> Result<Vec<(Place, String)>, GatewayError> {
        let places: Vec<Place> = self
            .streams
            .keys()
            .filter(|p| p.starts_with(prefix))
            .cloned()
            .collect();
        let mut rest = Vec::new();
        for place in places {
            let Some(mut stream) = self.streams.remove(&place) else {
                continue;
            };
            let mut out = String::new();
            let step = stream.finish(&mut out);
            self.tally.add(stream.hits());
            stopped(step)?;
            if !out.is_empty() {
                rest.push((place, out));
            }
        }
        Ok(rest)
    }

    /// What was seen so far, channels that go on included.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        for stream in self.streams.values() {
            tally.add(stream.hits());
        }
        tally
    }

    fn walk(
        &mut self,
        value: &mut Value,
        place: &mut Place,
        mode: Mode,
    ) -> Result<bool, GatewayError> {
        match value {
            Value::String(text) => self.text(text, place, mode),
            Value::Array(items) => {
                let mut changed = false;
                for (position, item) in items.iter_mut().enumerate() {
                    place.push(element(position, item));
                    changed |= self.walk(item, place, mode)?;
                    place.pop();
                }
                Ok(changed)
            }
            Value::Object(fields) => self.fields(fields, place, mode),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(false),
        }
    }

    fn fields(
        &mut self,
        fields: &mut Map<String, Value>,
        place: &mut Place,
        mode: Mode,
    ) -> Result<bool, GatewayError> {
        let mut changed = false;
        for (key, value) in fields.iter_mut() {
            if TOKENWISE.contains(&key.as_str()) {
                changed |= !value.is_null();
                *value = Value::Null;
                continue;
            }
            if key == "arguments" && value.is_object() {
                changed |= self.free(value)?;
                continue;
            }
            if STRUCTURE.contains(&key.as_str()) && !value.is_object() {
                continue;
            }
            place.push(Segment::Key(key.clone()));
            changed |= self.walk(value, place, mode)?;
            place.pop();
        }
        Ok(changed)
    }

    /// Parsed arguments: the model chose every name and value in them, and they are complete.
    fn free(&mut self, value: &mut Value) -> Result<bool, GatewayError> {
        match value {
            Value::String(text) => self.value(text),
            Value::Array(items) => {
                let mut changed = false;
                for item in items {
                    changed |= self.free(item)?;
                }
                Ok(changed)
            }
            Value::Object(fields) => {
                let mut changed = false;
                let mut filtered = Map::new();
                for (mut key, mut value) in std::mem::take(fields) {
                    changed |= self.value(&mut key)?;
                    changed |= self.free(&mut value)?;
                    filtered.insert(key, value);
                }
                *fields = filtered;
                Ok(changed)
            }
            Value::Number(number) => {
                let mut text = number.to_string();
                let changed = self.value(&mut text)?;
                if changed {
                    *value = Value::String(text);
                }
                Ok(changed)
            }
            Value::Null | Value::Bool(_) => Ok(false),
        }
    }

    fn text(&mut self, text: &mut String, place: &Place, mode: Mode) -> Result<bool, GatewayError> {
        let channel = channel(place);
        let by_itself =
            mode == Mode::Whole || matches!(place.last(), Some(Segment::Key(key)) if key == "name");
        if by_itself {
            return self.value_of(channel, text);
        }
        self.tally.text_bytes += text.len() as u64;
        if text.is_empty() {
            return Ok(false);
        }
        if !self.streams.contains_key(place) {
            if self.streams.len() >= CHANNELS_MAX {
                return Err(GatewayError::UpstreamMalformed("it has too many channels"));
            }
            self.streams
                .insert(place.clone(), self.guard.outbound(channel));
        }
        let Some(stream) = self.streams.get_mut(place) else {
            return Err(GatewayError::Internal);
        };
        let mut out = String::with_capacity(text.len());
        stopped(stream.push(text, &mut out))?;
        let changed = out != *text;
        *text = out;
        Ok(changed)
    }

    fn value(&mut self, text: &mut String) -> Result<bool, GatewayError> {
        self.value_of(Channel::ToolArguments, text)
    }

    fn value_of(&mut self, channel: Channel, text: &mut String) -> Result<bool, GatewayError> {
        self.tally.text_bytes += text.len() as u64;
        let (out, hits, step) = filter_whole(self.guard.outbound(channel), text);
        self.tally.add(&hits);
        stopped(step)?;
        let changed = out != *text;
        *text = out;
        Ok(changed)
    }
}

fn stopped(step: Step) -> Result<(), GatewayError> {
    match step {
        Step::Continue => Ok(()),
        Step::Block(hit) => Err(GatewayError::OutputBlocked(hit.rule)),
    }
}

/// The step to an element.
pub fn element(position: usize, item: &Value) -> Segment {
    match item.get("index").and_then(Value::as_u64) {
        Some(index) => Segment::Element { index, named: true },
        None => Segment::Element {
            index: position as u64,
            named: false,
        },
    }
}

fn channel(place: &Place) -> Channel {
    let field = place.iter().rev().find_map(|s| match s {
        Segment::Key(key) => Some(key.as_str()),
        Segment::Element { .. } => None,
    });
    match field {
        Some("reasoning_content" | "reasoning" | "thinking") => Channel::Reasoning,
        Some("refusal") => Channel::Refusal,
        Some("arguments") => Channel::ToolArguments,
        _ => Channel::Content,
    }
}

/// Writes a text at a place of a frame, making the way to it.
pub fn put(frame: &mut Value, place: &[Segment], text: String) {
    let Some((first, rest)) = place.split_first() else {
        *frame = Value::String(text);
        return;
    };
    match first {
        Segment::Key(key) => {
            if !frame.is_object() {
                *frame = Value::Object(Map::new());
            }
            if let Value::Object(fields) = frame {
                put(fields.entry(key.clone()).or_insert(Value::Null), rest, text);
            }
        }
        Segment::Element { index, named } => {
            let mut item = Value::Object(Map::new());
            if *named {
                item["index"] = Value::from(*index);
            }
            put(&mut item, rest, text);
            *frame = Value::Array(vec![item]);
        }
    }
}
