//! Reading leaves back, and proving them.

use super::{Log, READ_BYTES_MAX, READ_LEAVES_MAX};
use crate::error::RecordError;
use crate::proof::Proof;
use ringfence_core::leaf::Leaf;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Hash, consistency_proof, inclusion_proof, verify_inclusion};
use ringfence_crypto::note::Note;
use ringfence_crypto::tiles::{Kind, TILE_WIDTH, Tile, entries};

impl Log {
    /// Leaves from an index on: at most `count`, at most [`READ_BYTES_MAX`] octets of them, and at
    /// least one if there is one.
    pub fn read(&self, from: u64, count: u32) -> Result<Vec<(u64, Leaf)>, RecordError> {
        if count > READ_LEAVES_MAX {
            let limit = u64::from(READ_LEAVES_MAX);
            return Err(RecordError::TooMany {
                what: "leaves of one read",
                limit,
            });
        }
        let end = self.tree.size().min(from.saturating_add(u64::from(count)));
        let mut leaves = Vec::new();
        let mut total = 0;
        let mut index = from;
        while index < end {
            let number = index / TILE_WIDTH;
            let damaged =
                |why| RecordError::corrupt(Tile::full(Kind::Entries, number).path(), 0, why);
            let bundle = self.tree.bundle(&*self.disk, number)?;
            let all = entries(&bundle).ok_or_else(|| damaged("not a bundle of entries"))?;
            let skipped = usize::try_from(index % TILE_WIDTH).unwrap_or(0);
            if all.len() <= skipped {
                return Err(damaged("an entry is missing"));
            }
            for bytes in &all[skipped..] {
                if index >= end || index > from && total + bytes.len() > READ_BYTES_MAX {
                    return Ok(leaves);
                }
                leaves.push((index, Leaf::parse(bytes)?));
                total += bytes.len();
                index += 1;
            }
        }
        Ok(leaves)
    }

    /// A proof that leaf `index` is in the log, under a checkpoint that covers it: the last that
    /// witnesses cosigned, if that one does.
    pub fn prove(&mut self, index: u64) -> Result<Proof, RecordError> {
        if index >= self.tree.size() {
            return Err(RecordError::NoLeaf(index));
        }
        if self.signed.as_ref().is_none_or(|s| s.size <= index) {
            self.checkpoint()?;
        }
        let cosigned = self.cosigned.as_ref().filter(|c| c.size > index);
        let Some(signed) = cosigned.or(self.signed.as_ref()) else {
            return Err(RecordError::Poisoned);
        };
        let read = &mut |level, number| self.tree.hash(&*self.disk, level, number);
        let path = inclusion_proof(index, signed.size, read)?;
        let leaf = read(0, index)?;
        let checkpoint = Checkpoint::parse(Note::parse(&signed.note)?.text())?;
        verify_inclusion(&leaf, index, signed.size, &path, &checkpoint.root)?;
        Ok(Proof {
            index,
            hashes: path,
            checkpoint: signed.note.clone(),
        })
    }

    /// A checkpoint of the present size and the proof that it extends the tree of `old` leaves: what
    /// a witness asks for.
    pub fn extend(&mut self, old: u64) -> Result<(String, Vec<Hash>), RecordError> {
        let note = self.checkpoint()?;
        let size = self.signed.as_ref().map_or(0, |s| s.size);
        let read = &mut |level, number| self.tree.hash(&*self.disk, level, number);
        Ok((note, consistency_proof(old, size, read)?))
    }
}
