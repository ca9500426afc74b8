//! An inclusion or consistency proof verifies for what it was made for and for nothing else: any
//! change of index, hash or path is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_crypto::merkle::{
    Frontier, Hash, consistency_proof, inclusion_proof, leaf_hash, verify_consistency,
    verify_inclusion,
};
use std::sync::LazyLock;

const LEAVES: u64 = 300;

/// Hashes of complete subtrees by level and number, and the root at each size.
struct Tree {
    rows: Vec<Vec<Hash>>,
    roots: Vec<Hash>,
}

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut frontier = Frontier::new();
    let (mut rows, mut roots) = (vec![Vec::new(); 10], vec![frontier.root()]);
    for n in 0..LEAVES {
        frontier.append(leaf_hash(&n.to_be_bytes()), &mut |c| {
            rows[c.level as usize].push(c.hash);
        });
        roots.push(frontier.root());
    }
    Tree { rows, roots }
});

fn read(level: u32, number: u64) -> Result<Hash, std::convert::Infallible> {
    Ok(TREE.rows[level as usize][number as usize])
}

/// Index, size, and what to change: bits of the proof, the index claimed, the proof's length.
type Input = (u64, u64, Vec<(u16, u8)>, u64, Vec<[u8; 32]>);

fuzz_target!(|input: Input| {
    let (index, size, flips, index_claimed, more) = input;
    let size = size % LEAVES + 1;
    let index = index % size;
    let root = TREE.roots[size as usize];
    let leaf = TREE.rows[0][index as usize];
    let index_claimed = index_claimed % 512;

    let Ok(honest) = inclusion_proof(index, size, &mut read);
    verify_inclusion(&leaf, index, size, &honest, &root).expect("honest");
    let proof = changed(&honest, &flips, &more);
    // The size stays the honest one: a root alone does not say how large its tree is (RFC 6962), which
    // is why a checkpoint signs both.
    if verify_inclusion(&leaf, index_claimed, size, &proof, &root).is_ok() {
        assert_eq!(
            (index_claimed, &proof),
            (index, &honest),
            "forged inclusion"
        );
    }

    let old_root = TREE.roots[index as usize];
    let Ok(honest) = consistency_proof(index, size, &mut read);
    verify_consistency(index, size, &old_root, &root, &honest).expect("honest");
    let proof = changed(&honest, &flips, &more);
    if proof != honest {
        let forged = verify_consistency(index, size, &old_root, &root, &proof);
        assert!(forged.is_err(), "forged consistency");
    }
});

fn changed(honest: &[Hash], flips: &[(u16, u8)], more: &[[u8; 32]]) -> Vec<Hash> {
    let mut proof = honest.to_vec();
    for (place, bits) in flips {
        let octets = proof.as_flattened_mut();
        if !octets.is_empty() {
            let place = usize::from(*place) % octets.len();
            octets[place] ^= bits;
        }
    }
    proof.extend_from_slice(more);
    proof
}
