//! The body of a streamed answer: it cuts the upstream's octets into frames, filters each, and
//! passes on the very octets of those that did not change.
//!
//! INVARIANT: the client sees `[DONE]`, or Ollama's `done`, only if the upstream sent it. A stream
//! that ends before is ended with an error that the client can tell from an answer.

use crate::error::GatewayError;
use crate::outbound::{OutputFilter, Place, Segment, element, put};
use crate::reply;
use crate::routes::Protocol;
use crate::settle::{Settlement, TokenSource};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use ringfence_core::json::parse_strict;
use ringfence_net::body::Body;
use ringfence_net::{NetError, ndjson, sse};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events, as `OpenAI` streams.
    Sse,
    /// Newline-delimited JSON, as Ollama streams.
    Lines,
}

enum Cutter {
    Sse(sse::Parser),
    Lines(ndjson::Parser),
}

struct Piece {
    raw: Bytes,
    name: Option<String>,
    data: String,
    replaced: bool,
}

/// A streamed answer on its way to the client.
pub struct GuardedBody {
    upstream: Option<Body>,
    cutter: Cutter,
    protocol: Protocol,
    filter: Option<OutputFilter>,
    settlement: Option<Settlement>,
    out: VecDeque<Bytes>,
    /// The fields that a frame of ours borrows from the upstream's frames.
    template: Value,
}

impl GuardedBody {
    /// Guards an upstream's stream. Without a filter the octets pass, and are only counted.
    pub fn new(
        upstream: Body,
        framing: Framing,
        protocol: Protocol,
        filter: Option<OutputFilter>,
        settlement: Settlement,
    ) -> Self {
        let cutter = match framing {
            Framing::Sse => Cutter::Sse(sse::Parser::new()),
            Framing::Lines => Cutter::Lines(ndjson::Parser::new()),
        };
        Self {
            upstream: Some(upstream),
            cutter,
            protocol,
            filter,
            settlement: Some(settlement),
            out: VecDeque::new(),
            template: Value::Object(Map::new()),
        }
    }

