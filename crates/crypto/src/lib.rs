//! Hashes, signatures, sealing and Merkle proofs.
//!
//! The only crate that calls a cryptographic provider (aws-lc-rs). It keeps no state, does no
//! input or output besides asking the kernel for randomness, and holds no key longer than its
//! caller does. What it is not: a place for policy. Which key seals what is for `record` to say.
//!
//! Read [`merkle`] for the tree, [`note`] and [`checkpoint`] for what is signed about it.
//!
//! INVARIANT: no error and no `Debug` output of this crate holds a key or a plaintext.

#![forbid(unsafe_code)]

pub mod aead;
pub mod checkpoint;
pub mod error;
pub mod hash;
pub mod hmac;
pub mod merkle;
pub mod note;
pub mod random;
pub mod sign;
mod text;
pub mod tiles;

pub use error::CryptoError;
pub use text::{base64_decode, base64_encode};

#[cfg(test)]
mod testing;
