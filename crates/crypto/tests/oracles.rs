//! Two independent implementations agree: `ct-merkle` builds trees and proofs in memory, `tlog_tiles`
//! is what a production log of Certificate Transparency is built of.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use ringfence_crypto::merkle::{
    Frontier, Hash, consistency_proof, inclusion_proof, leaf_hash, stored_count, stored_index,
};
use ringfence_crypto::tiles::{Kind, TILE_LEVELS_MAX, TILE_WIDTH, Tile};
use sha2::Sha256;
use std::convert::Infallible;
use tlog_tiles::{HashReader, Tile as TheirTile};

/// A tree in all three: ours, with the list of its hashes, and the one in memory.
struct Trees {
    ours: Frontier,
    stored: Vec<Hash>,
    theirs: MemoryBackedTree<Sha256, Vec<u8>>,
}

fn leaf(n: u64) -> Vec<u8> {
    // Of several lengths, the empty one among them.
    n.to_be_bytes().repeat(usize::try_from(n % 5).unwrap_or(0))
}

fn trees(size: u64) -> Trees {
    let mut trees = Trees {
        ours: Frontier::new(),
        stored: Vec::new(),
        theirs: MemoryBackedTree::new(),
    };
    for n in 0..size {
        let stored = &mut trees.stored;
        trees
            .ours
            .append(leaf_hash(&leaf(n)), &mut |c| stored.push(c.hash));
        trees.theirs.push(leaf(n));
    }
    trees
}

impl Trees {
    fn subtree(&self, level: u32, number: u64) -> Hash {
        let at = usize::try_from(stored_index(level, number)).unwrap_or(usize::MAX);
        self.stored.get(at).copied().unwrap_or_default()
    }
}

impl HashReader for Trees {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let at = |i: &u64| usize::try_from(*i).ok().and_then(|i| self.stored.get(i));
        let all = indexes.iter().map(|i| at(i).copied().unwrap_or_default());
        Ok(all.map(tlog_tiles::Hash).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn roots_and_proofs_are_those_of_both(size in 1_u64..1500, seed in any::<u64>()) {
        let trees = trees(size);
        let (ours, theirs) = (trees.ours.root(), trees.theirs.root());
        prop_assert_eq!(ours.as_slice(), theirs.as_bytes().as_slice());
        let root = tlog_tiles::tree_hash(size, &trees).unwrap();
        prop_assert_eq!(trees.ours.root(), root.0);
        prop_assert_eq!(stored_count(size), tlog_tiles::stored_hash_count(size));

        let index = seed % size;
        let read = &mut |level, number| Ok::<_, Infallible>(trees.subtree(level, number));
        let path = inclusion_proof(index, size, read).unwrap();
        let theirs = trees.theirs.prove_inclusion(usize::try_from(index).unwrap());
        prop_assert_eq!(path.as_flattened(), theirs.as_bytes());
        let theirs = tlog_tiles::prove_record(size, index, &trees).unwrap();
        prop_assert_eq!(path, theirs.iter().map(|h| h.0).collect::<Vec<_>>());

        let old = 1 + seed % size;
        let path = consistency_proof(old, size, read).unwrap();
        if old < size {
            let added = usize::try_from(size - old).unwrap();
            let theirs = trees.theirs.prove_consistency(added);
            prop_assert_eq!(path.as_flattened(), theirs.as_bytes());
        }
        let theirs = tlog_tiles::prove_tree(size, old, &trees).unwrap();
        prop_assert_eq!(path, theirs.iter().map(|h| h.0).collect::<Vec<_>>());
    }

    #[test]
    fn a_growing_tree_writes_the_tiles_that_they_expect(old in 0_u64..200_000, more in 0_u64..70_000) {
        let size = old + more;
        let mut ours = Vec::new();
        for level in 0..TILE_LEVELS_MAX {
            let kind = Kind::Hashes(level);
            if kind.count(size) == kind.count(old) {
                continue;
            }
            let numbers = kind.count(old) / TILE_WIDTH..=kind.count(size) / TILE_WIDTH;
            let tiles = numbers.filter_map(|number| Tile::at(kind, number, size));
            ours.extend(tiles.map(Tile::path));
        }
        // Their paths name the height of tiles, as those of the checksum database of Go do.
        let theirs = TheirTile::new_tiles(8, old, size);
        let mut theirs: Vec<String> =
            theirs.iter().map(|t| t.path().replacen("tile/8/", "tile/", 1)).collect();
        ours.sort();
        theirs.sort();
        prop_assert_eq!(ours, theirs);
    }
}
