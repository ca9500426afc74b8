//! The form of the write-ahead log: frames of records.
//!
//! One frame is one commit group: mark, length, group number, CRC-32C over all of these and the
//! body. A frame is whole or it never happened, and group numbers leave no gap, so that a damaged
//! frame *before* a whole one is corruption, and only the last can be a torn write.
//!
//! The mark begins with an octet that UTF-8 never holds: no leaf can imitate a frame.

use super::ledger::Gap;

/// LIMIT: octets of one frame's body: a full group of the longest leaves.
pub const FRAME_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Octets before the body.
pub(crate) const HEADER_BYTES: usize = 20;
const MARK: [u8; 4] = [0xff, b'R', b'F', b'1'];

/// One table for each of eight octets that are taken at once.
static TABLES: [[u32; 256]; 8] = tables();

/// The tables of CRC-32C (Castagnoli), reflected polynomial 0x82F63B78 (RFC 3720 appendix B.4). The
/// n-th says what an octet does to the sum when n octets follow it.
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "i is below 256")]
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                value >> 1 ^ 0x82f6_3b78
            } else {
                value >> 1
            };
            bit += 1;
        }
        tables[0][i] = value;
        i += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[n - 1][i];
            tables[n][i] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            i += 1;
        }
        n += 1;
    }
    tables
}

/// CRC-32C: against chance, not against people; those are for the Merkle root.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for part in parts {
        let (eights, rest) = part.as_chunks::<8>();
        for eight in eights {
            let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
            crc = word
                .to_le_bytes()
                .iter()
                .zip(TABLES.iter().rev())
                .fold(0, |sum, (octet, table)| sum ^ table[usize::from(*octet)]);
        }
        for octet in rest {
            crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(*octet)) & 0xff) as usize];
        }
    }
    !crc
}

/// One thing in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A leaf.
    Leaf(&'a [u8]),
    /// A leaf that fills a sequence number.
    Settled { sequence: u64, leaf: &'a [u8] },
    /// Numbers reserved for use.
    Block { first: u64, count: u32 },
    /// Numbers that will not be filled, and the leaf that says so.
    Gap { gap: Gap, leaf: &'a [u8] },
    /// The first record of a segment, with the ledger as it was then: a segment needs none before
    /// it.
    Segment {
        ordinal: u64,
        first_leaf: u64,
        ledger: &'a [u8],
    },
}

impl<'a> Record<'a> {
    /// The leaf in it.
    pub(crate) fn leaf(&self) -> Option<&'a [u8]> {
        match self {
            Self::Leaf(leaf) | Self::Settled { leaf, .. } | Self::Gap { leaf, .. } => Some(leaf),
            Self::Block { .. } | Self::Segment { .. } => None,
        }
    }

    /// Appends the record to a body.
    pub(crate) fn write(&self, body: &mut Vec<u8>) {
        match self {
            Self::Leaf(leaf) => {
                body.push(1);
                write_bytes(leaf, body);
            }
            Self::Settled { sequence, leaf } => {
                body.push(2);
                body.extend_from_slice(&sequence.to_le_bytes());
                write_bytes(leaf, body);
            }
            Self::Block { first, count } => {
                body.push(3);
                body.extend_from_slice(&first.to_le_bytes());
                body.extend_from_slice(&count.to_le_bytes());
            }
            Self::Gap { gap, leaf } => {
                body.push(4);
                body.extend_from_slice(&gap.first.to_le_bytes());
                body.extend_from_slice(&gap.count.to_le_bytes());
                body.push(gap.reason.code());
                write_bytes(leaf, body);
            }
            Self::Segment {
                ordinal,
                first_leaf,
                ledger,
            } => {
                body.push(16);
                body.extend_from_slice(&ordinal.to_le_bytes());
                body.extend_from_slice(&first_leaf.to_le_bytes());
                write_bytes(ledger, body);
            }
        }
    }

    /// Takes one record off the front of a body.
    pub(crate) fn read(body: &mut &'a [u8]) -> Option<Self> {
        let [kind] = *take::<1>(body)?;
        Some(match kind {
            1 => Self::Leaf(read_bytes(body)?),
            2 => {
                let sequence = u64::from_le_bytes(*take(body)?);
                Self::Settled {
                    sequence,
                    leaf: read_bytes(body)?,
                }
            }
            3 => {
                let first = u64::from_le_bytes(*take(body)?);
                Self::Block {
                    first,
                    count: u32::from_le_bytes(*take(body)?),
                }
            }
            4 => {
                let first = u64::from_le_bytes(*take(body)?);
                let count = u32::from_le_bytes(*take(body)?);
                let [code] = *take::<1>(body)?;
                let reason = super::ledger::GapReason::from_code(code)?;
                Self::Gap {
                    gap: Gap {
                        first,
                        count,
                        reason,
                    },
                    leaf: read_bytes(body)?,
                }
            }
            16 => {
                let ordinal = u64::from_le_bytes(*take(body)?);
                let first_leaf = u64::from_le_bytes(*take(body)?);
                Self::Segment {
                    ordinal,
                    first_leaf,
                    ledger: read_bytes(body)?,
                }
            }
            _ => return None,
        })
    }
}

fn take<'a, const N: usize>(body: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(head)
}

