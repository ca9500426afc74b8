//! Advisory ids in few octets: their text is most of an index otherwise.
//!
//! Each id is a tag and numbers where its scheme is known and reading gives the same text back;
//! any other id is kept as text. A GHSA id is 12 characters of an alphabet of 20, five bits each.

use super::bytes::{Reader, put_text, put_varint};

const GHSA_ALPHABET: &[u8; 20] = b"23456789cfghjmpqrvwx";
const TEXT: u8 = 0;
const GHSA: u8 = 1;
/// Schemes `PREFIX-YEAR-NUMBER` with the digits that the number is padded to.
const YEARLY: [(u8, &str, usize); 4] = [
    (2, "CVE", 4),
    (3, "PYSEC", 1),
    (4, "RUSTSEC", 4),
    (5, "MAL", 1),
];
const NSWG: u8 = 6;

fn yearly(id: &str) -> Option<(u8, u64, u64)> {
    let (prefix, rest) = id.split_once('-')?;
    let (year, number) = rest.split_once('-')?;
    let (tag, ..) = YEARLY.iter().find(|(_, p, _)| *p == prefix)?;
    Some((*tag, year.parse().ok()?, number.parse().ok()?))
}

fn ghsa(id: &str) -> Option<u64> {
    let mut packed = 0_u64;
    for c in id.strip_prefix("GHSA-")?.bytes().filter(|c| *c != b'-') {
        let digit = GHSA_ALPHABET.iter().position(|a| *a == c)?;
        packed = packed.checked_mul(32)?.checked_add(digit as u64)?;
    }
    Some(packed)
}

fn unpack_ghsa(packed: u64) -> Option<String> {
    let mut text = String::from("GHSA");
    for place in (0..12_u32).rev() {
        if place % 4 == 3 {
            text.push('-');
        }
        let digit = (packed >> (5 * place)) & 31;
        text.push(char::from(
            *GHSA_ALPHABET.get(usize::try_from(digit).ok()?)?,
        ));
    }
    (packed >> 60 == 0).then_some(text)
}

fn write_yearly(tag: u8, year: u64, number: u64) -> Option<String> {
    let (_, prefix, width) = YEARLY.iter().find(|(t, ..)| *t == tag)?;
    Some(format!("{prefix}-{year}-{number:0width$}"))
}

/// Appends an id.
pub(super) fn put(out: &mut Vec<u8>, id: &str) {
    let start = out.len();
    if let Some((tag, year, number)) = yearly(id) {
        out.push(tag);
        put_varint(out, year);
        put_varint(out, number);
    } else if let Some(packed) = ghsa(id) {
        out.push(GHSA);
        out.extend_from_slice(&packed.to_le_bytes());
    } else if let Some(number) = id.strip_prefix("NSWG-ECO-").and_then(|n| n.parse().ok()) {
        out.push(NSWG);
        put_varint(out, number);
    }
    // Only a form that reads back as the same text is kept: `CVE-02024-1` is not `CVE-2024-0001`.
    let mut reader = Reader::new(out, start);
    if out.len() == start || take(&mut reader).as_deref() != Some(id) {
        out.truncate(start);
        out.push(TEXT);
        put_text(out, id);
    }
}

/// Reads an id.
pub(super) fn take(reader: &mut Reader<'_>) -> Option<String> {
    match reader.byte()? {
        TEXT => reader.text().map(str::to_owned),
        GHSA => unpack_ghsa(u64::from_le_bytes(reader.take(8)?.try_into().ok()?)),
        NSWG => Some(format!("NSWG-ECO-{}", reader.varint()?)),
        tag => {
            let (year, number) = (reader.varint()?, reader.varint()?);
            write_yearly(tag, year, number)
        }
    }
}

/// Which of several names of one flaw it goes by: the one most widely known, then the smallest.
pub(super) fn rank(id: &str) -> (u8, &str) {
    let known = ["CVE-", "GHSA-", "MAL-", "PYSEC-", "RUSTSEC-"];
    let place = known
        .iter()
        .position(|prefix| id.starts_with(prefix))
        .unwrap_or(known.len());
    (u8::try_from(place).unwrap_or(u8::MAX), id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(id: &str) -> (usize, Option<String>) {
        let mut out = vec![9, 9];
        put(&mut out, id);
        let mut reader = Reader::new(&out, 2);
        let read = take(&mut reader);
        assert_eq!(reader.at(), out.len());
        (out.len() - 2, read)
    }

    #[test]
    fn known_schemes_are_short_and_read_back() {
        for (id, length) in [
            ("CVE-2024-12345", 5),
            ("CVE-1999-0001", 4),
            ("GHSA-23cf-vwx9-8hjm", 9),
            ("PYSEC-2021-7", 4),
            ("RUSTSEC-2020-0071", 4),
            ("NSWG-ECO-12", 2),
        ] {
            assert_eq!(round(id), (length, Some(id.to_owned())), "{id}");
        }
    }

    #[test]
    fn near_misses_are_kept_as_text() {
        for id in [
            "CVE-02024-1",
            "CVE-2024-1",
            "GHSA-23cf-vwx9-8hj",
            "GHSA-23cfvwx98hjm",
            "PYSEC-2021-07",
            "CVE-2024-",
            "",
            "X",
        ] {
            assert_eq!(round(id).1.as_deref(), Some(id));
        }
    }

    proptest! {
        #[test]
        fn any_id_reads_back(id in "(CVE|GHSA|PYSEC|RUSTSEC|MAL|NSWG-ECO|X)-[0-9a-z-]{0,24}") {
            let read = round(&id).1;
            prop_assert_eq!(read.as_deref(), Some(id.as_str()));
        }
    }
}