    fn take(&mut self, octets: &[u8]) -> Result<(), GatewayError> {
        if let Some(settlement) = &mut self.settlement {
            settlement.first_octet();
        }
        match &mut self.cutter {
            Cutter::Sse(parser) => parser.push(octets),
            Cutter::Lines(parser) => parser.push(octets),
        }
        while self.upstream.is_some() {
            let Some(piece) = self.next_piece().map_err(GatewayError::of_upstream)? else {
                break;
            };
            self.piece(piece)?;
        }
        Ok(())
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, NetError> {
        Ok(match &mut self.cutter {
            Cutter::Sse(parser) => parser.next_event()?.map(of_event),
            Cutter::Lines(parser) => parser.next_line()?.map(|line| of_line(&line)),
        })
    }

    fn piece(&mut self, piece: Piece) -> Result<(), GatewayError> {
        if piece.data.is_empty() {
            // A comment or a blank line: the engine keeps the connection alive.
            self.out.push_back(piece.raw);
            return Ok(());
        }
        if self.protocol == Protocol::OpenAi && piece.data == "[DONE]" {
            self.release(&[])?;
            self.out.push_back(piece.raw);
            self.end(Ok(()));
            return Ok(());
        }
        let mut value = parse_strict(piece.data.as_bytes())
            .map_err(|_| GatewayError::UpstreamMalformed("a frame of its stream is not JSON"))?;
        self.count_usage(&value);
        let failed = value.get("error").is_some_and(|e| !e.is_null());
        let done =
            self.protocol == Protocol::Ollama && value.get("done") == Some(&Value::Bool(true));
        let changed = match &mut self.filter {
            Some(filter) if failed => filter.whole(&mut value)?,
            Some(filter) => filter.frame(&mut value)?,
            None => false,
        };
        self.template = template(&value, self.protocol);
        let changed = changed || (piece.replaced && self.filter.is_some());
        self.send(piece, value, changed)?;
        if failed {
            self.end(Err(GatewayError::UpstreamFailed(200)));
        } else if done {
            self.end(Ok(()));
        }
        Ok(())
    }

    /// Sends a frame, and before it what the channels that it ends held back.
    fn send(&mut self, piece: Piece, mut value: Value, changed: bool) -> Result<(), GatewayError> {
        let mut rest = Vec::new();
        let mut changed = changed;
        if let Some(filter) = &mut self.filter {
            for place in endings(&value, self.protocol) {
                rest.extend(filter.flush(&place)?);
            }
            if value.get("context").is_some() {
                changed |= filter.drop_context(&mut value);
            }
        }
        if rest.is_empty() {
            let octets = if changed {
                self.encode(piece.name.as_deref(), &value)
            } else {
                piece.raw
            };
            self.out.push_back(octets);
            return Ok(());
        }
        let opening = self.encode(piece.name.as_deref(), &opened(value.clone(), self.protocol));
        self.out.push_back(opening);
        self.write_rest(rest);
        let closing = self.encode(piece.name.as_deref(), &emptied(value, self.protocol));
        self.out.push_back(closing);
        Ok(())
    }

    /// Writes what the channels below a place held back.
    fn release(&mut self, prefix: &[Segment]) -> Result<(), GatewayError> {
        if let Some(filter) = &mut self.filter {
            let rest = filter.flush(prefix)?;
            self.write_rest(rest);
        }
        Ok(())
    }

    fn write_rest(&mut self, rest: Vec<(Place, String)>) {
        for (place, text) in rest {
            let mut frame = self.template.clone();
            put(&mut frame, &place, text);
            if let Some(Value::Array(choices)) = frame.get_mut("choices") {
                for choice in choices {
                    choice["finish_reason"] = Value::Null;
                }
            }
            if let Some(Value::Object(message)) = frame.get_mut("message") {
                message
                    .entry("role")
                    .or_insert_with(|| Value::from("assistant"));
                message.entry("content").or_insert_with(|| Value::from(""));
            }
            let octets = self.encode(None, &frame);
            self.out.push_back(octets);
        }
    }

    fn encode(&self, name: Option<&str>, value: &Value) -> Bytes {
        match self.cutter {
            Cutter::Sse(_) => sse::encode(name, &value.to_string()),
            Cutter::Lines(_) => ndjson::encode(value.to_string().as_bytes()),
        }
    }

    fn count_usage(&mut self, value: &Value) {
        if let Some(settlement) = &mut self.settlement {
            count_usage(settlement, value);
        }
    }

    /// The upstream's octets are over.
    fn upstream_ended(&mut self) -> Result<(), GatewayError> {
        let cutter = std::mem::replace(&mut self.cutter, Cutter::Lines(ndjson::Parser::new()));
        let (cutter, last) = match cutter {
            Cutter::Sse(parser) => {
                let last = parser
                    .finish()
                    .filter(|(_, c)| *c == sse::Completeness::Complete);
                (
                    Cutter::Sse(sse::Parser::new()),
                    last.map(|(event, _)| of_event(event)),
                )
            }
            // A last line without its line end is whole if it is JSON.
            Cutter::Lines(parser) => {
                let last = parser
                    .finish()
                    .filter(|line| parse_strict(line.content()).is_ok());
                (
                    Cutter::Lines(ndjson::Parser::new()),
                    last.map(|line| of_line(&line)),
                )
            }
        };
        self.cutter = cutter;
        if let Some(piece) = last {
            self.piece(piece)?;
        }
        if self.upstream.is_some() {
            Err(GatewayError::UpstreamCut)
        } else {
            Ok(())
        }
    }

    fn failed(&mut self, error: GatewayError) {
        let broke_off = matches!(
            error,
            GatewayError::UpstreamCut
                | GatewayError::UpstreamDown(_)
                | GatewayError::UpstreamSlow(_)
        );
        // What was held back is complete now; an answer that was stopped gives nothing more.
        let error = match broke_off.then(|| self.release(&[])) {
            Some(Err(stopped)) => stopped,
            _ => error,
        };
        if let Some(settlement) = &self.settlement {
            let json = reply::error_json(&error, self.protocol, &settlement.facts.id);
            let octets = self.encode(None, &json);
            self.out.push_back(octets);
        }
        self.end(Err(error));
    }

    /// Lets go of the upstream, which closes its connection, and settles.
    fn end(&mut self, how: Result<(), GatewayError>) {
        self.upstream = None;
        self.tally();
        if let Some(mut settlement) = self.settlement.take() {
            match how {
                Ok(()) => settlement.complete(),
                Err(error) => settlement.fail(&error, None),
            }
        }
    }

    fn tally(&mut self) {
        if let (Some(filter), Some(settlement)) = (&self.filter, &mut self.settlement) {
            let tally = filter.tally();
            settlement.facts.text_bytes.1 = tally.text_bytes;
            settlement.facts.redactions_out = tally.hits;
            settlement.facts.rules.extend(tally.rules);
        }
    }
}

impl Drop for GuardedBody {
    fn drop(&mut self) {
        // The client went away: what was seen is settled.
        self.tally();
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = NetError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetError>>> {
        loop {
            if let Some(octets) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(octets))));
            }
            let Some(upstream) = &mut self.upstream else {
                return Poll::Ready(None);
            };
            let outcome = match Pin::new(upstream).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(octets) => self.take(&octets),
                    Err(_trailers) => Ok(()),
                },
                Poll::Ready(Some(Err(error))) => Err(GatewayError::of_upstream(error)),
                Poll::Ready(None) => self.upstream_ended(),
            };
            if let Err(error) = outcome {
                self.failed(error);
            }
        }
    }
}

