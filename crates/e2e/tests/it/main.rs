//! The whole binary, area by area. `cargo xtask test` runs one area after the other.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends when something is wrong"
)]

mod browser;
mod documentation;
mod privileged;
mod services;
