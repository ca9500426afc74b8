//! The tree on disk: C2SP tlog-tiles, written behind the write-ahead log.
//!
//! A tile is written when it is full, and once more for each checkpoint while it is not. Neither is
//! forced to disk here: until [`super::retire`] has done that, the write-ahead log holds the same
//! leaves, and opening writes again whatever a power cut took. While the disk is full, full tiles
//! wait in memory; they are at most those of commits that did succeed.

use super::disk::{Disk, folder_of, read_whole};
use crate::error::RecordError;
use ringfence_crypto::merkle::{Completed, Frontier, Hash, leaf_hash};
use ringfence_crypto::tiles::{
    self, BUNDLE_BYTES_MAX, Kind, TILE_HEIGHT, TILE_LEVELS_MAX, TILE_WIDTH, Tile,
};

/// The growing tree: its right edge in memory, all else in files.
pub(crate) struct Tree {
    frontier: Frontier,
    /// Hashes of the rightmost tile of each level, fewer than 256.
    edges: Vec<Vec<Hash>>,
    /// Entries of the rightmost bundle, fewer than 256.
    bundle: Vec<u8>,
    /// Full files that are not written yet.
    waiting: Vec<(Tile, Vec<u8>)>,
    /// The size whose partial files were written last.
    published: u64,
}

impl Tree {
    /// Takes up a tree at a size that is a multiple of 256, whose full tiles are on disk.
    pub(crate) fn load(disk: &dyn Disk, size: u64) -> Result<Self, RecordError> {
        let mut tree = Self {
            frontier: Frontier::new(),
            edges: vec![Vec::new(); TILE_LEVELS_MAX as usize],
            bundle: Vec::new(),
            waiting: Vec::new(),
            published: 0,
        };
        for (level, edge) in (0..).zip(&mut tree.edges) {
            // What stands in a partial tile stands in full tiles one level below.
            let kind = Kind::Hashes(level);
            let count = kind.count(size);
            for number in count - count % TILE_WIDTH..count {
                let below = Tile::full(Kind::Hashes(level - 1), number);
                let hash = tiles::fold(&read_hashes(disk, below)?);
                edge.extend(hash);
            }
        }
        tree.frontier = Frontier::load(size, &mut |level, number| {
            tree.hash_at(disk, level, number, size)
        })?;
        Ok(tree)
    }

    /// How many leaves.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root over all leaves.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends a leaf, at most [`tiles::ENTRY_BYTES_MAX`] octets, and says its hash.
    pub(crate) fn push(&mut self, leaf: &[u8]) -> Hash {
        let hash = leaf_hash(leaf);
        tiles::push_entry(&mut self.bundle, leaf);
        let (edges, waiting) = (&mut self.edges, &mut self.waiting);
        self.frontier.append(hash, &mut |c: Completed| {
            let level = c.level / TILE_HEIGHT;
            let Some(edge) = edges
                .get_mut(level as usize)
                .filter(|_| c.level.is_multiple_of(TILE_HEIGHT))
            else {
                return;
            };
            edge.push(c.hash);
            if edge.len() as u64 == TILE_WIDTH {
                let tile = Tile::full(Kind::Hashes(level), c.number / TILE_WIDTH);
                waiting.push((tile, edge.as_flattened().to_vec()));
                edge.clear();
            }
        });
        let size = self.frontier.size();
        if size.is_multiple_of(TILE_WIDTH) {
            let tile = Tile::full(Kind::Entries, size / TILE_WIDTH - 1);
            let next = Vec::with_capacity(self.bundle.len());
            let full = std::mem::replace(&mut self.bundle, next);
            self.waiting.push((tile, full));
        }
        hash
    }

    /// Writes the full files that wait; what cannot be written goes on waiting.
    pub(crate) fn write_waiting(&mut self, disk: &dyn Disk) -> Result<(), RecordError> {
        while let Some((tile, bytes)) = self.waiting.first() {
            put(disk, *tile, bytes)?;
            self.waiting.remove(0);
        }
        Ok(())
    }

    /// The same where files may stand already, from before a crash: says how many did not hold what
    /// they should.
    pub(crate) fn mend_waiting(&mut self, disk: &dyn Disk) -> Result<u64, RecordError> {
        let mut mended = 0;
        for (tile, bytes) in std::mem::take(&mut self.waiting) {
            mended += mend(disk, tile, &bytes)?;
            mended += mend_partials(disk, tile, &bytes)?;
        }
        Ok(mended)
    }

    /// Mends the partial files of the right edge, once all leaves are read back.
    pub(crate) fn mend_edges(&self, disk: &dyn Disk) -> Result<u64, RecordError> {
        let mut mended = 0;
        for (tile, bytes) in self.partials() {
            mended += mend_partials(disk, tile, bytes)?;
        }
        Ok(mended)
    }

    /// The partial tiles of the present size, with what they hold.
    fn partials(&self) -> impl Iterator<Item = (Tile, &[u8])> {
        let size = self.size();
        let edges = (0..).zip(&self.edges);
        edges
            .map(|(level, edge)| (Kind::Hashes(level), edge.as_flattened()))
            .chain([(Kind::Entries, self.bundle.as_slice())])
            .filter_map(move |(kind, bytes)| {
                let tile = Tile::at(kind, kind.count(size) / TILE_WIDTH, size)?;
                Some((tile, bytes))
            })
    }

