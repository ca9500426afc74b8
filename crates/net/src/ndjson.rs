//! Newline-delimited JSON, cut into lines that keep their bytes.
//!
//! INVARIANT: the raw lines, joined, are the input; where the cuts of the input were does not
//! matter.

use crate::error::NetError;
use bytes::{Bytes, BytesMut};

/// LIMIT: octets of one line.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The bytes as they came, with the line end.
    pub raw: Bytes,
}

impl Line {
    /// The bytes without the line end.
    pub fn content(&self) -> &[u8] {
        let line = self.raw.strip_suffix(b"\n").unwrap_or(&self.raw);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    searched: usize,
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

    /// The next whole line, if there is one.
    pub fn next_line(&mut self) -> Result<Option<Line>, NetError> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        if let Some(at) = rest.iter().position(|b| *b == b'\n') {
            let end = self.searched + at + 1;
            self.searched = 0;
            if end > LINE_BYTES_MAX {
                return Err(NetError::FrameTooLong {
                    limit: LINE_BYTES_MAX,
                });
            }
            return Ok(Some(Line {
                raw: self.buffer.split_to(end).freeze(),
            }));
        }
        self.searched = self.buffer.len();
        if self.searched >= LINE_BYTES_MAX {
            return Err(NetError::FrameTooLong {
                limit: LINE_BYTES_MAX,
            });
        }
        Ok(None)
    }

    /// What stands after the last line end.
    pub fn finish(self) -> Option<Line> {
        (!self.buffer.is_empty()).then(|| Line {
            raw: self.buffer.freeze(),
        })
    }
}

/// Writes one line.
pub fn encode(json: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(json.len() + 1);
    line.extend_from_slice(json);
    line.extend_from_slice(b"\n");
    line.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_at_the_limit_and_refused_one_above() {
        let mut parser = Parser::new();
        parser.push(&vec![b'x'; LINE_BYTES_MAX - 1]);
        assert_eq!(parser.next_line(), Ok(None));
        parser.push(b"\n");
        assert_eq!(
            parser.next_line().unwrap().unwrap().raw.len(),
            LINE_BYTES_MAX
        );
        parser.push(&vec![b'x'; LINE_BYTES_MAX]);
        assert_eq!(
            parser.next_line(),
            Err(NetError::FrameTooLong {
                limit: LINE_BYTES_MAX
            })
        );
    }

    #[test]
    fn content_has_no_line_end_and_what_is_encoded_reads_back() {
        let mut parser = Parser::new();
        parser.push(b"{\"a\":1}\r\n");
        parser.push(&encode(b"{}"));
        parser.push(b"tail");
        assert_eq!(parser.next_line().unwrap().unwrap().content(), b"{\"a\":1}");
        assert_eq!(parser.next_line().unwrap().unwrap().content(), b"{}");
        assert_eq!(parser.next_line(), Ok(None));
        assert_eq!(parser.finish().unwrap().content(), b"tail");
    }
}
