//! Scans of whole trees: the planted faults, the bad inputs, the report that crosses processes.
#![expect(clippy::expect_used, reason = "scaffolding of tests may panic")]

mod leaky;
mod report;
mod tree;
mod walks;