fn write_bytes(bytes: &[u8], body: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(bytes);
}

fn read_bytes<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_le_bytes(*take(body)?)).ok()?;
    let (bytes, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(bytes)
}

/// Every record of a body, or none if any is malformed.
pub(crate) fn records(mut body: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        records.push(Record::read(&mut body)?);
    }
    Some(records)
}

/// A frame around a body.
pub(crate) fn encode(group: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let group = group.to_le_bytes();
    let crc = crc32c(&[&length, &group, body]).to_le_bytes();
    [&MARK, length.as_slice(), &group, &crc, body].concat()
}

/// The length and group number that a header claims; the body's length is within its limit.
pub(crate) fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut rest = bytes;
    if *take::<4>(&mut rest)? != MARK {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(*take(&mut rest)?)).ok()?;
    let group = u64::from_le_bytes(*take(&mut rest)?);
    (length <= FRAME_BYTES_MAX).then_some((length, group))
}

/// The whole frame at the front: its group, its body and its length.
pub(crate) fn decode(bytes: &[u8]) -> Option<(u64, &[u8], usize)> {
    let (length, group) = header(bytes)?;
    let crc = u32::from_le_bytes(bytes.get(16..HEADER_BYTES)?.try_into().ok()?);
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    let sum = crc32c(&[bytes.get(4..16)?, body]);
    (sum == crc).then_some((group, body, HEADER_BYTES + length))
}

/// Whether a whole frame of group `least` or later stands anywhere in these octets.
pub(crate) fn holds_later_frame(bytes: &[u8], least: u64) -> bool {
    bytes
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .filter(|(at, _)| header(&bytes[*at..]).is_some_and(|(_, group)| group >= least))
        .any(|(at, _)| decode(&bytes[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::ledger::GapReason;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_3720_crc_vectors_hold() {
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c(&[&up]), 0x46dd_794e);
        assert_eq!(crc32c(&[b"1234", b"56789"]), 0xe306_9283);
    }

    #[test]
    fn records_read_back_what_they_wrote() {
        let gap = Gap {
            first: 9,
            count: 3,
            reason: GapReason::Dropped,
        };
        let all = [
            Record::Leaf(b"{}"),
            Record::Settled {
                sequence: 7,
                leaf: b"",
            },
            Record::Block {
                first: 1024,
                count: 1024,
            },
            Record::Gap { gap, leaf: b"x" },
            Record::Segment {
                ordinal: 1,
                first_leaf: 2,
                ledger: b"l",
            },
        ];
        let mut body = Vec::new();
        for record in &all {
            record.write(&mut body);
        }
        assert_eq!(records(&body), Some(all.to_vec()));
        assert_eq!(records(&body[..body.len() - 1]), None);
        assert_eq!(records(&[9]), None);
    }

    #[test]
    fn a_frame_is_read_at_the_size_limit_and_refused_one_above() {
        let at = encode(1, &vec![0; FRAME_BYTES_MAX]);
        assert!(decode(&at).is_some());
        let above = encode(1, &vec![0; FRAME_BYTES_MAX + 1]);
        assert!(decode(&above).is_none());
    }

    #[test]
    fn every_changed_octet_of_a_frame_is_noticed() {
        let frame = encode(5, b"body of a frame");
        assert_eq!(
            decode(&frame),
            Some((5, b"body of a frame".as_slice(), frame.len()))
        );
        for i in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[i] ^= 1 << bit;
                assert_eq!(decode(&changed), None, "octet {i} bit {bit}");
            }
            assert_eq!(decode(&frame[..i]), None);
        }
    }

    #[test]
    fn a_later_frame_is_found_behind_damage() {
        let mut bytes = vec![0xff, b'R', b'F'];
        bytes.extend_from_slice(&encode(6, b"later"));
        assert!(holds_later_frame(&bytes, 6));
        assert!(!holds_later_frame(&bytes, 7));
    }

    proptest! {
        #[test]
        fn no_octets_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_none());
            if let Some(all) = records(&bytes) {
                let mut body = Vec::new();
                for record in &all {
            record.write(&mut body);
        }
                prop_assert_eq!(body, bytes);
            }
        }
    }
}
