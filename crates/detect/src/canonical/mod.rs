//! One reading of a text for all the ways to write it, with a map back to the bytes as they came.
//!
//! The canonical view is NFKC, lower case, without invisible characters, with accents taken off
//! Latin letters, with look-alike letters of other scripts folded (UTS 39) where a whole word
//! folds to ASCII, and with white space folded. A word of real Russian or Greek does not fold
//! whole, so it stays. What was hidden is decoded and handed out; that it was hidden is a hit.

mod codes;
mod decode;
mod invisible;

pub(crate) use codes::coded_runs;
pub(crate) use decode::encoded_runs;

use crate::lexer::char_at;
use invisible::{Hidden, Kind, kind};
use ringfence_core::detection::{Hit, Label, View};
use ringfence_core::ids::RuleId;
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

// LIMIT: characters that are normalised together; a longer stack of marks is cut into several.
const CLUSTER_CHARACTERS_MAX: usize = 32;

/// A stretch of the canonical text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    canonical: usize,
    original: Range<usize>,
    /// Byte for byte the same positions (only case may differ).
    linear: bool,
}

/// A text hidden in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenText {
    /// What was hidden.
    pub text: String,
    /// The bytes that hid it.
    pub span: Range<usize>,
}

/// The canonical view.
#[derive(Clone, Debug, Default)]
pub struct Canonical {
    /// The text to match on.
    pub text: String,
    /// One hit for each run of hiding characters.
    pub smuggled: Vec<Hit>,
    /// What the runs said.
    pub hidden: Vec<HiddenText>,
    pieces: Vec<Piece>,
}

impl Canonical {
    /// The bytes of the original that a range of the canonical text came from.
    pub fn original_span(&self, range: Range<usize>) -> Range<usize> {
        let Some(first) = self.piece_at(range.start) else {
            return 0..0;
        };
        let start = if first.linear {
            first.original.start + (range.start - first.canonical)
        } else {
            first.original.start
        };
        let last_byte = range.end.saturating_sub(1).max(range.start);
        let end = match self.piece_at(last_byte) {
            Some(last) if last.linear => last.original.start + (last_byte - last.canonical) + 1,
            Some(last) => last.original.end,
            None => start,
        };
        start..end.max(start)
    }

    fn piece_at(&self, at: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.canonical <= at);
        after.checked_sub(1).and_then(|i| self.pieces.get(i))
    }

    /// Appends text that came from `original`.
    fn push(&mut self, text: &str, original: Range<usize>) {
        if !text.is_empty() {
            self.pieces.push(Piece {
                canonical: self.text.len(),
                original,
                linear: false,
            });
            self.text.push_str(text);
        }
    }

    /// Appends one ASCII byte that stands for one byte of the original.
    fn push_ascii(&mut self, byte: u8, at: usize) {
        let follows = self.pieces.last().is_some_and(|piece| {
            piece.linear && piece.original.start + (self.text.len() - piece.canonical) == at
        });
        if !follows {
            let canonical = self.text.len();
            self.pieces.push(Piece {
                canonical,
                original: at..at,
                linear: true,
            });
        }
        self.text.push(char::from(byte));
        if let Some(piece) = self.pieces.last_mut() {
            piece.original.end = at + 1;
        }
    }

    fn space(&mut self, c: char, span: Range<usize>) {
        let line = c == '\n';
        match self.text.as_bytes().last() {
            Some(b'\n') => {}
            Some(b' ') if !line => {}
            Some(b' ') => {
                // A run with a line end in it is a line end.
                self.text.pop();
                self.text.push('\n');
            }
            _ if c.is_ascii() && span.len() == 1 => {
                self.push_ascii(if line { b'\n' } else { b' ' }, span.start);
            }
            _ => self.push(if line { "\n" } else { " " }, span),
        }
    }
}

