//! The conformance suite of the state: what every engine behind [`ringfence_store::Store`] must do,
//! written against the public functions only. `under_test` is the engine; `tests/postgres` runs
//! the same files on the other one.

#[cfg(test)]
mod aggregates;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod file;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod scope;
#[cfg(test)]
#[path = "sqlite.rs"]
mod under_test;
