//! Reading the write-ahead log back: segments in order, frames in order, damage told apart.
//!
//! A frame that is not whole ends the log if nothing whole follows it: it was being written when
//! the power went, and nobody was told that it happened. Anything else is corruption.

use super::disk::{Disk, read_whole};
use super::frame::{self, FRAME_BYTES_MAX, HEADER_BYTES, Record};
use crate::error::RecordError;
use std::ops::Range;

/// Where the segments stand.
pub(crate) const WAL_FOLDER: &str = "wal";
/// A segment beyond this size is closed and the next begun.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// LIMIT: segments that one log ever has: 6 PiB of leaves.
pub const SEGMENTS_MAX: u64 = 100_000_000;

/// The name of a segment.
pub(crate) fn segment_name(ordinal: u64) -> String {
    format!("{WAL_FOLDER}/{ordinal:08}.rfw")
}

/// The ordinal in a segment's name, if it is one.
pub(crate) fn segment_ordinal(name: &str) -> Option<u64> {
    let ordinal = name
        .strip_prefix(WAL_FOLDER)?
        .strip_prefix('/')?
        .strip_suffix(".rfw")?
        .parse()
        .ok()?;
    (segment_name(ordinal) == name).then_some(ordinal)
}

/// Where a frame stands, and what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Index of its first leaf, if it has one.
    pub(crate) first_leaf: u64,
}

/// Where the log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The segment that the next frame goes to; `None` when there is no whole frame at all.
    pub(crate) segment: Option<u64>,
    /// The end of the last whole frame in it.
    pub(crate) offset: u64,
    /// The number of the next frame.
    pub(crate) groups: u64,
    /// Leaves before the next frame.
    pub(crate) leaves: u64,
    /// Octets after the last whole frame.
    pub(crate) torn_bytes: u64,
    /// A segment that was begun and has no whole frame.
    pub(crate) torn_segment: Option<u64>,
    /// The segments with whole frames, with the index of the first leaf of each.
    pub(crate) segments: Vec<(u64, u64)>,
}

/// Takes the records of a frame, with its place.
type Visit<'a> = &'a mut dyn FnMut(Place, &[Record<'_>]) -> Result<(), RecordError>;

/// The segments on disk, in order.
pub(crate) fn ordinals(disk: &dyn Disk) -> Result<Vec<u64>, RecordError> {
    let names = disk
        .names(WAL_FOLDER)
        .map_err(|e| RecordError::io("list", WAL_FOLDER, e))?;
    let mut ordinals: Vec<u64> = names
        .iter()
        .filter_map(|n| segment_ordinal(&format!("{WAL_FOLDER}/{n}")))
        .collect();
    ordinals.sort_unstable();
    Ok(ordinals)
}

/// Removes segments that are needed no more, those of them that are there.
pub(crate) fn remove(disk: &dyn Disk, which: Range<u64>) -> Result<(), RecordError> {
    let mut old = ordinals(disk)?;
    old.retain(|o| which.contains(o));
    for name in old.iter().copied().map(segment_name) {
        disk.remove(&name)
            .map_err(|e| RecordError::io("remove", &name, e))?;
    }
    if old.is_empty() {
        return Ok(());
    }
    disk.sync_names(WAL_FOLDER)
        .map_err(|e| RecordError::io("force to disk", WAL_FOLDER, e))
}

/// Reads all frames in order, from the first segment that is still needed on, and hands each to
/// `visit` with its place.
pub(crate) fn scan(disk: &dyn Disk, from: u64, visit: Visit<'_>) -> Result<Tail, RecordError> {
    let mut tail = Tail::default();
    let needed: Vec<u64> = ordinals(disk)?.into_iter().filter(|o| *o >= from).collect();
    if (from..).zip(&needed).any(|(expected, o)| expected != *o) || needed.is_empty() && from > 0 {
        return Err(RecordError::corrupt(WAL_FOLDER, 0, "a segment is missing"));
    }
    for ordinal in &needed {
        let last = needed.last() == Some(ordinal);
        scan_segment(disk, *ordinal, from, last, &mut tail, visit)?;
    }
    Ok(tail)
}

/// The ordinal and the first leaf that the head of a segment names.
fn head_of(records: &[Record<'_>]) -> Option<(u64, u64)> {
    match records.first() {
        Some(Record::Segment {
            ordinal,
            first_leaf,
            ..
        }) => Some((*ordinal, *first_leaf)),
        _ => None,
    }
}

fn scan_segment(
    disk: &dyn Disk,
    ordinal: u64,
    from: u64,
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
        let records = frame::records(body).ok_or_else(|| damaged("a record is malformed"))?;
        let head = head_of(&records);
        // What came before the first segment that is still here, only its head tells.
        if at == 0
            && ordinal == from
            && from > 0
            && let Some((_, first_leaf)) = head
        {
            tail.groups = group;
            tail.leaves = first_leaf;
        }
        if group != tail.groups {
            return Err(damaged("a frame is out of order"));
        }
        if head != (at == 0).then_some((ordinal, tail.leaves)) {
            return Err(damaged("a segment does not begin where it should"));
        }
        if at == 0 {
            tail.segments.push((ordinal, tail.leaves));
        }
        let place = Place {
            segment: ordinal,
            offset: at as u64,
            first_leaf: tail.leaves,
        };
        visit(place, &records)?;
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
    if at == 0 && (!last || ordinal == from && from > 0) {
        return Err(RecordError::corrupt(
            name,
            0,
            "a segment that is needed is empty",
        ));
    }
    tail.torn_bytes = rest.len() as u64;
    if at == 0 {
        tail.torn_segment = Some(ordinal);
    } else {
        tail.segment = Some(ordinal);
        tail.offset = at as u64;
    }
    Ok(())
}
