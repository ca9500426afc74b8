//! The weights: one row of signed octets for each slot, one octet for each tag.

use crate::error::DetectError;

/// What a word is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// Nothing that is looked for.
    Other = 0,
    /// A person.
    Person = 1,
    /// A city, region or country.
    Place = 2,
    /// An organisation.
    Organisation = 3,
    /// A postal address.
    Address = 4,
}

/// How many tags there are.
pub const TAGS: usize = 5;
/// Every tag, by its number.
pub const ALL: [Tag; TAGS] = [
    Tag::Other,
    Tag::Person,
    Tag::Place,
    Tag::Organisation,
    Tag::Address,
];
/// Rows of the table; features fall on them by their low bits.
pub const SLOTS: usize = 1 << 16;

const SHIPPED: &[u8] = include_bytes!("../../models/names.bin");

/// The table.
#[derive(Clone, Debug)]
pub struct Model {
    weights: Vec<[i8; TAGS]>,
}

impl Model {
    /// The weights inside the binary.
    pub fn shipped() -> Result<Self, DetectError> {
        Self::read(SHIPPED)
    }

    /// Reads rows of [`TAGS`] octets; refuses any other number than [`SLOTS`] of them.
    pub fn read(bytes: &[u8]) -> Result<Self, DetectError> {
        if bytes.len() != SLOTS * TAGS {
            return Err(DetectError::RuleFile {
                file: "models/names.bin".to_owned(),
                reason: format!("{} octets instead of {}", bytes.len(), SLOTS * TAGS),
            });
        }
        let weights = bytes
            .chunks_exact(TAGS)
            .map(|row| {
                let mut weights = [0_i8; TAGS];
                for (to, b) in weights.iter_mut().zip(row) {
                    *to = b.cast_signed();
                }
                weights
            })
            .collect();
        Ok(Self { weights })
    }

    /// The row a feature falls on.
    pub fn slot(feature: u32) -> usize {
        feature as usize % SLOTS
    }

    /// The best tag, and by how much it beats the next.
    pub fn decide(&self, features: &[u32]) -> (Tag, i32) {
        let mut sums = [0_i32; TAGS];
        for feature in features {
            if let Some(row) = self.weights.get(Self::slot(*feature)) {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum += i32::from(*weight);
                }
            }
        }
        best(&sums)
    }
}

/// The first of the highest sums, and its distance to the next.
pub fn best(sums: &[i32; TAGS]) -> (Tag, i32) {
    let (mut tag, mut top, mut second) = (Tag::Other, i32::MIN, i32::MIN);
    for (candidate, sum) in ALL.iter().zip(sums) {
        if *sum > top {
            second = top;
            (tag, top) = (*candidate, *sum);
        } else if *sum > second {
            second = *sum;
        }
    }
    (tag, top.saturating_sub(second))
}

/// A mean margin as a score of 300 to 590. It orders hits and stays below what has a structure;
/// it is not a probability.
pub fn confidence(margin: i32) -> u32 {
    300 + u32::try_from(margin.clamp(0, 290)).unwrap_or(0)
}
