//! Detection: what is hidden, planted or personal in a text. Pure, synchronous, no input or output.
//!
//! # What it is
//! - [`canonical`]: one reading for all the ways to write a text, with a map back to the bytes as
//!   they came; what was hidden is decoded, and that it was hidden is a hit.
//! - [`shield`]: rules against injection, jailbreak and extraction, read over the canonical text
//!   and over decoded runs. A rule is data: `rules/*.toml`, each with the cases that prove it.
//! - [`pii`]: cards, accounts, addresses and the numbers of persons of many countries, by structure
//!   and checksum.
//! - [`names`]: people, places, organisations and postal addresses, by lists and a small tagger.
//! - [`secrets`]: keys and passwords of many providers, by form, entropy and checksum.
//! - [`output`]: what must not leave in an answer: marks, registered texts, terms, addresses.
//! - [`redact`]: replaces what was found in a whole text.
//! - [`stream`]: the same over text that arrives in pieces, holding back only live partial matches.
//!
//! # What it is not
//! It is no model and no promise: a new wording passes the rules until a rule knows it, and a
//! rare name passes the tagger. It decides nothing; a caller maps labels to actions. It does not
//! know requests, frames or files.
//!
//! # How to read it
//! Start with [`lexer`]: its one invariant carries the stream filter. Then [`stream`], then any
//! detector. Everything is linear in the text; each window, run and nesting has a named limit.
//!
//! # What must never be true
//! A text that makes it panic, or slow beyond a constant factor; an input that is only looked at
//! in part; a pattern whose longest match is unknown on a stream.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod error;
pub mod lexer;
pub mod names;
pub mod output;
mod pattern;
pub mod pii;
pub mod redact;
mod rulefile;
pub mod secrets;
pub mod shield;
pub mod stream;

pub use error::DetectError;
