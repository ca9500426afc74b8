//! Training, judging and measuring the prompt shield. Not part of the product: what ships is the
//! bundle of weights that `cargo xtask train guard` writes into `crates/detect/weights/shield`.
//!
//! - [`grammar`]: our own texts, attacks and harmless ones, from lists of alternatives.
//! - [`data`]: the development sets, and what each may be used for.
//! - [`learn`]: logistic regression over the shield's own features, on its own windows.
//! - [`corpus`]: which texts are an example of what, for which head.
//! - [`quantise`]: from numbers to the table of octets.
#![forbid(unsafe_code)]

pub mod calibrate;
pub mod chance;
pub mod corpus;
pub mod data;
pub mod grammar;
pub mod learn;
pub mod quantise;
pub mod roc;
pub mod sources;
pub mod transform;
