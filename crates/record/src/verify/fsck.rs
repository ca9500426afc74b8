//! What only the log's own machine has: the write-ahead log and the high-water mark, held against
//! the tiles.

use super::source::OnDisk;
use super::tiles::Walked;
use crate::blob::Mentions;
use crate::error::RecordError;
use crate::log::disk::Disk;
use crate::log::{Facts, FrameRecord, Ledger, account, check_signed, scan_frames, segment_name};
use crate::verify::Source as _;
use ringfence_core::leaf::{Detail, Leaf};
use ringfence_crypto::merkle::{Frontier, Hash, leaf_hash};
use ringfence_crypto::tiles::{BUNDLE_BYTES_MAX, Kind, TILE_WIDTH, Tile, hashes};
use std::collections::BTreeMap;

/// What the write-ahead log adds to the tiles.
pub(super) struct Ahead {
    /// The tree with the leaves that no checkpoint covers yet.
    pub(super) frontier: Frontier,
    pub(super) ledger: Ledger,
    pub(super) torn_bytes: u64,
    /// Sealed payloads that any leaf names or calls erased.
    pub(super) mentions: Mentions,
}

/// Reads the write-ahead log: leaves that stand in tiles must be the same there, the others extend
/// the tree, and the whole must be no less than what was signed.
pub(super) fn check(disk: &dyn Disk, facts: &Facts, walked: Walked) -> Result<Ahead, RecordError> {
    let covered = walked.frontier.size();
    let mut frontier = walked.frontier;
    let mut tally = walked.tally;
    let mut ledger = Ledger::default();
    let mut roots = BTreeMap::from([(covered, frontier.root())]);
    let signed = facts.high_water.as_ref().map(|h| h.checkpoint.size);
    let mut tile = CurrentTile::default();
    let tail = scan_frames(disk, facts.first_segment(), &mut |place, records| {
        let name = segment_name(place.segment);
        let damaged = |reason| RecordError::corrupt(name.as_str(), place.offset, reason);
        let mut index = place.first_leaf;
        for record in records {
            let first = place.segment == facts.first_segment();
            let lost = account(record, &mut ledger, first).map_err(damaged)?;
            let Some(bytes) = record.leaf() else { continue };
            let hash = leaf_hash(bytes);
            if index < covered {
                // The tiles were compared with the entries before.
                let leaf = Leaf::parse(bytes).map_err(|_| damaged("a leaf is not canonical"))?;
                agrees(record, &leaf, lost).map_err(damaged)?;
                if tile.hash(disk, index, covered)? != hash {
                    return Err(damaged("a leaf is another than in the tiles"));
                }
            } else if index == frontier.size() {
                let leaf = tally.leaf(bytes).map_err(damaged)?;
                agrees(record, &leaf, lost).map_err(damaged)?;
                frontier.append(hash, &mut |_| ());
                if signed == Some(frontier.size()) {
                    roots.insert(frontier.size(), frontier.root());
                }
            } else {
                return Err(damaged("it begins behind the end of the tree"));
            }
            index += 1;
        }
        Ok(())
    })?;
    let root_at = |size: u64| {
        let known = roots.get(&size).copied();
        known.ok_or_else(|| RecordError::ForkRisk(format!("the signed size {size} was not met")))
    };
    check_signed(frontier.size(), tail.groups, facts, &root_at)?;
    if i64::try_from(ledger.unaccounted()) != Ok(tally.unaccounted) {
        return Err(RecordError::ForkRisk(
            "the leaves count other sequence numbers as unaccounted for than the ledger".to_owned(),
        ));
    }
    Ok(Ahead {
        frontier,
        ledger,
        torn_bytes: tail.torn_bytes,
        mentions: tally.mentions,
    })
}

/// A leaf names the same numbers as its record.
fn agrees(record: &FrameRecord<'_>, leaf: &Leaf, lost: u64) -> Result<(), &'static str> {
    let says = |name: &str, value: u64| {
        i64::try_from(value).is_ok_and(|v| leaf.detail.get(name) == Some(&Detail::Integer(v)))
    };
    match record {
        FrameRecord::Settled { sequence, .. } if !says("sequence", *sequence) => {
            Err("a leaf names another sequence number than its record")
        }
        FrameRecord::Gap { gap, .. }
            if !(says("first", gap.first)
                && says("count", gap.count.into())
                && says("unaccounted", lost)) =>
        {
            Err("a gap leaf counts otherwise than its record")
        }
        _ => Ok(()),
    }
}

/// The tile of leaf hashes that was read last: leaves come in order.
#[derive(Default)]
struct CurrentTile(Option<(u64, Vec<Hash>)>);

impl CurrentTile {
    fn hash(&mut self, disk: &dyn Disk, index: u64, size: u64) -> Result<Hash, RecordError> {
        let number = index / TILE_WIDTH;
        if self.0.as_ref().is_none_or(|(n, _)| *n != number) {
            let tile = Tile::at(Kind::Hashes(0), number, size);
            let name = tile.map(Tile::path).unwrap_or_default();
            let bytes = OnDisk(disk).fetch(&name, BUNDLE_BYTES_MAX as u64)?;
            let all = bytes.as_deref().and_then(hashes).unwrap_or_default();
            self.0 = Some((number, all.to_vec()));
        }
        let at = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
        self.0
            .as_ref()
            .and_then(|(_, hashes)| hashes.get(at).copied())
            .ok_or_else(|| RecordError::corrupt("tile/0", index, "a hash is missing"))
    }
}
