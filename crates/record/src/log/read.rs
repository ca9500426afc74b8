//! Reading leaves back, and proving them.

use super::frame::{self, Record};
use super::wal::{self, Place};
use super::{Log, READ_BYTES_MAX, READ_LEAVES_MAX};
use crate::error::RecordError;
use crate::proof::Proof;
use ringfence_core::leaf::Leaf;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{inclusion_proof, verify_inclusion};
use ringfence_crypto::note::Note;

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
        let end = self
            .frontier
            .size()
            .min(from.saturating_add(u64::from(count)));
        let mut leaves = Vec::new();
        let mut total = 0;
        let known = self.places.partition_point(|(first, _)| *first <= from);
        let Some(&(mut index, mut place)) = known.checked_sub(1).and_then(|i| self.places.get(i))
        else {
            return Ok(leaves);
        };
        while index < end {
            let name = wal::segment_name(place.segment);
            let file = self
                .disk
                .open(&name, false)
                .map_err(|e| RecordError::io("open", &name, e))?;
            while let Some((body, next)) = wal::read_frame(&*file, &name, place.offset)? {
                let damaged = |r| RecordError::corrupt(name.as_str(), place.offset, r);
                let records = frame::records(&body).ok_or_else(|| damaged("malformed record"))?;
                for bytes in records.iter().filter_map(Record::leaf) {
                    if index >= end || index > from && total + bytes.len() > READ_BYTES_MAX {
                        return Ok(leaves);
                    }
                    if index >= from {
                        leaves.push((index, Leaf::parse(bytes)?));
                        total += bytes.len();
                    }
                    index += 1;
                }
                place.offset = next;
                if index >= end {
                    break;
                }
            }
            place = Place {
                segment: place.segment + 1,
                offset: 0,
            };
        }
        Ok(leaves)
    }

    /// A proof that leaf `index` is in the log, under a checkpoint that covers it.
    pub fn prove(&mut self, index: u64) -> Result<Proof, RecordError> {
        if index >= self.frontier.size() {
            return Err(RecordError::NoLeaf(index));
        }
        if self.signed.as_ref().is_none_or(|s| s.size <= index) {
            self.checkpoint()?;
        }
        let Some(signed) = &self.signed else {
            return Err(RecordError::Poisoned);
        };
        let hashes = &self.hashes;
        let read = &mut |level, number| hashes.read(level, number);
        let path = inclusion_proof(index, signed.size, read)?;
        let leaf = hashes.read(0, index)?;
        let checkpoint = Checkpoint::parse(Note::parse(&signed.note)?.text())?;
        verify_inclusion(&leaf, index, signed.size, &path, &checkpoint.root)?;
        Ok(Proof {
            index,
            hashes: path,
            checkpoint: signed.note.clone(),
        })
    }
}
