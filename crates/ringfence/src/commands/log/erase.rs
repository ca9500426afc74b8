//! `log erase`: forgets a person, for good.

use crate::control::{ask, post};
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_server::service::subjects::{AskedErasure, ShownErasure};
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

/// Asks, and erases.
pub(super) fn run(subject: String, yes: bool, state: &Path, format: Format) -> Outcome {
    if !yes {
        confirm(&subject)?;
    }
    let erased: ShownErasure = ask(
        state,
        &post("/v1/subjects/erase", &AskedErasure { subject }),
    )?;
    if format == Format::Json {
        render::json(&erased)?;
        return Ok(PASS);
    }
    println!(
        "erased: the key of everything kept for {} is destroyed (erasure {})",
        erased.pseudonym, erased.erasure
    );
    if erased.payloads_left > 0 {
        println!(
            "{} files could not be removed; without the key nobody can read them",
            erased.payloads_left
        );
    }
    println!("backups of record/subjects that are older can still bring it back until they expire");
    Ok(PASS)
}

/// Has the name typed a second time.
fn confirm(subject: &str) -> Result<(), Explained> {
    let not_confirmed = |what: &str| {
        Explained::new(
            ErrorCode("cli/not-confirmed"),
            what,
            "nothing was erased; say --yes to erase without being asked",
        )
    };
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(not_confirmed("there is no terminal to confirm it on"));
    }
    eprintln!("This cannot be undone. Type the name again to erase it:");
    let mut typed = String::new();
    input
        .lock()
        .read_line(&mut typed)
        .map_err(|e| not_confirmed("no answer came").because(e))?;
    if typed.trim_end_matches(['\r', '\n']) == subject {
        Ok(())
    } else {
        Err(not_confirmed("that was another name"))
    }
}
