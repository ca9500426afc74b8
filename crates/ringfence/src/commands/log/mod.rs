//! `log`: showing, proving, verifying and copying. Verifying needs no service, no secret key and no
//! database: only the files.

mod check;
mod erase;
mod export;
mod web;
mod worm;

use crate::cli::LogCommand;
use crate::control::{ask, ask_text, get};
use crate::render::table::Table;
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::leaf::Leaf;
use ringfence_record::verify::vkeys_of;
use ringfence_server::service::leaves::{IndexedLeaf, Page};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often `follow` asks.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);
/// Leaves of one question.
const FOLLOW_PAGE: u64 = 500;

/// Runs a log command.
pub(crate) fn run(command: LogCommand, state: &Path, format: Format) -> Outcome {
    let own = state.join("record");
    match command {
        LogCommand::Show { count, from } => show(state, count, from, format),
        LogCommand::Follow { from } => follow(state, from, format),
        LogCommand::Vkey { dir } => vkey(&dir.unwrap_or(own), format),
        LogCommand::Verify(arguments) => check::verify(&arguments, &own, format),
        LogCommand::Fsck => check::fsck(&own, format),
        LogCommand::Prove { index, out } => prove(state, index, out),
        LogCommand::Worm { dir, follow } => worm::run(dir, follow, state, format),
        LogCommand::Erase { subject, yes } => erase::run(subject, yes, state, format),
        LogCommand::Export { dir, immutable } => export::run(&own, &dir, immutable, format),
    }
}

fn columns(entry: IndexedLeaf) -> [String; 6] {
    let IndexedLeaf { index, leaf } = entry;
    let outcome = format!("{:?}", leaf.outcome).to_lowercase();
    let Leaf {
        time,
        action,
        actor,
        object,
        ..
    } = leaf;
    [
        index.to_string(),
        time.to_string(),
        action.as_str().to_owned(),
        actor,
        object,
        outcome,
    ]
}

fn show(state: &Path, count: u64, from: Option<u64>, format: Format) -> Outcome {
    let page = page(state, count, from)?;
    if format == Format::Json {
        render::json(&page)?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["INDEX", "TIME", "ACTION", "ACTOR", "OBJECT", "OUTCOME"]);
    for entry in page.leaves {
        table.row(columns(entry));
    }
    print!("{table}");
    println!("{} leaves, root {}", page.size, page.root);
    println!("{}", page.anchor);
    Ok(PASS)
}

fn page(state: &Path, count: u64, from: Option<u64>) -> Result<Page, Explained> {
    let from = from.map(|f| format!("&from={f}")).unwrap_or_default();
    ask(state, &get(format!("/v1/leaves?count={count}{from}")))
}

/// Prints leaves as they come, one a line, until the reader goes away or Ctrl-C.
#[expect(
    clippy::disallowed_methods,
    reason = "there is nothing to wait on: the service is asked again"
)]
fn follow(state: &Path, from: Option<u64>, format: Format) -> Outcome {
    let mut next = match from {
        Some(from) => from,
        None => page(state, 1, None)?.size,
    };
    loop {
        let page = page(state, FOLLOW_PAGE, Some(next))?;
        let waits = page.leaves.is_empty();
        for entry in page.leaves {
            next = entry.index + 1;
            let line = if format == Format::Json {
                json!(entry).to_string()
            } else {
                render::table::neutral(&columns(entry).join("  "))
            };
            if writeln!(std::io::stdout(), "{line}").is_err() {
                return Ok(PASS);
            }
        }
        if waits {
            std::thread::sleep(FOLLOW_INTERVAL);
        }
    }
}

fn vkey(own: &Path, format: Format) -> Outcome {
    let keys = vkeys_of(own).map_err(|e| Explained::of(&e))?;
    let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
    if format == Format::Json {
        render::json(&lines)?;
    } else {
        println!("{}", lines.join("\n"));
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
