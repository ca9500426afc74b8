//! The words of the house and the ports between its rooms.
//!
//! Every other crate speaks in the types of this one: who owns a thing ([`ids`]), what was found
//! ([`finding`]), what was decided and how completely it was looked at ([`verdict`]), what is
//! written down for good ([`leaf`]), what happened ([`event`]), how text is matched
//! ([`detection`]), what a sandbox is asked to be ([`isolation`]). The traits in [`ports`] are how
//! one stage uses another without importing it.
//!
//! It is not a place for helpers: no I/O, no async runtime, no clock and no randomness of its own.
//! INVARIANT: nothing here opens a file, a socket or asks the kernel for anything.
#![forbid(unsafe_code)]

pub mod capability;
pub mod detection;
pub mod digest;
pub mod error;
pub mod event;
pub mod finding;
pub mod ids;
pub mod isolation;
pub mod json;
pub mod leaf;
pub mod limits;
pub mod ports;
pub mod rule;
pub mod secret;
pub mod severity;
pub mod time;
pub mod verdict;
