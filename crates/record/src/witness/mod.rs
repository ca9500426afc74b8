//! Witnesses: who else saw this log, and what they saw first.
//!
//! A log that one machine holds can be taken back by whoever owns the machine: the disk is restored
//! from a backup, and nothing on it tells. A witness on another machine remembers the largest
//! checkpoint of each log and cosigns only what continues it (C2SP tlog-witness). Its cosignature
//! shows third parties that the log was seen; its refusal shows the log's owner that the log was
//! rolled back.
//!
//! [`core`] is the witness, [`request`] what it is asked and how a log reads the answer, [`policy`]
//! how many witnesses are enough. None of them opens a socket: the command `ringfence witness` and
//! the server do.
//!
//! INVARIANT: a witness has forced a checkpoint to disk before it cosigns it.

pub mod core;
mod keys;
pub mod policy;
pub mod request;

pub use core::{Refusal, Witness};
pub use policy::Policy;
pub use request::{AddCheckpoint, Judgement, judge};
