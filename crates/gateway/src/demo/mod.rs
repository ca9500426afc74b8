//! The demo engine: a retrieval responder over a project's documentation. It is not a language
//! model, and says so in every answer.
//!
//! It stands in when a host has no engine, so that the house can be seen working. It is
//! deterministic: the same question over the same documents has the same answer, octet by octet.
//! It is an upstream like any other: behind the same pipeline, under the same guard.

mod index;
mod wire;

use bytes::Bytes;
use http::Response;
use index::Index;
use ringfence_core::json::parse_strict;
use ringfence_net::body::Body;
use serde_json::Value;

use crate::routes::RouteId;

/// The name of its only model.
pub const MODEL: &str = "ringfence-demo";
/// What it says of itself.
pub const DESCRIPTION: &str = "not a language model: a retrieval responder";
/// The first words of every answer.
pub const PREAMBLE: &str =
    "I am not a language model: I look things up in the documentation of this project.";
/// What it says when it found nothing.
pub const UNKNOWN: &str = "I do not know: nothing in the documentation answers this.";

/// The engine.
pub struct Engine {
    index: Index,
}

/// An answer with its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    prompt_tokens: usize,
}

impl Engine {
    /// Reads the documentation, given as path and text.
    pub fn build(documents: &[(String, String)]) -> Self {
        Self {
            index: Index::build(documents),
        }
    }

    /// How many passages it knows.
    pub fn passages(&self) -> usize {
        self.index.len()
    }

    /// Answers a question in plain text.
    pub fn answer(&self, question: &str) -> String {
        let found = self.index.search(question);
        let Some((best, others)) = found.split_first() else {
            return format!("{PREAMBLE}\n\n{UNKNOWN}");
        };
        let mut text = format!("{PREAMBLE}\n\nFrom {}:{}:\n\n", best.path, best.line);
        text.push_str(&best.text);
        if !others.is_empty() {
            let places: Vec<String> = others
                .iter()
                .map(|p| format!("{}:{}", p.path, p.line))
                .collect();
            text.push_str("\n\nSee also ");
            text.push_str(&places.join(", "));
            text.push('.');
        }
        text
    }

    /// Answers a request of a route of the table.
    pub(crate) fn respond(&self, route: RouteId, octets: &[u8]) -> Response<Body> {
        let request = parse_strict(octets).unwrap_or(Value::Null);
        match route {
            RouteId::OpenAiModels => wire::models(),
            RouteId::OllamaTags => wire::tags(),
            RouteId::OpenAiChat => wire::openai_chat(&request, &self.reply(&request)),
            RouteId::OllamaChat => wire::ollama(&request, &self.reply(&request), wire::Form::Chat),
            RouteId::OllamaGenerate => {
                wire::ollama(&request, &self.reply(&request), wire::Form::Generate)
            }
            RouteId::App => wire::refused(),
        }
    }

    fn reply(&self, request: &Value) -> Answer {
        let question = question(request);
        let prompt_tokens = pieces(&all_text(request)).len();
        Answer {
            text: self.answer(&question),
            prompt_tokens,
        }
    }
}

/// The last thing the user said.
fn question(request: &Value) -> String {
    if let Some(prompt) = request.get("prompt").and_then(Value::as_str) {
        return prompt.to_owned();
    }
    let Some(Value::Array(messages)) = request.get("messages") else {
        return String::new();
    };
    let of_user = |m: &&Value| m.get("role").and_then(Value::as_str) == Some("user");
    messages
        .iter()
        .rev()
        .find(of_user)
        .map(content)
        .unwrap_or_default()
}

fn all_text(request: &Value) -> String {
    match request.get("messages") {
        Some(Value::Array(messages)) => messages.iter().map(content).collect::<Vec<_>>().join(" "),
        _ => question(request),
    }
}

fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .filter_map(|p| p.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// A text in the pieces it is streamed in, and counted by: words with the space before them.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && in_word {
            pieces.extend(text.get(start..at));
            start = at;
        }
        in_word = !c.is_whitespace();
    }
    pieces.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    pieces
}

/// Frames that are sent one by one, as an engine does that computes them.
struct Frames(std::collections::VecDeque<Bytes>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|b| Ok(hyper::body::Frame::data(b))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        Engine::build(&[
            (
                "docs/backup.md".to_owned(),
                "# Backup\n\nBackups are written every night at two.\nThey are kept for a week.\n\n\
                 ## Restore\n\nTo restore a backup, run the restore command with its date.\n"
                    .to_owned(),
            ),
            ("README.md".to_owned(), "# Mailer\n\nIt answers letters.\n".to_owned()),
        ])
    }

    #[test]
    fn an_answer_cites_file_and_line_and_says_what_it_is_not() {
        let answer = engine().answer("When are backups written?");
        assert!(answer.starts_with(PREAMBLE), "{answer}");
        assert!(answer.contains("docs/backup.md:3:"), "{answer}");
        assert!(answer.contains("every night at two"), "{answer}");
        assert!(
            engine()
                .answer("how do I restore?")
                .contains("docs/backup.md:8:")
        );
    }

    #[test]
    fn it_says_when_it_does_not_know() {
        for question in ["Who won the world cup in 1998?", "", "the of and", "!!!"] {
            let answer = engine().answer(question);
            assert_eq!(answer, format!("{PREAMBLE}\n\n{UNKNOWN}"), "{question}");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        assert_eq!(
            engine().answer("restore backup"),
            engine().answer("restore backup")
        );
    }

    #[test]
    fn pieces_joined_are_the_text() {
        for text in ["", " ", "a", " a  b\nc ", "ä ö\u{a0}ü"] {
            assert_eq!(pieces(text).concat(), text);
        }
        assert_eq!(pieces("one two three").len(), 3);
    }

    #[test]
    fn the_last_words_of_the_user_are_the_question() {
        let request = serde_json::json!({"messages": [
            {"role": "user", "content": "first"},
            {"role": "user", "content": [{"type": "text", "text": "second"}]},
            {"role": "assistant", "content": "third"}]});
        assert_eq!(question(&request), "second");
    }
}
