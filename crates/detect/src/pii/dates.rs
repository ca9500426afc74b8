//! Days and places written in numbers: dates in the usual orders, dates of birth where words say
//! so, and pairs of latitude and longitude.

use super::checks::{is_day, number};
use super::context::{CONTEXT_BYTES, Words, before, ends_with_marker};
use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: bytes of a date with time and zone, or of a pair of coordinates.
const RUN_BYTES_MAX: usize = 40;
// LIMIT: bytes of the name of a month and the space after it.
const MONTH_BYTES_MAX: usize = 12;
const LABELS: [Label; 3] = [Label::Date, Label::BirthDate, Label::Coordinates];
const BIRTH: &[&[&str]] = &[&[
    "born",
    "birth",
    "birthdate",
    "birthday",
    "dob",
    "d.o.b",
    "geboren",
    "geburt",
    "geburtstag",
    "geburtsdatum",
    "née le",
    "né le",
    "naissance",
    "nacimiento",
    "nacido",
    "nacida",
    "nascimento",
    "nato il",
    "nata il",
    "nascita",
    "geboortedatum",
    "född",
    "født",
    "syntynyt",
    "urodz",
    "narozen",
    "doğum",
    "рожд",
    "родил",
    "出生",
    "生日",
    "생년월일",
    "生年月日",
]];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A run of decimal digits at the start of `bytes`: its value and length.
fn digits(bytes: &[u8]) -> (u64, usize) {
    let length = bytes
        .iter()
        .take(9)
        .take_while(|b| b.is_ascii_digit())
        .count();
    (number(bytes.get(..length).unwrap_or_default()), length)
}

fn is_year(value: u64, length: usize) -> bool {
    length == 2 || (length == 4 && (1800..2200).contains(&value))
}

/// Length of "hh:mm", ":ss", a fraction and a zone at the start of `bytes`, the gap included.
fn clock(bytes: &[u8]) -> usize {
    let Some(gap) = bytes.first().filter(|b| matches!(b, b' ' | b'T' | b't')) else {
        return 0;
    };
    let rest = bytes.get(1..).unwrap_or_default();
    let (hour, hours) = digits(rest);
    if hour > 24 || !(1..=2).contains(&hours) || rest.get(hours) != Some(&b':') {
        return 0;
    }
    let (_, minutes) = digits(rest.get(hours + 1..).unwrap_or_default());
    if minutes != 2 {
        return 0;
    }
    let mut length = 1 + hours + 3;
    let second = bytes.get(length..).unwrap_or_default();
    if second.first() == Some(&b':') && digits(second.get(1..).unwrap_or_default()).1 == 2 {
        length += 3;
    }
    let zulu = *gap != b' ' && bytes.get(length).is_some_and(|b| matches!(b, b'Z' | b'z'));
    length + usize::from(zulu)
}

/// "1985-03-12", "12/03/1985", "3/12/85", "12.03.1985", with or without a time after it.
fn numeric(run: &[u8]) -> Option<usize> {
    let (a, a_length) = digits(run);
    let sign = *run.get(a_length)?;
    if !matches!(sign, b'-' | b'/' | b'.') {
        return None;
    }
    let second = run.get(a_length + 1..)?;
    let (b, b_length) = digits(second);
    if second.get(b_length) != Some(&sign) || !(1..=2).contains(&b_length) {
        return None;
    }
    let (c, c_length) = digits(second.get(b_length + 1..)?);
    let fits = match a_length {
        4 => is_year(a, 4) && is_day(b, c) && (1..=2).contains(&c_length),
        1 | 2 => {
            is_year(c, c_length)
                && (is_day(a, b) || is_day(b, a))
                // "1.2.34" and "10.2.15" are versions more often than days.
                && (c_length == 4 || sign == b'/' || (a_length == 2 && b_length == 2 && sign == b'-'))
        }
        _ => false,
    };
    let length = a_length + 1 + b_length + 1 + c_length;
    fits.then(|| length + clock(run.get(length..).unwrap_or_default()))
}

/// The month whose name, or its first three letters, begins `bytes`; and the length of the name.
fn month(bytes: &[u8]) -> Option<usize> {
    let word = bytes
        .iter()
        .take(MONTH_BYTES_MAX)
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let lower = bytes.get(..word)?.to_ascii_lowercase();
    let capital = bytes.first().is_some_and(u8::is_ascii_uppercase);
    let known = MONTHS.iter().any(|m| {
        let m = m.as_bytes();
        lower == m || m.get(..3) == Some(&lower[..]) || lower == b"sept"
    });
    (known && capital).then_some(word)
}

