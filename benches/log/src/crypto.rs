//! What signatures cost, and what it costs to check one proof of a large log.

use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Hash, leaf_hash, node_hash};
use ringfence_crypto::note::{self, NoteKey};
use ringfence_crypto::sign::{Algorithm, SigningKey};
use ringfence_record::proof::{Proof, verify};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

/// Leaves of the log that the proof is of, as a power of two.
const LEVELS: u32 = 30;
/// Microseconds that checking one proof may take.
const GOAL_US: f64 = 250.0;
const ORIGIN: &str = "bench.example/log";
const LEAF: &[u8] = &[b'x'; 512];
/// Rounds of which the median is told.
const ROUNDS: usize = 15;
const CALLS: u32 = 40;

/// Measures and prints, one line for each figure.
pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    let mut keys = Vec::new();
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let key = SigningKey::from_seed(algorithm, &[1; 32])?;
        let public = key.verifying_key();
        let signature = key.sign(LEAF)?;
        let sign = median_us(|| key.sign(black_box(LEAF)).is_ok());
        let check = median_us(|| public.verify(black_box(LEAF), black_box(&signature)));
        println!(
            "{}: sign {sign:.0} us, verify {check:.0} us",
            algorithm.name()
        );
        keys.push(key);
    }
    let signers: Vec<&SigningKey> = keys.iter().collect();
    let (text, vkeys) = synthetic(&signers)?;
    let us = median_us(|| {
        let proof = black_box(&text).parse::<Proof>();
        proof.is_ok_and(|proof| verify(&proof, LEAF, &vkeys).is_ok())
    });
    let verdict = if us <= GOAL_US { "met" } else { "missed" };
    println!(
        "read and verify one proof among 2^{LEVELS} leaves, signed with both: {us:.0} us \
         (goal {GOAL_US:.0} us, {verdict})"
    );
    Ok(())
}

/// A proof that leads from a leaf through made-up hashes to a signed root: as much work as one of a
/// real log of that size.
fn synthetic(signers: &[&SigningKey]) -> Result<(String, Vec<NoteKey>), Box<dyn Error>> {
    let index = (1_u64 << LEVELS) / 3;
    let (mut root, mut hashes) = (leaf_hash(LEAF), Vec::<Hash>::new());
    for level in 0..LEVELS {
        let sibling = leaf_hash(&level.to_be_bytes());
        root = if index >> level & 1 == 1 {
            node_hash(&sibling, &root)
        } else {
            node_hash(&root, &sibling)
        };
        hashes.push(sibling);
    }
    let text = Checkpoint::new(ORIGIN, 1 << LEVELS, root).text();
    let vkeys = signers
        .iter()
        .map(|key| NoteKey::new(ORIGIN, key.verifying_key()))
        .collect::<Result<_, _>>()?;
    let proof = Proof {
        index,
        hashes,
        checkpoint: note::sign(&text, ORIGIN, signers)?,
    };
    Ok((proof.to_string(), vkeys))
}

/// Microseconds of one call, the median of several rounds. A call that fails makes it infinite.
fn median_us(mut call: impl FnMut() -> bool) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let good = (0..CALLS).all(|_| call());
            let us = start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS);
            if good { us } else { f64::INFINITY }
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or(f64::INFINITY)
}
