//! Every tile and bundle of a log, computed anew from the entries and compared.
//!
//! Workers read bundles and hash their entries; one thread puts the hashes together in order. What
//! is held at once is a few bundles for each worker and one tile for each level, however long the
//! log is.

use super::source::Source;
use crate::blob::Mentions;
use crate::error::RecordError;
use ringfence_core::leaf::{Detail, Leaf, LeafAction};
use ringfence_core::time::Timestamp;
use ringfence_crypto::merkle::{Completed, Frontier, Hash, leaf_hash};
use ringfence_crypto::tiles::{
    BUNDLE_BYTES_MAX, Kind, TILE_HEIGHT, TILE_LEVELS_MAX, TILE_WIDTH, Tile, entries,
};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// LIMIT: bundles that a worker is ahead of the thread that puts them together.
const AHEAD_MAX: usize = 8;
/// LIMIT: folders below each other in a tile's path, with room.
const FOLDERS_DEEP_MAX: usize = 12;
/// LIMIT: octets of a tile of hashes.
const TILE_BYTES_MAX: u64 = TILE_WIDTH * 32;

/// Milliseconds that a leaf may be older than the one before it: writers hand leaves over side by
/// side, each with the time at which its matter ended.
const OUT_OF_ORDER_MS: i64 = 60_000;

/// What the leaves themselves say and a verifier adds up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Files compared.
    pub(crate) files: u64,
    /// Octets of them.
    pub(crate) octets: u64,
    /// Sequence numbers that gaps count, less those that were filled late.
    pub(crate) unaccounted: i64,
    /// How often a leaf is much older than the one before it: a clock was set back.
    pub(crate) clock_back: u64,
    /// The times of the first and the last leaf.
    times: Option<(Timestamp, Timestamp)>,
    /// Sealed payloads that leaves name or call erased.
    pub(crate) mentions: Mentions,
}

impl Tally {
    /// Adds what comes after.
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.octets += other.octets;
        self.unaccounted += other.unaccounted;
        self.mentions.add(other.mentions);
        self.clock_back += other.clock_back;
        if let Some((first, last)) = other.times {
            self.pass(first);
            self.pass(last);
        }
    }

    fn pass(&mut self, time: Timestamp) {
        let (first, last) = self.times.unwrap_or((time, time));
        if last.since_ms(time) > OUT_OF_ORDER_MS {
            self.clock_back += 1;
        }
        self.times = Some((first, time));
    }

    /// Adds up one leaf, which must be canonical.
    pub(crate) fn leaf(&mut self, bytes: &[u8]) -> Result<Leaf, &'static str> {
        let leaf = Leaf::parse(bytes).map_err(|_| "a leaf is not canonical")?;
        self.pass(leaf.time);
        match (leaf.action, leaf.detail.get("unaccounted")) {
            (LeafAction::LogGap, Some(Detail::Integer(n))) => self.unaccounted += n,
            (LeafAction::LogGap, _) => return Err("a gap leaf counts nothing"),
            _ if leaf.detail.get("late") == Some(&Detail::Bool(true)) => self.unaccounted -= 1,
            _ => {}
        }
        self.mentions.leaf(&leaf);
        Ok(leaf)
    }
}

/// The tree that the entries make.
pub(crate) struct Walked {
    pub(crate) frontier: Frontier,
    pub(crate) tally: Tally,
    /// The root at the size that was asked for besides.
    pub(crate) root_at: Option<Hash>,
}

