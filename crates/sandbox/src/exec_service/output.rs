//! From a program's octets to the texts of its events: UTF-8 across borders, and the cap.

/// Turns pieces of a byte stream into text. A character that is split over two pieces is held back
/// until it is whole; what is not UTF-8 becomes U+FFFD, as the Encoding Standard has it.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Takes the next piece and returns what is text by now.
    pub(super) fn push(&mut self, piece: &[u8]) -> String {
        self.held.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.held);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            if chunks.peek().is_none() && may_continue(invalid) {
                self.held = invalid.to_vec();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// Ends the stream and returns what was held back.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        String::from_utf8_lossy(&held).into_owned()
    }
}

/// Whether octets at the very end are the beginning of a character rather than an error.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

/// Counts the octets of both streams against one limit.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    seen: u64,
    told: bool,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            left: limit,
            seen: 0,
            told: false,
        }
    }

    /// The part of a piece that may be shown, and whether this piece is the first that was cut.
    pub(super) fn admit<'a>(&mut self, piece: &'a [u8]) -> (&'a [u8], bool) {
        self.seen = self
            .seen
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let shown = piece.get(..self.left).unwrap_or(piece);
        self.left -= shown.len();
        let cut_now = shown.len() < piece.len() && !self.told;
        self.told |= cut_now;
        (shown, cut_now)
    }

    /// Octets that the program wrote, shown or not.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether anything was cut.
    pub(super) fn truncated(&self) -> bool {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_split_over_pieces_is_whole_and_garbage_is_replaced() {
        let mut decoder = Decoder::default();
        let euro = "€".as_bytes();
        assert_eq!(decoder.push(&euro[..1]), "");
        assert_eq!(decoder.push(&euro[1..]), "€");
        assert_eq!(decoder.push(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(decoder.push(&euro[..2]), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn the_budget_admits_the_limit_and_cuts_one_above_once() {
        let mut budget = Budget::new(4);
        assert_eq!(budget.admit(b"abcd"), (b"abcd".as_slice(), false));
        assert!(!budget.truncated());
        assert_eq!(budget.admit(b"e"), (b"".as_slice(), true));
        assert_eq!(budget.admit(b"f"), (b"".as_slice(), false));
        assert_eq!((budget.seen(), budget.truncated()), (6, true));
        assert_eq!(Budget::new(1).admit(b"xyz"), (b"x".as_slice(), true));
    }

    proptest! {
        #[test]
        fn the_text_does_not_depend_on_where_the_pieces_were_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            size in 1_usize..9,
        ) {
            let mut decoder = Decoder::default();
            let mut text: String = bytes.chunks(size).map(|p| decoder.push(p)).collect();
            text.push_str(&decoder.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
