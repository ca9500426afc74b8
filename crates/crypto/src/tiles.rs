//! C2SP tlog-tiles: how a tree and its entries are cut into files.
//!
//! Pure: paths, widths and the form of entry bundles. A tile of level L holds up to 256 hashes, each
//! the root of a complete subtree of 256^L leaves; an entry bundle holds the entries below one tile
//! of level 0. Only the rightmost tile of a level may be partial.

use crate::merkle::{Hash, LEAVES_MAX, node_hash};

/// Hashes of a full tile and entries of a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// The tree's levels below one tile, as a power of two.
pub const TILE_HEIGHT: u32 = 8;
/// LIMIT: octets of one entry: its length stands in two octets.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// LIMIT: levels of tiles: a tree of [`LEAVES_MAX`] leaves has hashes on eight.
pub const TILE_LEVELS_MAX: u32 = LEAVES_MAX.ilog2() / TILE_HEIGHT + 1;
/// LIMIT: octets of a full bundle.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);

/// One file of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// What is in it.
    pub kind: Kind,
    /// Which one of its kind, from 0.
    pub number: u64,
    /// How many hashes or entries: 1 to 256.
    pub width: u16,
}

/// What a file of the tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Entries.
    Entries,
    /// Hashes of a level of tiles.
    Hashes(u32),
}

impl Kind {
    /// Leaves below one hash or entry of this kind.
    fn span(self) -> u64 {
        match self {
            Self::Entries => 1,
            Self::Hashes(level) => 1 << (TILE_HEIGHT * level),
        }
    }

    /// How many hashes or entries of this kind a tree of `size` leaves has.
    pub fn count(self, size: u64) -> u64 {
        size / self.span()
    }
}

impl Tile {
    /// A full one.
    pub fn full(kind: Kind, number: u64) -> Self {
        Self {
            kind,
            number,
            width: 256,
        }
    }

    /// The tile with this number as a tree of `size` leaves has it; `None` where it has none.
    pub fn at(kind: Kind, number: u64, size: u64) -> Option<Self> {
        let before = number.checked_mul(TILE_WIDTH)?;
        let width = kind.count(size).checked_sub(before)?.min(TILE_WIDTH);
        let width = u16::try_from(width).ok().filter(|w| *w > 0)?;
        Some(Self {
            kind,
            number,
            width,
        })
    }

    /// Whether nothing more can be appended to it.
    pub fn is_full(self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// Whether a tree of `size` leaves has all that is in it.
    pub fn is_within(self, size: u64) -> bool {
        let end = self
            .number
            .checked_mul(TILE_WIDTH)
            .and_then(|b| b.checked_add(self.width.into()));
        end.is_some_and(|end| end <= self.kind.count(size))
    }

    /// Its path below the log, with `/`.
    pub fn path(self) -> String {
        let mut digits = format!("{:03}", self.number % 1000);
        let mut rest = self.number / 1000;
        while rest > 0 {
            digits = format!("x{:03}/{digits}", rest % 1000);
            rest /= 1000;
        }
        let kind = match self.kind {
            Kind::Entries => "entries".to_owned(),
            Kind::Hashes(level) => level.to_string(),
        };
        let partial = if self.is_full() {
            String::new()
        } else {
            format!(".p/{}", self.width)
        };
        format!("tile/{kind}/{digits}{partial}")
    }

    /// Reads a path, and refuses every other spelling of it.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(level.parse().ok().filter(|l| *l < TILE_LEVELS_MAX)?),
        };
        let (digits, width) = match rest.split_once(".p/") {
            Some((digits, width)) => (digits, width.parse().ok().filter(|w| *w < 256 && *w > 0)?),
            None => (rest, 256),
        };
        let mut number: u64 = 0;
        for group in digits.split('/') {
            let group = group.strip_prefix('x').unwrap_or(group);
            number = number.checked_mul(1000)?.checked_add(group.parse().ok()?)?;
        }
        let tile = Self {
            kind,
            number,
            width,
        };
        (tile.path() == path).then_some(tile)
    }
}

/// The root over the hashes of a complete subtree; their number is a power of two.
pub fn fold(hashes: &[Hash]) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    row.first().copied()
}

