//! International bank account numbers: country and length from the registry of ISO 13616, then
//! ISO 7064 MOD 97-10. Groups of four may be parted by one space or hyphen, as printed on paper.

use crate::lexer::{End, Found, Lexer, Next, glued_before};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: 34 characters and eight separators of up to two bytes, one character to see the end.
const MATCH_BYTES_MAX: usize = 34 + 8 * 2 + 4;

#[rustfmt::skip] // a table reads better in rows
/// Country codes with the length of their numbers.
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16),
    (b"BG", 22), (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22),
    (b"CY", 28), (b"CZ", 24), (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20),
    (b"EG", 29), (b"ES", 24), (b"FI", 18), (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22),
    (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27), (b"GT", 28), (b"HN", 28), (b"HR", 21),
    (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26), (b"IT", 27), (b"JO", 30),
    (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20), (b"LU", 20),
    (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20),
    (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23),
    (b"PK", 24), (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22),
    (b"RU", 33), (b"SA", 24), (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24),
    (b"SM", 27), (b"SO", 23), (b"ST", 25), (b"SV", 28), (b"TL", 23), (b"TN", 24), (b"TR", 26),
    (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20), (b"YE", 30),
];

fn length_of(country: [u8; 2]) -> Option<usize> {
    LENGTHS
        .iter()
        .find(|(code, _)| **code == country)
        .map(|(_, length)| *length)
}

/// ISO 7064: the first four characters go to the end, letters count from 10, remainder 1.
fn mod97(characters: &[u8]) -> bool {
    let (head, tail) = characters.split_at(characters.len().min(4));
    let remainder = tail.iter().chain(head).fold(0_u32, |r, b| match b {
        b'0'..=b'9' => (r * 10 + u32::from(b - b'0')) % 97,
        _ => (r * 100 + u32::from(b.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    remainder == 1
}

enum Verdict {
    Iban(usize),
    Not,
    Unknown,
}

/// The characters of a candidate so far.
#[derive(Default)]
struct Candidate {
    characters: Vec<u8>,
    length: Option<usize>,
    after_separator: bool,
    grouped: Option<bool>,
}

impl Candidate {
    /// Takes the next character; false when it cannot belong to an account number.
    fn take(&mut self, c: char) -> bool {
        let position = self.characters.len();
        if matches!(c, ' ' | '-' | '\u{a0}') {
            // Groups of four or no groups at all: anything else is prose.
            let fits = !self.after_separator
                && position > 0
                && position.is_multiple_of(4)
                && self.grouped != Some(false);
            self.after_separator = true;
            self.grouped = Some(true);
            return fits;
        }
        let kind_fits = match position {
            0 | 1 => c.is_ascii_alphabetic(),
            2 | 3 => c.is_ascii_digit(),
            _ => c.is_ascii_alphanumeric(),
        };
        let group_begins = position > 0 && position.is_multiple_of(4);
        if !kind_fits || (group_begins && self.grouped == Some(true) && !self.after_separator) {
            return false;
        }
        if position == 4 && !self.after_separator {
            self.grouped = Some(false);
        }
        self.after_separator = false;
        self.characters
            .push(u8::try_from(c).unwrap_or(b'0').to_ascii_uppercase());
        if let [a, b] = *self.characters.as_slice() {
            self.length = length_of([a, b]);
            return self.length.is_some();
        }
        true
    }

    fn complete(&self) -> bool {
        self.length == Some(self.characters.len())
    }
}

fn decide(text: &str, at: usize, end: End) -> Verdict {
    let mut candidate = Candidate::default();
    let verdict = |candidate: &Candidate, stop: usize| {
        if mod97(&candidate.characters) {
            Verdict::Iban(stop)
        } else {
            Verdict::Not
        }
    };
    for (offset, c) in text.get(at..).unwrap_or_default().char_indices() {
        if candidate.complete() {
            let glued = c.is_ascii_alphanumeric() || c == '_';
            return if glued {
                Verdict::Not
            } else {
                verdict(&candidate, at + offset)
            };
        }
        if !candidate.take(c) {
            return Verdict::Not;
        }
    }
    match end {
        End::Open => Verdict::Unknown,
        End::Closed if candidate.complete() => verdict(&candidate, text.len()),
        End::Closed => Verdict::Not,
    }
}

/// The recogniser of bank account numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ibans;

impl Lexer for Ibans {
    fn left_context(&self) -> usize {
        1
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let mut at = from;
        while let Some(found) = text
            .as_bytes()
            .get(at..)
            .and_then(|rest| rest.iter().position(u8::is_ascii_alphabetic))
        {
            let start = at + found;
            if !glued_before(text, start) {
                match decide(text, start, end) {
                    Verdict::Iban(stop) => {
                        return Next::Hit(Found {
                            rule: RuleId::of("detect/iban"),
                            label: Label::Iban,
                            span: start..stop,
                            score: 1000,
                        });
                    }
                    Verdict::Unknown => return Next::ClearTo(start),
                    Verdict::Not => {}
                }
            }
            at = start + 1;
        }
        Next::ClearTo(text.len())
    }
}

super::detector!(Ibans, "detect/iban", Label::Iban, MATCH_BYTES_MAX);
