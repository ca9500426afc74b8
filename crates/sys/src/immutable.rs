//! Files that nobody can change, rename or remove, not even root, until the flag is taken off again.
//!
//! The flag is `FS_IMMUTABLE_FL` of `ioctl_iflags(2)`, what `chattr +i` sets. It needs
//! `CAP_LINUX_IMMUTABLE` and a file system that keeps it (ext4, xfs, btrfs, f2fs and others). It stops
//! mistakes and programs without that capability; root can take it off, so it is no write-once medium.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;
use std::fs::File;
use std::io;

/// Why a file is not immutable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImmutableError {
    /// The file system has no such flag.
    #[error("this file system cannot make files immutable")]
    Unsupported,
    /// The process lacks `CAP_LINUX_IMMUTABLE`.
    #[error("this process may not make files immutable")]
    NotPermitted,
    /// The file system took the flag and did not keep it.
    #[error("this file system took the immutable flag and did not keep it")]
    NotKept,
    /// Something else.
    #[error("the flags of the file cannot be read or set")]
    Io(#[source] io::Error),
}

impl From<Errno> for ImmutableError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => Self::Unsupported,
            Errno::PERM | Errno::ACCESS => Self::NotPermitted,
            other => Self::Io(other.into()),
        }
    }
}

/// Whether the flag is on.
pub fn is_set(file: &File) -> Result<bool, ImmutableError> {
    Ok(ioctl_getflags(file)?.contains(IFlags::IMMUTABLE))
}

/// Turns the flag on or off, and reads it back.
pub fn set(file: &File, on: bool) -> Result<(), ImmutableError> {
    let mut flags = ioctl_getflags(file)?;
    flags.set(IFlags::IMMUTABLE, on);
    ioctl_setflags(file, flags)?;
    if is_set(file)? == on {
        Ok(())
    } else {
        Err(ImmutableError::NotKept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::needs_root;
    use std::fs;

    #[test]
    fn what_is_immutable_can_be_neither_written_renamed_nor_removed() {
        if !needs_root("what_is_immutable_can_be_neither_written_renamed_nor_removed") {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let (path, other) = (scratch.path().join("kept"), scratch.path().join("other"));
        fs::write(&path, b"leaf").unwrap();
        // The same three acts succeed on a file without the flag.
        fs::write(&other, b"x").unwrap();
        fs::rename(&other, scratch.path().join("moved")).unwrap();
        fs::remove_file(scratch.path().join("moved")).unwrap();

        let file = File::open(&path).unwrap();
        set(&file, true).unwrap();
        let acts = [
            fs::write(&path, b"changed").is_err(),
            fs::rename(&path, &other).is_err(),
            fs::remove_file(&path).is_err(),
            is_set(&file).unwrap(),
        ];
        // Taken off before anything is asserted, so that the folder can be removed in any case.
        set(&file, false).unwrap();
        assert_eq!(acts, [true; 4]);
        assert!(!is_set(&file).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"leaf");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_system_without_the_flag_is_named_as_such() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(matches!(set(&file, true), Err(ImmutableError::Unsupported)));
        assert!(matches!(is_set(&file), Err(ImmutableError::Unsupported)));
    }
}