/// Appends an entry to a bundle; `false`, and nothing appended, when it is too long.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else {
        return false;
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// The entries of a bundle, or `None` when it is not made of whole ones.
pub fn entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bundle = rest;
    }
    bundle.is_empty().then_some(entries)
}

/// The hashes of a tile, or `None` when it is not made of whole ones.
pub fn hashes(tile: &[u8]) -> Option<&[Hash]> {
    let (hashes, rest) = tile.as_chunks::<32>();
    rest.is_empty().then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Frontier, leaf_hash};
    use proptest::prelude::*;

    fn tile(kind: Kind, number: u64, width: u16) -> Tile {
        Tile {
            kind,
            number,
            width,
        }
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        // C2SP tlog-tiles, section "Merkle Tree": 1234067 is encoded as x001/x234/067.
        for (tile, path) in [
            (
                tile(Kind::Hashes(0), 1_234_067, 256),
                "tile/0/x001/x234/067",
            ),
            (tile(Kind::Hashes(1), 1000, 255), "tile/1/x001/000.p/255"),
            (tile(Kind::Entries, 0, 1), "tile/entries/000.p/1"),
            (tile(Kind::Entries, 999, 256), "tile/entries/999"),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Some(tile));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for path in [
            "tile/0/1",
            "tile/0/0001",
            "tile/0/x000/001",
            "tile/0/x001/x067",
            "tile/0/001/067",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/00/000",
            "tile/+1/000",
            "tile/0/+01",
            "tile/8/000",
            "tile/0/../0/000",
            "tile/entries/x999/x999/x999/x999/x999/x999/x999/999",
            "/tile/0/000",
            "tile/0/000/",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
        assert!(Tile::parse("tile/7/000").is_some(), "the last level");
    }

    #[test]
    fn a_bundle_takes_an_entry_at_the_limit_and_refuses_one_above() {
        let mut bundle = Vec::new();
        assert!(push_entry(&mut bundle, &vec![7; ENTRY_BYTES_MAX]));
        let before = bundle.len();
        assert!(!push_entry(&mut bundle, &vec![7; ENTRY_BYTES_MAX + 1]));
        assert_eq!(bundle.len(), before);
        assert_eq!(entries(&bundle).unwrap(), [vec![7; ENTRY_BYTES_MAX]]);
        assert_eq!(entries(&bundle[..before - 1]), None);
        assert_eq!(entries(&[0]), None);
    }

    proptest! {
        #[test]
        fn a_size_has_just_the_tiles_that_are_within_it(size in 0u64..200_000_000, number in 0u64..1000, level in 0u32..4) {
            for kind in [Kind::Entries, Kind::Hashes(level)] {
                match Tile::at(kind, number, size) {
                    Some(tile) => {
                        prop_assert!(tile.is_within(size));
                        let more = Tile { width: tile.width + 1, ..tile };
                        prop_assert!(tile.is_full() || !more.is_within(size));
                        prop_assert_eq!(Tile::parse(&tile.path()), Some(tile));
                    }
                    None => prop_assert!(kind.count(size) <= number * TILE_WIDTH),
                }
            }
        }

        #[test]
        fn a_tile_folds_to_the_root_of_its_leaves(power in 0u32..9) {
            let mut frontier = Frontier::new();
            let leaves: Vec<Hash> = (0..1u32 << power).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            for leaf in &leaves {
                frontier.append(*leaf, &mut |_| ());
            }
            prop_assert_eq!(fold(&leaves), Some(frontier.root()));
            prop_assert_eq!(hashes(leaves.as_flattened()), Some(leaves.as_slice()));
        }

        #[test]
        fn no_octets_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), path in "\\PC{0,40}") {
            if let Some(all) = entries(&bytes) {
                let mut bundle = Vec::new();
                prop_assert!(all.iter().all(|e| push_entry(&mut bundle, e)));
                prop_assert_eq!(bundle, bytes);
            }
            if let Some(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.path(), path);
            }
        }
    }

    #[test]
    fn only_whole_subtrees_fold() {
        assert_eq!(fold(&[]), None);
        assert_eq!(fold(&[[1; 32]; 3]), None);
        assert_eq!(fold(&[[1; 32]]), Some([1; 32]));
    }
}
