//! What can go wrong, in words that give nothing away.

use ringfence_core::error::{ErrorCode, Explain};

/// An operation of this crate failed. No variant holds a key or a plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The kernel or the provider gave no randomness.
    #[error("no randomness: {0}")]
    Random(String),
    /// Octets are not the key they should be.
    #[error("not a usable {0}")]
    Key(&'static str),
    /// The provider did not sign.
    #[error("the provider made no {0} signature")]
    Signing(&'static str),
    /// A signature does not verify.
    #[error("the signature by {0} does not verify")]
    Signature(String),
    /// No signature by a key that was asked for.
    #[error("not signed by {0}")]
    Unsigned(String),
    /// A sealed value does not open: changed, for another purpose, or under another key.
    #[error("the sealed value does not open under this key and purpose")]
    Open,
    /// A value too long to seal.
    #[error("at most {limit} octets can be sealed at once, not {length}")]
    TooLong {
        /// The limit that applies.
        limit: usize,
        /// The length that was given.
        length: usize,
    },
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// Not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A Merkle proof does not lead to the root.
    #[error("the proof does not lead to the root: {0}")]
    Proof(&'static str),
}

impl Explain for CryptoError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Random(_) => "record/no-randomness",
            Self::Key(_) => "record/key-malformed",
            Self::Signing(_) => "record/signing-failed",
            Self::Signature(_) => "record/signature-wrong",
            Self::Unsigned(_) => "record/signature-missing",
            Self::Open => "record/seal-broken",
            Self::TooLong { .. } => "record/seal-too-long",
            Self::Note(_) => "record/note-malformed",
            Self::Checkpoint(_) => "record/checkpoint-malformed",
            Self::Proof(_) => "record/proof-wrong",
        })
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Random(_) | Self::Signing(_) => {
                "see that the kernel offers getrandom(2) to this process"
            }
            Self::Key(_) => {
                "restore the key from a backup; a damaged key is never replaced silently"
            }
            Self::Signature(_) | Self::Unsigned(_) => {
                "compare the verifier key with the one you noted when the log was made"
            }
            Self::Open => "restore the state directory and its keys from the same backup",
            Self::TooLong { .. } => "seal a key and keep the long value encrypted under it",
            Self::Note(_) | Self::Checkpoint(_) => "fetch the file again; it was changed or cut",
            Self::Proof(_) => "ask the log for a new proof and compare the checkpoints",
        };
        Some(text.to_owned())
    }
}
