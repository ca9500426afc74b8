//! The walk: every entry of a tree once, without being led out of it, held up, or fed for ever.
//!
//! Directories and files are opened relative to their parent's descriptor and never through a
//! symbolic link, so that a link swapped in during the walk changes nothing. Opening never blocks,
//! and what is opened is asked again what it is. Named pipes, sockets and devices are not opened.
//! A file larger than the limit is hashed in pieces and counted as a skip.
//!
//! The project digest is SHA-256 over every entry in the order of its path: for files path,
//! executable bits and content hash; for links path and target; for special files path and kind.
//! Empty directories do not count.

use ringfence_core::digest::Digest;
use ringfence_core::limits;
use ringfence_core::verdict::Coverage;
use ringfence_core::verdict::Skip;
use ringfence_crypto::hash::{Sha256, sha256};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// LIMIT: octets of a project that are read, for the digest and the inspectors together. A sparse
/// file of exabytes would otherwise be read for years.
pub const PROJECT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Octets read at once while a large file is hashed.
const PIECE_BYTES: usize = 256 * 1024;

/// The limits of one walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkLimits {
    /// Octets of a file that inspectors get whole.
    pub file_bytes: u64,
    /// Entries of the tree.
    pub files: usize,
    /// Directories inside one another.
    pub depth: usize,
    /// Octets read altogether.
    pub project_bytes: u64,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self {
            file_bytes: limits::FILE_BYTES_MAX,
            files: limits::FILES_MAX,
            depth: limits::WALK_DEPTH_MAX,
            project_bytes: PROJECT_BYTES_MAX,
        }
    }
}

/// How the walk reaches the file system; tests put failures here.
pub trait Opener {
    /// Opens a directory for listing.
    fn directory(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd>;
    /// Opens a file for reading.
    fn file(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd>;
}

/// The file system of this host.
#[derive(Debug, Clone, Copy)]
pub struct HostOpener;

impl Opener for HostOpener {
    fn directory(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
    }

    fn file(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        // NONBLOCK: a pipe put in the file's place between look and open must not hold us.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
    }
}

/// A regular file of the tree.
#[derive(Debug)]
pub struct WalkedFile<'a> {
    /// Path relative to the root, with `/`; octets that are no UTF-8 are written `\xNN`.
    pub path: &'a str,
    /// Its octets.
    pub bytes: &'a [u8],
    /// SHA-256 of them.
    pub digest: Digest,
}

/// What a walk found beside the files it handed on.
#[derive(Debug)]
pub struct Walked {
    /// Digest of the tree.
    pub digest: Digest,
    /// Octets seen and what was not looked at; who understood what is for the caller to add.
    pub coverage: Coverage,
    /// Regular files.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
}

struct Walk<'a, 'v> {
    opener: &'a dyn Opener,
    limits: WalkLimits,
    visit: &'v mut dyn FnMut(&WalkedFile<'_>),
    out: Coverage,
    entries: Vec<(String, Vec<u8>)>,
    seen: usize,
    full: bool,
    bytes_left: u64,
    files: u64,
    links: u64,
    piece: Vec<u8>,
}

