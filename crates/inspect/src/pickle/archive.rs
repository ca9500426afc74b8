//! A bounded reader of ZIP files that trusts nothing it can check (APPNOTE 6.3.10).
//!
//! Loaders differ: some believe the central directory, some the local headers, some neither the
//! flags nor the CRC. So every member is read by both headers and every difference is reported;
//! a bad entry never hides the rest. Octets between members are returned as gaps.

use flate2::read::DeflateDecoder;
use std::io::Read;

/// LIMIT: members of one archive.
pub const MEMBERS_MAX: usize = 65_536;
/// LIMIT: octets of a member's name that are kept. Every entry of a directory may point at the same
/// local header with a name of 64 KiB: kept whole, three megabytes would become four gigabytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// LIMIT: octets one member may inflate to.
pub const MEMBER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// LIMIT: inflated octets per compressed octet, once [`RATIO_FLOOR_BYTES`] are out. Honest tensors
/// of zeros reach deflate's own bound of 1,032, but they are small.
pub const RATIO_MAX: u64 = 200;
/// Below this many inflated octets no ratio applies.
pub const RATIO_FLOOR_BYTES: u64 = 8 * 1024 * 1024;
/// Octets of an end record and the longest comment.
const END_SEARCH_BYTES: usize = 22 + 65_535;

/// One member as its headers describe it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Name in the local header, when it differs.
    pub(super) local_name: Option<String>,
    method: u16,
    crc: u32,
    size: u64,
    pub(super) encrypted: bool,
    /// Another header field differs between central directory and local header.
    pub(super) mismatch: bool,
    pub(super) data: std::ops::Range<usize>,
    header_at: usize,
}

/// The directory of an archive.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) entries: Vec<Entry>,
    /// Why some entries could not be read.
    pub(super) damaged: bool,
    pub(super) too_many: bool,
    members_max: usize,
    /// Ranges that belong to no member and no directory.
    pub(super) gaps: Vec<std::ops::Range<usize>>,
}

/// The octets of a member.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// The CRC or the size is not what the header says, or the stream is damaged.
    pub(super) corrupt: bool,
    /// A limit cut it.
    pub(super) cut: bool,
    /// The compression method is not known.
    pub(super) unsupported: bool,
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |value, b| value << 8 | u64::from(*b)),
    )
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    number(bytes, at, 2).and_then(|n| usize::try_from(n).ok())
}

fn field(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// A name as text, up to the limit. The end is kept: it says what the member claims to be.
fn shown(name: &[u8]) -> String {
    let from = name.len().saturating_sub(NAME_BYTES_MAX);
    String::from_utf8_lossy(name.get(from..).unwrap_or_default()).into_owned()
}

/// Where the end record of an archive stands, if the octets hold one.
pub(super) fn end_record(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(END_SEARCH_BYTES);
    let tail = bytes.get(from..)?;
    tail.windows(4)
        .rposition(|w| w == b"PK\x05\x06")
        .map(|n| n + from)
        .filter(|at| bytes.len() >= at + 22)
}

/// Reads the directory; local headers that no directory names are entries too.
pub(super) fn read(bytes: &[u8]) -> Directory {
    read_up_to(bytes, MEMBERS_MAX)
}

fn read_up_to(bytes: &[u8], members_max: usize) -> Directory {
    let mut directory = Directory {
        members_max,
        ..Directory::default()
    };
    let mut covered: Vec<std::ops::Range<usize>> = Vec::new();
    match end_record(bytes) {
        Some(end) => central(bytes, end, &mut directory, &mut covered),
        None => directory.damaged = true,
    }
    covered.sort_by_key(|r| (r.start, r.end));
    let mut at = 0;
    let mut gaps = Vec::new();
    for range in &covered {
        if range.start > at {
            gaps.push(at..range.start);
        }
        at = at.max(range.end);
    }
    if at < bytes.len() {
        gaps.push(at..bytes.len());
    }
    for gap in gaps {
        orphans(bytes, gap, &mut directory);
    }
    directory
}

type Covered = Vec<std::ops::Range<usize>>;

fn central(bytes: &[u8], end: usize, directory: &mut Directory, covered: &mut Covered) {
    let comment = short(bytes, end + 20).unwrap_or(0);
    covered.push(end..(end + 22 + comment).min(bytes.len()));
    let (mut size, mut offset) = (number(bytes, end + 12, 4), number(bytes, end + 16, 4));
    let mut stop = end;
    // The zip64 locator stands right before the end record.
    if let Some(locator) = end.checked_sub(20)
        && bytes.get(locator..locator + 4) == Some(b"PK\x06\x07")
        && let Some(record) = number(bytes, locator + 8, 8).and_then(|n| usize::try_from(n).ok())
        && bytes.get(record..record.saturating_add(4)) == Some(b"PK\x06\x06")
    {
        covered.push(record..end);
        stop = record;
        (size, offset) = (number(bytes, record + 40, 8), number(bytes, record + 48, 8));
    }
    let size = usize::try_from(size.unwrap_or(0)).unwrap_or(usize::MAX);
    let declared = usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX);
    // A prefix before the archive moves every offset: readers take the directory to end at the
    // end record, and so do we.
    let Some(start) = stop.checked_sub(size) else {
        directory.damaged = true;
        return;
    };
    let shift = start.saturating_sub(declared);
    directory.damaged |= declared > start;
    covered.push(start..stop);
    let mut at = start;
    while at < stop {
        if directory.entries.len() >= directory.members_max {
            directory.too_many = true;
            return;
        }
        let Some((mut entry, next)) = central_entry(bytes, at, shift) else {
            directory.damaged = true;
            return;
        };
        match local(bytes, at, &mut entry) {
            Some(range) => covered.push(range),
            None => directory.damaged = true,
        }
        directory.entries.push(entry);
        at = next;
    }
}

