//! One writer for each state directory: an advisory lock that the kernel releases when its holder
//! is gone, however it went.

use ringfence_core::error::{ErrorCode, Explain};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, ftruncate, open};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// LIMIT: octets read of a lock file; a process id is far shorter.
const LOCK_BYTES_MAX: u64 = 32;

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it.
    #[error("state directory {} is in use by process {}", .directory.display(), holder_text(*.holder))]
    Held {
        /// The directory.
        directory: PathBuf,
        /// Who wrote its id into the lock, if readable.
        holder: Option<u32>,
    },
    /// The lock file cannot be made or locked.
    #[error("the lock {} cannot be taken", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
}

impl Explain for LockError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Held { .. } => ErrorCode("run/state-locked"),
            Self::Io { .. } => ErrorCode("run/state-lock-failed"),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Held { .. } => {
                "stop the running service with `ringfence down`, or give another directory with \
                 --state"
                    .to_owned()
            }
            Self::Io { .. } => {
                "make the directory writable for this user, or give another one with --state"
                    .to_owned()
            }
        })
    }
}

/// The lock on a state directory; held until dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
    directory: PathBuf,
}

impl DirLock {
    /// Takes `<directory>/lock` or says who has it. Never waits.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let failed = |error: io::Error| LockError::Io {
            path: path.clone(),
            source: error,
        };
        // NOFOLLOW: a planted link must not make a privileged process truncate another file.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| failed(e.into()))?;
        let mut file = File::from(fd);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = read_holder(&mut file);
                return Err(LockError::Held {
                    directory: directory.to_owned(),
                    holder,
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        ftruncate(&file, 0).map_err(|e| failed(e.into()))?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .map_err(failed)?;
        Ok(Self {
            _file: file,
            directory: directory.to_owned(),
        })
    }

    /// The directory that is held.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_with_the_pid_of_the_first_until_it_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        assert_eq!(first.directory(), dir.path());
        let error = DirLock::acquire(dir.path()).unwrap_err();
        let own = std::process::id();
        assert!(
            matches!(&error, LockError::Held { holder: Some(pid), .. } if *pid == own),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .ends_with(&format!("is in use by process {own}"))
        );
        assert_eq!(error.code().0, "run/state-locked");
        drop(first);
        DirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("lock")).unwrap();
        assert!(matches!(
            DirLock::acquire(dir.path()),
            Err(LockError::Io { .. })
        ));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
