//! The gate: may this project come in?
//!
//! A `[gate]` table ([`GateConfig`]) is compiled to Rego text that anybody can read
//! ([`Gate::rego`]), and that text is what decides. The caller's own Rego files are evaluated
//! beside it and can only add denials: the compiled text is also evaluated alone, and the stricter
//! of both answers holds.
//!
//! It is not a scanner and knows no files: it is handed findings and coverage as values, and does
//! no I/O. INVARIANT: an undefined verdict, an error, a timeout or an input beyond a limit is
//! [`Decision::Deny`](ringfence_core::verdict::Decision::Deny); nothing here fails open.
#![forbid(unsafe_code)]

mod check;
mod config;
mod error;
mod gate;
mod input;
mod rego;

pub use config::{GateConfig, IncompleteRule, StaleRule};
pub use error::PolicyError;
pub use gate::{EVALUATION_MS_MAX, Gate, GateDecision, REASONS_MAX};
pub use input::{FINDINGS_MAX, GateFinding, GateInput};

#[cfg(test)]
mod tests;
