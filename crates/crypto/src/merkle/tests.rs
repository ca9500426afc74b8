//! Against the published vectors of Certificate Transparency and a naive tree.

use super::*;
use proptest::prelude::*;
use ringfence_core::digest::{hex, unhex};
use std::convert::Infallible;

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// All leaves in memory, hashed by the definition of RFC 6962 section 2.1.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let mut k = 1;
            while k * 2 < many.len() {
                k *= 2;
            }
            node_hash(&naive(&many[..k]), &naive(&many[k..]))
        }
    }
}

fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if index < k {
        (naive_path(index, left), naive(right))
    } else {
        (naive_path(index - k, right), naive(left))
    };
    path.push(sibling);
    path
}

fn naive_consistency(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known {
            Vec::new()
        } else {
            vec![naive(leaves)]
        };
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if old <= k {
        (naive_consistency(old, left, known), naive(right))
    } else {
        (naive_consistency(old - k, right, false), naive(left))
    };
    path.push(sibling);
    path
}

struct Tree {
    frontier: Frontier,
    stored: Vec<Hash>,
    leaves: Vec<Hash>,
}

impl Tree {
    fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self {
            frontier: Frontier::new(),
            stored: Vec::new(),
            leaves: Vec::new(),
        };
        for leaf in leaves {
            let stored = &mut tree.stored;
            tree.frontier.append(leaf, &mut |c: Completed| {
                assert_eq!(stored_index(c.level, c.number), stored.len() as u64);
                stored.push(c.hash);
            });
            tree.leaves.push(leaf);
        }
        tree
    }

    fn small(count: u64) -> Self {
        Self::of((0..count).map(|i| leaf_hash(&i.to_be_bytes())))
    }

    fn read(&self) -> impl FnMut(u32, u64) -> Result<Hash, Infallible> {
        |level, number| Ok(self.stored[usize::try_from(stored_index(level, number)).unwrap()])
    }
}

fn vectors() -> Tree {
    Tree::of(LEAVES.iter().map(|l| leaf_hash(&unhex(l).unwrap())))
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts
        .iter()
        .map(|t| unhex(t).unwrap().try_into().unwrap())
        .collect()
}

#[test]
fn roots_agree_with_the_published_vectors() {
    for (size, root) in ROOTS.iter().enumerate() {
        let tree = Tree::of(vectors().leaves[..size].iter().copied());
        assert_eq!(hex(&tree.frontier.root()), *root, "size {size}");
        assert_eq!(
            Ok(tree.frontier.root()),
            root_of(size as u64, &mut tree.read())
        );
    }
}

