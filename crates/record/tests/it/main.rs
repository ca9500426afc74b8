//! The log through its public doors, on a real and on a simulated disk.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation ends a test, in its helpers too"
)]

mod blob;
mod crash;
mod limits;
mod payload;
mod policy;
mod python;
mod role;
mod rollback;
mod sim;
mod support;
mod tamper;
mod witness;
mod worm;
