//! The form that a detector must have to work on a stream: a lexer that says, for a text that may
//! go on, what is already certain.
//!
//! INVARIANT: whatever [`Lexer::next`] answers about a text is still true when more text is
//! appended. All four laws of a stream follow from it, because the stream then takes the same
//! decisions as a scan of the whole text, only earlier or later.

use ringfence_core::detection::{Detector, Hit, Label, View};
use ringfence_core::ids::RuleId;
use std::ops::Range;

/// Whether the text can still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More may follow.
    Open,
    /// This is all.
    Closed,
}

/// What a lexer is certain of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next hit; nothing starts between the place asked from and its start.
    Hit(Found),
    /// No hit starts before this offset, and nothing is known from there on. With a closed text
    /// this is its end.
    ClearTo(usize),
}

/// A hit before it is put into the words of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which rule.
    pub rule: RuleId,
    /// What kind of thing; one of the detector's labels.
    pub label: Label,
    /// Bytes of the text handed to the lexer.
    pub span: Range<usize>,
    /// 0 to 1000.
    pub score: u32,
}

/// A detector that can work on a stream.
pub trait Lexer: Detector {
    /// What is certain about `text` from the offset `from` on, reading at most
    /// [`Self::left_context`] bytes before it.
    fn next(&self, text: &str, from: usize, end: End) -> Next;
    /// Bytes before a match that its decision may read.
    fn left_context(&self) -> usize;
}

/// Runs a lexer over a whole text: the batch form of a stream detector.
pub(crate) fn scan_all(lexer: &dyn Lexer, text: &str, hits: &mut Vec<Hit>) {
    let mut from = 0;
    while from < text.len() {
        match lexer.next(text, from, End::Closed) {
            Next::Hit(found) => {
                // INVARIANT: a hit is never empty, so the loop advances.
                from = found.span.end.max(from + 1);
                hits.push(hit(found, 0));
            }
            Next::ClearTo(_) => break,
        }
    }
}

/// The hit of the contract, with its span moved by `base` bytes.
pub(crate) fn hit(found: Found, base: usize) -> Hit {
    Hit {
        rule: found.rule,
        label: found.label,
        span: found.span.start + base..found.span.end + base,
        view: View::Original,
        score: found.score,
    }
}

/// The nearest character boundary at or below `at`.
pub(crate) fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The byte before `at`, if any.
pub(crate) fn byte_before(text: &str, at: usize) -> Option<u8> {
    at.checked_sub(1)
        .and_then(|i| text.as_bytes().get(i))
        .copied()
}

/// Whether the byte before `at` glues `at` to a word: an identifier goes on.
pub(crate) fn glued_before(text: &str, at: usize) -> bool {
    byte_before(text, at).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The first character at `at`.
pub(crate) fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..).and_then(|rest| rest.chars().next())
}
