//! One pass for the keywords of all rules, then a bounded look at each place.
//!
//! The time is linear in the text: a keyword costs at most the longest match of its rule, whatever the text.

use super::ordinary::{is_name_of_no_secret, is_words, stands_in_for_a_host};
use super::pem;
use super::rules::{Checksum, Context, SecretRule};
use super::value::{entropy_tenths, has_base62_check, is_stand_in};
use crate::error::DetectError;
use crate::lexer::End;
use aho_corasick::{AhoCorasick, MatchKind};
use ringfence_core::severity::Confidence;
use std::ops::Range;

// LIMIT: bytes between the start of a keyword and the start of its secret.
pub(super) const LOOKBACK_BYTES: usize = 192;

/// Which rule matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Index in the rule list.
    Rule(usize),
    /// A private key block.
    Pem,
}

/// A verified match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawHit {
    pub(super) source: Source,
    pub(super) span: Range<usize>,
    pub(super) confidence: Confidence,
}

/// What the engine is certain of; see [`crate::lexer::Next`].
pub(super) enum Outcome {
    Hit(RawHit),
    ClearTo(usize),
}

/// Rules with their keyword automaton.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) rules: Vec<SecretRule>,
    keywords: AhoCorasick,
    /// For each keyword pattern: index of its rule.
    owners: Vec<usize>,
    keyword_bytes_max: usize,
    lead_max: usize,
    rule_bytes_max: usize,
}

impl Engine {
    pub(super) fn new(rules: Vec<SecretRule>) -> Result<Self, DetectError> {
        let mut patterns = Vec::new();
        let mut owners = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for keyword in &rule.keywords {
                patterns.push(keyword.clone());
                owners.push(index);
            }
        }
        let keywords = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(&patterns)
            .map_err(|e| DetectError::RuleFile {
                file: "secrets".to_owned(),
                reason: e.to_string(),
            })?;
        Ok(Self {
            keyword_bytes_max: patterns.iter().map(String::len).max().unwrap_or(0),
            lead_max: rules.iter().map(|r| r.lead).max().unwrap_or(0),
            rule_bytes_max: rules.iter().map(SecretRule::bytes_max).max().unwrap_or(0),
            rules,
            keywords,
            owners,
        })
    }

    /// Bytes of the longest match, the byte that shows its end included.
    pub(super) fn bound(&self) -> usize {
        (self.rule_bytes_max + self.lead_max + 1).max(pem::BLOCK_BYTES_MAX)
    }

    /// Bytes before a match that may be read.
    pub(super) fn left_context(&self) -> usize {
        LOOKBACK_BYTES + self.lead_max + 1
    }

    /// The next verified secret that starts at `from` or later.
    pub(super) fn next(&self, text: &str, from: usize, end: End) -> Outcome {
        let mut best: Option<RawHit> = None;
        let mut clear = self.clear_without_keywords(text, from, end);
        let begin = from.saturating_sub(LOOKBACK_BYTES);
        let bytes = text.as_bytes().get(begin..).unwrap_or_default();
        for found in self.keywords.find_overlapping_iter(bytes) {
            let at = begin + found.start();
            // Keywords come in order of their ends: the earliest start that can still come.
            let near = (begin + found.end()).saturating_sub(self.keyword_bytes_max + self.lead_max);
            if best.as_ref().is_some_and(|hit| near > hit.span.start) || near >= clear {
                break;
            }
            let Some(index) = self.owners.get(found.pattern().as_usize()).copied() else {
                continue;
            };
            let Some(rule) = self.rules.get(index) else {
                continue;
            };
            if end == End::Open && !decidable(text, at, rule.bytes_max()) {
                clear = clear.min(at.saturating_sub(rule.lead));
                continue;
            }
            if let Some(hit) = verify(rule, index, text, at)
                && hit.span.start >= from
                && best.as_ref().is_none_or(|b| {
                    (hit.span.start, rank(hit.source)) < (b.span.start, rank(b.source))
                })
            {
                best = Some(hit);
            }
        }
        // Only what stands before the best hit is asked for: else many hits would read the text
        // many times.
        let until = best.as_ref().map_or(text.len(), |hit| hit.span.start);
        match pem::next(text, from, until, end) {
            pem::Block::Found(span) => {
                if best.as_ref().is_none_or(|b| span.start <= b.span.start) {
                    best = Some(RawHit {
                        source: Source::Pem,
                        span,
                        confidence: Confidence::High,
                    });
                }
            }
            pem::Block::ClearTo(offset) => clear = clear.min(offset),
        }
        match best {
            Some(hit) if hit.span.start < clear || end == End::Closed => Outcome::Hit(hit),
            _ => Outcome::ClearTo(clear.max(from)),
        }
    }

    /// Up to where no keyword that is not complete yet could matter.
    fn clear_without_keywords(&self, text: &str, from: usize, end: End) -> usize {
        if end == End::Closed {
            return text.len();
        }
        let tail = text
            .len()
            .saturating_sub(self.keyword_bytes_max - 1 + self.lead_max);
        let bytes = text.as_bytes().get(tail..).unwrap_or_default();
        let after_break = bytes
            .iter()
            .rposition(|b| is_break(*b))
            .map_or(0, |i| i + 1);
        (tail + after_break).max(from)
    }
}

