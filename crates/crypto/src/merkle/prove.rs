//! Building proofs from the stored roots of complete subtrees.

use super::{Hash, empty_root, node_hash};

/// Reads the root of the complete subtree (level, number).
type Read<'a, E> = &'a mut dyn FnMut(u32, u64) -> Result<Hash, E>;

/// The largest power of two below `n` (`n` > 1), as RFC 6962 splits a tree.
fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// The root over the leaves `start..end`, where `start` is a multiple of a power of two that is at
/// least the number of leaves, as it is for every subtree of RFC 6962.
fn subtree<E>(start: u64, end: u64, read: Read<'_, E>) -> Result<Hash, E> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        let level = u64::BITS - 1 - (end - at).leading_zeros();
        peaks.push(read(level, at >> level)?);
        at += 1 << level;
    }
    let mut peaks = peaks.into_iter().rev();
    let first = peaks.next().unwrap_or_else(empty_root);
    Ok(peaks.fold(first, |right, left| node_hash(&left, &right)))
}

/// The root over the first `size` leaves.
pub fn root_of<E>(size: u64, read: Read<'_, E>) -> Result<Hash, E> {
    subtree(0, size, read)
}

/// The path from leaf `index` to the root of `size` leaves (RFC 6962 section 2.1.1), lowest first.
/// Empty when `index` is not below `size`: such a proof verifies nothing.
pub fn inclusion_proof<E>(index: u64, size: u64, read: Read<'_, E>) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if index >= size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(subtree(middle, end, read)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, read)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves extends that of `old` (RFC 6962 section 2.1.2).
/// Empty when there is nothing to prove: `old` is zero, equal to `new`, or above it.
pub fn consistency_proof<E>(old: u64, new: u64, read: Read<'_, E>) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let (mut start, mut end) = (0, new);
    // Once the walk went right, the old tree's part is no longer a root its owner knows.
    let mut known = true;
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(subtree(middle, end, read)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, read)?);
            start = middle;
            known = false;
        }
    }
    if !known {
        path.push(subtree(start, end, read)?);
    }
    path.reverse();
    Ok(path)
}
