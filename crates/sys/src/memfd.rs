//! A sealed copy of a program in memory.
//!
//! A process that runs from it has a `/proc/self/exe` that nobody can write, whatever privilege a
//! hostile program finds (CVE-2019-5736 overwrote the container runtime through that link).
//! INVARIANT: what [`sealed_copy`] returns can never change again.

use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Copies a file into memory and seals it against writing, growing, shrinking and unsealing.
pub fn sealed_copy(path: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(path)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC says that it is meant to be run; kernels before 6.3 do not know the flag.
    let fd = rustix::fs::memfd_create("ringfence", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("ringfence", flags))?;
    let mut copy = File::from(fd);
    io::copy(&mut source, &mut copy)?;
    copy.rewind()?;
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_sealed_copy_refuses_every_writer() {
        let fd = sealed_copy(Path::new("/bin/true")).unwrap();
        let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut file = File::from(fd.try_clone().unwrap());
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(1).is_err());
        // Opening through /proc is what the attack does; the seal holds there too.
        let opened = std::fs::OpenOptions::new().write(true).open(again);
        assert!(opened.and_then(|mut f| f.write_all(b"x")).is_err());
    }

    #[test]
    fn without_seals_the_same_write_succeeds() {
        let fd = rustix::fs::memfd_create("open", MemfdFlags::CLOEXEC).unwrap();
        assert!(File::from(fd).write_all(b"x").is_ok());
    }
}
