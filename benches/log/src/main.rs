//! `cargo xtask bench log [--entries N] [FOLDER]`: the log beside the raw limit of the same disk, in
//! one run.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod append;
mod check;
mod crypto;
mod disk;
mod offer;

use std::path::PathBuf;

/// What goes wrong ends the run, in the words of whoever noticed.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Entries of the log that `fsck` reads.
const ENTRIES: u64 = 10_000_000;

fn main() -> Outcome {
    let mut entries = ENTRIES;
    let mut folder = std::env::temp_dir();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--entries" => entries = arguments.next().ok_or("--entries N")?.parse()?,
            _ => folder = PathBuf::from(argument),
        }
    }
    let scratch = tempfile::tempdir_in(folder)?;
    crypto::print()?;
    println!("disk: {}", disk::describe(scratch.path())?);
    append::print(scratch.path())?;
    offer::print(&scratch.path().join("offer"))?;
    check::print(&scratch.path().join("fsck"), entries)
}
