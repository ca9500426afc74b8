//! `cargo xtask bench log`: the log beside the raw limit of the same disk, in one run.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

mod crypto;
mod disk;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    crypto::print()?;
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::tempdir_in(folder)?;
    println!("disk: {}", disk::describe(scratch.path())?);
    let raw = disk::fdatasync_rate(scratch.path(), 512)?;
    println!("raw append + fdatasync of 512 octets: {raw:.0}/s");
    Ok(())
}
