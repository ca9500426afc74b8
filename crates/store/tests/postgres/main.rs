//! The conformance suite of `tests/it`, run on a private `PostgreSQL` server, and beside it what only
//! a server can do: end, be killed, lose a connection at the worst moment.

#[cfg(test)]
#[path = "../it/aggregates.rs"]
mod aggregates;
#[cfg(test)]
#[path = "../it/durability.rs"]
mod durability;
#[cfg(test)]
#[path = "../it/engine.rs"]
mod engine;
#[cfg(test)]
#[path = "../it/fixtures.rs"]
mod fixtures;
#[cfg(test)]
#[path = "../it/jobs.rs"]
mod jobs;
#[cfg(test)]
mod outages;
#[cfg(test)]
#[path = "../it/scope.rs"]
mod scope;
#[cfg(test)]
#[path = "server.rs"]
mod under_test;
