//! How far an export came: one small file, replaced at once.
//!
//! It saves comparing everything again, and it is an anchor: the log must still contain what was
//! exported. Losing it loses neither object nor leaf; one that is damaged is reported, not replaced.

use super::error::WormError;
use ringfence_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// LIMIT: octets of a cursor.
const CURSOR_BYTES_MAX: u64 = 8 * 1024;
const VERSION: u32 = 0;

/// How far an export came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    v: u32,
    /// Which log went where. Another target begins anew.
    pub target: String,
    /// Every full file of a tree of this size is there.
    pub full: u64,
    /// The size of the last checkpoint that is there with all its files.
    pub size: u64,
    /// Its root, in lower-case hex.
    pub root: String,
    /// When it got there.
    pub at: Timestamp,
}

impl Cursor {
    /// Nothing is there yet.
    pub(super) fn start(target: String) -> Self {
        Self {
            v: VERSION,
            target,
            full: 0,
            size: 0,
            root: String::new(),
            at: Timestamp(i64::MIN),
        }
    }

    /// Reads it; a file of another target, or none, means to begin anew.
    pub(super) fn load(path: &Path, target: String) -> Result<Self, WormError> {
        let name = path.display().to_string();
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => file
                .take(CURSOR_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|_| WormError::Cursor(name.clone()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::start(target)),
            Err(e) => return Err(WormError::io("read", name, e)),
        };
        let cursor: Self =
            serde_json::from_str(&text).map_err(|_| WormError::Cursor(name.clone()))?;
        if cursor.v != VERSION {
            return Err(WormError::Cursor(name));
        }
        if cursor.target != target {
            return Ok(Self::start(target));
        }
        Ok(cursor)
    }

    /// Writes it so that a crash leaves the old or the new one.
    pub(super) fn save(&self, path: &Path) -> Result<(), WormError> {
        let name = path.display().to_string();
        let text = serde_json::to_vec(self).map_err(|_| WormError::Cursor(name.clone()))?;
        replace(path, &text, 0o600).map_err(|e| WormError::io("replace", name, e))
    }
}

/// Replaces a file: written beside it, forced to disk, put in its place, and that forced too.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
