//! Many literal texts at once, without case.

use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next, char_at, floor_boundary};
use aho_corasick::{AhoCorasick, MatchKind};
use ringfence_core::detection::{Bound, Detector, Hit, Label};
use ringfence_core::ids::RuleId;

// LIMIT: octets of one literal; it bounds what a stream holds back.
/// How long one literal may be.
pub(crate) const LITERAL_BYTES_MAX: usize = 512;
const LITERAL_BYTES_MIN: usize = 2;
// LIMIT: literals of one list.
/// How many literals one list may have.
pub(crate) const LITERALS_MAX: usize = 500_000;

/// Where a literal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Wherever it stands.
    Anywhere,
    /// Only where no letter or digit goes on with it.
    Whole,
}

/// Finds the literals of a list; the earliest, and of those the longest.
#[derive(Clone, Debug)]
pub struct Literals {
    rule: RuleId,
    labels: [Label; 1],
    automaton: AhoCorasick,
    /// In lower case and in order, for the question what could still become one.
    sorted: Vec<Vec<u8>>,
    longest: usize,
    words: Words,
}

impl Literals {
    /// Refuses literals that are too short, too long or too many.
    pub fn new(
        rule: &'static str,
        label: Label,
        literals: &[String],
        words: Words,
    ) -> Result<Self, DetectError> {
        let refuse = |reason: String| DetectError::Rule {
            rule: rule.to_owned(),
            reason,
        };
        let fits = |l: &String| (LITERAL_BYTES_MIN..=LITERAL_BYTES_MAX).contains(&l.len());
        if !literals.iter().all(fits) || literals.len() > LITERALS_MAX {
            return Err(refuse(format!(
                "a literal has {LITERAL_BYTES_MIN} to {LITERAL_BYTES_MAX} octets, a list at most {LITERALS_MAX}"
            )));
        }
        let mut sorted: Vec<Vec<u8>> = literals
            .iter()
            .map(|l| l.to_ascii_lowercase().into_bytes())
            .collect();
        sorted.sort_unstable();
        sorted.dedup();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(&sorted)
            .map_err(|e| refuse(e.to_string()))?;
        Ok(Self {
            rule: RuleId::of(rule),
            labels: [label],
            automaton,
            longest: sorted.iter().map(Vec::len).max().unwrap_or(0),
            sorted,
            words,
        })
    }

    /// The first place from which on everything up to the end could be the head of a literal.
    fn live(&self, text: &str, from: usize) -> usize {
        let low = from.max((text.len() + 1).saturating_sub(self.longest));
        let tail = text
            .as_bytes()
            .get(low..)
            .unwrap_or_default()
            .to_ascii_lowercase();
        (0..tail.len())
            .find(|at| {
                let head = tail.get(*at..).unwrap_or_default();
                let place = self.sorted.partition_point(|l| l.as_slice() < head);
                let longer = self.sorted.get(place).filter(|l| l.as_slice() == head);
                let place = place + usize::from(longer.is_some());
                self.sorted.get(place).is_some_and(|l| l.starts_with(head))
            })
            .map_or(text.len(), |at| low + at)
    }

    fn whole(&self, text: &str, hit: &std::ops::Range<usize>) -> bool {
        if self.words == Words::Anywhere {
            return true;
        }
        let before = text.get(..hit.start).and_then(|t| t.chars().next_back());
        let after = char_at(text, hit.end);
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    }
}

impl Lexer for Literals {
    fn left_context(&self) -> usize {
        4
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let live = match end {
            End::Open => floor_boundary(text, self.live(text, from)),
            End::Closed => text.len(),
        };
        let mut at = from;
        while let Some(found) = text
            .as_bytes()
            .get(at..)
            .and_then(|rest| self.automaton.find(rest))
            .map(|m| at + m.start()..at + m.end())
        {
            // What follows a whole word must be seen; a longer literal must be ruled out.
            let unseen = self.words == Words::Whole && found.end == text.len();
            if end == End::Open && (found.start >= live || unseen) {
                return Next::ClearTo(live.min(found.start));
            }
            if self.whole(text, &found) {
                return Next::Hit(Found {
                    rule: self.rule.clone(),
                    label: self.labels[0],
                    span: found,
                    score: 1000,
                });
            }
            at = found.start + 1;
        }
        Next::ClearTo(live)
    }
}

impl Detector for Literals {
    fn id(&self) -> &'static str {
        "detect/literals"
    }
    fn labels(&self) -> &[Label] {
        &self.labels
    }
    fn bound(&self) -> Bound {
        Bound::Bytes(self.longest + 4)
    }
    fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