/// Reads all entries of a tree of `size` leaves and compares every file with what it should hold.
/// `mark` is a size whose root is wanted besides.
pub(crate) fn walk(
    source: &dyn Source,
    size: u64,
    mark: Option<u64>,
) -> Result<Walked, RecordError> {
    let bundles = size.div_ceil(TILE_WIDTH);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let workers = workers.min(bundles).max(1);
    std::thread::scope(|scope| {
        let lines: Vec<Receiver<_>> = (0..workers)
            .map(|worker| {
                let (send, receive) = sync_channel(AHEAD_MAX);
                scope.spawn(move || read_bundles(source, size, worker, workers, &send));
                receive
            })
            .collect();
        let mut walk = Walk {
            source,
            size,
            edges: vec![Vec::new(); TILE_LEVELS_MAX as usize],
            walked: Walked {
                frontier: Frontier::new(),
                tally: Tally::default(),
                root_at: None,
            },
        };
        walk.look(mark);
        for (_, line) in (0..bundles).zip(lines.iter().cycle()) {
            // A worker that ends early has said why.
            let ended = RecordError::corrupt("tile", 0, "a bundle could not be read");
            let (hashes, tally) = line.recv().map_err(|_| ended)??;
            walk.walked.tally.add(tally);
            for hash in hashes {
                walk.push(hash)?;
                walk.look(mark);
            }
        }
        walk.compare_partial()?;
        Ok(walk.walked)
    })
}

type Bundle = Result<(Vec<Hash>, Tally), RecordError>;

fn read_bundles(
    source: &dyn Source,
    size: u64,
    worker: u64,
    workers: u64,
    send: &SyncSender<Bundle>,
) {
    let mut number = worker;
    while let Some(tile) = Tile::at(Kind::Entries, number, size) {
        let bundle = read_bundle(source, tile);
        let failed = bundle.is_err();
        // Nobody listens any more when another file was wrong.
        if send.send(bundle).is_err() || failed {
            return;
        }
        number += workers;
    }
}

/// Reads a bundle and the tile of its hashes, each with the partial files that it superseded.
fn read_bundle(source: &dyn Source, tile: Tile) -> Bundle {
    let mut tally = Tally::default();
    let damaged = |why| RecordError::corrupt(tile.path(), 0, why);
    let bytes = fetch(source, tile, &mut tally)?;
    let all = entries(&bytes).ok_or_else(|| damaged("not a bundle of entries"))?;
    if all.len() != usize::from(tile.width) {
        return Err(damaged("not as many entries as its name says"));
    }
    let mut hashes = Vec::with_capacity(all.len());
    for entry in &all {
        tally.leaf(entry).map_err(damaged)?;
        hashes.push(leaf_hash(entry));
    }
    let prefix = |width: usize| {
        let length: usize = all.iter().take(width).map(|e| e.len() + 2).sum();
        bytes.get(..length).unwrap_or_default()
    };
    compare_superseded(source, tile, &prefix, &mut tally)?;
    let tile = Tile {
        kind: Kind::Hashes(0),
        ..tile
    };
    compare(source, tile, hashes.as_flattened(), &mut tally)?;
    Ok((hashes, tally))
}

/// Compares a tile with the hashes that it should hold, and what it superseded.
fn compare(
    source: &dyn Source,
    tile: Tile,
    expected: &[u8],
    tally: &mut Tally,
) -> Result<(), RecordError> {
    if fetch(source, tile, tally)? != expected {
        let why = "its hashes are not those of the entries";
        return Err(RecordError::corrupt(tile.path(), 0, why));
    }
    let prefix = |width: usize| expected.get(..width * 32).unwrap_or_default();
    compare_superseded(source, tile, &prefix, tally)
}

fn fetch(source: &dyn Source, tile: Tile, tally: &mut Tally) -> Result<Vec<u8>, RecordError> {
    let name = tile.path();
    let limit = match tile.kind {
        Kind::Entries => BUNDLE_BYTES_MAX as u64,
        Kind::Hashes(_) => TILE_BYTES_MAX,
    };
    let bytes = source
        .fetch(&name, limit)?
        .ok_or_else(|| RecordError::corrupt(name, 0, "the file is missing"))?;
    tally.files += 1;
    tally.octets += bytes.len() as u64;
    Ok(bytes)
}

