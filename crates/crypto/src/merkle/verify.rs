//! Checking proofs, by the algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2, which share
//! nothing with how proofs are built.

use super::{Hash, PROOF_HASHES_MAX, empty_root, node_hash};
use crate::error::CryptoError;

/// Whether the leaf with this hash is number `index` of the `size` leaves under `root`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), CryptoError> {
    if index >= size {
        return Err(CryptoError::Proof("the index is not below the size"));
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(CryptoError::Proof("more hashes than a proof can have"));
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(CryptoError::Proof("too many hashes"));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(CryptoError::Proof("too few hashes"));
    }
    if hash != *root {
        return Err(CryptoError::Proof("another root"));
    }
    Ok(())
}

/// Whether the `new` leaves under `new_root` begin with the `old` leaves under `old_root`.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), CryptoError> {
    if old > new {
        return Err(CryptoError::Proof("the newer tree is smaller"));
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(CryptoError::Proof("more hashes than a proof can have"));
    }
    if old == new || old == 0 {
        let same = if old == 0 {
            *old_root == empty_root()
        } else {
            old_root == new_root
        };
        let empty_new = new != 0 || *new_root == empty_root();
        return if same && empty_new && proof.is_empty() {
            Ok(())
        } else {
            Err(CryptoError::Proof(
                "another root, or hashes where none belong",
            ))
        };
    }
    let mut hashes = proof.iter();
    // A complete old tree is itself the first hash of the path.
    let first = if old.is_power_of_two() {
        Some(old_root)
    } else {
        hashes.next()
    };
    let Some(first) = first else {
        return Err(CryptoError::Proof("too few hashes"));
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut from_old, mut from_new) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(CryptoError::Proof("too many hashes"));
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(CryptoError::Proof("too few hashes"));
    }
    if from_old != *old_root || from_new != *new_root {
        return Err(CryptoError::Proof("another root"));
    }
    Ok(())
}
