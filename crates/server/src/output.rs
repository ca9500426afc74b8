//! What the assistant prints: kept in one file with one predecessor, read in pieces.

use ringfence_core::error::{ErrorCode, Explained};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// LIMIT: octets of the file before it becomes the predecessor.
pub const OUTPUT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// LIMIT: octets returned at once.
pub const PIECE_BYTES_MAX: u64 = 256 * 1024;

/// The output of one assistant.
pub struct Output {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    /// Octets written before the present file began: offsets never go back.
    base: u64,
    length: u64,
}

/// A piece of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text, with invalid UTF-8 replaced.
    pub text: String,
    /// Where the next piece begins.
    pub next: u64,
}

fn explain(error: &std::io::Error) -> Explained {
    Explained::new(
        ErrorCode("run/output-file"),
        "the assistant's output cannot be kept",
        "check the space and the permissions of the state directory",
    )
    .because(error)
}

impl Output {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, Explained> {
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let length = file.metadata()?.len();
            Ok(Open {
                file,
                base: 0,
                length,
            })
        };
        let open = open().map_err(|e| explain(&e))?;
        Ok(Self {
            path: path.to_owned(),
            open: Mutex::new(open),
        })
    }

    /// Appends; begins a new file when this one is full.
    pub fn append(&self, bytes: &[u8]) -> Result<(), Explained> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = || {
            if open.length + bytes.len() as u64 > OUTPUT_BYTES_MAX && open.length > 0 {
                std::fs::rename(&self.path, self.path.with_extension("old"))?;
                open.file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&self.path)?;
                open.base += open.length;
                open.length = 0;
            }
            open.file.write_all(bytes)?;
            open.length += bytes.len() as u64;
            Ok(())
        };
        write().map_err(|e| explain(&e))
    }

    /// What stands from an offset on; an offset before the present file means its beginning.
    pub fn piece(&self, from: u64) -> Result<Piece, Explained> {
        let (base, length) = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            (open.base, open.length)
        };
        let start = from.clamp(base, base + length) - base;
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.take((length - start).min(PIECE_BYTES_MAX))
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes: Vec<u8> = read().map_err(|e: std::io::Error| explain(&e))?;
        let next = base + start + bytes.len() as u64;
        Ok(Piece {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            next,
        })
    }

    /// The last lines, within the last [`PIECE_BYTES_MAX`] octets.
    pub fn tail(&self, lines: usize) -> Result<Piece, Explained> {
        let end = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.base + open.length
        };
        let mut piece = self.piece(end.saturating_sub(PIECE_BYTES_MAX))?;
        let starts: Vec<usize> = std::iter::once(0)
            .chain(piece.text.match_indices('\n').map(|(i, _)| i + 1))
            .filter(|i| *i < piece.text.len())
            .collect();
        let cut = match starts.len().checked_sub(lines) {
            Some(first) => starts.get(first).copied().unwrap_or(piece.text.len()),
            None => 0,
        };
        piece.text = piece.text.split_off(cut);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_the_change_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::open(&dir.path().join("a.log")).unwrap();
        output.append(b"one\n").unwrap();
        let first = output.piece(0).unwrap();
        assert_eq!((first.text.as_str(), first.next), ("one\n", 4));
        let big = vec![b'x'; usize::try_from(OUTPUT_BYTES_MAX).unwrap()];
        output.append(&big).unwrap();
        assert!(dir.path().join("a.old").exists());
        let next = output.piece(first.next).unwrap();
        assert_eq!(next.next, 4 + PIECE_BYTES_MAX);
    }

    #[test]
    fn a_file_is_filled_to_its_limit_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::open(&dir.path().join("a.log")).unwrap();
        let limit = usize::try_from(OUTPUT_BYTES_MAX).unwrap();
        output.append(&vec![b'x'; limit - 1]).unwrap();
        output.append(b"y").unwrap();
        assert!(!dir.path().join("a.old").exists());
        output.append(b"z").unwrap();
        assert!(dir.path().join("a.old").exists());
    }

    #[test]
    fn the_tail_is_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::open(&dir.path().join("a.log")).unwrap();
        output.append(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(output.tail(2).unwrap().text, "two\nthree\n");
        assert_eq!(output.tail(9).unwrap().text, "one\ntwo\nthree\n");
        assert_eq!(output.tail(0).unwrap().text, "");
    }
}
