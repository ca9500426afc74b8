//! Words near a number that say what it is.
//!
//! A checksum of one digit lets a tenth of all numbers through; the word beside the number decides
//! then. Only what stands before a number is read, within [`CONTEXT_BYTES`], so that a stream
//! never waits for it.
//!
//! INVARIANT: a marker of [`crate::redact`] vouches for nothing, and nothing before it is read:
//! what was not found in a text is not found after redaction either.

use crate::error::DetectError;
use crate::lexer::floor_boundary;
use aho_corasick::AhoCorasick;

// LIMIT: bytes before a number in which a word may vouch for it.
pub(super) const CONTEXT_BYTES: usize = 64;

/// How every marker begins.
const MARKER: &str = "[REDACTED:";
// LIMIT: bytes of a marker, its name included.
const MARKER_BYTES_MAX: usize = 32;

/// Lists of words, found in one pass.
#[derive(Clone, Debug)]
pub(super) struct Words {
    automaton: AhoCorasick,
    /// For each word: the number of its list.
    lists: Vec<usize>,
    /// For each word: its length.
    lengths: Vec<usize>,
}

impl Words {
    /// At most 64 lists of words in lower case.
    pub(super) fn new(rule: &str, lists: &[&[&str]]) -> Result<Self, DetectError> {
        let mut words = Vec::new();
        let mut owners = Vec::new();
        for (index, list) in lists.iter().enumerate() {
            for word in *list {
                words.push(*word);
                owners.push(index);
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&words)
            .map_err(|e| DetectError::Rule {
                rule: rule.to_owned(),
                reason: e.to_string(),
            })?;
        Ok(Self {
            automaton,
            lists: owners,
            lengths: words.iter().map(|word| word.len()).collect(),
        })
    }

    /// One bit for each list that has a word in `context`. A word must begin where a word begins;
    /// one of up to three letters must also end there ("id" is not in "did" nor in "idea").
    pub(super) fn lists_in(&self, context: &str) -> u64 {
        let bytes = context.as_bytes();
        let mut found_lists = 0_u64;
        for found in self.automaton.find_overlapping_iter(context) {
            let word = found.pattern().as_usize();
            let letter = |at: Option<usize>| {
                at.and_then(|i| bytes.get(i))
                    .is_some_and(u8::is_ascii_alphanumeric)
            };
            let first_is_ascii = bytes.get(found.start()).is_some_and(u8::is_ascii);
            let begins = !first_is_ascii || !letter(found.start().checked_sub(1));
            let short = self.lengths.get(word).is_some_and(|l| *l <= 3);
            if begins && !(short && first_is_ascii && letter(Some(found.end()))) {
                found_lists |= 1 << self.lists.get(word).copied().unwrap_or(0).min(63);
            }
        }
        found_lists
    }
}

/// What stands before `at` and may vouch: up to `bytes`, no further back than a marker.
pub(super) fn before(text: &str, at: usize, bytes: usize) -> &str {
    let from = floor_boundary(text, at.saturating_sub(bytes));
    let context = text.get(from..at).unwrap_or_default();
    match context.rfind(MARKER) {
        Some(marker) => context
            .get(marker..)
            .and_then(|rest| rest.find(']').and_then(|end| rest.get(end + 1..)))
            .unwrap_or_default(),
        None => context,
    }
}

/// Whether a marker stands within `bytes` before `at`.
pub(super) fn marked(text: &str, at: usize, bytes: usize) -> bool {
    let from = floor_boundary(text, at.saturating_sub(bytes));
    text.get(from..at).is_some_and(|t| t.contains(MARKER))
}

/// Whether a marker ends right before `at`: then `at` is where it is because something was cut.
pub(super) fn ends_with_marker(text: &str, at: usize) -> bool {
    text.as_bytes()
        .get(..at)
        .is_some_and(|t| t.last() == Some(&b']'))
        && marked(text, at, MARKER_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_word_counts_only_as_a_word() {
        let words = Words::new("test", &[&["id", "tax"], &["身份证"]]).expect("words");
        assert_eq!(words.lists_in("my ID: "), 1);
        assert_eq!(words.lists_in("he did it, an idea"), 0);
        assert_eq!(words.lists_in("身份证"), 2);
    }

    #[test]
    fn context_reaches_back_to_its_limit_and_not_past_a_marker() {
        let text = format!("id{}1", " ".repeat(CONTEXT_BYTES - 2));
        assert!(before(&text, text.len() - 1, CONTEXT_BYTES).starts_with("id"));
        let text = format!("id{}1", " ".repeat(CONTEXT_BYTES - 1));
        assert!(!before(&text, text.len() - 1, CONTEXT_BYTES).starts_with("id"));
        assert_eq!(before("card [REDACTED:card] tel 1", 25, 64), " tel ");
    }
}
