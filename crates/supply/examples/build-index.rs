//! Makes an advisory index from OSV archives:
//! `cargo run -p ringfence-supply --example build-index -- OUT.idx AS-OF-DATE NOTE ZIP…`.
//!
//! With it `data/advisories.idx` was made; `data/MANIFEST.md` has the exact command and inputs.

use ringfence_core::error::{Explain, Explained};
use ringfence_core::time::Timestamp;
use ringfence_supply::advisories::import_zip;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(out), Some(as_of), Some(note)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: build-index OUT.idx AS-OF-DATE NOTE ZIP…".into());
    };
    let zips: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let explain = |e: ringfence_supply::SupplyError| Explained::of(&e as &dyn Explain);
    let index = import_zip(&zips, Timestamp::parse(&as_of)?)
        .and_then(|index| index.with_note(&note))
        .map_err(explain)?;
    index.save(Path::new(&out)).map_err(explain)?;
    let mut screen = std::io::stdout().lock();
    writeln!(
        screen,
        "{} bytes\n{:#?}",
        index.bytes().len(),
        index.header()
    )?;
    Ok(())
}
