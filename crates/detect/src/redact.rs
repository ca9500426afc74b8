//! Replaces what was found by a marker that says what stood there.
//!
//! It is not anonymisation: the kind and the place stay visible. Overlapping hits become one marker, named
//! after the hit that starts first, so that no byte of any of them survives.

use crate::error::DetectError;
use ringfence_core::detection::{Detector, Hit, Label};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What stands in the place of a hit: `[REDACTED:` and the name of its label.
pub fn marker(label: Label) -> String {
    format!("[REDACTED:{}]", label.name())
}

/// Every detector of personal data: structure first, then names. Secrets are not among them.
pub fn everything() -> Result<Vec<Box<dyn Detector>>, DetectError> {
    let mut all = crate::pii::detectors()?;
    all.push(Box::new(crate::names::Names::new()?));
    Ok(all)
}

/// One hit for each place: where hits overlap, the surest stays, then the longest, then the
/// first. For reports; a redaction uses all hits, so that no octet of any of them survives.
pub fn resolve(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (Reverse(hit.score), Reverse(hit.span.len()), hit.span.start));
    let mut kept: BTreeMap<usize, Hit> = BTreeMap::new();
    for hit in hits {
        let before = kept.range(..hit.span.end).next_back();
        if before.is_none_or(|(_, other)| other.span.end <= hit.span.start) {
            kept.insert(hit.span.start, hit);
        }
    }
    kept.into_values().collect()
}

/// Every hit of the detectors in `text`, and the text with markers in their places.
pub fn redact(text: &str, detectors: &[Box<dyn Detector>]) -> (String, Vec<Hit>) {
    let mut hits = Vec::new();
    for detector in detectors {
        detector.scan(text, &mut hits);
    }
    // Stable: detectors that are listed first win a tie.
    hits.sort_by_key(|hit| hit.span.start);
    (replace(text, &hits), hits)
}

/// How a hit is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operator {
    /// By a marker with its label.
    #[default]
    Redact,
    /// By stars, of the same number of characters; the first character stays.
    Mask,
    /// By the label and twelve letters of a digest: equal values stay equal. Whoever
    /// can guess the value can compare it.
    Hash,
    /// The same with a keyed digest: only who has the key can compare.
    Pseudonym,
}

/// A digest of octets: of nothing else for [`Operator::Hash`], with a key for
/// [`Operator::Pseudonym`]. This floor has no cryptography; whoever calls hands it in.
pub type DigestOf<'d> = &'d (dyn Fn(&[u8]) -> [u8; 32] + Sync);

// LIMIT: octets of a digest that stand for a value: 2^48 values, collisions are rare below
// sixteen million different ones.
const DIGEST_BYTES: usize = 6;

impl Operator {
    /// What stands in the place of `value`. For the two operators with a digest, `digest` makes
    /// it.
    pub fn apply(self, label: Label, value: &str, digest: DigestOf<'_>) -> String {
        match self {
            Self::Redact => marker(label),
            Self::Mask => value
                .chars()
                .enumerate()
                .map(|(i, c)| if i == 0 || c.is_whitespace() { c } else { '*' })
                .collect(),
            Self::Hash | Self::Pseudonym => {
                let digest = digest(value.as_bytes());
                let short = digest.get(..DIGEST_BYTES).unwrap_or_default();
                // Letters only: a token must not be found as a number of something later.
                let letters: String = short
                    .iter()
                    .flat_map(|b| [b >> 4, b & 15])
                    .map(|nibble| char::from(b'a' + nibble))
                    .collect();
                format!("[{}:{letters}]", label.name())
            }
        }
    }
}

/// The text with each span replaced by a marker; see [`replace_with`].
pub fn replace(text: &str, hits: &[Hit]) -> String {
    replace_with(text, hits, |hit, _| marker(hit.label))
}

/// The text with each span replaced by what `by` says of the hit and its octets. `hits` are in
/// order of start; a span that is not on character boundaries is widened to them, never ignored.
pub fn replace_with(text: &str, hits: &[Hit], by: impl Fn(&Hit, &str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for hit in hits {
        let start = crate::lexer::floor_boundary(text, hit.span.start);
        let mut end = hit.span.end.min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        if start >= done && end > start {
            out.push_str(text.get(done..start).unwrap_or_default());
            out.push_str(&by(hit, text.get(start..end).unwrap_or_default()));
        }
        done = done.max(end);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::detection::View;
    use ringfence_core::ids::RuleId;

    fn hit(label: Label, span: std::ops::Range<usize>) -> Hit {
        Hit {
            rule: RuleId::of("test/rule"),
            label,
            span,
            view: View::Original,
            score: 1000,
        }
    }

    #[test]
    fn overlapping_hits_become_one_marker_and_no_byte_survives() {
        let hits = [
            hit(Label::Email, 2..6),
            hit(Label::Phone, 4..8),
            hit(Label::Iban, 5..6),
        ];
        assert_eq!(replace("0123456789", &hits), "01[REDACTED:email]89");
    }

    #[test]
    fn of_overlapping_hits_the_surest_and_then_the_longest_is_reported() {
        let scored = |score, span| Hit {
            score,
            ..hit(Label::Phone, span)
        };
        let hits = vec![
            scored(600, 0..9),
            scored(900, 4..6),
            scored(500, 10..12),
            scored(500, 9..12),
        ];
        let kept: Vec<_> = resolve(hits).into_iter().map(|h| h.span).collect();
        assert_eq!(kept, [4..6, 9..12]);
    }

    #[test]
    fn operators_hide_the_value_and_equal_values_stay_equal_under_a_digest() {
        let digest = |bytes: &[u8]| [u8::try_from(bytes.len()).unwrap_or(0); 32];
        let with = |operator: Operator| operator.apply(Label::Person, "Ann Bo", &digest);
        assert_eq!(with(Operator::Redact), "[REDACTED:person]");
        assert_eq!(with(Operator::Mask), "A** **");
        assert_eq!(with(Operator::Hash), "[person:agagagagagag]");
        assert_eq!(with(Operator::Pseudonym), with(Operator::Pseudonym));
    }

    #[test]
    fn adjacent_hits_keep_their_own_markers() {
        let hits = [hit(Label::Email, 0..2), hit(Label::Phone, 2..4)];
        assert_eq!(replace("0123", &hits), "[REDACTED:email][REDACTED:phone]");
    }

    #[test]
    fn a_span_inside_a_character_is_widened() {
        assert_eq!(
            replace("a\u{4e2d}b", &[hit(Label::Email, 2..3)]),
            "a[REDACTED:email]b"
        );
    }

    #[test]
    fn a_span_past_the_end_is_cut() {
        assert_eq!(
            replace("ab", &[hit(Label::Email, 1..9)]),
            "a[REDACTED:email]"
        );
    }
}
