//! `completions` and `man`: both made from the definition of the command line.

use crate::cli::Cli;
use crate::{Outcome, PASS};
use clap::CommandFactory as _;
use ringfence_core::error::{ErrorCode, Explained};

/// Prints completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> u8 {
    clap_complete::generate(
        shell,
        &mut Cli::command(),
        "ringfence",
        &mut std::io::stdout(),
    );
    PASS
}

/// Prints the man page.
pub(crate) fn man() -> Outcome {
    clap_mangen::Man::new(Cli::command())
        .render(&mut std::io::stdout())
        .map_err(|e| {
            Explained::new(
                ErrorCode("cli/output"),
                "the man page could not be written",
                "try again",
            )
            .because(e)
        })?;
    Ok(PASS)
}
