//! The arithmetic of check digits that more than one numbering scheme uses.

/// Value of an ASCII digit; letters and the rest count as zero and are kept out by the shape.
pub(super) fn value(b: u8) -> u32 {
    u32::from(b.wrapping_sub(b'0')) * u32::from(b.is_ascii_digit())
}

/// Value in base 36: digits, then letters from 10.
pub(super) fn value36(b: u8) -> u32 {
    match b {
        b'A'..=b'Z' => u32::from(b - b'A') + 10,
        _ => value(b),
    }
}

/// The number written by the digits; at most 18 of them.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .take(18)
        .fold(0, |n, b| n * 10 + u64::from(value(*b)))
}

/// The digit at `at`, 0 beyond the end.
pub(super) fn nth(digits: &[u8], at: usize) -> u32 {
    digits.get(at).map_or(0, |b| value(*b))
}

/// Sum of digit times weight over the shorter of both.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(b, w)| value(*b) * w).sum()
}

/// ISO/IEC 7812-1 annex B, the check digit included.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let doubled = value(*b) << (i % 2);
            doubled / 10 + doubled % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO 7064 MOD 11,10, the check digit included.
pub(super) fn mod11_10(digits: &[u8]) -> bool {
    let mut check = 5;
    for b in digits {
        check = (if check == 0 { 10 } else { check } * 2 % 11 + value(*b)) % 10;
    }
    check == 1
}

#[rustfmt::skip] // a matrix reads better as one
/// Multiplication in the dihedral group of ten elements, row by row.
const DIHEDRAL: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];
#[rustfmt::skip] // as above
/// The permutation of Verhoeff's scheme by position modulo eight.
const PERMUTATION: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7], [9, 4, 5, 3, 1, 2, 6, 8, 7, 0], [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5], [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];

/// Verhoeff 1969, the check digit included.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    let mut check = 0_u8;
    for (i, b) in digits.iter().rev().enumerate() {
        let permuted = PERMUTATION
            .get(i % 8)
            .and_then(|row| row.get(value(*b) as usize))
            .copied()
            .unwrap_or(0);
        check = DIHEDRAL
            .get(usize::from(check))
            .and_then(|row| row.get(usize::from(permuted)))
            .copied()
            .unwrap_or(0);
    }
    check == 0
}

/// Whether a month and a day of two digits each exist. Years are not looked at.
pub(super) fn is_day(month: u64, day: u64) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Whether all digits are the same: test data, and a blind spot of many weights.
pub(super) fn all_same(bytes: &[u8]) -> bool {
    bytes.windows(2).all(|pair| pair.first() == pair.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_pass_and_each_changed_digit_fails() {
        type Check = fn(&[u8]) -> bool;
        let examples: [(Check, &str); 3] = [
            (luhn, "79927398713"),
            (verhoeff, "2363"),
            (mod11_10, "07945"),
        ];
        for (check, text) in examples {
            assert!(check(text.as_bytes()), "{text}");
            for i in 0..text.len() {
                let mut wrong = text.as_bytes().to_vec();
                wrong[i] = b'0' + (wrong[i] - b'0' + 1) % 10;
                assert!(!check(&wrong), "{text} changed at {i}");
            }
        }
    }
}
