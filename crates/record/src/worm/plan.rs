//! Which files of a tree are due, as a function of two sizes. No input or output.

use ringfence_crypto::tiles::{Kind, TILE_LEVELS_MAX, TILE_WIDTH, Tile};

/// LIMIT: leaves that one stride of the export covers; the cursor moves after each, so this is how
/// much is compared again after a crash: 256 bundles, 256 tiles and one above.
pub const STRIDE_LEAVES: u64 = TILE_WIDTH * TILE_WIDTH;

fn kinds() -> impl Iterator<Item = Kind> {
    std::iter::once(Kind::Entries).chain((0..TILE_LEVELS_MAX).map(Kind::Hashes))
}

/// The end of the stride that begins at `done`: a size whose last bundle is full, at most `size`.
/// The same as `done` when no further bundle is full.
pub fn stride(done: u64, size: u64) -> u64 {
    let full = size - size % TILE_WIDTH;
    let boundary = (done / STRIDE_LEAVES)
        .saturating_add(1)
        .saturating_mul(STRIDE_LEAVES);
    boundary.min(full).max(done)
}

/// The files that are full in a tree of `now` leaves and were not in one of `done`: bundles first,
/// then the hashes over them.
pub fn full(done: u64, now: u64) -> Vec<Tile> {
    let of = |kind: Kind| {
        let numbers = kind.count(done) / TILE_WIDTH..kind.count(now) / TILE_WIDTH;
        numbers.map(move |number| Tile::full(kind, number))
    };
    kinds().flat_map(of).collect()
}

/// The files that a checkpoint of `size` leaves needs besides the full ones.
pub fn partial(size: u64) -> Vec<Tile> {
    let of = |kind: Kind| Tile::at(kind, kind.count(size) / TILE_WIDTH, size);
    kinds().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn strides(mut done: u64, size: u64) -> Vec<Tile> {
        let mut files = Vec::new();
        loop {
            let next = stride(done, size);
            if next == done {
                return files;
            }
            files.extend(full(done, next));
            done = next;
        }
    }

    #[test]
    fn a_million_leaves_are_this_many_files() {
        let files = strides(0, 1_000_000);
        let count = |kind| files.iter().filter(|t| t.kind == kind).count();
        assert_eq!(count(Kind::Entries), 3_906);
        assert_eq!(count(Kind::Hashes(0)), 3_906);
        assert_eq!(count(Kind::Hashes(1)), 15);
        assert_eq!(files.len(), 3_906 * 2 + 15);
        let paths: Vec<String> = partial(1_000_000).iter().map(|t| t.path()).collect();
        assert_eq!(
            paths,
            [
                "tile/entries/x003/906.p/64",
                "tile/0/x003/906.p/64",
                "tile/1/015.p/66",
                "tile/2/000.p/15",
            ]
        );
    }

    #[test]
    fn nothing_is_due_for_an_empty_log_or_one_that_did_not_grow() {
        assert!(full(0, 0).is_empty() && partial(0).is_empty());
        assert_eq!(stride(256, 511), 256);
        assert_eq!(stride(256, 512), 512);
        assert_eq!(stride(u64::MAX - 255, u64::MAX), u64::MAX - 255);
    }

    proptest! {
        #[test]
        fn every_file_of_a_tree_is_due_exactly_once_however_it_grew(
            mut sizes in proptest::collection::vec(0_u64..200_000, 1..6),
        ) {
            sizes.sort_unstable();
            let (mut done, mut seen) = (0, Vec::new());
            for size in &sizes {
                seen.extend(strides(done, *size));
                done = size - size % TILE_WIDTH;
            }
            let size = *sizes.last().unwrap();
            let once: BTreeSet<Tile> = seen.iter().copied().collect();
            prop_assert_eq!(once.len(), seen.len());
            let mut expected = BTreeSet::new();
            for kind in kinds() {
                for number in 0..kind.count(size) / TILE_WIDTH {
                    expected.insert(Tile::full(kind, number));
                }
            }
            prop_assert_eq!(once, expected);
            for tile in seen.iter().chain(&partial(size)) {
                prop_assert!(tile.is_within(size), "beyond the checkpoint: {}", tile.path());
            }
        }
    }
}
