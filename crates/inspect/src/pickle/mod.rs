//! Pickles, and the containers they travel in, without ever loading one.
//!
//! A pickle is a program. It is found by content, not by name; walked by an abstract machine
//! ([`machine`]); and judged by an allow-list ([`allow`]). Around it: several pickles in one
//! stream, something before or after them, pickles inside strings ([`nested`]), ZIP and gzip
//! containers ([`archive`]), numpy object arrays.
//!
//! What is not here: tensors are not decoded, xz, bzip2, zstd, lz4, 7z, RAR and encrypted members
//! are counted as skips, raw arrays inside joblib files end the walk with a skip.
//!
//! INVARIANT: every octet is walked, recognised as data, or counted in a skip. A finding made
//! before the damage stands: that part of the program runs before the reader fails.

mod allow;
pub mod archive;
mod examine;
pub mod machine;
pub mod nested;
mod reader;
pub mod rules;
#[cfg(test)]
mod tests;

use crate::file::{FileInspector, FileView, Inspection};

/// LIMIT: containers and encodings inside one another.
pub const DEPTH_MAX: u32 = 4;
/// LIMIT: octets all members of one file may inflate to together.
pub const INFLATED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// LIMIT: pickles in one stream.
pub const STREAM_PICKLES_MAX: usize = 1_024;
/// LIMIT: text of archive members handed on to the other inspectors.
pub const MEMBER_TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Names by which a file says that it is a pickle; damage in such a file is a skip.
const PICKLE_EXTENSIONS: &[&str] = &[
    "pkl", "pickle", "pck", "pcl", "joblib", "pt", "pth", "pt2", "ckpt", "dill", "sav",
];
/// Names that pickles often have, and other formats too.
const SHARED_EXTENSIONS: &[&str] = &["bin", "dat", "data", "model", "p", "pk", "db", "npy", "npz"];

/// Finds pickles that do more than hold data.
#[derive(Debug)]
pub struct Pickle;

impl FileInspector for Pickle {
    fn id(&self) -> &'static str {
        "pickle"
    }

    fn description(&self) -> &'static str {
        "walks pickles (also in ZIP, gzip and numpy files, nested or encoded) and reports every \
         global that is not on the allow-list"
    }

    fn wants(&self, file: &FileView<'_>) -> bool {
        let extension = file.extension();
        PICKLE_EXTENSIONS.contains(&extension.as_str())
            || SHARED_EXTENSIONS.contains(&extension.as_str())
            || nested::raw(file.bytes)
            || examine::container(file.bytes).is_some()
            || examine::runs(file.bytes)
    }

    fn inspect(&self, file: &FileView<'_>) -> Inspection {
        examine::file(file)
    }
}