/// Walks the tree below an open directory and hands every regular file within the limits on, in
/// the order of the paths' components.
pub fn walk(
    root: &OwnedFd,
    opener: &dyn Opener,
    limits: WalkLimits,
    visit: &mut dyn FnMut(&WalkedFile<'_>),
) -> Walked {
    let mut walk = Walk {
        opener,
        limits,
        visit,
        out: Coverage::default(),
        entries: Vec::new(),
        seen: 0,
        full: false,
        bytes_left: limits.project_bytes,
        files: 0,
        links: 0,
        piece: vec![0; PIECE_BYTES],
    };
    walk.directory(root, "", 0);
    walk.entries.sort();
    let mut hash = Sha256::new();
    for (path, rest) in &walk.entries {
        for part in [path.as_bytes(), rest] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Walked {
        digest: Digest(hash.finish()),
        coverage: walk.out,
        files: walk.files,
        links: walk.links,
    }
}

impl Walk<'_, '_> {
    fn skip(&mut self, path: &str, reason: &str, bytes: u64) {
        let (path, reason) = (path.to_owned(), reason.to_owned());
        self.out.skips.push(Skip {
            path,
            reason,
            bytes,
        });
    }

    fn failed(&mut self, path: &str, error: &io::Error, bytes: u64) {
        // A link in the place of a file or directory we had seen: somebody swapped it.
        let swapped = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "vanished",
            io::ErrorKind::NotADirectory => "changed-while-read",
            _ if swapped => "changed-while-read",
            _ => "unreadable",
        };
        self.skip(path, reason, bytes);
    }

    fn directory(&mut self, fd: &OwnedFd, prefix: &str, depth: usize) {
        let shown = if prefix.is_empty() {
            "."
        } else {
            prefix.trim_end_matches('/')
        };
        let names = match self.names(fd) {
            Ok(names) => names,
            Err(error) => return self.failed(shown, &error, 0),
        };
        if self.full {
            self.skip(shown, "too-many-files", 0);
        }
        for name in names {
            let path = format!("{prefix}{}", spelled(name.to_bytes()));
            let stat = rustix::fs::statat(fd, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW);
            match stat {
                Ok(stat) => self.entry(fd.as_fd(), &name, &path, &stat, depth),
                Err(error) => self.failed(&path, &error.into(), 0),
            }
        }
    }

    /// The names in a directory, sorted; stops at the limit of entries.
    fn names(&mut self, fd: &OwnedFd) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.seen >= self.limits.files {
                self.full = true;
                break;
            }
            self.seen += 1;
            names.push(name.to_owned());
        }
        names.sort();
        Ok(names)
    }

    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &str,
        stat: &Stat,
        depth: usize,
    ) {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth >= self.limits.depth => self.skip(path, "too-deep", 0),
            FileType::Directory => match self.opener.directory(parent, name) {
                Ok(fd) => self.directory(&fd, &format!("{path}/"), depth + 1),
                Err(error) => self.failed(path, &error, 0),
            },
            FileType::RegularFile => self.file(parent, name, path, stat),
            FileType::Symlink => self.link(parent, name, path),
            _ => {
                self.entries.push((path.to_owned(), b"special".to_vec()));
                self.skip(path, "special-file", 0);
            }
        }
    }

    /// A link is recorded, never followed. What it points at inside the tree is walked where it
    /// is; what lies outside is not looked at, and counted.
    fn link(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &str) {
        self.links += 1;
        match rustix::fs::readlinkat(parent, name, Vec::new()) {
            Ok(target) => {
                let target = target.to_bytes();
                self.entries
                    .push((path.to_owned(), [b"link\0", target].concat()));
                if leads_out(path, target) {
                    self.skip(path, "symlink-out", 0);
                }
            }
            Err(error) => self.failed(path, &error.into(), 0),
        }
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &str, stat: &Stat) {
        let expected = u64::try_from(stat.st_size).unwrap_or(0);
        self.files += 1;
        self.out.items += 1;
        self.out.bytes_seen = self.out.bytes_seen.saturating_add(expected);
        let opened = self.opener.file(parent, name).and_then(|fd| {
            let now = rustix::fs::fstat(&fd)?;
            Ok((fd, now))
        });
        let (fd, now) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.failed(path, &error, expected),
        };
        if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
            return self.skip(path, "changed-while-read", expected);
        }
        let mode = now.st_mode & 0o111;
        if expected > self.limits.file_bytes {
            return self.large(File::from(fd), path, expected, mode);
        }
        if expected > self.bytes_left {
            return self.skip(path, "project-too-large", expected);
        }
        let mut bytes = Vec::new();
        let read = File::from(fd)
            .take(expected.saturating_add(1))
            .read_to_end(&mut bytes);
        if let Err(error) = read {
            return self.failed(path, &error, expected);
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes.len() as u64);
        if bytes.len() as u64 != expected {
            self.skip(path, "changed-while-read", expected);
        }
        let digest = Digest(sha256(&bytes));
        self.record(path, mode, &digest);
        (self.visit)(&WalkedFile {
            path,
            bytes: &bytes,
            digest,
        });
    }

    /// Hashes a file in pieces, with bounded memory, up to its size at the time of the look.
    fn large(&mut self, mut file: File, path: &str, expected: u64, mode: u32) {
        if expected > self.bytes_left {
            return self.skip(path, "project-too-large", expected);
        }
        let mut hash = Sha256::new();
        let mut left = expected;
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.piece.len());
            let piece = self.piece.get_mut(..want).unwrap_or_default();
            match file.read(piece) {
                Ok(0) => break,
                Ok(n) => {
                    hash.update(piece.get(..n).unwrap_or_default());
                    left = left.saturating_sub(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(path, &error, expected),
            }
        }
        self.bytes_left = self.bytes_left.saturating_sub(expected);
        self.record(path, mode, &Digest(hash.finish()));
        self.skip(path, "too-large", expected);
    }

    fn record(&mut self, path: &str, mode: u32, digest: &Digest) {
        let mut rest = b"file\0".to_vec();
        rest.push(u8::from(mode != 0));
        rest.extend_from_slice(digest.as_bytes());
        self.entries.push((path.to_owned(), rest));
    }
}

/// A name as UTF-8 without loss: other octets and backslashes before an `x` are escaped.
fn spelled(name: &[u8]) -> String {
    let mut out = String::new();
    for chunk in name.utf8_chunks() {
        out.push_str(&chunk.valid().replace("\\x", "\\x5cx"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            write!(out, "\\x{byte:02x}").unwrap_or_default();
        }
    }
    out
}

/// Whether a link's target, read from the directory of the link, lies outside the root.
fn leads_out(path: &str, target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return true;
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_from_the_place_of_the_link() {
        assert!(leads_out("a", b"/etc/passwd"));
        assert!(leads_out("a", b"../x"));
        assert!(leads_out("d/a", b"../../x"));
        assert!(!leads_out("d/a", b"../x"));
        assert!(!leads_out("a", b"a"));
        assert!(leads_out("a", b"b/../../x"));
    }

    #[test]
    fn names_keep_every_octet_apart() {
        assert_eq!(spelled(b"a\xff"), "a\\xff");
        assert_ne!(spelled(b"a\xff"), spelled(b"a\\xff"));
    }
}