fn central_entry(bytes: &[u8], at: usize, shift: usize) -> Option<(Entry, usize)> {
    if bytes.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
        return None;
    }
    let (name, extra, comment) = (
        short(bytes, at + 28)?,
        short(bytes, at + 30)?,
        short(bytes, at + 32)?,
    );
    let (mut packed, mut size, mut header) = (
        number(bytes, at + 20, 4)?,
        number(bytes, at + 24, 4)?,
        number(bytes, at + 42, 4)?,
    );
    let extra_at = at + 46 + name;
    let mut wide = zip64(bytes, extra_at, extra)
        .unwrap_or_default()
        .into_iter();
    for field in [&mut size, &mut packed, &mut header] {
        if *field == 0xffff_ffff {
            *field = wide.next().unwrap_or(*field);
        }
    }
    let header_at = usize::try_from(header).ok()?.checked_add(shift)?;
    let packed = usize::try_from(packed).ok()?;
    let entry = Entry {
        name: shown(field(bytes, at + 46, name)?),
        local_name: None,
        method: u16::try_from(number(bytes, at + 10, 2)?).ok()?,
        crc: u32::try_from(number(bytes, at + 16, 4)?).ok()?,
        size,
        encrypted: number(bytes, at + 8, 2)? & 1 == 1,
        mismatch: false,
        data: 0..packed,
        header_at,
    };
    Some((entry, extra_at + extra + comment))
}

/// The 64-bit fields of the zip64 extra field, in their order.
fn zip64(bytes: &[u8], at: usize, length: usize) -> Option<Vec<u64>> {
    let mut at = at;
    let end = at.checked_add(length)?;
    while at + 4 <= end {
        let (id, size) = (short(bytes, at)?, short(bytes, at + 2)?);
        if id == 1 {
            return Some(
                (0..size / 8)
                    .filter_map(|n| number(bytes, at + 4 + n * 8, 8))
                    .collect(),
            );
        }
        at += 4 + size;
    }
    None
}

/// Compares the entry whose record stands at `record` with its local header and finds its octets;
/// returns all that it covers.
fn local(bytes: &[u8], record: usize, entry: &mut Entry) -> Option<std::ops::Range<usize>> {
    let at = entry.header_at;
    if bytes.get(at..at.checked_add(4)?)? != b"PK\x03\x04" {
        return None;
    }
    let (name, extra) = (short(bytes, at + 26)?, short(bytes, at + 28)?);
    let local_name = field(bytes, at + 30, name)?;
    let central_name = field(bytes, record + 46, short(bytes, record + 28)?)?;
    let flags = number(bytes, at + 6, 2)?;
    let method = number(bytes, at + 8, 2)?;
    let start = at + 30 + name + extra;
    let stop = start.checked_add(entry.data.end)?;
    entry.mismatch = method != u64::from(entry.method) || (flags & 1 == 1) != entry.encrypted;
    entry.encrypted |= flags & 1 == 1;
    if local_name != central_name {
        entry.local_name = Some(shown(local_name));
    }
    let descriptor = flags & 8 == 8;
    let sizes = (number(bytes, at + 18, 4)?, number(bytes, at + 22, 4)?);
    if !descriptor && sizes.0 != 0xffff_ffff && sizes.0 != entry.data.end as u64 {
        entry.mismatch = true;
    }
    if stop > bytes.len() {
        return None;
    }
    entry.data = start..stop;
    Some(
        at..if descriptor {
            descriptor_end(bytes, stop)
        } else {
            stop
        },
    )
}