fn of_event(event: sse::Event) -> Piece {
    let data = event.data.unwrap_or_default();
    Piece {
        raw: event.raw,
        name: event.name,
        data,
        replaced: event.replaced,
    }
}

fn of_line(line: &ndjson::Line) -> Piece {
    let data = String::from_utf8_lossy(line.content());
    let replaced = matches!(data, std::borrow::Cow::Owned(_));
    Piece {
        raw: line.raw.clone(),
        name: None,
        data: data.trim().to_owned(),
        replaced,
    }
}

/// Takes the engine's own count of tokens from a frame or an answer.
pub fn count_usage(settlement: &mut Settlement, value: &Value) {
    let number = |v: Option<&Value>| v.and_then(Value::as_u64);
    let usage = value.get("usage");
    let (tokens_in, tokens_out) = match usage {
        Some(Value::Object(usage)) => (
            number(usage.get("prompt_tokens")),
            number(usage.get("completion_tokens")),
        ),
        _ => (
            number(value.get("prompt_eval_count")),
            number(value.get("eval_count")),
        ),
    };
    if tokens_in.is_some() || tokens_out.is_some() {
        settlement.facts.tokens_in = tokens_in.unwrap_or(0);
        settlement.facts.tokens_out = tokens_out.unwrap_or(0);
        settlement.facts.tokens_source = TokenSource::Engine;
    }
}

/// The places whose channels a frame ends.
fn endings(value: &Value, protocol: Protocol) -> Vec<Place> {
    if protocol == Protocol::Ollama {
        let done = value.get("done") == Some(&Value::Bool(true));
        return if done { vec![Vec::new()] } else { Vec::new() };
    }
    let Some(Value::Array(choices)) = value.get("choices") else {
        return Vec::new();
    };
    let ended = |choice: &Value| choice.get("finish_reason").is_some_and(|r| !r.is_null());
    choices
        .iter()
        .enumerate()
        .filter(|(_, choice)| ended(choice))
        .map(|(i, choice)| vec![Segment::Key("choices".to_owned()), element(i, choice)])
        .collect()
}

/// The fields of the upstream's frames that name the answer.
fn template(value: &Value, protocol: Protocol) -> Value {
    let names: &[&str] = match protocol {
        Protocol::Ollama => &["model", "created_at"],
        _ => &["id", "object", "created", "model", "system_fingerprint"],
    };
    let mut fields = Map::new();
    for name in names {
        if let Some(field) = value.get(name) {
            fields.insert((*name).to_owned(), field.clone());
        }
    }
    if protocol == Protocol::Ollama {
        fields.insert("done".to_owned(), Value::Bool(false));
    }
    Value::Object(fields)
}

/// The frame as if it did not end anything.
fn opened(mut value: Value, protocol: Protocol) -> Value {
    if let Value::Object(fields) = &mut value {
        if protocol == Protocol::Ollama {
            fields.insert("done".to_owned(), Value::Bool(false));
            fields.remove("done_reason");
            fields.remove("context");
        }
        fields.remove("usage");
        if let Some(Value::Array(choices)) = fields.get_mut("choices") {
            for choice in choices {
                choice["finish_reason"] = Value::Null;
            }
        }
    }
    value
}

/// The frame without its texts, which were already sent.
fn emptied(mut value: Value, protocol: Protocol) -> Value {
    if let Some(Value::Array(choices)) = value.get_mut("choices") {
        for choice in choices {
            choice["delta"] = Value::Object(Map::new());
        }
    }
    if protocol == Protocol::Ollama
        && let Value::Object(fields) = &mut value
    {
        fields.remove("thinking");
        if let Some(response) = fields.get_mut("response") {
            *response = Value::from("");
        }
        if let Some(message) = fields.get_mut("message") {
            *message = serde_json::json!({"role": "assistant", "content": ""});
        }
    }
    value
}
