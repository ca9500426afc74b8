//! Reading the write-ahead log back: segments in order, frames in order, damage told apart.
//!
//! A frame that is not whole ends the log if nothing whole follows it: it was being written when
//! the power went, and nobody was told that it happened. Anything else is corruption.

use super::disk::{Disk, DiskFile, read_up_to, read_whole};
use super::frame::{self, FRAME_BYTES_MAX, HEADER_BYTES, Record};
use crate::error::RecordError;

/// A segment beyond this size is closed and the next begun.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// LIMIT: segments of one log of this format: 64 TiB.
pub const SEGMENTS_MAX: u64 = 1_000_000;

/// The name of a segment.
pub(crate) fn segment_name(ordinal: u64) -> String {
    format!("wal-{ordinal:08}.rfw")
}

/// The ordinal in a segment's name, if it is one.
pub(crate) fn segment_ordinal(name: &str) -> Option<u64> {
    let ordinal = name
        .strip_prefix("wal-")?
        .strip_suffix(".rfw")?
        .parse()
        .ok()?;
    (segment_name(ordinal) == name).then_some(ordinal)
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Where the log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Segments that hold at least one whole frame.
    pub(crate) segments: u64,
    /// The end of the last whole frame in the last of them.
    pub(crate) offset: u64,
    /// Whole frames, which is also the number of the next.
    pub(crate) groups: u64,
    /// Leaves in them.
    pub(crate) leaves: u64,
    /// Octets after the last whole frame.
    pub(crate) torn_bytes: u64,
    /// A segment that was begun and has no whole frame.
    pub(crate) torn_segment: Option<u64>,
}

/// Takes the records of a frame, with its place and the index of its first leaf.
type Visit<'a> = &'a mut dyn FnMut(Place, u64, &[Record<'_>]) -> Result<(), RecordError>;

/// Reads all frames in order and hands each to `visit` with its place and the index of its first
/// leaf.
pub(crate) fn scan(disk: &dyn Disk, visit: Visit<'_>) -> Result<Tail, RecordError> {
    let mut ordinals: Vec<u64> = disk
        .names()
        .map_err(|e| RecordError::io("list", "log", e))?
        .iter()
        .filter_map(|n| segment_ordinal(n))
        .collect();
    ordinals.sort_unstable();
    if ordinals.iter().enumerate().any(|(i, o)| i as u64 != *o) {
        return Err(RecordError::corrupt("log", 0, "a segment is missing"));
    }
    let mut tail = Tail::default();
    for ordinal in &ordinals {
        let last = ordinals.len() as u64 == ordinal + 1;
        scan_segment(disk, *ordinal, last, &mut tail, visit)?;
    }
    Ok(tail)
}

fn scan_segment(
    disk: &dyn Disk,
    ordinal: u64,
    last: bool,
    tail: &mut Tail,
    visit: Visit<'_>,
) -> Result<(), RecordError> {
    let name = segment_name(ordinal);
    let limit = SEGMENT_BYTES + (FRAME_BYTES_MAX + HEADER_BYTES) as u64;
    let bytes = read_whole(disk, &name, limit)?.unwrap_or_default();
    let mut at = 0;
    while let Some((group, body, length)) = bytes.get(at..).and_then(frame::decode) {
        let damaged = |reason| RecordError::corrupt(name.as_str(), at as u64, reason);
        if group != tail.groups {
            return Err(damaged("a frame is out of order"));
        }
        let records = frame::records(body).ok_or_else(|| damaged("a record is malformed"))?;
        let header = Record::Segment {
            ordinal,
            first_leaf: tail.leaves,
        };
        let begins = records.first() == Some(&header);
        if (at == 0) != begins {
            return Err(damaged("a segment does not begin where it should"));
        }
        visit(
            Place {
                segment: ordinal,
                offset: at as u64,
            },
            tail.leaves,
            &records,
        )?;
        tail.leaves += records.iter().filter(|r| r.leaf().is_some()).count() as u64;
        tail.groups += 1;
        at += length;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if !last && !rest.is_empty() || last && frame::holds_later_frame(rest, tail.groups) {
        return Err(RecordError::corrupt(
            name,
            at as u64,
            "a frame before the last is not whole",
        ));
    }
    if !last && at == 0 {
        return Err(RecordError::corrupt(
            name,
            0,
            "a segment before the last is empty",
        ));
    }
    tail.torn_bytes = rest.len() as u64;
    if at == 0 {
        tail.torn_segment = Some(ordinal);
    } else {
        tail.segments = ordinal + 1;
        tail.offset = at as u64;
    }
    Ok(())
}

/// Reads the frame at a place: its body and the place after it.
pub(crate) fn read_frame(
    file: &dyn DiskFile,
    name: &str,
    offset: u64,
) -> Result<Option<(Vec<u8>, u64)>, RecordError> {
    let fail = |e| RecordError::io("read", name, e);
    let mut bytes = vec![0; HEADER_BYTES];
    let read = read_up_to(file, &mut bytes, offset).map_err(fail)?;
    if read == 0 {
        return Ok(None);
    }
    let damaged = || RecordError::corrupt(name, offset, "a frame is not whole");
    let (length, _) = frame::header(&bytes).ok_or_else(damaged)?;
    bytes.resize(HEADER_BYTES + length, 0);
    let read = read_up_to(file, &mut bytes, offset).map_err(fail)?;
    let (_, _, whole) = frame::decode(&bytes[..read]).ok_or_else(damaged)?;
    bytes.drain(..HEADER_BYTES);
    Ok(Some((bytes, offset + whole as u64)))
}
