//! What was found, without the values: counts by type and field, masked samples, refused
//! records, and how many rows share their identifying values.

use super::{COMBINATIONS_MAX, REFUSED_NAMED_MAX};
use ringfence_core::detection::Label;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

// LIMIT: samples of one type.
const SAMPLES_MAX: usize = 3;
// LIMIT: fields that are told apart; the rest is counted as "(other)".
const FIELDS_MAX: usize = 4096;

/// A masked example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the label.
    pub label: String,
    /// First character and length.
    pub masked: String,
}

/// A record that is not in the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRecord {
    /// Its number, from 1.
    pub record: u64,
    /// Why.
    pub reason: String,
}

/// Everything that is said about a dataset. Its canonical JSON is what its digest is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub v: u32,
    /// Octets read.
    pub bytes_in: u64,
    /// Octets written.
    pub bytes_out: u64,
    /// SHA-256 of what was read.
    pub input: String,
    /// SHA-256 of what was written.
    pub output: String,
    /// Records read, refused ones included.
    pub records: u64,
    /// Records that are not in the copy.
    pub refused: u64,
    /// The first of them.
    pub refused_records: Vec<RefusedRecord>,
    /// Hits by label, then by field.
    pub found: BTreeMap<String, BTreeMap<String, u64>>,
    /// Instructions for a model by label, then by field; they are not cut.
    pub planted: BTreeMap<String, BTreeMap<String, u64>>,
    /// Masked examples.
    pub samples: Vec<Sample>,
    /// The identifying fields, and how many rows the rarest combination has. `None` when none was
    /// asked for, or more than [`COMBINATIONS_MAX`] were seen.
    pub k_anonymity: Option<KAnonymity>,
    /// More combinations were seen than are counted.
    pub k_anonymity_over_limit: bool,
}

/// How many rows share their identifying values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KAnonymity {
    /// The fields.
    pub fields: Vec<String>,
    /// Rows of the rarest combination.
    pub k: u64,
    /// Different combinations.
    pub combinations: u64,
    /// Combinations that only one row has.
    pub unique: u64,
}

impl Report {
    /// Whether every record is in the copy.
    pub fn complete(&self) -> bool {
        self.refused == 0
    }
}

/// Counts of a piece or of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) refused: u64,
    pub(super) refused_records: Vec<RefusedRecord>,
    found: BTreeMap<String, BTreeMap<String, u64>>,
    planted: BTreeMap<String, BTreeMap<String, u64>>,
    samples: Vec<Sample>,
    combinations: HashMap<u64, u64>,
    over_limit: bool,
}

fn count(table: &mut BTreeMap<String, BTreeMap<String, u64>>, label: &str, field: &str, by: u64) {
    let fields = table.entry(label.to_owned()).or_default();
    let field = if field.is_empty() { "(text)" } else { field };
    let known = fields.len() < FIELDS_MAX || fields.contains_key(field);
    let field = if known { field } else { "(other)" };
    *fields.entry(field.to_owned()).or_insert(0) += by;
}

impl Counts {
    pub(super) fn hit(&mut self, field: &str, label: Label, value: &str) {
        count(&mut self.found, label.name(), field, 1);
        let known = self.samples.iter().filter(|s| s.label == label.name());
        if known.count() < SAMPLES_MAX {
            let first: String = value.chars().take(1).collect();
            self.samples.push(Sample {
                label: label.name().to_owned(),
                masked: format!("{first}\u{2026} ({} characters)", value.chars().count()),
            });
        }
    }

    pub(super) fn planted(&mut self, field: &str, label: Label) {
        count(&mut self.planted, label.name(), field, 1);
    }

    pub(super) fn refuse(&mut self, record: u64, reason: &str) {
        self.refused += 1;
        if self.refused_records.len() < REFUSED_NAMED_MAX {
            self.refused_records.push(RefusedRecord {
                record,
                reason: reason.to_owned(),
            });
        }
    }

    /// Counts one row of identifying values, by a digest of 64 bits: among a million
    /// combinations the chance that any two fall together is below one in thirty million.
    pub(super) fn combination(&mut self, row: &[String]) {
        if row.is_empty() || self.over_limit {
            return;
        }
        let digest = ringfence_crypto::hash::sha256(row.join("\u{1f}").as_bytes());
        let key = digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
        self.add_combination(key, 1);
    }

    fn add_combination(&mut self, key: u64, by: u64) {
        if self.combinations.len() >= COMBINATIONS_MAX && !self.combinations.contains_key(&key) {
            self.over_limit = true;
            self.combinations.clear();
            return;
        }
        *self.combinations.entry(key).or_insert(0) += by;
    }

    /// Adds the counts of the next piece; its records are numbered on.
    pub(super) fn add(&mut self, other: Self) {
        for refused in other.refused_records {
            if self.refused_records.len() < REFUSED_NAMED_MAX {
                self.refused_records.push(RefusedRecord {
                    record: self.records + refused.record,
                    ..refused
                });
            }
        }
        self.records += other.records;
        self.refused += other.refused;
        for (to, from) in [
            (&mut self.found, other.found),
            (&mut self.planted, other.planted),
        ] {
            for (label, fields) in from {
                for (field, by) in fields {
                    count(to, &label, &field, by);
                }
            }
        }
        for sample in other.samples {
            if self
                .samples
                .iter()
                .filter(|s| s.label == sample.label)
                .count()
                < SAMPLES_MAX
            {
                self.samples.push(sample);
            }
        }
        self.over_limit |= other.over_limit;
        if self.over_limit {
            self.combinations.clear();
        }
        for (key, by) in other.combinations {
            if !self.over_limit {
                self.add_combination(key, by);
            }
        }
    }

    pub(super) fn report(self, identifying: &[String]) -> Report {
        let asked = !identifying.is_empty() && !self.over_limit;
        let k_anonymity = asked.then(|| KAnonymity {
            fields: identifying.to_vec(),
            k: self.combinations.values().copied().min().unwrap_or(0),
            combinations: self.combinations.len() as u64,
            unique: self.combinations.values().filter(|n| **n == 1).count() as u64,
        });
        Report {
            v: 1,
            records: self.records,
            refused: self.refused,
            refused_records: self.refused_records,
            found: self.found,
            planted: self.planted,
            samples: self.samples,
            k_anonymity,
            k_anonymity_over_limit: self.over_limit,
            ..Report::default()
        }
    }
}
