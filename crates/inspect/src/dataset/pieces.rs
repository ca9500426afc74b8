//! Cuts a stream into pieces of whole records.

use super::{Format, PIECE_BYTES, RECORD_BYTES_MAX};
use std::io::{ErrorKind, Read, Result};

/// Whole records, and where they stood.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Number of the piece, from 0.
    pub(super) number: u64,
    /// The records inside were longer than the limit and were not kept.
    pub(super) too_long: bool,
}

/// Reads pieces.
pub(super) struct Pieces<R> {
    input: R,
    format: Format,
    rest: Vec<u8>,
    number: u64,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    pub(super) fn new(input: R, format: Format) -> Self {
        Self {
            input,
            format,
            rest: Vec::new(),
            number: 0,
            ended: false,
        }
    }

    /// The first record alone: the names of a table.
    pub(super) fn header(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = first_end(&self.rest, self.format) {
                let tail = self.rest.split_off(end);
                return Ok(std::mem::replace(&mut self.rest, tail));
            }
            if self.ended || self.rest.len() > RECORD_BYTES_MAX {
                return Ok(std::mem::take(&mut self.rest));
            }
            self.fill(PIECE_BYTES)?;
        }
    }

    /// The next piece, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>> {
        let mut wanted = PIECE_BYTES;
        loop {
            if !self.ended && self.rest.len() < wanted {
                self.fill(wanted)?;
            }
            if self.rest.is_empty() {
                return Ok(None);
            }
            let end = match last_end(&self.rest, self.format) {
                _ if self.ended => Some(self.rest.len()),
                end => end,
            };
            if let Some(end) = end {
                let tail = self.rest.split_off(end);
                let bytes = std::mem::replace(&mut self.rest, tail);
                return Ok(Some(self.piece(bytes, false)));
            }
            if self.rest.len() > RECORD_BYTES_MAX {
                self.skip()?;
                return Ok(Some(self.piece(Vec::new(), true)));
            }
            wanted = self.rest.len() + PIECE_BYTES;
        }
    }

    fn piece(&mut self, bytes: Vec<u8>, too_long: bool) -> Piece {
        self.number += 1;
        Piece {
            bytes,
            number: self.number - 1,
            too_long,
        }
    }

    fn fill(&mut self, wanted: usize) -> Result<()> {
        let missing = wanted.saturating_sub(self.rest.len()) as u64;
        let read = loop {
            match self
                .input
                .by_ref()
                .take(missing)
                .read_to_end(&mut self.rest)
            {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.ended |= (read as u64) < missing;
        Ok(())
    }

    /// Forgets everything up to the end of the record that is too long.
    fn skip(&mut self) -> Result<()> {
        while !self.ended {
            self.rest.clear();
            self.fill(PIECE_BYTES)?;
            // Quotes are not counted any more: the record is lost, its line ends it.
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                self.rest.drain(..=end);
                return Ok(());
            }
        }
        self.rest.clear();
        Ok(())
    }
}

/// The octet after the first record that is complete.
fn first_end(bytes: &[u8], format: Format) -> Option<usize> {
    let mut quoted = false;
    for (at, b) in bytes.iter().enumerate() {
        match b {
            b'"' if matches!(format, Format::Csv(_)) => quoted = !quoted,
            b'\n' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The octet after the last record that is complete. In a table, a line inside quotes ends none.
fn last_end(bytes: &[u8], format: Format) -> Option<usize> {
    if !matches!(format, Format::Csv(_)) {
        return bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
    }
    let (mut quoted, mut end) = (false, None);
    for (at, b) in bytes.iter().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => end = Some(at + 1),
            _ => {}
        }
    }
    end
}
