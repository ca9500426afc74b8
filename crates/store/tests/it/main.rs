//! The conformance suite of the state database: what every engine behind [`ringfence_store::Store`]
//! must do, written against the public functions only.

#[cfg(test)]
mod aggregates;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod scope;