/// Reads a text. Time and memory are linear in it.
pub fn canonical(text: &str) -> Canonical {
    let mut out = Canonical::default();
    out.text.reserve(text.len());
    let mut hidden = Hidden::new(text);
    // The end of the word that was last looked at, and whether it folds to ASCII.
    let mut word = (0, false);
    let mut at = 0;
    while let Some(c) = char_at(text, at) {
        let end = at + c.len_utf8();
        if c.is_ascii() {
            let byte = u8::try_from(c).unwrap_or(b' ').to_ascii_lowercase();
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => out.space(c, at..end),
                0..=0x1f | 0x7f => {}
                _ => out.push_ascii(byte, at),
            }
            at = end;
        } else if kind(c) != Kind::Visible {
            hidden.see(c, at);
            at = end;
        } else if c.is_whitespace() {
            out.space(
                if matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}') {
                    '\n'
                } else {
                    c
                },
                at..end,
            );
            at = end;
        } else {
            if at >= word.0 {
                word = look_ahead(text, at);
            }
            at = push_cluster(&mut out, &mut hidden, text, at, word.1);
        }
    }
    let (smuggled, texts) = hidden.finish();
    out.smuggled = smuggled
        .into_iter()
        .map(|(rule, span)| Hit {
            rule: RuleId::of(rule),
            label: Label::Smuggling,
            span,
            view: View::Original,
            score: 1000,
        })
        .collect();
    out.hidden = texts;
    out
}

/// Normalises one character with the marks that belong to it; returns where it ends.
fn push_cluster(
    out: &mut Canonical,
    hidden: &mut Hidden<'_>,
    text: &str,
    at: usize,
    fold_word: bool,
) -> usize {
    let mut cluster = String::new();
    let mut end = at;
    for (index, c) in text.get(at..).unwrap_or_default().chars().enumerate() {
        if index > 0 && (index >= CLUSTER_CHARACTERS_MAX || !belongs(c)) {
            if kind(c) == Kind::Visible || index >= CLUSTER_CHARACTERS_MAX {
                break;
            }
            // An invisible character between a letter and its mark.
            hidden.see(c, end);
            end += c.len_utf8();
            continue;
        }
        cluster.push(c);
        end += c.len_utf8();
    }
    out.push(&fold_cluster(&cluster, fold_word), at..end);
    end
}

/// Whether a character composes with the one before it.
fn belongs(c: char) -> bool {
    canonical_combining_class(c) != 0
        || is_combining_mark(c) && kind(c) == Kind::Visible
        || matches!(c, '\u{1161}'..='\u{11ff}' | '\u{ff9e}' | '\u{ff9f}')
}

fn fold_cluster(cluster: &str, fold_word: bool) -> String {
    let decomposed: Vec<char> = cluster.nfkd().flat_map(char::to_lowercase).collect();
    // "í" is "i" in this view: accents on Latin letters are the cheapest disguise.
    let latin = decomposed.first().is_some_and(char::is_ascii);
    let plain: String = if latin || fold_word {
        decomposed
            .iter()
            .filter(|c| !matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'))
            .map(|c| if fold_word { look_alike(*c).unwrap_or(*c) } else { *c })
            .map(|c| if c.is_whitespace() { ' ' } else { c })
            .collect()
    } else {
        decomposed.into_iter().collect()
    };
    plain.nfkc().flat_map(char::to_lowercase).collect()
}

/// The ASCII letter that a character can be taken for.
fn look_alike(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c);
    }
    let single = |c: char| {
        let mut buffer = [0; 4];
        let mut skeleton = unicode_security::skeleton(c.encode_utf8(&mut buffer));
        match (skeleton.next(), skeleton.next()) {
            (Some(first), None) if first.is_ascii_alphanumeric() => {
                Some(first.to_ascii_lowercase())
            }
            _ => None,
        }
    };
    c.to_lowercase()
        .next()
        .and_then(single)
        .or_else(|| single(c))
}

/// The end of the word at `at` and whether every character of it folds to ASCII.
fn look_ahead(text: &str, at: usize) -> (usize, bool) {
    let mut end = at;
    let mut folds = true;
    for c in text.get(at..).unwrap_or_default().chars() {
        if kind(c) == Kind::Visible && !c.is_alphanumeric() && !is_combining_mark(c) {
            break;
        }
        end += c.len_utf8();
        if folds && !c.is_ascii() && kind(c) == Kind::Visible && !is_combining_mark(c) {
            folds = c
                .nfkd()
                .filter(|part| !is_combining_mark(*part))
                .all(|part| look_alike(part).is_some());
        }
    }
    (end.max(at + 1), folds)
}

#[cfg(test)]
mod tests;
