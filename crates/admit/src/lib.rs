//! ADMIT: may this project come in?
//!
//! [`scan`] walks a directory ([`walk`]), counts every octet, lets the inspectors look at each
//! file, matches locked components against advisories ([`inventory`]), concludes what the project
//! needs ([`capability`]), and asks the gate. The answer is one [`report::ScanReport`] that
//! crosses process boundaries as JSON and becomes SARIF in [`sarif`].
//!
//! It runs nothing of the project, resolves no dependency and opens no socket. Confining the
//! process that scans is the caller's business.
//!
//! INVARIANT: every octet of the tree is inspected, or counted under a reason in the coverage or
//! in the list of data that nobody runs.
#![forbid(unsafe_code)]

pub mod capability;
pub mod error;
pub mod inventory;
pub mod kind;
pub mod report;
pub mod sarif;
mod scan;
pub mod walk;

pub use error::AdmitError;
pub use report::ScanReport;
pub use scan::{ActiveWaiver, Progress, ScanOptions, scan, scan_with};
