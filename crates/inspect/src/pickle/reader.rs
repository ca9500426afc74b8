//! A cursor over pickle octets that knows what frames do to real readers.
//!
//! `pickle.loads` reads straight through. The C reader on a *file* holds one frame in its buffer;
//! when an argument runs past the frame's end it drops the rest of the buffer and reads the whole
//! argument from behind the frame (cpython issue 154848). A scanner that reads straight then sees
//! another program than the one that runs. So the cursor can read both ways and says when the two
//! differ.

/// Which of the two real readers to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Frames are hints.
    Straight,
    /// What is left of a frame is dropped when an argument does not fit.
    DropRemainder,
}

/// A position in octets.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    frame_end: Option<usize>,
    reading: Reading,
    /// An argument or frame ran past the end of a frame: the two readers differ.
    pub(super) straddled: bool,
    /// A line ended at the end of the octets instead of at a line feed.
    pub(super) unterminated: bool,
}

/// A range of octets, small enough to copy around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// First octet.
    pub(super) start: usize,
    /// Behind the last octet.
    pub(super) end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, reading: Reading) -> Self {
        Self {
            bytes,
            at,
            frame_end: None,
            reading,
            straddled: false,
            unterminated: false,
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn slice(&self, span: Span) -> &'a [u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    /// Opens a frame. `false` when it is longer than what is left: a lie that the C reader
    /// refuses and the Python reader does not.
    pub(super) fn frame(&mut self, length: u64) -> bool {
        let end = usize::try_from(length)
            .ok()
            .and_then(|n| self.at.checked_add(n));
        if let (Some(open), Some(end)) = (self.frame_end, end) {
            self.straddled |= self.at < open && end > open;
            if self.straddled && self.reading == Reading::DropRemainder && self.at < open {
                self.at = open;
            }
        }
        self.frame_end = end.filter(|e| *e <= self.bytes.len());
        self.frame_end.is_some()
    }

    fn cross(&mut self, needed: usize) {
        let Some(end) = self.frame_end else { return };
        if self.at >= end {
            self.frame_end = None;
        } else if needed > end - self.at {
            self.straddled = true;
            self.frame_end = None;
            if self.reading == Reading::DropRemainder {
                self.at = end;
            }
        }
    }

    /// The next `count` octets, or nothing when there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<Span> {
        self.cross(count);
        let end = self
            .at
            .checked_add(count)
            .filter(|e| *e <= self.bytes.len())?;
        let span = Span {
            start: self.at,
            end,
        };
        self.at = end;
        Some(span)
    }

    /// The next octet.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let span = self.take(1)?;
        self.bytes.get(span.start).copied()
    }

    /// A little-endian number of `width` octets, at most 8.
    pub(super) fn number(&mut self, width: usize) -> Option<u64> {
        let span = self.take(width)?;
        let octets = self.slice(span).iter().rev();
        Some(octets.fold(0_u64, |value, b| value << 8 | u64::from(*b)))
    }

    /// Octets behind a little-endian length of `width` octets.
    pub(super) fn counted(&mut self, width: usize) -> Option<Span> {
        let length = usize::try_from(self.number(width)?).ok()?;
        self.take(length)
    }

    /// The octets up to a line feed. At the end of the octets the last one is dropped instead:
    /// that is what `readline()[:-1]` does, so an `INST` without its line feed still calls.
    pub(super) fn line(&mut self) -> Option<Span> {
        let mut found = self.find_line();
        if let (Some(end), Some(stop)) = (self.frame_end, found)
            && self.at < end
            && stop >= end
        {
            self.cross(stop + 1 - self.at);
            found = self.find_line();
        }
        let start = self.at;
        let end = match found {
            Some(stop) => {
                self.at = stop + 1;
                stop
            }
            None if self.at < self.bytes.len() => {
                self.unterminated = true;
                self.at = self.bytes.len();
                self.at - 1
            }
            None => return None,
        };
        Some(Span { start, end })
    }

    fn find_line(&self) -> Option<usize> {
        let rest = self.bytes.get(self.at..)?;
        rest.iter().position(|b| *b == b'\n').map(|n| n + self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_and_end_at_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3], 0, Reading::Straight);
        assert_eq!(cursor.number(2), Some(0x0201));
        assert_eq!(cursor.number(2), None);
        assert_eq!(cursor.byte(), Some(3));
        assert_eq!(cursor.byte(), None);
    }

    #[test]
    fn the_two_readers_part_at_a_straddled_frame() {
        let bytes = b"abXYZ";
        let read = |reading| {
            let mut cursor = Cursor::new(bytes, 0, reading);
            assert!(cursor.frame(2));
            let span = cursor.take(3).expect("three octets");
            (cursor.slice(span), cursor.straddled)
        };
        assert_eq!(read(Reading::Straight), (b"abX".as_slice(), true));
        assert_eq!(read(Reading::DropRemainder), (b"XYZ".as_slice(), true));
    }

    #[test]
    fn a_line_at_the_end_loses_its_last_octet_like_the_real_reader() {
        let mut cursor = Cursor::new(b"os\nsystemX", 0, Reading::Straight);
        let first = cursor.line().expect("a line");
        assert_eq!(cursor.slice(first), b"os");
        let second = cursor.line().expect("the rest");
        assert_eq!(cursor.slice(second), b"system");
        assert!(cursor.unterminated);
        assert!(cursor.line().is_none());
    }

    #[test]
    fn a_frame_longer_than_the_octets_is_a_lie() {
        let mut cursor = Cursor::new(b"ab", 0, Reading::Straight);
        assert!(!cursor.frame(3));
        assert!(!cursor.frame(u64::MAX));
        assert!(cursor.frame(2));
    }
}
