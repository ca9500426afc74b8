//! Lines of JSON from anywhere: each is judged or counted as not judged, none ends the stream.

use ringfence_core::detection::Channel;
use serde::Deserialize;
use std::io::{BufRead, Result};

// LIMIT: octets of one line; a longer one is counted and skipped to its end.
pub(super) const LINE_BYTES_MAX: usize = 128 << 20;

/// What stands on a line.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Input {
    text: Text,
    channel: Option<Name>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Many(Vec<String>),
}

/// A channel, with the names that others use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Name {
    System,
    User,
    Assistant,
    #[serde(alias = "tool")]
    ToolResult,
    ToolSchema,
    #[serde(alias = "data")]
    Document,
    #[serde(alias = "output")]
    Content,
    Reasoning,
    Refusal,
    ToolArguments,
}

impl Name {
    pub(super) fn channel(self) -> Channel {
        match self {
            Self::System => Channel::System,
            Self::User => Channel::User,
            Self::Assistant => Channel::Assistant,
            Self::ToolResult => Channel::ToolResult,
            Self::ToolSchema => Channel::ToolSchema,
            Self::Document => Channel::Document,
            Self::Content => Channel::Content,
            Self::Reasoning => Channel::Reasoning,
            Self::Refusal => Channel::Refusal,
            Self::ToolArguments => Channel::ToolArguments,
        }
    }
}

impl Input {
    /// The pieces, in the order in which they were sent.
    pub(super) fn pieces(&self) -> Vec<&str> {
        match &self.text {
            Text::One(text) => vec![text],
            Text::Many(texts) => texts.iter().map(String::as_str).collect(),
        }
    }

    /// Who wrote it; a text of unknown origin is looked at like a user's.
    pub(super) fn channel(&self) -> Channel {
        self.channel.map_or(Channel::User, Name::channel)
    }
}

/// A line as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It can be judged; `mended` if it was not valid Unicode and lost what was not.
    Read { input: Input, mended: bool },
    /// It cannot.
    Refused(&'static str),
    /// There is nothing on it.
    Blank,
}

/// The next line, or nothing at the end.
pub(super) fn next(
    input: &mut impl BufRead,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<Option<Line>> {
    buffer.clear();
    let mut long = false;
    let mut any = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        any = true;
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        long |= buffer.len() + part.len() > limit;
        if !long {
            buffer.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    if !any {
        return Ok(None);
    }
    Ok(Some(if long {
        Line::Refused("the line is longer than the limit")
    } else {
        read(buffer)
    }))
}

fn read(line: &[u8]) -> Line {
    if line.trim_ascii().is_empty() {
        return Line::Blank;
    }
    if let Ok(input) = serde_json::from_slice(line) {
        return Line::Read {
            input,
            mended: false,
        };
    }
    let mended = without_lone_surrogates(&String::from_utf8_lossy(line));
    match serde_json::from_str(&mended) {
        Ok(input) => Line::Read {
            input,
            mended: true,
        },
        Err(_) => Line::Refused("the line is not {\"text\", \"channel\"} in JSON"),
    }
}

/// JSON may write half of a surrogate pair (`\ud800`), which no Unicode text can hold. It becomes
/// U+FFFD, as invalid UTF-8 does.
fn without_lone_surrogates(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            // A backslash and the character it escapes.
            _ => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (kept, after) = escape.split_at(length);
        out.push_str(kept);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], limit: usize) -> Vec<Line> {
        let mut reader = std::io::BufReader::with_capacity(7, text);
        let mut buffer = Vec::new();
        std::iter::from_fn(|| next(&mut reader, &mut buffer, limit).unwrap()).collect()
    }

    fn text(line: &Line) -> (String, bool) {
        match line {
            Line::Read { input, mended } => (input.pieces().concat(), *mended),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_read_and_what_is_no_text_is_mended_or_refused() {
        let lines = all(
            b"{\"text\":\"a\",\"channel\":\"tool\"}\n\n{\"text\":\"b \\ud800 \\\\ud800 \\ud83d\\ude00\"}\n{\"text\":\"c\xff\"}\nnonsense\n{\"text\":[\"d\",\"e\"]}",
            1000,
        );
        assert_eq!(text(&lines[0]), ("a".to_owned(), false));
        assert_eq!(lines[1], Line::Blank);
        assert_eq!(
            text(&lines[2]),
            ("b \u{fffd} \\ud800 \u{1f600}".to_owned(), true)
        );
        assert_eq!(text(&lines[3]), ("c\u{fffd}".to_owned(), true));
        assert!(matches!(lines[4], Line::Refused(_)));
        assert_eq!(text(&lines[5]), ("de".to_owned(), false));
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn a_line_at_the_limit_is_read_and_one_beyond_is_refused_alone() {
        let line = b"{\"text\":\"abc\"}";
        let stream = [line.as_slice(), line].join(&b'\n');
        assert!(
            all(&stream, line.len())
                .iter()
                .all(|l| matches!(l, Line::Read { .. }))
        );
        let lines = all(
            &[b"{\"text\":\"abcd\"}".as_slice(), line].join(&b'\n'),
            line.len(),
        );
        assert!(matches!(lines[0], Line::Refused(_)));
        assert!(matches!(lines[1], Line::Read { .. }));
    }

    #[test]
    fn an_unknown_channel_is_refused_and_a_missing_one_is_a_users() {
        let lines = all(
            b"{\"text\":\"a\",\"channel\":\"radio\"}\n{\"text\":\"a\"}",
            1000,
        );
        assert!(matches!(lines[0], Line::Refused(_)));
        let Line::Read { input, .. } = &lines[1] else {
            panic!("refused")
        };
        assert_eq!(input.channel(), Channel::User);
    }
}
