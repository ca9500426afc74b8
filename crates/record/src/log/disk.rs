//! The files of the log as the log sees them: names below one directory, handed in.
//!
//! Everything that can be lost in a power cut goes through this trait, so that a simulated disk can
//! lose it on purpose. A name is a path with `/`; the empty name is the directory itself.

use crate::error::RecordError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory of files.
pub trait Disk: Send + Sync {
    /// What stands in a folder, in any order, without the folder's own name; nothing when there is
    /// no such folder.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Opens a file to read and write, made with its folders if `create` says so.
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn DiskFile>>;
    /// Puts a file in place of another at once.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Removes a folder that is empty.
    fn remove_folder(&self, name: &str) -> io::Result<()>;
    /// Forces the names made, renamed and removed in one folder to disk.
    fn sync_names(&self, folder: &str) -> io::Result<()>;
    /// Octets that can still be written, and octets in all.
    fn space(&self) -> io::Result<(u64, u64)>;
}

/// The folder that a name stands in.
pub(crate) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// An open file. Offsets are explicit: there is no position to get wrong after an error.
pub trait DiskFile: Send {
    /// Octets in the file.
    fn length(&self) -> io::Result<u64>;
    /// Reads at most the buffer's length; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all octets, or fails having written some of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Forces the content to disk (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Makes the file at least this long, with its space taken from the disk.
    fn allocate(&self, length: u64) -> io::Result<()>;
}

/// A directory of the real file system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    directory: PathBuf,
    writable: bool,
}

impl RealDisk {
    /// For the recorder.
    pub fn writable(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            writable: true,
        }
    }

    /// For a verifier, which changes nothing.
    pub fn read_only(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            writable: false,
        }
    }
}

impl Disk for RealDisk {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.directory.join(folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let path = self.directory.join(name);
        let make = create && self.writable;
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(self.writable)
                .create(make)
                .truncate(false)
                .mode(0o600)
                .open(&path)
        };
        let file = match open() {
            Err(e) if make && e.kind() == io::ErrorKind::NotFound => {
                let folder = self.directory.join(folder_of(name));
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)?;
                open()?
            }
            opened => opened?,
        };
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        fs::remove_dir(self.directory.join(name))
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        sync_directory(&self.directory.join(folder))
    }

    fn space(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(&self.directory)?;
        let octets = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok((octets(stat.f_bavail), octets(stat.f_blocks)))
    }
}

/// Forces the names in a directory to disk.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            &self.0,
            rustix::fs::FallocateFlags::empty(),
            0,
            length,
        )?)
    }
}

/// Reads up to the buffer's length and says how much there was.
pub(crate) fn read_up_to(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Reads a whole file of at most `limit` octets; `None` when there is none.
pub(crate) fn read_whole(
    disk: &dyn Disk,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, RecordError> {
    let file = match disk.open(name, false) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(RecordError::io("open", name, e)),
    };
    let length = file
        .length()
        .map_err(|e| RecordError::io("measure", name, e))?;
    if length > limit {
        return Err(RecordError::corrupt(
            name,
            limit,
            "longer than such a file can be",
        ));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = read_up_to(&*file, &mut bytes, 0).map_err(|e| RecordError::io("read", name, e))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a small file so that a crash leaves either the old or the new one, whole.
pub(crate) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
    let fail = |e| RecordError::io("replace", name, e);
    let temporary = format!("{name}.tmp");
    let file = disk.open(&temporary, true).map_err(fail)?;
    file.truncate(0).map_err(fail)?;
    file.write_at(bytes, 0).map_err(fail)?;
    file.sync().map_err(fail)?;
    disk.rename(&temporary, name).map_err(fail)?;
    disk.sync_names(folder_of(name)).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_read_at_its_limit_and_refused_one_above() {
        let scratch = tempfile::tempdir().unwrap();
        let disk = RealDisk::writable(scratch.path());
        replace(&disk, "f", &[7; 100]).unwrap();
        assert_eq!(read_whole(&disk, "f", 100).unwrap(), Some(vec![7; 100]));
        assert!(matches!(
            read_whole(&disk, "f", 99),
            Err(RecordError::Corrupt { .. })
        ));
        assert_eq!(read_whole(&disk, "absent", 1).unwrap(), None);
    }

    #[test]
    fn a_verifier_changes_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let disk = RealDisk::read_only(scratch.path());
        assert!(disk.open("f", true).is_err());
        assert!(replace(&disk, "f", b"x").is_err());
        fs::write(scratch.path().join("f"), b"kept").unwrap();
        assert!(disk.open("f", false).unwrap().write_at(b"x", 0).is_err());
        assert_eq!(fs::read(scratch.path().join("f")).unwrap(), b"kept");
    }
}
