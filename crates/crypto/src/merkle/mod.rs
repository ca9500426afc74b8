//! The Merkle tree of RFC 6962 section 2.
//!
//! No storage here: a [`Frontier`] keeps the roots of the complete subtrees, hands every hash it
//! completes to its caller once, in an order that an append-only file can hold ([`stored_index`]),
//! and proofs read those hashes back through a closure, O(log n) of them.
//!
//! INVARIANT: leaf and node hashes have different first octets (0x00, 0x01), so that no leaf can
//! pass for a node.

mod prove;
mod verify;

#[cfg(test)]
mod tests;

pub use prove::{consistency_proof, inclusion_proof, root_of};
pub use verify::{verify_consistency, verify_inclusion};

use crate::hash::{Sha256, sha256};

/// A hash in the tree.
pub type Hash = [u8; 32];

/// LIMIT: hashes in one proof. A tree of 2^63 leaves needs 63 for an inclusion proof and one more
/// for a consistency proof.
pub const PROOF_HASHES_MAX: usize = 64;
/// LIMIT: leaves of a tree.
pub const LEAVES_MAX: u64 = 1 << 62;

/// The root of no leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    sha256(b"")
}

/// The hash of one leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[0x00]);
    hash.update(leaf);
    hash.finish()
}

/// The hash over two subtrees.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[0x01]);
    hash.update(left);
    hash.update(right);
    hash.finish()
}

/// Where the root of the complete subtree number `number` of 2^`level` leaves stands in the list
/// of all such roots, ordered by the leaf that completed them and then by level.
pub fn stored_index(level: u32, number: u64) -> u64 {
    // The subtree is completed by its last leaf; before that leaf, n leaves completed
    // n + n/2 + n/4 + … roots.
    let mut leaf = number;
    for _ in 0..level {
        leaf = 2 * leaf + 1;
    }
    stored_count(leaf) + u64::from(level)
}

/// How many roots of complete subtrees `size` leaves have.
pub fn stored_count(size: u64) -> u64 {
    // 2·size less one for each peak.
    2 * size - u64::from(size.count_ones())
}

/// A root that an append completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Number of leaves below it, as a power of two.
    pub level: u32,
    /// Which one of its level, from 0.
    pub number: u64,
    /// The root.
    pub hash: Hash,
}

/// The roots of the complete subtrees of a growing tree: all that appending needs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// One root for each bit of `size`, the largest first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// No leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree of `size` leaves from its stored hashes.
    pub fn load<E>(
        size: u64,
        read: &mut dyn FnMut(u32, u64) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let mut peaks = Vec::new();
        let mut start = 0;
        for level in (0..u64::BITS).rev().filter(|l| size >> l & 1 == 1) {
            peaks.push(read(level, start >> level)?);
            start += 1 << level;
        }
        Ok(Self { size, peaks })
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends one leaf by its hash; `completed` receives the leaf hash and then each root it
    /// completes, lowest first.
    pub fn append(&mut self, leaf: Hash, completed: &mut dyn FnMut(Completed)) {
        let mut hash = leaf;
        let mut number = self.size;
        let mut level = 0;
        completed(Completed {
            level,
            number,
            hash,
        });
        while number & 1 == 1 {
            // INVARIANT: a set bit of the size has its peak, so the pop succeeds.
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            number >>= 1;
            level += 1;
            completed(Completed {
                level,
                number,
                hash,
            });
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(first) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*first, |right, left| node_hash(left, &right))
    }
}
