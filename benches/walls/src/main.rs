//! The degraded-host matrix: hosts that lack something, and what `doctor` and `run` say there.
//!
//! Some cells are made on this machine (namespaces, a system call filter that imitates an older
//! kernel), some in a virtual machine that boots Debian's cloud kernel under software emulation.
//! `cargo xtask eval walls [--only CELL] [--kernel VMLINUZ]`; needs root, and for the VM
//! `qemu-system-x86_64` and that kernel.
//! INVARIANT: a cell that could not run is shown and makes the exit code 3, never 0.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a report for people"
)]

mod cells;
mod condition;
mod vm;

use cells::{CELLS, Cell, Place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What came of a cell: what it showed, or how it differs from what was expected.
type Result = std::result::Result<String, String>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    match plain.as_slice() {
        // The first process of a virtual machine: it was given nothing to say.
        [] if std::process::id() == 1 => vm::guest(),
        ["under", filter, rest @ ..] => condition::under(filter, rest),
        _ => {
            let value = |name: &str| {
                let place = plain.iter().position(|w| *w == name)?;
                plain.get(place + 1).map(|w| (*w).to_owned())
            };
            report(
                value("--only").as_deref(),
                value("--kernel").map(PathBuf::from).as_deref(),
            )
        }
    }
}

fn report(only: Option<&str>, kernel: Option<&Path>) -> ExitCode {
    let binary = std::env::var("RINGFENCE_BIN").unwrap_or_else(|_| "ringfence".to_owned());
    let wanted: Vec<&Cell> = CELLS
        .iter()
        .filter(|c| only.is_none_or(|o| c.name.contains(o)))
        .collect();
    let mut boots: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    let (mut right, mut wrong, mut unrun) = (0, 0, 0);
    let mut show = |cell: &Cell, place: &str, result: Option<Result>| {
        let (word, text) = match result {
            Some(Ok(text)) => {
                right += 1;
                ("as expected", text)
            }
            Some(Err(text)) => {
                wrong += 1;
                ("WRONG", text)
            }
            None => {
                unrun += 1;
                ("NOT RUN", String::new())
            }
        };
        println!("{:24} {place:8} {word:12} {text}", cell.name);
    };
    for cell in wanted {
        match cell.place {
            Place::Here => show(cell, "here", Some(cell.try_with(&binary))),
            Place::Machine(parameters) => boots.entry(parameters).or_default().push(cell),
        }
    }
    for (parameters, cells) in boots {
        match vm::boot(parameters, &cells, &binary, kernel) {
            Ok(mut results) => {
                for cell in cells {
                    show(cell, "machine", results.remove(cell.name));
                }
            }
            Err(why) => {
                eprintln!("error: {why}");
                for cell in cells {
                    show(cell, "machine", None);
                }
            }
        }
    }
    println!("{right} as expected, {wrong} WRONG, {unrun} not run");
    match (wrong, unrun) {
        (0, 0) if right > 0 => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}
