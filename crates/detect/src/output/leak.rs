//! Registered texts, word for word: shingles of eight words (Broder 1997), compared without case,
//! marks and white space, also backwards and in rot13.

use super::{REGISTERED_BYTES_MAX, reversed, rot13};
use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next, floor_boundary};
use ringfence_core::detection::{Bound, Detector, Hit, Label};
use ringfence_core::ids::RuleId;
use std::collections::HashSet;

/// Words of one shingle: long enough that a common phrase is none.
pub(crate) const SHINGLE_WORDS: usize = 8;
// LIMIT: octets of a word, and of what stands between two; more breaks a shingle.
const WORD_BYTES_MAX: usize = 32;
const GAP_BYTES_MAX: usize = 8;
// LIMIT: octets that are cut into words at once; many times the longest shingle.
const PIECE_BYTES: usize = 1 << 10;
const SHINGLE_BYTES_MAX: usize = SHINGLE_WORDS * (WORD_BYTES_MAX + GAP_BYTES_MAX);

/// A word of a text: where it stands, and its hash without case.
#[derive(Clone, Copy, Debug)]
struct Word {
    start: usize,
    end: usize,
    hash: u64,
    /// It follows the word before closely enough.
    joined: bool,
}

/// Letters and digits; a character of a script without spaces is a word of its own.
fn is_alone(c: char) -> bool {
    ('\u{2e80}'..='\u{9fff}').contains(&c) || ('\u{ac00}'..='\u{d7af}').contains(&c)
}

/// The words of `text` from `from` on.
fn words(text: &str, from: usize) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let mut last_end = None;
    let mut at = from;
    let mut close = |current: &mut Option<Word>, last_end: &mut Option<usize>| {
        if let Some(mut word) = current.take() {
            let near = last_end.is_some_and(|end| word.start - end <= GAP_BYTES_MAX);
            word.joined = near && word.end - word.start <= WORD_BYTES_MAX;
            *last_end = (word.end - word.start <= WORD_BYTES_MAX).then_some(word.end);
            words.push(word);
        }
    };
    for c in text.get(from..).unwrap_or_default().chars() {
        let next = at + c.len_utf8();
        if c.is_alphanumeric() {
            if is_alone(c) {
                close(&mut current, &mut last_end);
            }
            let word = current.get_or_insert(Word {
                start: at,
                end: at,
                hash: 0xcbf2_9ce4_8422_2325,
                joined: false,
            });
            for lower in c.to_lowercase() {
                word.hash = (word.hash ^ u64::from(lower)).wrapping_mul(0x100_0000_01b3);
            }
            word.end = next;
            if is_alone(c) {
                close(&mut current, &mut last_end);
            }
        } else {
            close(&mut current, &mut last_end);
        }
        at = next;
    }
    close(&mut current, &mut last_end);
    words
}

