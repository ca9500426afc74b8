//! Renews snapshots and generated pages, then shows what changed.

use crate::Outcome;
use crate::cargo::{root, visibly};
use std::process::Command;

/// Renews everything that is generated.
pub(crate) fn run() -> Outcome {
    crate::tidy::errors::write_page()?;
    visibly(
        Command::new("cargo")
            .current_dir(root())
            .args([
                "nextest",
                "run",
                "--workspace",
                "--exclude",
                "ringfence-e2e",
                "--no-fail-fast",
            ])
            .env("INSTA_UPDATE", "always")
            .env("UPDATE_EXPECT", "1"),
    )?;
    crate::stats::run()?;
    visibly(
        Command::new("git")
            .current_dir(root())
            .args(["--no-pager", "diff", "--stat"]),
    )
}