/// Partial files of smaller widths stand until the full one is durable; each must be its beginning.
fn compare_superseded<'a>(
    source: &dyn Source,
    tile: Tile,
    prefix: &dyn Fn(usize) -> &'a [u8],
    tally: &mut Tally,
) -> Result<(), RecordError> {
    let full = Tile::full(tile.kind, tile.number).path();
    let folder = format!("{full}.p");
    for name in source.list(&folder)?.unwrap_or_default() {
        let path = format!("{folder}/{name}");
        let strange = || RecordError::corrupt(path.as_str(), 0, "not a file of this log");
        let partial = Tile::parse(&path).ok_or_else(strange)?;
        // What is wider is beyond the checkpoint, and judged there.
        if partial.width < tile.width
            && fetch(source, partial, tally)? != prefix(partial.width.into())
        {
            let why = "a superseded partial file is not the beginning of what followed";
            return Err(RecordError::corrupt(path, 0, why));
        }
    }
    Ok(())
}

struct Walk<'a> {
    source: &'a dyn Source,
    size: u64,
    edges: Vec<Vec<Hash>>,
    walked: Walked,
}

impl Walk<'_> {
    fn look(&mut self, mark: Option<u64>) {
        let frontier = &self.walked.frontier;
        if mark == Some(frontier.size()) {
            self.walked.root_at = Some(frontier.root());
        }
    }

    fn push(&mut self, leaf: Hash) -> Result<(), RecordError> {
        let edges = &mut self.edges;
        let mut full = Vec::new();
        self.walked.frontier.append(leaf, &mut |c: Completed| {
            // Level 0 was compared where its entries were read.
            let level = c.level / TILE_HEIGHT;
            if level > 0
                && c.level.is_multiple_of(TILE_HEIGHT)
                && let Some(edge) = edges.get_mut(level as usize)
            {
                edge.push(c.hash);
                if edge.len() as u64 == TILE_WIDTH {
                    let tile = Tile::full(Kind::Hashes(level), c.number / TILE_WIDTH);
                    full.push((tile, std::mem::take(edge)));
                }
            }
        });
        for (tile, hashes) in full {
            let tally = &mut self.walked.tally;
            compare(self.source, tile, hashes.as_flattened(), tally)?;
        }
        Ok(())
    }

    fn compare_partial(&mut self) -> Result<(), RecordError> {
        for (level, edge) in (0..).zip(&self.edges).skip(1) {
            let kind = Kind::Hashes(level);
            let number = kind.count(self.size) / TILE_WIDTH;
            if let Some(tile) = Tile::at(kind, number, self.size) {
                let tally = &mut self.walked.tally;
                compare(self.source, tile, edge.as_flattened(), tally)?;
            }
        }
        Ok(())
    }
}

/// Looks at every name below `tile/`: how many files are of a tree larger than `size`, and refuses
/// what is no file of a log at all, or of a tree larger than `limit`.
pub(crate) fn beyond(source: &dyn Source, size: u64, limit: u64) -> Result<u64, RecordError> {
    let mut folders = vec![("tile".to_owned(), 0)];
    let mut count = 0;
    while let Some((folder, depth)) = folders.pop() {
        let Some(names) = source.list(&folder)? else {
            return Ok(count);
        };
        for name in names {
            let path = format!("{folder}/{name}");
            match Tile::parse(&path) {
                Some(tile) if tile.is_within(size) => {}
                Some(tile) if tile.is_within(limit) => count += 1,
                Some(_) => {
                    let why = "it is of a larger log than the checkpoint signs";
                    return Err(RecordError::corrupt(path, 0, why));
                }
                None if depth < FOLDERS_DEEP_MAX && is_folder(&name, depth) => {
                    folders.push((path, depth + 1));
                }
                None => {
                    let why = "not a file of this log";
                    return Err(RecordError::corrupt(path, 0, why));
                }
            }
        }
    }
    Ok(count)
}

/// Whether a name may be a folder of tiles: a level at the top, then groups of three digits and
/// partial widths.
fn is_folder(name: &str, depth: usize) -> bool {
    let digits = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    if depth == 0 {
        return name == "entries" || Tile::parse(&format!("tile/{name}/000")).is_some();
    }
    name.strip_prefix('x').is_some_and(digits) || name.strip_suffix(".p").is_some_and(digits)
}
