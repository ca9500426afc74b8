//! Copying what the world may see of a log.

use super::source::Source;
use super::{CHECKPOINT_FILE, VKEY_FILE};
use crate::error::RecordError;
use crate::log::disk::{Disk, RealDisk, replace};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note};
use ringfence_crypto::tiles::{BUNDLE_BYTES_MAX, Kind, TILE_LEVELS_MAX, TILE_WIDTH, Tile};
use std::path::Path;

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Leaves under the checkpoint.
    pub size: u64,
    /// Tiles and bundles.
    pub files: u64,
    /// Octets of them.
    pub octets: u64,
}

/// Copies the checkpoint, the verifier keys and every file that the checkpoint needs into a
/// directory, the checkpoint last: whoever reads the copy meanwhile finds all that it promises.
pub fn export(source: &dyn Source, to: &Path) -> Result<Exported, RecordError> {
    let disk = RealDisk::writable(to);
    let missing = |name: &str| RecordError::corrupt(name, 0, "the file is missing");
    let small = |name: &str| source.fetch(name, NOTE_BYTES_MAX as u64);
    let note = small(CHECKPOINT_FILE)?.ok_or_else(|| missing(CHECKPOINT_FILE))?;
    let text = String::from_utf8_lossy(&note);
    let size = Checkpoint::parse(Note::parse(&text)?.text())?.size;
    let mut exported = Exported {
        size,
        files: 0,
        octets: 0,
    };
    let hashes = (0..TILE_LEVELS_MAX).map(Kind::Hashes);
    for kind in hashes.chain([Kind::Entries]) {
        let numbers = 0..kind.count(size).div_ceil(TILE_WIDTH);
        for tile in numbers.filter_map(|number| Tile::at(kind, number, size)) {
            let name = tile.path();
            let bytes = source.fetch(&name, BUNDLE_BYTES_MAX as u64)?;
            let bytes = bytes.ok_or_else(|| missing(&name))?;
            let fail = |e| RecordError::io("write", name.as_str(), e);
            let file = disk.open(&name, true).map_err(fail)?;
            file.truncate(0).map_err(fail)?;
            file.write_at(&bytes, 0).map_err(fail)?;
            file.sync().map_err(fail)?;
            exported.files += 1;
            exported.octets += bytes.len() as u64;
        }
    }
    if let Some(keys) = small(VKEY_FILE)? {
        replace(&disk, VKEY_FILE, &keys)?;
    }
    replace(&disk, CHECKPOINT_FILE, &note)?;
    Ok(exported)
}

/// The same from a directory.
pub fn export_dir(from: &Path, to: &Path) -> Result<Exported, RecordError> {
    let disk = RealDisk::read_only(super::log_of(from));
    export(&super::source::OnDisk(&disk), to)
}
