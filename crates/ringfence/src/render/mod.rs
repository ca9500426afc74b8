//! Putting answers into words: tables for people, JSON for machines.

pub(crate) mod scan;
pub(crate) mod table;
pub(crate) mod walls;
pub(crate) mod welcome;

use ringfence_core::error::{ErrorCode, Explained};
use serde::Serialize;
use std::io::Write as _;

/// How output is shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For machines.
    Json,
}

/// Prints a value as JSON, indented.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Explained> {
    let text = serde_json::to_string_pretty(value).map_err(|e| {
        Explained::new(ErrorCode("cli/json"), "the answer is not JSON", "report it").because(e)
    })?;
    // A reader that is gone has seen what it wanted.
    let _written = writeln!(std::io::stdout(), "{text}").is_ok();
    Ok(())
}
