//! Payment card numbers: issuer prefix and length (ISO/IEC 7812 ranges as the schemes publish
//! them), then Luhn. No context words are needed: both checks together pass for about one random
//! number in a hundred, and only where it stands alone.

use super::digits::{Digit, Stop, digit_before, next_digit, read, too_short};
use crate::lexer::{End, Found, Lexer, Next, char_at, glued_before};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: ISO/IEC 7812 ends at 19 digits.
const DIGITS_MAX: usize = 19;
const DIGITS_MIN: usize = 13;
// LIMIT: 19 digits of up to 3 bytes, 18 separators of up to 2 bytes, one character to see the end.
const MATCH_BYTES_MAX: usize = DIGITS_MAX * 3 + (DIGITS_MAX - 1) * 2 + 5;
const SEPARATORS: [char; 4] = [' ', '-', '.', '\u{a0}'];

/// First digits (inclusive range of numbers with so many digits) and the lengths in use.
struct Issuer {
    prefix_digits: usize,
    from: u32,
    to: u32,
    lengths: &'static [usize],
}

const fn issuer(prefix_digits: usize, from: u32, to: u32, lengths: &'static [usize]) -> Issuer {
    Issuer {
        prefix_digits,
        from,
        to,
        lengths,
    }
}

const ISSUERS: &[Issuer] = &[
    issuer(1, 4, 4, &[13, 16, 19]),                   // Visa
    issuer(2, 51, 55, &[16]),                         // Mastercard
    issuer(4, 2221, 2720, &[16]),                     // Mastercard, second range
    issuer(2, 34, 34, &[15]),                         // American Express
    issuer(2, 37, 37, &[15]),                         // American Express
    issuer(3, 300, 305, &[14, 16, 17, 18, 19]),       // Diners Club
    issuer(2, 36, 36, &[14, 15, 16, 17, 18, 19]),     // Diners Club
    issuer(2, 38, 39, &[14, 16, 17, 18, 19]),         // Diners Club
    issuer(4, 6011, 6011, &[16, 17, 18, 19]),         // Discover
    issuer(3, 644, 649, &[16, 17, 18, 19]),           // Discover
    issuer(2, 65, 65, &[16, 17, 18, 19]),             // Discover, RuPay
    issuer(4, 3528, 3589, &[16, 17, 18, 19]),         // JCB
    issuer(2, 62, 62, &[16, 17, 18, 19]),             // UnionPay
    issuer(2, 81, 82, &[16, 17, 18, 19]),             // UnionPay, RuPay
    issuer(2, 60, 60, &[16]),                         // RuPay
    issuer(4, 2200, 2204, &[16, 17, 18, 19]),         // Mir
    issuer(4, 9792, 9792, &[16]),                     // Troy
    issuer(2, 50, 50, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    issuer(2, 56, 58, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    issuer(2, 63, 63, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    issuer(2, 67, 67, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
];

impl Issuer {
    /// Whether these first digits can still, or do, belong to this issuer.
    fn can_start(&self, digits: &[Digit]) -> bool {
        let known = digits.len().min(self.prefix_digits);
        let value = digits
            .iter()
            .take(known)
            .fold(0_u32, |n, d| n * 10 + u32::from(d.value));
        let unknown = u32::try_from(self.prefix_digits - known).unwrap_or(0);
        let scale = 10_u32.pow(unknown);
        value * scale <= self.to && (value + 1) * scale > self.from
    }
}

fn luhn(digits: &[Digit]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let v = u32::from(d.value);
            if i % 2 == 0 {
                v
            } else if v > 4 {
                v * 2 - 9
            } else {
                v * 2
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The recogniser of payment card numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct PaymentCards;

/// What is known about a candidate.
enum Verdict {
    Card(usize),
    Not,
    Unknown,
}

fn decide(text: &str, at: usize, end: End) -> Verdict {
    if too_short(text, at, 2 * DIGITS_MAX, DIGITS_MIN, b" -.") {
        return Verdict::Not;
    }
    // One digit more than a card has, to see that the number ends.
    let (digits, stop) = read(text, at, DIGITS_MAX + 1, &SEPARATORS);
    if !ISSUERS.iter().any(|issuer| issuer.can_start(&digits)) {
        return Verdict::Not;
    }
    if stop == Stop::OutOfText && end == End::Open {
        return Verdict::Unknown;
    }
    // A card that is written without separators must not be the head of a longer number; one
    // after a separator may follow (two cards beside each other).
    for length in (DIGITS_MIN..=DIGITS_MAX).rev() {
        let Some(card) = digits.get(..length) else {
            continue;
        };
        let Some(last) = card.last() else { continue };
        let goes_on = match digits.get(length) {
            Some(next) => next.separator.is_none(),
            None => char_at(text, last.end).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_'),
        };
        let fits = ISSUERS.iter().any(|i| {
            i.lengths.contains(&length) && card.len() >= i.prefix_digits && i.can_start(card)
        });
        let all_same = card
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.value == b.value));
        if !goes_on && fits && !all_same && luhn(card) {
            return Verdict::Card(last.end);
        }
    }
    Verdict::Not
}

impl Lexer for PaymentCards {
    fn left_context(&self) -> usize {
        4
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let mut at = from;
        while let Some(start) = next_digit(text, at) {
            let width = char_at(text, start).map_or(1, char::len_utf8);
            if !digit_before(text, start) && !glued_before(text, start) {
                match decide(text, start, end) {
                    Verdict::Card(stop) => {
                        return Next::Hit(Found {
                            rule: RuleId::of("detect/payment-card"),
                            label: Label::PaymentCard,
                            span: start..stop,
                            score: 1000,
                        });
                    }
                    Verdict::Unknown => return Next::ClearTo(start),
                    Verdict::Not => {}
                }
            }
            at = start + width;
        }
        Next::ClearTo(text.len())
    }
}

super::detector!(
    PaymentCards,
    "detect/payment-card",
    Label::PaymentCard,
    MATCH_BYTES_MAX
);
