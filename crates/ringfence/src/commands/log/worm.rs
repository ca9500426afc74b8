//! `log worm`: has the log exported to write-once storage, and puts on record what came of it.
//!
//! The export is a process of its own, which faces the network and has neither root nor a key of
//! ours ([`crate::roles::exporter`]). This one starts it, reads its one line, and asks the service,
//! or the state directory where none runs, for the leaf.

use crate::control::{ask, post};
use crate::render::{self, Format};
use crate::roles::exporter::{Told, WORDS};
use crate::{ERROR, FINDINGS, INCOMPLETE, Outcome, PASS, house};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_record::worm::{PARTIAL_MS, Report};
use ringfence_server::service::exports::Export;
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// LIMIT: octets of what the exporter says.
const TOLD_BYTES_MAX: u64 = 64 * 1024;

/// Exports once, or every hour until the log or the vault is not as it must be.
#[expect(
    clippy::disallowed_methods,
    reason = "a command that has nothing to do for an hour"
)]
pub(super) fn run(dir: Option<PathBuf>, follow: bool, state: &Path, format: Format) -> Outcome {
    let folder = match dir {
        Some(dir) => std::path::absolute(&dir).map_err(|e| failed("no such folder").because(e))?,
        None => house::noted(state).ok_or_else(|| failed("nothing was hosted here yet"))?,
    };
    loop {
        let export = once(state, &folder)?;
        let code = show(&export, format)?;
        let noted: Result<Value, Explained> = ask(state, &post("/v1/exports", &export));
        if !follow || code == FINDINGS {
            return noted.map(|_| code);
        }
        if let Err(error) = noted {
            eprintln!("{error}");
        }
        // What is left is due now; anything else is due in an hour.
        if code != INCOMPLETE {
            std::thread::sleep(Duration::from_millis(PARTIAL_MS.unsigned_abs()));
        }
    }
}

fn failed(what: &str) -> Explained {
    Explained::new(
        ErrorCode("cli/worm"),
        what,
        "name the folder that holds ringfence.toml: ringfence log worm DIR",
    )
}

/// One export by a process of its own.
fn once(state: &Path, folder: &Path) -> Result<Export, Explained> {
    let broken = |what: &str| {
        Explained::new(
            ErrorCode("cli/exporter"),
            what,
            "see what it said above, and `ringfence doctor`",
        )
    };
    let program = std::env::current_exe().map_err(|e| broken("no program").because(e))?;
    let mut child = Command::new(program)
        .args(["role", "exporter", WORDS[0]])
        .arg(state)
        .arg(WORDS[1])
        .arg(folder)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| broken("the exporter did not start").because(e))?;
    let mut text = Vec::new();
    let read = match child.stdout.take() {
        Some(output) => output.take(TOLD_BYTES_MAX).read_to_end(&mut text),
        None => Ok(0),
    };
    child
        .wait()
        .map_err(|e| broken("the exporter was lost").because(e))?;
    read.map_err(|e| broken("the exporter was not heard").because(e))?;
    match serde_json::from_slice(&text) {
        Ok(Told::Exported(export)) => Ok(export),
        Ok(Told::Refused(error)) => Err(error),
        Err(e) => Err(broken("the exporter ended without a word").because(e)),
    }
}

fn show(export: &Export, format: Format) -> Outcome {
    if format == Format::Json {
        render::json(export)?;
    } else if let Some(report) = &export.report {
        print(&export.vault, report);
    } else if let Some(failure) = &export.failure {
        eprintln!("{failure}");
    }
    Ok(match &export.report {
        Some(report) if report.lag() > 0 => INCOMPLETE,
        Some(_) => PASS,
        None if export.finding => FINDINGS,
        None => ERROR,
    })
}

fn print(vault: &str, report: &Report) {
    println!(
        "exported to {vault}: checkpoint of {} leaves; {} files stored, {} octets; {} were there, \
         unchanged and locked",
        report.checkpoint, report.stored, report.bytes, report.found
    );
    if report.lag() > 0 {
        println!("{} leaves are left for the next run", report.lag());
    } else if report.checkpoint < report.size {
        println!(
            "{} newer leaves wait for the hourly checkpoint",
            report.size - report.checkpoint
        );
    }
}