#[test]
fn inclusion_proofs_agree_with_the_published_vectors() {
    let tree = vectors();
    let cases: [(u64, u64, &[&str]); 4] = [
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
        (
            1,
            5,
            &[
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (index, size, expected) in cases {
        let proof = inclusion_proof(index, size, &mut tree.read()).unwrap();
        assert_eq!(proof, hashes(expected), "leaf {index} of {size}");
    }
}

#[test]
fn consistency_proofs_agree_with_the_published_vectors() {
    let tree = vectors();
    let cases: [(u64, u64, &[&str]); 3] = [
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (old, new, expected) in cases {
        let proof = consistency_proof(old, new, &mut tree.read()).unwrap();
        assert_eq!(proof, hashes(expected), "{old} to {new}");
    }
}

#[test]
fn every_proof_of_small_trees_is_the_naive_one_and_verifies() {
    let tree = Tree::small(33);
    for size in 1..=33_u64 {
        let leaves = &tree.leaves[..usize::try_from(size).unwrap()];
        let root = naive(leaves);
        for index in 0..size {
            let proof = inclusion_proof(index, size, &mut tree.read()).unwrap();
            let at = usize::try_from(index).unwrap();
            assert_eq!(proof, naive_path(at, leaves));
            assert_eq!(
                verify_inclusion(&leaves[at], index, size, &proof, &root),
                Ok(())
            );
        }
        for old in 0..=size {
            let at = usize::try_from(old).unwrap();
            let proof = consistency_proof(old, size, &mut tree.read()).unwrap();
            if old > 0 {
                assert_eq!(
                    proof,
                    naive_consistency(at, leaves, true),
                    "{old} to {size}"
                );
            }
            let old_root = naive(&leaves[..at]);
            assert_eq!(
                verify_consistency(old, size, &old_root, &root, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn a_leaf_cannot_pass_for_a_node() {
    // Without the prefixes the concatenation of two hashes would be a leaf with the node's hash.
    let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
    let joined = [a, b].concat();
    assert_eq!(sha256(&joined), {
        let mut h = Sha256::new();
        h.update(&a);
        h.update(&b);
        h.finish()
    });
    assert_ne!(leaf_hash(&joined), node_hash(&a, &b));
}

#[test]
fn the_empty_tree_is_consistent_only_with_its_own_root() {
    let root = Tree::small(3).frontier.root();
    assert_eq!(verify_consistency(0, 3, &empty_root(), &root, &[]), Ok(()));
    assert!(verify_consistency(0, 3, &root, &root, &[]).is_err());
    assert!(verify_consistency(0, 0, &empty_root(), &root, &[]).is_err());
    assert!(verify_inclusion(&root, 0, 0, &[], &root).is_err());
}

#[test]
fn proofs_longer_than_any_tree_needs_are_refused() {
    let hash = [0; 32];
    let above = vec![hash; PROOF_HASHES_MAX + 1];
    let reason = CryptoError::Proof("more hashes than a proof can have");
    assert_eq!(
        verify_inclusion(&hash, 0, 1, &above, &hash),
        Err(reason.clone())
    );
    assert_eq!(
        verify_consistency(1, 2, &hash, &hash, &above),
        Err(reason.clone())
    );
    let at = vec![hash; PROOF_HASHES_MAX];
    assert_ne!(verify_inclusion(&hash, 0, 1, &at, &hash), Err(reason));
}

use crate::CryptoError;

proptest! {
    #[test]
    fn a_loaded_frontier_goes_on_as_the_original(size in 0..300_u64, more in 0..9_u64) {
        let mut whole = Tree::small(size);
        let mut loaded = Frontier::load(size, &mut whole.read()).unwrap();
        prop_assert_eq!(&loaded, &whole.frontier);
        for i in 0..more {
            loaded.append(leaf_hash(&[7, u8::try_from(i).unwrap()]), &mut |_| ());
            whole.frontier.append(leaf_hash(&[7, u8::try_from(i).unwrap()]), &mut |_| ());
        }
        prop_assert_eq!(loaded.root(), whole.frontier.root());
        prop_assert_eq!(stored_count(size), whole.stored.len() as u64);
    }

    #[test]
    fn a_proof_for_anything_else_is_refused(
        size in 2..200_u64, index in 0..200_u64, other in 0..200_u64, flip in 0..8_usize, bit in 0..256_usize,
    ) {
        let index = index % size;
        let other = other % size;
        let tree = Tree::small(size);
        let root = tree.frontier.root();
        let leaf = tree.leaves[usize::try_from(index).unwrap()];
        let proof = inclusion_proof(index, size, &mut tree.read()).unwrap();
        if other != index {
            prop_assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
        }
        let mut changed = proof.clone();
        let at = flip % changed.len();
        changed[at][bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(&leaf, index, size, &changed, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof[1..], &root).is_err());
        let longer = [proof.as_slice(), &[root]].concat();
        prop_assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
    }

    #[test]
    fn a_rewritten_history_is_not_consistent(old in 1..100_u64, more in 1..100_u64, at in 0..100_u64) {
        let new = old + more;
        let honest = Tree::small(old);
        let mut leaves = Tree::small(new).leaves;
        leaves[usize::try_from(at % old).unwrap()] = leaf_hash(b"rewritten");
        let forged = Tree::of(leaves);
        let proof = consistency_proof(old, new, &mut forged.read()).unwrap();
        let verdict =
            verify_consistency(old, new, &honest.frontier.root(), &forged.frontier.root(), &proof);
        prop_assert!(verdict.is_err());
    }
}
