//! The files of a log, read and checked before they leave: an export that locks damage away for years
//! preserves nothing.

use super::error::WormError;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Hash, LEAVES_MAX, leaf_hash, root_of};
use ringfence_crypto::note::{Note, NoteKey};
use ringfence_crypto::tiles::{
    BUNDLE_BYTES_MAX, Kind, TILE_HEIGHT, TILE_WIDTH, Tile, entries, fold, hashes,
};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// LIMIT: octets of a signed checkpoint with its cosignatures.
const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Where the files of a C2SP tlog-tiles directory come from. Reading may block.
pub trait Source: Send + Sync {
    /// The file with this path below the log; longer than `limit` octets is an error.
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>>;
}

/// A directory.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Source for Directory {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.0.join(path))?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::other("longer than such a file can be"));
        }
        Ok(bytes)
    }
}

/// A checkpoint whose signatures were verified.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The note as it stands in its file.
    pub note: Vec<u8>,
}

/// A log as it is exported: nothing of it beyond its signed checkpoint.
pub(super) struct Tree<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) signed: Signed,
}

impl<'a> Tree<'a> {
    /// Reads the checkpoint, demands every key's signature, and that the hashes on disk have the
    /// root that was signed.
    pub(super) fn open(source: &'a dyn Source, keys: &[NoteKey]) -> Result<Self, WormError> {
        let name = "checkpoint";
        let note = source
            .read(name, NOTE_BYTES_MAX)
            .map_err(|e| WormError::io("read", name, e))?;
        let text = std::str::from_utf8(&note).map_err(|_| WormError::rotten(name, "not text"))?;
        if keys.is_empty() {
            return Err(WormError::rotten(name, "no key to verify it with"));
        }
        let parsed = Note::parse(text)?;
        parsed.verify(keys)?;
        let checkpoint = Checkpoint::parse(parsed.text())?;
        if checkpoint.size > LEAVES_MAX {
            return Err(WormError::rotten(name, "more leaves than a log can have"));
        }
        let root = checkpoint.root;
        let tree = Self {
            source,
            signed: Signed { checkpoint, note },
        };
        if tree.root_at(tree.size())? != root {
            return Err(WormError::rotten(name, "the tiles have another root"));
        }
        Ok(tree)
    }

    pub(super) fn size(&self) -> u64 {
        self.signed.checkpoint.size
    }

    /// The root that this log had when it had so many leaves.
    pub(super) fn root_at(&self, size: u64) -> Result<Hash, WormError> {
        root_of(size, &mut |level, number| self.hash(level, number))
    }

    /// The root of the complete subtree of 2^level leaves with this number.
    fn hash(&self, level: u32, number: u64) -> Result<Hash, WormError> {
        let inside = level % TILE_HEIGHT;
        let first = number << inside;
        let kind = Kind::Hashes(level / TILE_HEIGHT);
        let missing = || WormError::rotten(format!("{kind:?}"), "no such hash");
        let tile = Tile::at(kind, first / TILE_WIDTH, self.size()).ok_or_else(missing)?;
        let bytes = self.tile(tile)?;
        let row = hashes(&bytes).ok_or_else(missing)?;
        let start = usize::try_from(first % TILE_WIDTH).map_err(|_| missing())?;
        row.get(start..start + (1 << inside))
            .and_then(fold)
            .ok_or_else(missing)
    }

    /// A tile of hashes, whole.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, WormError> {
        let (path, length) = (tile.path(), usize::from(tile.width) * 32);
        let bytes = self
            .source
            .read(&path, length)
            .map_err(|e| WormError::io("read", &path, e))?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(WormError::rotten(path, "not as long as it must be"))
        }
    }

    /// A file of the tree. A bundle is compared, entry for entry, with the tile over it.
    pub(super) fn file(&self, file: Tile) -> Result<Vec<u8>, WormError> {
        if file.kind != Kind::Entries {
            return self.tile(file);
        }
        let path = file.path();
        let bundle = self
            .source
            .read(&path, BUNDLE_BYTES_MAX)
            .map_err(|e| WormError::io("read", &path, e))?;
        let over = self.tile(Tile {
            kind: Kind::Hashes(0),
            ..file
        })?;
        let held = entries(&bundle)
            .ok_or_else(|| WormError::rotten(&path, "not made of whole entries"))?;
        let hashed: Vec<Hash> = held.into_iter().map(leaf_hash).collect();
        if hashed.as_flattened() != over {
            return Err(WormError::rotten(path, "not the entries under its tile"));
        }
        Ok(bundle)
    }
}
