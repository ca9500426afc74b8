//! `advisories`: which data the dependency match rests on, and bringing in more.

use crate::cli::AdvisoriesCommand;
use crate::render::table::Table;
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::Explained;
use ringfence_core::ports::Clock as _;
use ringfence_supply::advisories::{Index, import_zip};
use ringfence_sys::clock::SystemClock;
use std::path::{Path, PathBuf};

/// Days after which data is called stale here; the gate has its own setting.
const DAYS_MAX: u32 = 30;

/// Where imported data lies in a state directory.
pub(crate) fn file(state: &Path) -> PathBuf {
    state.join("advisories.idx")
}

/// Runs an advisories command.
pub(crate) fn run(command: AdvisoriesCommand, state: &Path, format: Format) -> Outcome {
    match command {
        AdvisoriesCommand::Status => status(state, format),
        AdvisoriesCommand::Import { files } => import(&files, state, format),
    }
}

fn status(state: &Path, format: Format) -> Outcome {
    let imported = file(state);
    let (index, from) = if imported.exists() {
        (Index::load(&imported), imported.display().to_string())
    } else {
        (Index::embedded(), "the set that is built in".to_owned())
    };
    let index = index.map_err(|e| Explained::of(&e))?;
    show(&index, &from, format)
}

fn show(index: &Index, from: &str, format: Format) -> Outcome {
    let ages = index.ages(SystemClock.now(), DAYS_MAX);
    if format == Format::Json {
        render::json(&serde_json::json!({"from": from, "data": ages}))?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["DATA", "DAYS OLD", "STALE"]);
    for age in &ages {
        let stale = if age.stale { "yes" } else { "no" };
        table.row([age.name.clone(), age.days.to_string(), stale.to_owned()]);
    }
    print!("{table}");
    println!("from {from}");
    if ages.iter().any(|a| a.stale) {
        println!("help: bring in newer OSV zips: ringfence advisories import all.zip");
    }
    Ok(PASS)
}

fn import(files: &[PathBuf], state: &Path, format: Format) -> Outcome {
    crate::house::open(state)?;
    let index = import_zip(files, SystemClock.now()).map_err(|e| Explained::of(&e))?;
    index.save(&file(state)).map_err(|e| Explained::of(&e))?;
    show(&index, &file(state).display().to_string(), format)
}