fn chain(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Finds runs of words of registered texts.
#[derive(Clone, Debug)]
pub struct RegisteredTexts {
    rule: RuleId,
    labels: [Label; 1],
    /// Hashes of all runs of one to eight words that begin a shingle, by their length.
    runs: Vec<HashSet<u64>>,
}

impl RegisteredTexts {
    /// Registers texts; shorter ones than a shingle are registered as nothing and refused.
    pub fn new(rule: &'static str, label: Label, texts: &[String]) -> Result<Self, DetectError> {
        let refuse = |reason: &str| DetectError::Rule {
            rule: rule.to_owned(),
            reason: reason.to_owned(),
        };
        if texts.iter().map(String::len).sum::<usize>() > REGISTERED_BYTES_MAX {
            return Err(refuse("the registered texts are longer than the limit"));
        }
        let mut runs = vec![HashSet::new(); SHINGLE_WORDS];
        for text in texts {
            if words(text, 0).len() < SHINGLE_WORDS {
                return Err(refuse(
                    "a registered text has fewer than eight words; block it as a term",
                ));
            }
            for form in [text.clone(), rot13(text), reversed(text)] {
                let words = words(&form, 0);
                for shingle in words.windows(SHINGLE_WORDS) {
                    let mut hash = 0;
                    for (word, runs) in shingle.iter().zip(&mut runs) {
                        hash = chain(hash, word.hash);
                        runs.insert(hash);
                    }
                }
            }
        }
        Ok(Self {
            rule: RuleId::of(rule),
            labels: [label],
            runs,
        })
    }

    /// How many words from `at` on run along a shingle.
    fn run(&self, words: &[Word], at: usize) -> usize {
        let mut hash = 0;
        let mut length = 0;
        for (word, runs) in words.get(at..).unwrap_or_default().iter().zip(&self.runs) {
            hash = chain(hash, word.hash);
            let broken = length > 0 && !word.joined;
            if broken || word.end - word.start > WORD_BYTES_MAX || !runs.contains(&hash) {
                break;
            }
            length += 1;
        }
        length
    }
}

/// Whether the run before the word `at`, which ends at `stop`, may still become longer: nothing
/// but a small gap follows, or a last word that is not complete.
fn goes_on(text: &str, words: &[Word], at: usize, stop: usize) -> bool {
    match words.get(at..) {
        Some([]) => stop + GAP_BYTES_MAX >= text.len(),
        Some([last]) => last.joined && last.end == text.len(),
        _ => false,
    }
}

impl RegisteredTexts {
    /// [`Lexer::next`] over a text that is short enough to be cut into words at once.
    fn within(&self, text: &str, from: usize, end: End) -> Next {
        // A shingle that began before `from` goes on behind the last hit, word by word. The first
        // word of what is looked at may be the rest of one: it is no word.
        let low = floor_boundary(text, from.saturating_sub(SHINGLE_BYTES_MAX));
        let mut words = words(text, low);
        let cut = text
            .get(..low)
            .and_then(|t| t.chars().next_back())
            .is_some_and(char::is_alphanumeric);
        if cut && words.first().is_some_and(|w| w.start == low) {
            words.remove(0);
        }
        for at in 0..words.len() {
            let length = self.run(&words, at);
            let reaches = |n: usize| words.get(at + n - 1).map_or(0, |w| w.end);
            let Some(first) = words.get(at).filter(|_| length > 0) else {
                continue;
            };
            let stop = reaches(length);
            if length == SHINGLE_WORDS {
                let start = first.start.max(from);
                // The last word may still grow into another.
                if end == End::Open && stop == text.len() {
                    return Next::ClearTo(start);
                }
                if stop > from {
                    return Next::Hit(Found {
                        rule: self.rule.clone(),
                        label: self.labels[0],
                        span: start..stop,
                        score: 1000,
                    });
                }
            } else if end == End::Open && goes_on(text, &words, at + length, stop) {
                return Next::ClearTo(first.start.max(from));
            }
        }
        Next::ClearTo(match end {
            End::Closed => text.len(),
            End::Open => words
                .last()
                .filter(|w| w.end == text.len() && w.end - w.start <= WORD_BYTES_MAX)
                .map_or(text.len(), |w| w.start.max(from)),
        })
    }
}

impl Lexer for RegisteredTexts {
    fn left_context(&self) -> usize {
        SHINGLE_BYTES_MAX + 4
    }

    fn next(&self, text: &str, mut from: usize, end: End) -> Next {
        // Cut into words piece by piece, so that many hits do not read a long text many times. What
        // is certain of a piece is certain of the text: the law of every lexer.
        loop {
            let stop = floor_boundary(text, from + PIECE_BYTES);
            if stop == text.len() {
                return self.within(text, from, end);
            }
            match self.within(text.get(..stop).unwrap_or_default(), from, End::Open) {
                Next::ClearTo(clear) if clear > from => from = clear,
                Next::ClearTo(_) => return self.within(text, from, end),
                hit @ Next::Hit(_) => return hit,
            }
        }
    }
}

impl Detector for RegisteredTexts {
    fn id(&self) -> &'static str {
        "detect/registered-text"
    }
    fn labels(&self) -> &[Label] {
        &self.labels
    }
    fn bound(&self) -> Bound {
        Bound::Bytes(SHINGLE_BYTES_MAX + WORD_BYTES_MAX + 8)
    }
    fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
