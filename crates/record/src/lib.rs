//! RECORD: can we prove it?
//!
//! An append-only Merkle log on disk ([`log`]), the keys beside it ([`recorder`]), the process that
//! alone may use them ([`role`]), the door through which the server reaches that process
//! ([`client`]), the proof for outsiders ([`verify`], [`proof`]), the payloads beside the log that can be
//! forgotten ([`blob`]), and the export to where nothing can be taken back ([`worm`]).
//!
//! What it is not: tamper-evident against root of this machine. Who holds the key and the disk can
//! rewrite the whole log; only a copy of a checkpoint kept elsewhere shows it. Reports say so.
//!
//! INVARIANT: an index is handed out after its leaf was forced to disk, never before.
//! INVARIANT: no two roots are ever signed for one size.

#![forbid(unsafe_code)]

pub mod blob;
pub mod client;
pub mod config;
mod desk;
pub mod error;
mod keys;
pub mod log;
pub mod proof;
pub mod protocol;
pub mod receipt;
pub mod recorder;
pub mod role;
pub mod verify;
pub mod witness;
pub mod worm;

pub use client::RecorderClient;
pub use error::RecordError;
pub use protocol::Purpose;
pub use recorder::Recorder;
