//! WATCH: is it behaving?
//!
//! Events come in through [`Watch`], which numbers them, adds them to fixed [`windows`] of named
//! metrics for each project, key and sandbox, feeds the [`breaker`] and keeps the last ones for
//! the console. [`metrics`] writes the totals in the text format of Prometheus.
//!
//! It is synchronous and does no I/O; the clock is handed in, so all of it can be simulated. It
//! never waits: what does not fit is dropped and counted, and only samples are dropped.
#![forbid(unsafe_code)]

pub mod breaker;
pub mod error;
pub mod histogram;
pub mod kinds;
pub mod metrics;
pub mod sink;
pub mod windows;

pub use breaker::{BreakerConfig, Breakers, Trip};
pub use error::WatchError;
pub use sink::{Watch, WatchConfig, WatchParts};
