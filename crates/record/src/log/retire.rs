//! Letting old segments of the write-ahead log go: only after the tiles of their leaves were forced
//! to disk, with every folder on the way.
//!
//! The forcing takes hundreds of fsyncs and needs nothing of the log, so the recorder does it in a
//! thread of its own while commits go on.

use super::disk::Disk;
use super::tree::{folders_above, remove_partials};
use super::{Log, wal};
use crate::error::RecordError;
use ringfence_crypto::tiles::{Kind, TILE_LEVELS_MAX, TILE_WIDTH, Tile};
use std::collections::BTreeSet;

/// Tiles to be forced to disk, and what may go when they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// Leaves whose tiles were forced to disk before.
    from: u64,
    /// Leaves whose tiles will have been.
    to: u64,
    /// The first segment that is still needed then.
    segment: u64,
}

impl Retirement {
    /// Forces the tiles to disk and removes the partial ones that they replace.
    pub fn force(&self, disk: &dyn Disk) -> Result<(), RecordError> {
        let kinds = (0..TILE_LEVELS_MAX).map(Kind::Hashes);
        let mut folders = BTreeSet::new();
        for kind in kinds.chain([Kind::Entries]) {
            for number in kind.count(self.from) / TILE_WIDTH..kind.count(self.to) / TILE_WIDTH {
                let tile = Tile::full(kind, number);
                let name = tile.path();
                let fail = |e| RecordError::io("force to disk", name.as_str(), e);
                let file = disk.open(&name, false).map_err(fail)?;
                file.sync().map_err(fail)?;
                remove_partials(disk, tile)?;
                folders.extend(folders_above(&name).map(str::to_owned));
            }
        }
        for folder in folders.iter().rev() {
            disk.sync_names(folder)
                .map_err(|e| RecordError::io("force to disk", folder.as_str(), e))?;
        }
        Ok(())
    }
}

impl Log {
    /// What can be let go now: whole segments below the signed size.
    pub fn retirement(&self) -> Option<Retirement> {
        let signed = self.signed.as_ref()?.size;
        let to = signed - signed % TILE_WIDTH;
        let segment = self
            .segments
            .iter()
            .rev()
            .find(|(_, first_leaf)| *first_leaf <= to)?
            .0;
        (segment > self.mark.segment).then_some(Retirement {
            from: self.mark.durable,
            to,
            segment,
        })
    }

    /// Removes the segments that a carried-out retirement made needless.
    pub fn retired(&mut self, done: Retirement) -> Result<(), RecordError> {
        let before = self.mark.segment;
        self.mark.durable = done.to;
        self.mark.segment = done.segment;
        self.mark.write(&*self.disk)?;
        self.segments
            .retain(|(ordinal, _)| *ordinal >= done.segment);
        wal::remove(&*self.disk, before..done.segment)
    }
}