/// A data descriptor: optional signature, CRC, two sizes of four or eight octets. Which, is told
/// only by the next signature.
fn descriptor_end(bytes: &[u8], at: usize) -> usize {
    [12, 16, 20, 24]
        .into_iter()
        .map(|n| at + n)
        .find(|end| bytes.get(*end..*end + 2) == Some(b"PK"))
        .unwrap_or(at)
}

/// Local headers inside a gap: members that the directory does not name.
fn orphans(bytes: &[u8], gap: std::ops::Range<usize>, directory: &mut Directory) {
    let mut at = gap.start;
    let mut free = gap.start;
    while let Some(found) = bytes
        .get(at..gap.end)
        .and_then(|g| g.windows(4).position(|w| w == b"PK\x03\x04"))
        .map(|n| n + at)
    {
        at = found + 4;
        if directory.entries.len() >= directory.members_max {
            directory.too_many = true;
            return;
        }
        let Some(entry) = orphan(bytes, found, gap.end) else {
            continue;
        };
        if found > free {
            directory.gaps.push(free..found);
        }
        at = entry.data.end;
        free = at;
        directory.entries.push(entry);
    }
    if free < gap.end {
        directory.gaps.push(free..gap.end);
    }
}

fn orphan(bytes: &[u8], at: usize, gap_end: usize) -> Option<Entry> {
    let (name, extra) = (short(bytes, at + 26)?, short(bytes, at + 28)?);
    let start = (at + 30).checked_add(name + extra)?;
    let packed = usize::try_from(number(bytes, at + 18, 4)?).ok()?;
    // With a data descriptor the length is unknown: all up to the end of the gap is tried.
    let stop = match packed {
        0 => gap_end,
        n => start.checked_add(n)?.min(gap_end),
    };
    (start <= stop).then_some(Entry {
        name: shown(field(bytes, at + 30, name)?),
        local_name: None,
        method: u16::try_from(number(bytes, at + 8, 2)?).ok()?,
        crc: u32::try_from(number(bytes, at + 14, 4)?).ok()?,
        size: number(bytes, at + 22, 4)?,
        encrypted: number(bytes, at + 6, 2)? & 1 == 1,
        mismatch: true,
        data: start..stop,
        header_at: at,
    })
}

/// The octets of a member, whatever its flags and CRC say.
pub(super) fn content(bytes: &[u8], entry: &Entry, left: u64) -> Content {
    let packed = bytes.get(entry.data.clone()).unwrap_or_default();
    let limit = left.min(MEMBER_BYTES_MAX);
    let mut content = match entry.method {
        8 => inflate(DeflateDecoder::new(packed), packed.len() as u64, limit),
        // Stored, or packed in a way that is not known: as it stands, but never over the limit,
        // because any number of entries may name the same octets.
        method => {
            let keep = usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .min(packed.len());
            Content {
                bytes: packed.get(..keep).unwrap_or_default().to_vec(),
                corrupt: false,
                cut: keep < packed.len(),
                unsupported: method != 0,
            }
        }
    };
    if !content.cut && !content.unsupported {
        let mut crc = flate2::Crc::new();
        crc.update(&content.bytes);
        content.corrupt |= crc.sum() != entry.crc
            || (entry.size != 0xffff_ffff && entry.size != content.bytes.len() as u64);
    }
    content
}

