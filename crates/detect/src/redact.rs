//! Replaces what was found by a marker that says what stood there.
//!
//! It is not anonymisation: the kind and the place stay visible. Overlapping hits become one marker, named
//! after the hit that starts first, so that no byte of any of them survives.

use ringfence_core::detection::{Detector, Hit, Label};

/// What stands in the place of a hit: `[REDACTED:` and the name of its label.
pub fn marker(label: Label) -> String {
    format!("[REDACTED:{}]", label.name())
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

/// The text with each span replaced. `hits` are in order of start; a span that is not on
/// character boundaries is widened to them, never ignored.
pub fn replace(text: &str, hits: &[Hit]) -> String {
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
            out.push_str(&marker(hit.label));
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
