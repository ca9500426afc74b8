//! Personal data, secrets and planted instructions in datasets, and a copy without them.
//!
//! Records go through in order, in pieces of about [`PIECE_BYTES`], on as many threads as are given,
//! in constant memory. What is not touched leaves octet for octet. The crate opens no file: it
//! is handed a reader and a writer.
//!
//! INVARIANT: a record that cannot be understood (no UTF-8, no JSON, longer than
//! [`RECORD_BYTES_MAX`]) is left out of the copy, counted and named by its number; the report then is
//! incomplete.

mod csv;
mod json;
mod pieces;
mod report;
mod run;
mod scan;

pub use report::{KAnonymity, RefusedRecord, Report, Sample};
pub use run::{Checkpoint, DatasetError, Hashes, Job, Progress, run};
pub use scan::{Plan, PlanConfig, SharedDigest};

// LIMIT: octets of one record; a longer one is left out and counted.
/// How long one record may be.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
// LIMIT: octets of one piece of work; a piece holds whole records and may be longer by one.
/// How many octets one thread takes at once.
pub const PIECE_BYTES: usize = 1 << 20;
// LIMIT: different combinations that are counted for k-anonymity; beyond, none is claimed.
/// How many different combinations of columns are counted.
pub const COMBINATIONS_MAX: usize = 1 << 20;
// LIMIT: refused records that a report names; all are counted.
/// How many refused records are named.
pub const REFUSED_NAMED_MAX: usize = 20;

/// How a dataset is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON value a line.
    Jsonl,
    /// RFC 4180 with a first record of names; the delimiter is given.
    Csv(u8),
    /// Lines of text.
    Text,
}

#[cfg(test)]
mod tests;
