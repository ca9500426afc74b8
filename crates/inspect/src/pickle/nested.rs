//! Pickles hidden in the strings of other files: raw, base64 or hexadecimal.

/// LIMIT: octets of an encoded literal that is decoded; real payloads are far smaller, and a
/// longer one is still searched for raw pickles.
pub const ENCODED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Shorter literals cannot hold a call: `cos\nx\n)R.` is ten octets.
const ENCODED_BYTES_MIN: usize = 14;

/// LIMIT: octets in which a module and a name must end to be taken for an import.
const NAME_BYTES_MAX: usize = 512;

/// A cheap look at a literal: could its decoded form begin a pickle or a compressed stream?
pub(super) fn promising(literal: &[u8]) -> bool {
    let head = literal.get(..literal.len().min(64)).unwrap_or_default();
    literal.len() >= ENCODED_BYTES_MIN
        && (raw(head)
            || latin1(head).is_some_and(|b| raw(&b))
            || hex(even(head)).is_some_and(|b| raw(&b))
            || base64(head.get(..head.len() / 4 * 4).unwrap_or_default()).is_some_and(|b| raw(&b)))
}

fn even(head: &[u8]) -> &[u8] {
    head.get(..head.len() / 2 * 2).unwrap_or_default()
}

/// Could these octets begin a pickle or a compressed stream?
pub(super) fn raw(head: &[u8]) -> bool {
    match head {
        [0x80, version, ..] => *version <= 5,
        [0x1f, 0x8b, ..] => true,
        [b'c' | b'i', rest @ ..] => names_a_module(rest),
        [b'(', b'c' | b'i' | b'S' | b'V' | b'd' | b'l' | b'X', ..] => true,
        _ => false,
    }
}

/// `module LF name LF`, as after `GLOBAL`.
pub(super) fn names_a_module(rest: &[u8]) -> bool {
    // Bounded: a megabyte of letters must not be searched at each of its octets.
    let rest = rest
        .get(..rest.len().min(NAME_BYTES_MAX))
        .unwrap_or_default();
    let mut lines = rest.split(|b| *b == b'\n');
    let identifier = |line: Option<&[u8]>| {
        line.is_some_and(|l| {
            !l.is_empty()
                && l.iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
                && !l.first().is_some_and(u8::is_ascii_digit)
        })
    };
    identifier(lines.next()) && identifier(lines.next())
}

/// Every reading of a literal, decoded, that is worth a walk.
pub(super) fn decodings(literal: &[u8]) -> Vec<Vec<u8>> {
    if literal.len() > ENCODED_BYTES_MAX {
        return Vec::new();
    }
    // The sweep over the raw octets finds these where they stand.
    let swept = matches!(literal, [0x80, 2..=5, ..] | [b'c' | b'i', ..]);
    let plain = (!swept).then(|| literal.to_vec());
    let readings = [plain, latin1(literal), hex(literal), base64(literal)];
    let mut out: Vec<Vec<u8>> = readings.into_iter().flatten().filter(|b| raw(b)).collect();
    out.dedup();
    out
}

/// Text whose characters are all below 256, as those octets: how protocols 0 to 2 spell bytes.
fn latin1(literal: &[u8]) -> Option<Vec<u8>> {
    if literal.is_ascii() {
        return None;
    }
    let whole = match std::str::from_utf8(literal) {
        Ok(text) => text,
        // A cut at the end of a head may split a character.
        Err(error) => std::str::from_utf8(literal.get(..error.valid_up_to())?).ok()?,
    };
    whole
        .chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

fn hex(literal: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let text = literal.trim_ascii();
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

/// Lenient base64: both alphabets, white space ignored, padding optional, as loaders accept it.
fn base64(literal: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(literal.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    let trimmed = literal.trim_ascii();
    let body = trimmed
        .iter()
        .rposition(|b| *b != b'=')
        .map_or(0, |n| n + 1);
    for b in trimmed
        .get(..body)?
        .iter()
        .filter(|b| !b.is_ascii_whitespace())
    {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = b"cos\nsystem\n(S'echo'\ntR.";

    #[test]
    fn every_encoding_is_decoded() {
        let hex: Vec<u8> = PAYLOAD
            .iter()
            .flat_map(|b| format!("{b:02x}").into_bytes())
            .collect();
        let marked = b"(cos\nsystem\nS'echo'\no.";
        assert!(promising(marked) && decodings(marked) == [marked.to_vec()]);
        for literal in [&b"Y29zCnN5c3RlbQooUydlY2hvJwp0Ui4="[..], hex.as_slice()] {
            assert!(promising(literal));
            assert!(decodings(literal).iter().any(|d| d == PAYLOAD));
        }
        let latin = "\u{80}\u{04}cos\nsystem\n)R.".as_bytes();
        assert!(promising(latin) && decodings(latin)[0].starts_with(&[0x80, 4]));
    }

    #[test]
    fn ordinary_words_are_not_promising() {
        for word in [
            &b"encoder.layers.0.weight"[..],
            b"short",
            b"cat sat on the mat, said he",
        ] {
            assert!(!promising(word), "{word:?}");
        }
    }

    #[test]
    fn a_literal_over_the_limit_is_not_decoded() {
        let mut literal = b"(cos\nsystem\nS'echo'\no.".to_vec();
        literal.resize(ENCODED_BYTES_MAX, b'x');
        assert_eq!(decodings(&literal).len(), 1);
        literal.push(b'x');
        assert!(decodings(&literal).is_empty());
    }
}
