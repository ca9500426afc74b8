//! What a project has locked, and what is publicly known to be wrong with it.
//!
//! Three rooms: [`lock`] reads lock files into components with line numbers; [`version`] orders
//! versions as PEP 440 and semver 2.0 say; [`advisories`] is a compact index over OSV records that
//! is read in one piece and answers a lookup without parsing JSON. A small dated default index is
//! embedded, so that a bare machine has an answer and says how old it is.
//!
//! It does not resolve dependencies, runs no package manager, opens no socket and reads no clock.
//! INVARIANT: what is not understood is counted and handed back, never dropped: a line, a record,
//! a version that cannot be ordered, an ecosystem without data.
#![forbid(unsafe_code)]

pub mod advisories;
mod component;
mod error;
pub mod lock;
pub mod version;

pub use component::{Component, Ecosystem, normal_name};
pub use error::SupplyError;
