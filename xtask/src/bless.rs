//! Renews the generated pages, then shows what changed.

use crate::Outcome;
use crate::cargo::{root, visibly};
use std::process::Command;

/// Renews everything that is generated.
pub(crate) fn run() -> Outcome {
    crate::tidy::errors::write_page()?;
    crate::stats::run()?;
    visibly(
        Command::new("git")
            .current_dir(root())
            .args(["--no-pager", "diff", "--stat"]),
    )
}