fn rank(source: Source) -> usize {
    match source {
        Source::Pem => 0,
        Source::Rule(index) => index + 1,
    }
}

/// Bytes that no match of a stream rule contains.
fn is_break(b: u8) -> bool {
    b <= b' ' || b >= 0x7f || b"\"'`<>()[]{},\\|".contains(&b)
}

/// Whether everything that a rule could read from `at` on is there.
fn decidable(text: &str, at: usize, bytes_max: usize) -> bool {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    rest.len() > bytes_max || rest.iter().any(|b| is_break(*b))
}

fn token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

/// Looks at one keyword.
fn verify(rule: &SecretRule, index: usize, text: &str, at: usize) -> Option<RawHit> {
    // A lead never reaches over a break, so that a neighbour is not found in place of this one.
    let low = at.saturating_sub(rule.lead);
    let lead = text.as_bytes().get(low..at).unwrap_or_default();
    let begin = low + lead.iter().rposition(|b| is_break(*b)).map_or(0, |i| i + 1);
    let window = begin..at + rule.pattern.bytes_max;
    let (whole, mut span) = rule.pattern.find(text, window, rule.lead == 0)?;
    if whole.start > at || span.start > at + LOOKBACK_BYTES {
        return None;
    }
    if rule.extend > 0 {
        let rest = text.as_bytes().get(span.end..).unwrap_or_default();
        span.end += rest
            .iter()
            .take(rule.extend)
            .take_while(|b| token_byte(**b))
            .count();
    }
    let value = text.get(span.clone())?;
    if is_stand_in(value, rule.generic) || entropy_tenths(value) < rule.entropy_tenths_min {
        return None;
    }
    let name = text.get(whole.start..span.start).unwrap_or_default();
    let ordinary = match rule.context {
        Some(Context::Assignment) => is_name_of_no_secret(name) || is_words(value, name),
        Some(Context::Address) => stands_in_for_a_host(text, span.end + 1),
        None => false,
    };
    if ordinary {
        return None;
    }
    let confidence = match rule.checksum {
        Some(Checksum::Crc32Base62) if has_base62_check(value) => Confidence::High,
        // The form alone is still reported: a check that is wrong may be a newer scheme.
        Some(Checksum::Crc32Base62) => Confidence::Medium,
        None if rule.generic => Confidence::Low,
        None => Confidence::Medium,
    };
    Some(RawHit {
        source: Source::Rule(index),
        span,
        confidence,
    })
}
