//! `cargo xtask train pii`: makes crates/detect/models/names.bin again, octet for octet; with
//! `--check` it only compares.
//!
//! An averaged perceptron (Collins 2002) over sentences of our own grammar; one seed, one order,
//! no data of anybody else. A part of the names is taken out of its lists while training, so that
//! the model also learns to do without them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use ringfence_bench_pii::generate::{Dice, Example, Grammar};
use ringfence_detect::names::features::{Sentence, is_open};
use ringfence_detect::names::lists::Lists;
use ringfence_detect::names::model::{Model, SLOTS, TAGS, Tag, best};
use ringfence_detect::names::tokens_of;
use std::io::Error;

const SEED: u64 = 20_261_120;
const EXAMPLES: usize = 200_000;
const ROUNDS: usize = 6;
/// Names, of a hundred, that are unknown to the lists in one round.
const FORGOTTEN: usize = 30;

struct Learner {
    weights: Vec<[i32; TAGS]>,
    /// Sum of the weights over all steps, as Daumé's trick keeps it.
    sums: Vec<[i64; TAGS]>,
    step: i64,
}

impl Learner {
    fn decide(&self, features: &[u32]) -> Tag {
        let mut sums = [0_i32; TAGS];
        for feature in features {
            let Some(row) = self.weights.get(Model::slot(*feature)) else {
                continue;
            };
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += weight;
            }
        }
        best(&sums).0
    }

    fn correct(&mut self, features: &[u32], right: Tag, wrong: Tag) {
        for feature in features {
            let slot = Model::slot(*feature);
            for (tag, change) in [(right, 1), (wrong, -1)] {
                if let (Some(weights), Some(sums)) =
                    (self.weights.get_mut(slot), self.sums.get_mut(slot))
                {
                    weights[tag as usize] += change;
                    sums[tag as usize] += i64::from(change) * self.step;
                }
            }
        }
    }

    /// The mean weights, scaled so that a row fits into signed octets.
    fn rows(&self) -> Vec<u8> {
        let mean = |slot: usize, tag: usize| {
            let weight = self.weights.get(slot).map_or(0, |row| i64::from(row[tag]));
            let sum = self.sums.get(slot).map_or(0, |row| row[tag]);
            weight * self.step - sum
        };
        let mut sizes: Vec<i64> = (0..SLOTS)
            .flat_map(|slot| (0..TAGS).map(move |tag| (slot, tag)))
            .map(|(slot, tag)| mean(slot, tag).abs())
            .collect();
        sizes.sort_unstable();
        // The few largest are cut: the rest keeps its resolution.
        let largest = sizes
            .get(SLOTS * TAGS * 9995 / 10_000)
            .copied()
            .unwrap_or(1)
            .max(1);
        (0..SLOTS)
            .flat_map(|slot| (0..TAGS).map(move |tag| (slot, tag)))
            .map(|(slot, tag)| {
                let scaled = (mean(slot, tag) * 127 / largest).clamp(-127, 127);
                i8::try_from(scaled).unwrap_or(0).cast_unsigned()
            })
            .collect()
    }
}

/// The tag of each token: that of the span it lies in.
fn tags(example: &Example, tokens: &[ringfence_detect::names::token::Token]) -> Vec<Tag> {
    tokens
        .iter()
        .map(|token| {
            example
                .spans
                .iter()
                .find(|(span, _)| span.start <= token.start && token.end <= span.end)
                .map_or(Tag::Other, |(_, tag)| *tag)
        })
        .collect()
}

fn main() -> Result<(), Error> {
    let grammar = Grammar::default();
    let lists = Lists::new();
    let mut dice = Dice::new(SEED);
    let mut examples: Vec<Example> = (0..EXAMPLES).map(|_| grammar.example(&mut dice)).collect();
    let mut learner = Learner {
        weights: vec![[0; TAGS]; SLOTS],
        sums: vec![[0; TAGS]; SLOTS],
        step: 1,
    };
    for round in 1..=ROUNDS {
        dice.shuffle(&mut examples);
        let (mut wrong, mut all) = (0_u64, 0_u64);
        for example in &examples {
            let tokens = tokens_of(&example.text);
            let gold = tags(example, &tokens);
            let mut sentence = Sentence::new(&example.text, &tokens, &lists);
            for (at, tag) in gold.iter().enumerate() {
                if *tag != Tag::Other && dice.chance(FORGOTTEN) {
                    sentence.forget(at);
                }
            }
            let (mut previous, mut before) = (Tag::Other, Tag::Other);
            let mut features = Vec::new();
            for (at, right) in gold.iter().enumerate() {
                let mut tag = Tag::Other;
                if is_open(&sentence, at, previous) {
                    features.clear();
                    sentence.features(at, previous, before, &mut features);
                    tag = learner.decide(&features);
                    learner.step += 1;
                    all += 1;
                    if tag != *right {
                        wrong += 1;
                        learner.correct(&features, *right, tag);
                    }
                }
                // Its own tags, not the right ones: it must learn to live with its mistakes.
                (before, previous) = (previous, tag);
            }
        }
        println!("round {round}: {wrong} of {all} decisions wrong");
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/detect/models/names.bin");
    let rows = learner.rows();
    if std::env::args().nth(1).as_deref() == Some("--check") {
        if std::fs::read(&path)? == rows {
            return Ok(());
        }
        return Err(Error::other(
            "the shipped weights are not what training makes",
        ));
    }
    std::fs::write(&path, &rows)?;
    println!("{} octets in crates/detect/models/names.bin", rows.len());
    Ok(())
}
