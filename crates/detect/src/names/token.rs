//! Words, numbers, marks and ends of lines.

/// What a token is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begins with a letter; letters, digits, and single `'`, `’`, `-` or `.` between letters.
    Word,
    /// Begins with a digit.
    Number,
    /// One character that is neither.
    Mark,
    /// An end of a line.
    Line,
}

/// A token: where it stands and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// First octet.
    pub start: usize,
    /// Octet after the last.
    pub end: usize,
    /// What it is made of.
    pub kind: Kind,
}

// LIMIT: octets of one word; a longer run of letters is cut.
const WORD_BYTES_MAX: usize = 64;

/// The token at `from` or after the white space there.
pub fn next_token(text: &str, from: usize) -> Option<Token> {
    let bytes = text.as_bytes();
    let mut start = from;
    while bytes
        .get(start)
        .is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r'))
    {
        start += 1;
    }
    let first = *bytes.get(start)?;
    let token = |end: usize, kind: Kind| Some(Token { start, end, kind });
    if first == b'\n' {
        return token(start + 1, Kind::Line);
    }
    let c = text.get(start..)?.chars().next()?;
    if c.is_alphabetic() || c.is_ascii_digit() {
        let kind = if c.is_ascii_digit() {
            Kind::Number
        } else {
            Kind::Word
        };
        return token(word_end(text, start), kind);
    }
    token(start + c.len_utf8(), Kind::Mark)
}

/// Where the word at `start` ends.
fn word_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = start;
    while end - start < WORD_BYTES_MAX {
        match bytes.get(end) {
            Some(b) if b.is_ascii_alphanumeric() => end += 1,
            Some(b'\'' | b'-' | b'.')
                if bytes
                    .get(end + 1)
                    .is_some_and(|b| b.is_ascii_alphabetic() || *b >= 0x80)
                    && !is_possessive(bytes, end) =>
            {
                end += 1;
            }
            Some(b) if *b >= 0x80 => match text.get(end..).and_then(|t| t.chars().next()) {
                // A space or mark of another script ends a word.
                Some(c) if c.is_alphanumeric() => end += c.len_utf8(),
                Some('\u{2019}') if !is_possessive_after(bytes, end + 3) => end += 3,
                _ => break,
            },
            _ => break,
        }
    }
    end.max(
        start
            + text
                .get(start..)
                .and_then(|t| t.chars().next())
                .map_or(1, char::len_utf8),
    )
}

/// "'s" at the end of a word.
fn is_possessive(bytes: &[u8], at: usize) -> bool {
    bytes.get(at) == Some(&b'\'') && is_possessive_after(bytes, at + 1)
}

fn is_possessive_after(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|b| matches!(b, b's' | b'S'))
        && !bytes
            .get(at + 1)
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b >= 0x80)
}
