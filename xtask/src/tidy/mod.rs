//! The rules of the house that no compiler knows.

pub(crate) mod errors;
mod floors;
mod packages;
mod text;

use crate::Outcome;

/// What is wrong, one sentence each.
type Complaints = Vec<String>;

/// Checks every rule and lists all that is wrong.
pub(crate) fn run() -> Outcome {
    let metadata = crate::cargo::metadata()?;
    let sources = crate::source::rust_files()?;
    let mut complaints = Complaints::new();
    floors::check(&metadata, &mut complaints);
    packages::check(&metadata, &mut complaints)?;
    text::check(&sources, &mut complaints)?;
    errors::check(&sources, &mut complaints)?;
    if complaints.is_empty() {
        println!("tidy: {} Rust files, no complaint", sources.len());
        return Ok(());
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    Err(format!("{} complaints", complaints.len()))
}
