//! Sentences that our own grammar writes, and how a tagger is judged against spans.
#![forbid(unsafe_code)]

pub mod generate;
pub mod measure;
