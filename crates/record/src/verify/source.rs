//! Where a verifier reads a log: a directory, or whatever serves the same files.

use crate::error::RecordError;
use crate::log::disk::{Disk, read_whole};

/// The files of a log by name, as C2SP tlog-tiles lays them out.
pub trait Source: Sync {
    /// A file of at most `limit` octets; `None` when there is none.
    fn fetch(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, RecordError>;
    /// What stands in a folder; `None` where a source cannot tell, as a web server cannot.
    fn list(&self, folder: &str) -> Result<Option<Vec<String>>, RecordError>;
}

/// A log on a disk.
pub(crate) struct OnDisk<'a>(pub(crate) &'a dyn Disk);

impl Source for OnDisk<'_> {
    fn fetch(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, RecordError> {
        read_whole(self.0, name, limit)
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<String>>, RecordError> {
        let names = self.0.names(folder);
        names
            .map(Some)
            .map_err(|e| RecordError::io("list", folder, e))
    }
}
