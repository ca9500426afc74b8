//! C2SP tlog-checkpoint: what a log signs about itself.
//!
//! Three lines: the origin, the size in decimal, the root in base64. Extension lines are read and
//! kept, so that a checkpoint of another log verifies; this log writes none.

use crate::error::CryptoError;
use crate::merkle::Hash;
use crate::text::{base64_decode, base64_encode};

/// LIMIT: octets of a checkpoint's text.
pub const CHECKPOINT_BYTES_MAX: usize = 4096;

/// Size and root of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
    /// Lines after the root, opaque.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extensions.
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The text to sign.
    pub fn text(&self) -> String {
        let root = base64_encode(&self.root);
        let mut text = format!("{}\n{}\n{root}\n", self.origin, self.size);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads a text and refuses every other spelling of the same facts.
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        if text.len() > CHECKPOINT_BYTES_MAX {
            return Err(CryptoError::Checkpoint("longer than a checkpoint may be"));
        }
        let body = text
            .strip_suffix('\n')
            .ok_or(CryptoError::Checkpoint("no final newline"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CryptoError::Checkpoint("fewer than three lines"));
        };
        if origin.is_empty() {
            return Err(CryptoError::Checkpoint("the origin is empty"));
        }
        let size = decimal(size).ok_or(CryptoError::Checkpoint("the size is not a number"))?;
        let root = base64_decode(root)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(CryptoError::Checkpoint(
                "the root is not 32 octets of base64",
            ))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CryptoError::Checkpoint("an extension line is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }
}

/// Reads a decimal number that has one spelling: digits only, no leading zero.
pub fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let leading = text.len() > 1 && text.starts_with('0');
    if text.is_empty() || !plain || leading {
        None
    } else {
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_what_it_wrote() {
        let checkpoint = Checkpoint::new("example.com/log", 42, [7; 32]);
        assert_eq!(
            checkpoint.text(),
            "example.com/log\n42\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n"
        );
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
    }

    #[test]
    fn extension_lines_are_kept() {
        let text = "o\n0\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nx y\n";
        let checkpoint = Checkpoint::parse(text).unwrap();
        assert_eq!(checkpoint.extensions, ["x y"]);
        assert_eq!(checkpoint.text(), text);
    }

    #[test]
    fn other_spellings_are_refused() {
        let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        for text in [
            String::new(),
            format!("o\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("o\n01\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            format!("o\n1\n{}\n", root.trim_end_matches('=')),
            format!("o\n1\n{root}\n\n"),
            "o\n1\nBwc=\n".to_owned(),
        ] {
            assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_text_is_read_at_the_size_limit_and_refused_one_above() {
        let base = Checkpoint::new("", 1, [7; 32]).text().len();
        let of = |n: usize| Checkpoint::new("o".repeat(n), 1, [7; 32]).text();
        assert!(Checkpoint::parse(&of(CHECKPOINT_BYTES_MAX - base)).is_ok());
        assert!(Checkpoint::parse(&of(CHECKPOINT_BYTES_MAX - base + 1)).is_err());
    }
}