/// "12 March 1985", "12th of March, 1985": from the day on.
fn day_first(run: &[u8]) -> Option<usize> {
    let (day, mut at) = digits(run);
    if !(1..=31).contains(&day) || at > 2 {
        return None;
    }
    let after = |at: usize| run.get(at..).unwrap_or_default();
    for ending in [&b"st"[..], b"nd", b"rd", b"th", b"."] {
        if after(at).starts_with(ending) {
            at += ending.len();
            break;
        }
    }
    at += usize::from(after(at).first() == Some(&b' '));
    at += if after(at).starts_with(b"of ") { 3 } else { 0 };
    at += month(after(at))?;
    Some(year_after(run, at).unwrap_or(at))
}

/// Where a year after a month or a day ends.
fn year_after(run: &[u8], at: usize) -> Option<usize> {
    let after = run.get(at..)?;
    let gap = after
        .iter()
        .take(3)
        .take_while(|b| matches!(b, b' ' | b',' | b'.'))
        .count();
    let (year, length) = digits(after.get(gap..)?);
    (gap > 0 && length == 4 && is_year(year, 4)).then_some(at + gap + length)
}

/// "March 12, 1985": the name of the month stands right before the day at the start of `run`.
fn month_before(text: &[u8], at: usize, from: usize) -> Option<usize> {
    let low = from.max(at.saturating_sub(MONTH_BYTES_MAX));
    let lead = text.get(low..at)?;
    let lead = lead.strip_suffix(b" ")?;
    let lead = lead.strip_suffix(b".").unwrap_or(lead);
    let word = lead
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let name = lead.get(lead.len() - word..)?;
    (month(name) == Some(word)).then_some(low + lead.len() - word)
}

/// A signed decimal number with four decimals or more, below `limit`.
fn degrees(bytes: &[u8], limit: u64) -> Option<usize> {
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let (whole, length) = digits(bytes.get(sign..)?);
    if length == 0 || length > 3 || whole > limit || bytes.get(sign + length) != Some(&b'.') {
        return None;
    }
    let decimals = digits(bytes.get(sign + length + 1..)?).1;
    (4..=8)
        .contains(&decimals)
        .then_some(sign + length + 1 + decimals)
}

/// "48.8584, 2.2945".
fn coordinates(run: &[u8]) -> Option<usize> {
    let latitude = degrees(run, 90)?;
    let after = run.get(latitude..)?;
    let gap = after
        .iter()
        .take(2)
        .take_while(|b| matches!(b, b',' | b' '))
        .count();
    if !after.starts_with(b",") {
        return None;
    }
    Some(latitude + gap + degrees(after.get(gap..)?, 180)?)
}

/// "1985年3月12日".
fn chinese(run: &[u8]) -> Option<usize> {
    let part = |at: usize, sign: &str, most: usize| {
        let rest = run.get(at..)?;
        let (value, length) = digits(rest);
        let fits = (1..=most).contains(&length) && rest.get(length..)?.starts_with(sign.as_bytes());
        fits.then_some((value, at + length + sign.len()))
    };
    let (year, at) = part(0, "\u{5e74}", 4)?;
    let (month, at) = part(at, "\u{6708}", 2)?;
    let (day, at) = part(at, "\u{65e5}", 2)?;
    (is_year(year, 4) && is_day(month, day)).then_some(at)
}

/// The recogniser of dates and coordinates.
#[derive(Clone, Debug)]
pub struct Dates {
    birth: Words,
}

impl Dates {
    /// Builds the list of words of birth.
    pub fn new() -> Result<Self, DetectError> {
        Ok(Self {
            birth: Words::new("detect/date", BIRTH)?,
        })
    }

    fn decide(&self, text: &str, at: usize, from: usize) -> Option<Found> {
        let bytes = text.as_bytes();
        let run = bytes.get(at..bytes.len().min(at + RUN_BYTES_MAX))?;
        let mut start = at;
        let (label, length) = if let Some(length) = coordinates(run) {
            // The sign belongs to the latitude.
            start -= usize::from(at > from && bytes.get(at.wrapping_sub(1)) == Some(&b'-'));
            (Label::Coordinates, length)
        } else if let Some(length) = numeric(run)
            .or_else(|| day_first(run))
            .or_else(|| chinese(run))
        {
            (Label::Date, length)
        } else {
            start = month_before(bytes, at, from)?;
            let (day, length) = digits(run);
            let suffix = run.get(length..).is_some_and(|r| {
                [b"st", b"nd", b"rd", b"th"]
                    .iter()
                    .any(|s| r.starts_with(*s))
            });
            let stop = length + 2 * usize::from(suffix);
            let year = year_after(run, stop);
            let is_day_or_year = (1..=31).contains(&day) || (length == 4 && is_year(day, 4));
            if !is_day_or_year {
                return None;
            }
            (Label::Date, year.unwrap_or(stop))
        };
        let after = bytes.get(at + length..).unwrap_or_default();
        let goes_on = after
            .first()
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'['))
            || (after
                .first()
                .is_some_and(|b| matches!(b, b'-' | b'/' | b'.'))
                && after.get(1).is_some_and(u8::is_ascii_digit));
        if goes_on {
            return None;
        }
        let born =
            label == Label::Date && self.birth.lists_in(before(text, start, CONTEXT_BYTES)) != 0;
        let (label, rule, score) = match label {
            Label::Coordinates => (label, "pii/coordinates", 900),
            _ if born => (Label::BirthDate, "pii/birth-date", 900),
            _ => (label, "pii/date", 600),
        };
        Some(Found {
            rule: RuleId::of(rule),
            label,
            span: start..at + length,
            score,
        })
    }
}

