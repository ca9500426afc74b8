//! Is a text that has the form of a secret one? Entropy, checksums, and what people write in
//! place of a secret.

/// Shannon entropy in tenths of a bit per character.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "at most eight bits a byte over texts of a few hundred bytes"
)]
pub(crate) fn entropy_tenths(text: &str) -> u32 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = text.len().max(1) as f64;
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum();
    (bits * 10.0).round() as u32
}

/// What stands where a secret will be put. Checked inside every candidate.
const STAND_INS: &[&str] = &[
    "example",
    "xxxx",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "your_",
    "your-",
    "yourkey",
    "yourtoken",
    "${",
    "{{",
    "<",
    "****",
    "....",
    "redacted",
    "insert_",
    "replace",
];

/// Further words that only count where nothing but entropy speaks for the candidate.
const STAND_INS_OF_GENERIC: &[&str] = &[
    "password",
    "passwd",
    "dummy",
    "sample",
    "test",
    "secret",
    "todo",
    "fake",
    "mock",
    "default",
    "123456",
    "abcdef",
    "qwerty",
    "token",
    "hello",
    "none",
    "null",
    "undefined",
    "process.env",
    "os.environ",
];

/// Whether a candidate is obviously not a secret.
pub(crate) fn is_stand_in(value: &str, generic: bool) -> bool {
    let lower = value.to_ascii_lowercase();
    let mut distinct = [false; 256];
    for byte in lower.bytes() {
        if let Some(seen) = distinct.get_mut(usize::from(byte)) {
            *seen = true;
        }
    }
    let kinds = distinct.iter().filter(|seen| **seen).count();
    STAND_INS.iter().any(|word| lower.contains(word))
        || counts_up(lower.as_bytes())
        || (generic && STAND_INS_OF_GENERIC.iter().any(|word| lower.contains(word)))
        || (value.len() >= 16 && kinds < 6)
}

/// Characters in a row, each the successor of the one before, that no random key has: for one in
/// 10^15 keys it would be chance.
const COUNTED_UP_MIN: usize = 10;

/// Whether a text runs through the alphabet or the digits.
fn counts_up(text: &[u8]) -> bool {
    let mut run = 1;
    text.windows(2).any(|pair| {
        let next = matches!(pair, [a, b] if a.wrapping_add(1) == *b || (*a == b'9' && *b == b'0'));
        run = if next { run + 1 } else { 1 };
        run >= COUNTED_UP_MIN
    })
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// CRC-32 (ISO 3309, reflected), bit by bit: candidates are forty bytes long.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

/// Six base-62 digits of a CRC-32, as GitHub and npm append them.
pub(crate) fn base62_check(body: &[u8]) -> [u8; 6] {
    let mut rest = crc32(body) as usize;
    let mut out = [b'0'; 6];
    for slot in out.iter_mut().rev() {
        *slot = BASE62.get(rest % 62).copied().unwrap_or(b'0');
        rest /= 62;
    }
    out
}

/// Whether the last six characters check the thirty before them.
pub(crate) fn has_base62_check(token: &str) -> bool {
    let body = token
        .split_once('_')
        .map_or(token, |(_, body)| body)
        .as_bytes();
    body.len() == 36
        && body
            .split_at_checked(30)
            .is_some_and(|(b, check)| base62_check(b) == check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_gives_the_check_value_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn entropy_of_one_character_is_nothing_and_of_sixteen_is_four_bits() {
        assert_eq!(entropy_tenths("aaaaaaaa"), 0);
        assert_eq!(entropy_tenths("0123456789abcdef"), 40);
        assert_eq!(entropy_tenths(""), 0);
    }

    #[test]
    fn what_people_write_in_place_of_a_secret_is_seen() {
        for text in [
            "AKIAIOSFODNN7EXAMPLE",
            "<your key>",
            "${TOKEN}",
            "changeme",
            "xxxxxxxx",
        ] {
            assert!(is_stand_in(text, false), "{text}");
        }
        assert!(!is_stand_in("k3J9zQ1mW8pL4tY7", false));
    }

    #[test]
    fn the_alphabet_is_no_secret_and_a_shorter_run_is_not_the_alphabet() {
        for text in [
            "abcdefghij",
            "x-0123456789",
            "KEY1234567890",
            "hijklmnopqrs",
        ] {
            assert!(is_stand_in(text, false), "{text}");
        }
        for text in ["abcdefghi.k3J9zQ1m", "012345678x9k3J9z"] {
            assert!(!is_stand_in(text, false), "{text}");
        }
    }

    #[test]
    fn a_base62_check_is_verified_and_a_changed_one_is_not() {
        let body = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5";
        let check = base62_check(body.as_bytes());
        let token = format!("ghp_{body}{}", String::from_utf8_lossy(&check));
        assert!(has_base62_check(&token));
        assert!(!has_base62_check(&token.replace("a1B2", "a1B3")));
    }
}
