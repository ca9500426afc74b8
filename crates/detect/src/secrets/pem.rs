//! Private key blocks of RFC 7468, also with escaped line ends as in JSON and environment files.
//!
//! A block that breaks off is still a key: what was there is covered.

use crate::lexer::End;
use std::ops::Range;

// LIMIT: a private key block longer than this is covered up to here; RSA with 8192 bits needs 6.5 KB.
pub(super) const BLOCK_BYTES_MAX: usize = 8192;
// LIMIT: "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK" and their kin.
const LABEL_BYTES_MAX: usize = 48;
const BODY_BYTES_MIN: usize = 64;
const BEGIN: &str = "-----BEGIN ";
const TAIL: &str = "-----END";

pub(super) enum Block {
    Found(Range<usize>),
    ClearTo(usize),
}

enum Verdict {
    Key(usize),
    Not,
    Unknown,
}

/// The next private key block that starts from `from` on and not after `until`.
pub(super) fn next(text: &str, from: usize, until: usize, end: End) -> Block {
    let mut at = from;
    let reach = crate::lexer::floor_boundary(text, until.saturating_add(BEGIN.len()));
    while let Some(start) = text
        .get(at..reach.max(at))
        .and_then(|rest| rest.find(BEGIN))
        .map(|i| at + i)
    {
        match decide(text, start, end) {
            Verdict::Key(stop) => return Block::Found(start..stop),
            Verdict::Unknown => return Block::ClearTo(start),
            Verdict::Not => at = start + 1,
        }
    }
    if end == End::Closed {
        return Block::ClearTo(text.len());
    }
    // The longest beginning of the header that the text ends with.
    let partial = (1..BEGIN.len())
        .rev()
        .find(|n| {
            BEGIN
                .get(..*n)
                .is_some_and(|head| text.get(at..).is_some_and(|t| t.ends_with(head)))
        })
        .unwrap_or(0);
    Block::ClearTo(text.len() - partial)
}

fn decide(text: &str, start: usize, end: End) -> Verdict {
    let unknown = || {
        if end == End::Open {
            Verdict::Unknown
        } else {
            Verdict::Not
        }
    };
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    let block = rest
        .get(..rest.len().min(BLOCK_BYTES_MAX))
        .unwrap_or_default();
    let after = block.get(BEGIN.len()..).unwrap_or_default();
    let label = after
        .iter()
        .take(LABEL_BYTES_MAX)
        .take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b' ')
        .count();
    let dashes = after.get(label..).unwrap_or_default();
    if label == after.len() || (dashes.len() < 5 && b"-----".starts_with(dashes)) {
        return unknown();
    }
    let name = after
        .get(..label)
        .and_then(|l| std::str::from_utf8(l).ok())
        .unwrap_or_default();
    if !dashes.starts_with(b"-----") || !name.contains("PRIVATE KEY") {
        return Verdict::Not;
    }
    let body_at = BEGIN.len() + label + 5;
    let body = block.get(body_at..).unwrap_or_default();
    let run = body.iter().take_while(|b| body_byte(**b)).count();
    let inside = body.get(..run).unwrap_or_default();
    let whole = block.len() == BLOCK_BYTES_MAX;
    if let Some(tail) = inside
        .windows(TAIL.len())
        .position(|w| w == TAIL.as_bytes())
    {
        let closing = inside.get(tail..).unwrap_or_default();
        let label = closing.get(TAIL.len()..).unwrap_or_default();
        let label = label
            .get(..label.len().min(LABEL_BYTES_MAX))
            .unwrap_or_default();
        let length = match label.windows(5).position(|w| w == b"-----") {
            Some(dashes) => TAIL.len() + dashes + 5,
            None if run == body.len()
                && label.len() < LABEL_BYTES_MAX
                && !whole
                && end == End::Open =>
            {
                return Verdict::Unknown;
            }
            None => TAIL.len() + label.len(),
        };
        return long_enough(inside.get(..tail), start + body_at + tail + length);
    }
    if run == body.len() && !whole && end == End::Open {
        return Verdict::Unknown;
    }
    long_enough(Some(inside), start + body_at + run)
}

fn long_enough(body: Option<&[u8]>, stop: usize) -> Verdict {
    let characters = body
        .unwrap_or_default()
        .iter()
        .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if characters.count() >= BODY_BYTES_MIN {
        Verdict::Key(stop)
    } else {
        Verdict::Not
    }
}

fn body_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"+/=-:,\\\r\n\t \"".contains(&b)
}
