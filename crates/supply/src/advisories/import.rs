//! Archives of OSV records into an index. An archive is hostile until proven otherwise: what
//! exceeds a limit refuses the whole import, and nothing is imported in part without a word.

use super::build::Builder;
use super::format::Index;
use crate::error::SupplyError;
use ringfence_core::time::Timestamp;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// LIMIT: octets of one archive.
pub const ARCHIVE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// LIMIT: entries of one archive (all of npm has about 220,000).
pub const ENTRIES_MAX: u64 = 1_000_000;
/// LIMIT: octets of one record.
pub const RECORD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// LIMIT: octets of all records of one import.
pub const TOTAL_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// LIMIT: how many times larger a record of more than 1 MiB may be than what it was packed into.
pub const RATIO_MAX: u64 = 200;
/// Records below this size may be packed at any ratio: short repetitive JSON honestly is.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;

/// The limits of an import; [`ImportLimits::default`] are the constants of this module.
#[derive(Clone, Copy, Debug)]
pub struct ImportLimits {
    /// Entries of one archive.
    pub entries: u64,
    /// Octets of one record.
    pub record_bytes: u64,
    /// Octets of all records.
    pub total_bytes: u64,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self {
            entries: ENTRIES_MAX,
            record_bytes: RECORD_BYTES_MAX,
            total_bytes: TOTAL_BYTES_MAX,
        }
    }
}

/// Makes an index of the archives; `as_of` is the moment of the import.
pub fn import_zip(paths: &[PathBuf], as_of: Timestamp) -> Result<Index, SupplyError> {
    let mut builder = Builder::new(as_of);
    let mut limits = ImportLimits::default();
    for path in paths {
        add_file(&mut builder, path, &mut limits)?;
    }
    builder.finish()
}

fn add_file(
    builder: &mut Builder,
    path: &Path,
    limits: &mut ImportLimits,
) -> Result<(), SupplyError> {
    let error = |source| SupplyError::Io {
        verb: "read",
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(error)?;
    let place = path.display().to_string();
    if file.metadata().map_err(error)?.len() > ARCHIVE_BYTES_MAX {
        return Err(limit("size in bytes", &place, ARCHIVE_BYTES_MAX));
    }
    import_archive(builder, std::io::BufReader::new(file), &place, limits)
}

/// Adds every record of one archive; what it used of `total_bytes` is taken off the limits.
pub fn import_archive<R: Read + Seek>(
    builder: &mut Builder,
    archive: R,
    place: &str,
    limits: &mut ImportLimits,
) -> Result<(), SupplyError> {
    let broken = |reason: String| SupplyError::Archive {
        place: place.to_owned(),
        reason,
    };
    let mut archive = ZipArchive::new(archive).map_err(|e| broken(e.to_string()))?;
    if archive.len() as u64 > limits.entries {
        return Err(limit("number of entries", place, limits.entries));
    }
    let mut record = Vec::new();
    for number in 0..archive.len() {
        let Ok(entry) = archive.by_index(number) else {
            // Encrypted, or packed in a way that is not read here.
            builder.add_unreadable();
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        let is_record = entry
            .name()
            .is_ok_and(|name| Path::new(&*name).extension().is_some_and(|e| e == "json"));
        if !is_record {
            builder.add_unreadable();
            continue;
        }
        let packed = entry.compressed_size();
        record.clear();
        // The size that the archive states is not believed: one octet more than allowed is read.
        let most = limits.record_bytes.min(limits.total_bytes);
        let outcome = entry.take(most + 1).read_to_end(&mut record);
        let length = record.len() as u64;
        if length > limits.record_bytes {
            return Err(limit(
                "size of a record in bytes",
                place,
                limits.record_bytes,
            ));
        }
        if length > limits.total_bytes {
            return Err(limit(
                "size of all records in bytes",
                place,
                TOTAL_BYTES_MAX,
            ));
        }
        if length > RATIO_FREE_BYTES && length / RATIO_MAX > packed {
            return Err(limit("compression ratio of a record", place, RATIO_MAX));
        }
        limits.total_bytes -= length;
        match outcome {
            Ok(_) => builder.add(&record),
            Err(_) => builder.add_unreadable(),
        }
    }
    Ok(())
}

fn limit(what: &'static str, place: &str, limit: u64) -> SupplyError {
    SupplyError::Limit {
        what,
        place: place.to_owned(),
        limit,
    }
}