/// Inflates at most `limit` octets, at most [`RATIO_MAX`] for one; keeps what came before damage.
pub(super) fn inflate(reader: impl Read, packed: u64, limit: u64) -> Content {
    let ratio = packed.saturating_mul(RATIO_MAX).max(RATIO_FLOOR_BYTES);
    let limit = limit.min(ratio);
    let mut bytes = Vec::new();
    let result = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let cut = bytes.len() as u64 > limit;
    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Content {
        bytes,
        corrupt: result.is_err(),
        cut,
        unsupported: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflating_stops_at_the_limit() {
        let data = vec![0_u8; 1000];
        let at_limit = inflate(data.as_slice(), 1000, 1000);
        assert!(!at_limit.cut && at_limit.bytes.len() == 1000);
        let over = inflate(data.as_slice(), 1000, 999);
        assert!(over.cut && over.bytes.len() == 999);
    }

    #[test]
    fn inflating_stops_at_the_ratio() {
        let floor = usize::try_from(RATIO_FLOOR_BYTES).expect("fits");
        let data = vec![0_u8; floor + 1];
        assert!(inflate(data.as_slice(), 1, u64::MAX).cut);
        assert!(!inflate(&data[..floor], 1, u64::MAX).cut);
    }

    /// A directory of `count` entries that all name one local header, whose name is `name`, and
    /// whose octets are `data`, packed by `method`.
    fn overlapping(count: usize, name: &[u8], data: &[u8], method: u16) -> Vec<u8> {
        let word = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
        let half = |n: usize| u16::try_from(n).expect("small").to_le_bytes();
        let local = [
            b"PK\x03\x04\x14\0\0\0",
            &method.to_le_bytes()[..],
            &[0; 8],
            &word(data.len()),
            &word(data.len()),
            &half(name.len()),
            &half(0),
            name,
            data,
        ]
        .concat();
        let record = [
            b"PK\x01\x02\x14\0\x14\0\0\0",
            &method.to_le_bytes()[..],
            &[0; 8],
            &word(data.len()),
            &word(data.len()),
            &[0; 18],
        ]
        .concat();
        let directory = record.repeat(count);
        let end = [
            b"PK\x05\x06\0\0\0\0",
            &half(count.min(65_535))[..],
            &half(count.min(65_535)),
            &word(directory.len()),
            &word(local.len()),
            &half(0),
        ]
        .concat();
        [local, directory, end].concat()
    }

    #[test]
    fn members_are_counted_up_to_the_limit() {
        let bytes = overlapping(3, b"a", b"x", 0);
        let at_limit = read_up_to(&bytes, 3);
        assert!(!at_limit.too_many && !at_limit.damaged && at_limit.entries.len() == 3);
        let over = read_up_to(&bytes, 2);
        assert!(over.too_many && over.entries.len() == 2);
        // Members that no directory names count too.
        let orphan = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0ax";
        let hidden = orphan.repeat(3);
        assert!(!read_up_to(&hidden, 3).too_many);
        assert!(read_up_to(&hidden, 2).too_many);
    }

    #[test]
    fn a_name_that_every_entry_shares_is_kept_only_up_to_the_limit() {
        for (length, kept) in [
            (NAME_BYTES_MAX, NAME_BYTES_MAX),
            (NAME_BYTES_MAX + 1, NAME_BYTES_MAX),
            (65_535, NAME_BYTES_MAX),
        ] {
            let mut name = vec![b'n'; length];
            name.truncate(length - 4);
            name.extend_from_slice(b".pkl");
            let directory = read(&overlapping(100, &name, b"x", 0));
            assert_eq!(directory.entries.len(), 100);
            for entry in &directory.entries {
                let local = entry.local_name.as_deref().expect("it differs");
                assert_eq!(local.len(), kept);
                assert_eq!(local.get(kept - 4..), Some(".pkl"));
            }
        }
    }

    #[test]
    fn a_member_is_cut_at_the_limit_however_it_is_packed() {
        for method in [0, 12, 93] {
            let bytes = overlapping(1, b"a", &[7; 100], method);
            let directory = read(&bytes);
            let entry = &directory.entries[0];
            let whole = content(&bytes, entry, 100);
            assert!(!whole.cut && whole.bytes.len() == 100, "method {method}");
            let cut = content(&bytes, entry, 99);
            assert!(cut.cut && cut.bytes.len() == 99, "method {method}");
        }
    }

    #[test]
    fn one_member_is_held_to_its_own_limit() {
        let limit = usize::try_from(MEMBER_BYTES_MAX).expect("fits");
        for (length, cut) in [(limit, false), (limit + 1, true)] {
            let bytes = overlapping(1, b"a", &vec![0; length], 0);
            let directory = read(&bytes);
            let got = content(&bytes, &directory.entries[0], u64::MAX);
            assert_eq!((got.cut, got.bytes.len()), (cut, limit));
        }
    }

    #[test]
    fn garbage_is_no_archive() {
        assert!(read(b"PK\x03\x04 short").damaged);
        assert!(end_record(b"PK\x05\x06").is_none());
    }
}
