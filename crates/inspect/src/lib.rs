//! Looking into the files of a project without ever running them.
//!
//! One inspector is one file, one line in [`list`], and one set of cases that prove it. An
//! inspector gets the octets of one file and says three things: what it found, how many octets it
//! understood, and what it could not look at. It never opens a file, a socket or a process, and it
//! never loads a model: a pickle is walked opcode by opcode ([`pickle`]).
//!
//! Read in this order: [`file`] (what goes in and out), [`rule`] (what a finding says), [`list`]
//! (who looks), then the inspectors.
//!
//! INVARIANT: what is not understood is returned as a [`ringfence_core::verdict::Skip`]; no
//! inspector answers "clean" for octets it did not understand.
#![forbid(unsafe_code)]

pub mod bind;
#[cfg(test)]
mod cases;
pub mod compose;
pub mod dataset;
pub mod dockerfile;
pub mod file;
pub mod inert;
pub mod list;
pub mod pickle;
pub mod rule;
pub mod secrets;
mod source;

pub use file::{FileInspector, FileView, Inspected, Inspection, Member};
pub use list::{INSPECTORS, inspect};
