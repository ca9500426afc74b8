//! The stored hashes of the tree: what makes a proof O(log n) reads.
//!
//! Derived from the write-ahead log and rebuilt from it at every opening, so it is forced to disk
//! only before a checkpoint. While the disk is full, hashes wait in memory; they are at most those
//! of commits that did succeed.

use super::disk::{Disk, DiskFile, read_up_to};
use crate::error::RecordError;
use ringfence_crypto::merkle::{Hash, stored_index};

/// The file's name.
pub(crate) const HASHES_FILE: &str = "hashes.rfh";
const HASH_BYTES: u64 = 32;
/// Hashes compared at once while rebuilding.
const CHUNK_HASHES: usize = 8192;

/// The file and what is not in it yet.
pub(crate) struct Hashes {
    file: Box<dyn DiskFile>,
    written: u64,
    waiting: Vec<Hash>,
    rebuilt: u64,
}

impl Hashes {
    /// Takes the file up from its beginning; push all hashes, then call [`Hashes::settle`].
    pub(crate) fn open(disk: &dyn Disk) -> Result<Self, RecordError> {
        let file = disk
            .open(HASHES_FILE, true)
            .map_err(|e| RecordError::io("open", HASHES_FILE, e))?;
        Ok(Self {
            file,
            written: 0,
            waiting: Vec::new(),
            rebuilt: 0,
        })
    }

    /// One more hash.
    pub(crate) fn push(&mut self, hash: Hash) {
        self.waiting.push(hash);
    }

    /// While rebuilding: compares a full chunk with the file and writes what differs.
    pub(crate) fn compare_chunk(&mut self, last: bool) -> Result<(), RecordError> {
        if self.waiting.is_empty() || !last && self.waiting.len() < CHUNK_HASHES {
            return Ok(());
        }
        let fail = |e| RecordError::io("read", HASHES_FILE, e);
        let mut present = vec![0; self.waiting.len() * 32];
        let offset = self.written * HASH_BYTES;
        let read = read_up_to(&*self.file, &mut present, offset).map_err(fail)?;
        if present[..read] == *self.waiting.as_flattened() {
            self.written += self.waiting.len() as u64;
            self.waiting.clear();
            return Ok(());
        }
        self.rebuilt += self.waiting.len() as u64;
        self.write_waiting()
    }

    /// After rebuilding: cuts what stands beyond and says how many hashes had to be written.
    pub(crate) fn settle(&mut self) -> Result<u64, RecordError> {
        self.compare_chunk(true)?;
        let fail = |e| RecordError::io("cut", HASHES_FILE, e);
        let end = self.written * HASH_BYTES;
        if self.file.length().map_err(fail)? > end {
            self.file.truncate(end).map_err(fail)?;
        }
        Ok(self.rebuilt)
    }

    /// Writes what waits; on failure it goes on waiting.
    pub(crate) fn write_waiting(&mut self) -> Result<(), RecordError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file
            .write_at(self.waiting.as_flattened(), self.written * HASH_BYTES)
            .map_err(|e| RecordError::io("write", HASHES_FILE, e))?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Forces all hashes to disk.
    pub(crate) fn sync(&mut self) -> Result<(), RecordError> {
        self.write_waiting()?;
        self.file
            .sync()
            .map_err(|e| RecordError::io("force to disk", HASHES_FILE, e))
    }

    /// The root of a complete subtree.
    pub(crate) fn read(&self, level: u32, number: u64) -> Result<Hash, RecordError> {
        let index = stored_index(level, number);
        if let Some(waiting) = index.checked_sub(self.written) {
            let waiting = usize::try_from(waiting)
                .ok()
                .and_then(|i| self.waiting.get(i));
            return waiting.copied().ok_or_else(|| {
                RecordError::corrupt(HASHES_FILE, index * HASH_BYTES, "a hash is missing")
            });
        }
        let mut hash = [0; 32];
        let read = read_up_to(&*self.file, &mut hash, index * HASH_BYTES)
            .map_err(|e| RecordError::io("read", HASHES_FILE, e))?;
        if read < hash.len() {
            return Err(RecordError::corrupt(
                HASHES_FILE,
                index * HASH_BYTES,
                "a hash is missing",
            ));
        }
        Ok(hash)
    }
}
