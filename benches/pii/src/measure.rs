//! Spans judged against spans: typed, by overlap, and F with twice the weight on recall.

use ringfence_core::detection::{Hit, Label};
use std::collections::BTreeMap;
use std::ops::Range;

/// A gold or found span with the name of its type.
pub type Span = (Range<usize>, &'static str);

/// Types whose form can be checked.
pub const STRUCTURED: [&str; 8] = [
    "CARD", "PHONE", "EMAIL", "SSN", "IBAN", "IP", "URL", "LICENCE",
];

/// How much of the union two spans must share: intersection over union in thousandths.
const OVERLAP_THOUSANDTHS: usize = 500;

/// The name under which a label is compared; `None` is not compared.
pub fn type_of(label: Label) -> Option<&'static str> {
    Some(match label {
        Label::PaymentCard => "CARD",
        Label::Phone => "PHONE",
        Label::Email => "EMAIL",
        Label::NationalId | Label::TaxId | Label::Medical => "SSN",
        Label::Iban => "IBAN",
        Label::IpAddress => "IP",
        Label::Url | Label::UrlCredential => "URL",
        Label::DriverLicence | Label::Passport => "LICENCE",
        Label::Date | Label::BirthDate => "DATE",
        Label::Person => "PERSON",
        Label::Place | Label::Address | Label::Coordinates => "LOCATION",
        Label::Organisation => "ORGANISATION",
        _ => return None,
    })
}

/// Found, expected, missed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Found and expected.
    pub right: u64,
    /// Found and not expected.
    pub extra: u64,
    /// Expected and not found.
    pub missed: u64,
}

impl Counts {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.right += other.right;
        self.extra += other.extra;
        self.missed += other.missed;
    }

    fn ratio(part: u64, whole: u64) -> f64 {
        let number = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        if whole == 0 {
            0.0
        } else {
            number(part) / number(whole)
        }
    }

    /// Share of what was found that is right.
    pub fn precision(&self) -> f64 {
        Self::ratio(self.right, self.right + self.extra)
    }

    /// Share of what is expected that was found.
    pub fn recall(&self) -> f64 {
        Self::ratio(self.right, self.right + self.missed)
    }

    /// F with beta 2.
    pub fn f2(&self) -> f64 {
        let (p, r) = (self.precision(), self.recall());
        if p + r == 0.0 {
            0.0
        } else {
            5.0 * p * r / (4.0 * p + r)
        }
    }

    /// Expected spans.
    pub fn expected(&self) -> u64 {
        self.right + self.missed
    }
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    let shared = a.end.min(b.end).saturating_sub(a.start.max(b.start));
    let union = a.end.max(b.end) - a.start.min(b.start);
    shared * 1000 >= union * OVERLAP_THOUSANDTHS && shared > 0
}

/// Joins neighbours of one type that only white space and marks part, as Presidio's own evaluator
/// does: "12 Main Street", "Springfield" on two lines is one place or two, by taste.
pub fn join(text: &str, mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|(span, _)| span.start);
    let mut joined: Vec<Span> = Vec::new();
    for (span, kind) in spans {
        let gap = joined.last().and_then(|(last, k)| {
            (*k == kind).then(|| text.get(last.end..span.start).unwrap_or_default())
        });
        match joined.last_mut() {
            Some((last, _)) if gap.is_some_and(|g| !g.contains(char::is_alphanumeric)) => {
                last.end = last.end.max(span.end);
            }
            _ => joined.push((span, kind)),
        }
    }
    joined
}

/// Counts one text, type by type. Each span is used once.
pub fn compare(gold: &[Span], found: &[Span], counts: &mut BTreeMap<&'static str, Counts>) {
    let mut used = vec![false; found.len()];
    for (span, kind) in gold {
        let hit = found.iter().enumerate().position(|(i, (other, k))| {
            k == kind && !used.get(i).copied().unwrap_or(true) && overlaps(span, other)
        });
        let count = counts.entry(kind).or_default();
        match hit.and_then(|i| used.get_mut(i)) {
            Some(used) => {
                *used = true;
                count.right += 1;
            }
            None => count.missed += 1,
        }
    }
    for ((_, kind), used) in found.iter().zip(used) {
        if !used {
            counts.entry(kind).or_default().extra += 1;
        }
    }
}

/// Found and expected octets, whatever their type: what a reader of the redacted text could see.
pub fn compare_octets(length: usize, gold: &[Span], found: &[Span], counts: &mut Counts) {
    let cover = |spans: &[Span]| {
        let mut covered = vec![false; length];
        for (span, _) in spans {
            for octet in covered.get_mut(span.clone()).unwrap_or_default() {
                *octet = true;
            }
        }
        covered
    };
    for (g, f) in cover(gold).into_iter().zip(cover(found)) {
        match (g, f) {
            (true, true) => counts.right += 1,
            (false, true) => counts.extra += 1,
            (true, false) => counts.missed += 1,
            (false, false) => {}
        }
    }
}

/// The spans of hits that are compared.
pub fn spans_of(hits: &[Hit]) -> Vec<Span> {
    hits.iter()
        .filter_map(|hit| type_of(hit.label).map(|kind| (hit.span.clone(), kind)))
        .collect()
}
