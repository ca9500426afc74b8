//! Strict doubles and private servers that tests of several crates share. Never part of the product.
//!
//! A double here refuses what the real thing refuses. One that accepts more makes a test pass that
//! fails in production, which is worse than no test.
#![forbid(unsafe_code)]

pub mod clock;
pub mod postgres;
pub mod s3;
