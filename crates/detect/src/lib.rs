//! Detection: pure, synchronous, without input or output.

#![forbid(unsafe_code)]

pub mod error;
pub mod lexer;
mod pattern;
pub mod pii;
pub mod redact;
pub mod secrets;
pub mod stream;

pub use error::DetectError;
