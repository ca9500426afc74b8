//! `log`: showing, proving and verifying. Verifying needs no service, no secret key and no
//! database: only the directory.

use crate::cli::LogCommand;
use crate::control::{ask, ask_text, get};
use crate::render::table::Table;
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_record::verify::verify_dir;
use ringfence_server::service::leaves::{ANCHOR, Page};
use std::path::{Path, PathBuf};

/// Runs a log command.
pub(crate) fn run(command: LogCommand, state: &Path, format: Format) -> Outcome {
    match command {
        LogCommand::Show { count, from } => show(state, count, from, format),
        LogCommand::Verify { dir } => verify(&dir.unwrap_or_else(|| state.join("record")), format),
        LogCommand::Prove { index, out } => prove(state, index, out),
    }
}

fn show(state: &Path, count: u64, from: Option<u64>, format: Format) -> Outcome {
    let from = from.map(|f| format!("&from={f}")).unwrap_or_default();
    let page: Page = ask(state, &get(format!("/v1/leaves?count={count}{from}")))?;
    if format == Format::Json {
        render::json(&page)?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["INDEX", "TIME", "ACTION", "ACTOR", "OBJECT", "OUTCOME"]);
    for entry in page.leaves {
        let leaf = entry.leaf;
        table.row([
            entry.index.to_string(),
            leaf.time.to_string(),
            leaf.action.as_str().to_owned(),
            leaf.actor,
            leaf.object,
            format!("{:?}", leaf.outcome).to_lowercase(),
        ]);
    }
    print!("{table}");
    println!("{} leaves, root {}", page.size, page.root);
    println!("{ANCHOR}");
    Ok(PASS)
}

fn verify(dir: &Path, format: Format) -> Outcome {
    let report = verify_dir(dir, &[]).map_err(|e| Explained::of(&e))?;
    if format == Format::Json {
        render::json(&report)?;
        return Ok(PASS);
    }
    println!(
        "the log verifies: {} leaves, root {}",
        report.size, report.root
    );
    println!(
        "checkpoint: {} leaves, root {}; {} request numbers unaccounted for",
        report.checkpoint_size, report.checkpoint_root, report.unaccounted
    );
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    Ok(PASS)
}

fn prove(state: &Path, index: u64, out: Option<PathBuf>) -> Outcome {
    let proof = ask_text(state, &get(format!("/v1/leaves/{index}/proof")))?;
    match out {
        Some(path) => std::fs::write(&path, &proof).map_err(|e| {
            Explained::new(
                ErrorCode("cli/output"),
                format!("{} cannot be written", path.display()),
                "name another file: --out FILE",
            )
            .because(e)
        })?,
        None => print!("{proof}"),
    }
    Ok(PASS)
}