    /// Writes the partial files of the present size: what a checkpoint of it needs.
    pub(crate) fn publish(&mut self, disk: &dyn Disk) -> Result<(), RecordError> {
        self.write_waiting(disk)?;
        let size = self.size();
        if self.published == size {
            return Ok(());
        }
        for (tile, bytes) in self.partials() {
            // A level above changes seldom; what stands is left alone.
            if Tile::at(tile.kind, tile.number, self.published) != Some(tile) {
                mend(disk, tile, bytes)?;
            }
        }
        self.published = size;
        Ok(())
    }

    /// The root of a complete subtree.
    pub(crate) fn hash(
        &self,
        disk: &dyn Disk,
        level: u32,
        number: u64,
    ) -> Result<Hash, RecordError> {
        self.hash_at(disk, level, number, self.size())
    }

    fn hash_at(
        &self,
        disk: &dyn Disk,
        level: u32,
        number: u64,
        size: u64,
    ) -> Result<Hash, RecordError> {
        let kind = Kind::Hashes(level / TILE_HEIGHT);
        let inner = level % TILE_HEIGHT;
        let first = number << inner;
        let tile = Tile::full(kind, first / TILE_WIDTH);
        let edge = self.edges.get((level / TILE_HEIGHT) as usize);
        let hashes = match self.waiting.iter().find(|(t, _)| *t == tile) {
            Some((_, bytes)) => tiles::hashes(bytes).unwrap_or_default().to_vec(),
            None if tile.number == kind.count(size) / TILE_WIDTH => {
                edge.cloned().unwrap_or_default()
            }
            None => read_hashes(disk, tile)?,
        };
        let at = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        hashes
            .get(at..at + (1 << inner))
            .and_then(tiles::fold)
            .ok_or_else(|| RecordError::corrupt(tile.path(), 0, "a hash is missing"))
    }

    /// The bundle with this number, full or not.
    pub(crate) fn bundle(&self, disk: &dyn Disk, number: u64) -> Result<Vec<u8>, RecordError> {
        let tile = Tile::full(Kind::Entries, number);
        if number == self.size() / TILE_WIDTH {
            return Ok(self.bundle.clone());
        }
        if let Some((_, bytes)) = self.waiting.iter().find(|(t, _)| *t == tile) {
            return Ok(bytes.clone());
        }
        get(disk, tile)?.ok_or_else(|| missing(tile))
    }
}

fn missing(tile: Tile) -> RecordError {
    RecordError::corrupt(tile.path(), 0, "the file is missing")
}

fn read_hashes(disk: &dyn Disk, tile: Tile) -> Result<Vec<Hash>, RecordError> {
    let bytes = get(disk, tile)?.ok_or_else(|| missing(tile))?;
    tiles::hashes(&bytes)
        .filter(|h| h.len() == usize::from(tile.width))
        .map(<[Hash]>::to_vec)
        .ok_or_else(|| RecordError::corrupt(tile.path(), 0, "not the length of a tile"))
}

fn get(disk: &dyn Disk, tile: Tile) -> Result<Option<Vec<u8>>, RecordError> {
    read_whole(disk, &tile.path(), BUNDLE_BYTES_MAX as u64)
}

fn put(disk: &dyn Disk, tile: Tile, bytes: &[u8]) -> Result<(), RecordError> {
    let name = tile.path();
    let fail = |e| RecordError::io("write", name.as_str(), e);
    let file = disk.open(&name, true).map_err(fail)?;
    file.truncate(0).map_err(fail)?;
    file.write_at(bytes, 0).map_err(fail)
}

/// Writes a file again unless it holds what it should, and says whether.
fn mend(disk: &dyn Disk, tile: Tile, bytes: &[u8]) -> Result<u64, RecordError> {
    if get(disk, tile)?.as_deref() == Some(bytes) {
        return Ok(0);
    }
    put(disk, tile, bytes)?;
    Ok(1)
}

/// Mends the partial files of a tile: each is the beginning of what the tile holds now. They are
/// not forced to disk, so a power cut may have taken some of their octets.
fn mend_partials(disk: &dyn Disk, tile: Tile, bytes: &[u8]) -> Result<u64, RecordError> {
    let folder = format!("{}.p", Tile::full(tile.kind, tile.number).path());
    let fail = |e| RecordError::io("list", folder.as_str(), e);
    let mut mended = 0;
    for name in disk.names(&folder).map_err(fail)? {
        let Some(partial) = Tile::parse(&format!("{folder}/{name}")) else {
            // Not ours; the verifier names it.
            continue;
        };
        if let Some(beginning) = beginning(bytes, partial) {
            mended += mend(disk, partial, beginning)?;
        }
    }
    Ok(mended)
}

/// The octets of a partial file, if `bytes` hold as much.
fn beginning(bytes: &[u8], partial: Tile) -> Option<&[u8]> {
    let width = usize::from(partial.width);
    if let Kind::Hashes(_) = partial.kind {
        return bytes.get(..width * 32);
    }
    let all = tiles::entries(bytes)?;
    let length = all.get(..width)?.iter().map(|e| e.len() + 2).sum();
    bytes.get(..length)
}

/// Removes the partial files of a tile that is full and forced to disk.
pub(crate) fn remove_partials(disk: &dyn Disk, full: Tile) -> Result<(), RecordError> {
    let folder = format!("{}.p", full.path());
    let fail = |e| RecordError::io("remove", folder.as_str(), e);
    let names = disk.names(&folder).map_err(fail)?;
    for name in &names {
        disk.remove(&format!("{folder}/{name}")).map_err(fail)?;
    }
    if !names.is_empty() {
        disk.remove_folder(&folder).map_err(fail)?;
    }
    Ok(())
}

/// The folders above a name, the nearest first, the log's own last.
pub(crate) fn folders_above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(folder_of(name)), |folder| {
        (!folder.is_empty()).then(|| folder_of(folder))
    })
}
