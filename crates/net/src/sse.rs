//! Server-sent events (WHATWG HTML section 9.2.6), cut into events that keep their bytes.
//!
//! Published parsers hand out the decoded fields and forget the bytes, so that nothing can be
//! passed through unchanged. This one keeps both.
//!
//! INVARIANT: the raw events, joined, are the input; where the cuts of the input were does not
//! matter. To hold this for a line that ends in CR, the parser waits for one more byte to know
//! whether an LF belongs to it.

use crate::error::NetError;
use bytes::{Bytes, BytesMut};

/// LIMIT: octets of one event with all its lines.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// One event, or a block of comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The bytes as they came, with the blank line.
    pub raw: Bytes,
    /// The `event` field.
    pub name: Option<String>,
    /// The `data` fields joined by line feeds; `None` when there was none, as in a comment.
    pub data: Option<String>,
    /// Whether bytes that are not UTF-8 were replaced while decoding, as the standard demands.
    pub replaced: bool,
}

/// Cuts a byte stream into events.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    /// Where the search goes on.
    position: usize,
    /// Where the line at `position` began.
    line_start: usize,
    /// Whether the start of the stream has been passed, where a byte order mark may stand.
    started: bool,
}

impl Parser {
    /// An empty parser.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, if there is one.
    pub fn next_event(&mut self) -> Result<Option<Event>, NetError> {
        match self.boundary(false) {
            Some(end) if end <= EVENT_BYTES_MAX => Ok(Some(self.take(end))),
            None if self.buffer.len() < EVENT_BYTES_MAX => Ok(None),
            _ => Err(NetError::FrameTooLong {
                limit: EVENT_BYTES_MAX,
            }),
        }
    }

    /// What stands after the last blank line: a complete event if its CR ended the stream, else
    /// the rest of a stream that was cut off.
    pub fn finish(mut self) -> Option<(Event, Completeness)> {
        if self.buffer.is_empty() {
            return None;
        }
        let completeness = match self.boundary(true) {
            Some(_) => Completeness::Complete,
            None => Completeness::CutOff,
        };
        let end = self.buffer.len();
        Some((self.take(end), completeness))
    }

    /// The end of the first event in the buffer: just after a blank line.
    fn boundary(&mut self, at_end: bool) -> Option<usize> {
        while let Some(byte) = self.buffer.get(self.position).copied() {
            let next = match byte {
                b'\n' => self.position + 1,
                b'\r' => match self.buffer.get(self.position + 1) {
                    Some(b'\n') => self.position + 2,
                    Some(_) => self.position + 1,
                    None if at_end => self.position + 1,
                    None => return None,
                },
                _ => {
                    self.position += 1;
                    continue;
                }
            };
            let blank = self.position == self.line_start;
            self.position = next;
            self.line_start = next;
            if blank {
                return Some(next);
            }
        }
        None
    }

    fn take(&mut self, end: usize) -> Event {
        let raw = self.buffer.split_to(end).freeze();
        self.position = 0;
        self.line_start = 0;
        let first = !std::mem::replace(&mut self.started, true);
        decode(raw, first)
    }
}

/// Whether an event ended with its blank line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It did.
    Complete,
    /// The stream ended within it.
    CutOff,
}

fn decode(raw: Bytes, first: bool) -> Event {
    let text = String::from_utf8_lossy(&raw);
    let replaced = matches!(text, std::borrow::Cow::Owned(_));
    let mut text: &str = &text;
    if first {
        text = text.strip_prefix('\u{feff}').unwrap_or(text);
    }
    let mut name = None;
    let mut data: Option<String> = None;
    for line in text.split(['\n', '\r']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => match &mut data {
                Some(whole) => {
                    whole.push('\n');
                    whole.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    Event {
        raw,
        name,
        data,
        replaced,
    }
}

/// Writes one event. Line ends within `data` become further `data` lines, so that no content can
/// start a field or an event of its own.
pub fn encode(name: Option<&str>, data: &str) -> Bytes {
    let mut out = String::with_capacity(data.len() + 16);
    if let Some(name) = name {
        out.push_str("event: ");
        out.extend(name.chars().filter(|c| !matches!(c, '\n' | '\r')));
        out.push('\n');
    }
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(input: &[u8]) -> Vec<Event> {
        let mut parser = Parser::new();
        parser.push(input);
        let mut events = Vec::new();
        while let Some(event) = parser.next_event().unwrap() {
            events.push(event);
        }
        events.extend(parser.finish().map(|(event, _)| event));
        events
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let read =
            events(b"data: YHOO\ndata: +2\ndata: 10\n\n: test stream\n\ndata\n\ndata:test\n\n");
        let data: Vec<Option<&str>> = read.iter().map(|e| e.data.as_deref()).collect();
        assert_eq!(data, [Some("YHOO\n+2\n10"), None, Some(""), Some("test")]);
    }

    #[test]
    fn each_line_end_of_the_standard_ends_a_line() {
        for input in [
            "data: a\n\ndata: b\n\n",
            "data: a\r\n\r\ndata: b\r\n\r\n",
            "data: a\r\rdata: b\r\r",
        ] {
            let read = events(input.as_bytes());
            let data: Vec<Option<&str>> = read.iter().map(|e| e.data.as_deref()).collect();
            assert_eq!(data, [Some("a"), Some("b")], "{input:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_broken_utf_8_are_treated_as_the_standard_says() {
        assert_eq!(
            events("\u{feff}data: a\n\n".as_bytes())[0].data.as_deref(),
            Some("a")
        );
        let broken = events(b"data: \xff\n\n");
        assert_eq!(broken[0].data.as_deref(), Some("\u{fffd}"));
        assert!(broken[0].replaced);
    }

    #[test]
    fn a_stream_cut_within_an_event_says_so() {
        let mut parser = Parser::new();
        parser.push(b"data: a\n");
        assert_eq!(parser.next_event(), Ok(None));
        assert_eq!(parser.finish().unwrap().1, Completeness::CutOff);
        let mut parser = Parser::new();
        parser.push(b"data: a\r\r");
        assert_eq!(parser.next_event(), Ok(None));
        assert_eq!(parser.finish().unwrap().1, Completeness::Complete);
    }

    #[test]
    fn an_event_is_read_at_the_limit_and_refused_one_above() {
        let fill = |n: usize| [b"data: ".as_slice(), &vec![b'x'; n], b"\n\n"].concat();
        let mut parser = Parser::new();
        parser.push(&fill(EVENT_BYTES_MAX - 8));
        assert!(matches!(parser.next_event(), Ok(Some(_))));
        parser.push(&fill(EVENT_BYTES_MAX - 7));
        assert_eq!(
            parser.next_event(),
            Err(NetError::FrameTooLong {
                limit: EVENT_BYTES_MAX
            })
        );
        let mut endless = Parser::new();
        endless.push(&vec![b'x'; EVENT_BYTES_MAX]);
        assert_eq!(
            endless.next_event(),
            Err(NetError::FrameTooLong {
                limit: EVENT_BYTES_MAX
            })
        );
    }

    #[test]
    fn content_cannot_start_an_event_of_its_own() {
        let event = encode(Some("x\ndata: evil"), "a\n\ndata: [DONE]\r\n\r\nb");
        let read = events(&event);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].data.as_deref(), Some("a\n\ndata: [DONE]\n\nb"));
        assert_eq!(read[0].name.as_deref(), Some("xdata: evil"));
    }
}