/// Whether a date may begin at `at`.
fn may_begin(text: &str, at: usize) -> bool {
    let back = |n: usize| {
        at.checked_sub(n)
            .and_then(|i| text.as_bytes().get(i))
            .copied()
    };
    let inside = match back(1) {
        Some(b) if b.is_ascii_alphanumeric() => true,
        Some(b'_' | b'+' | b'$' | b'@') => true,
        Some(b'-' | b'/' | b'.' | b':') => {
            back(2).is_some_and(|b| b.is_ascii_alphanumeric() || b == b']')
        }
        _ => false,
    };
    !inside && !ends_with_marker(text, at)
}

/// Whether what is written from `rest` on could still grow into a date: it has reached the end of
/// the text without a character or a word that no date has.
fn undecided(rest: &str) -> bool {
    let date_char =
        |c: char| c.is_ascii_alphanumeric() || " -/.:,\u{5e74}\u{6708}\u{65e5}".contains(c);
    if rest.len() >= RUN_BYTES_MAX + 2 || !rest.chars().all(date_char) {
        return false;
    }
    let word = rest.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let word = word.get(..letters).unwrap_or_default();
    let known = ["st", "nd", "rd", "th", "of", "T", "Z"]
        .iter()
        .any(|w| w.starts_with(word));
    known || is_month_prefix(word.as_bytes()) || month(word.as_bytes()) == Some(letters)
}

impl Lexer for Dates {
    fn left_context(&self) -> usize {
        CONTEXT_BYTES + MONTH_BYTES_MAX
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let bytes = text.as_bytes();
        let mut at = from;
        while let Some(start) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
            .map(|i| at + i)
        {
            if may_begin(text, start) {
                if end == End::Open && undecided(text.get(start..).unwrap_or_default()) {
                    let sign = usize::from(start > from && bytes.get(start - 1) == Some(&b'-'));
                    let clear = month_before(bytes, start, from).unwrap_or(start - sign);
                    return Next::ClearTo(clear);
                }
                if let Some(found) = self.decide(text, start, from) {
                    return Next::Hit(found);
                }
            }
            at = start
                + bytes
                    .get(start..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
        }
        Next::ClearTo(match end {
            End::Closed => text.len(),
            End::Open => {
                // A month, or the sign of a latitude, may stand at the end and its number come.
                let low = at
                    .max(from)
                    .max(text.len().saturating_sub(MONTH_BYTES_MAX + 1));
                let lead = bytes.get(low..).unwrap_or_default();
                let gap = lead
                    .iter()
                    .rev()
                    .take(2)
                    .take_while(|b| matches!(b, b' ' | b'.'))
                    .count();
                let word = lead
                    .iter()
                    .rev()
                    .skip(gap)
                    .take_while(|b| b.is_ascii_alphabetic())
                    .count();
                let name = lead.get(lead.len() - gap - word..).unwrap_or_default();
                let could_be =
                    word > 0 && (month(name) == Some(word) || (gap == 0 && is_month_prefix(name)));
                let sign = usize::from(gap == 0 && lead.last() == Some(&b'-'));
                if could_be {
                    text.len() - gap - word
                } else {
                    text.len() - sign
                }
            }
        })
    }
}

/// Whether letters could grow into the name of a month.
fn is_month_prefix(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    name.first().is_some_and(u8::is_ascii_uppercase)
        && MONTHS.iter().any(|m| m.as_bytes().starts_with(&lower))
}

impl ringfence_core::detection::Detector for Dates {
    fn id(&self) -> &'static str {
        "detect/date"
    }
    fn labels(&self) -> &[Label] {
        &LABELS
    }
    fn bound(&self) -> ringfence_core::detection::Bound {
        ringfence_core::detection::Bound::Bytes(RUN_BYTES_MAX + MONTH_BYTES_MAX + 4)
    }
    fn scan(&self, text: &str, hits: &mut Vec<ringfence_core::detection::Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
