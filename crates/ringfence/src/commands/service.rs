//! `down`, `ps`, `logs`, `status`: the running service.

use crate::cli::{LogsArgs, StatusArgs};
use crate::control::{ask_running, get, post};
use crate::render::table::{Table, neutral};
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_server::service::status::{LogPiece, ShownSandbox, Status};
use ringfence_sys::lock::DirLock;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// LIMIT: how long `down` waits for the service to be gone.
const DOWN_SECONDS_MAX: u64 = 30;
/// Between two looks at something that changes.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Stops the service and waits until its lock is free.
pub(crate) fn down(state: &Path) -> Outcome {
    let _answer: Value = ask_running(state, &post("/v1/stop", &()))?;
    let start = Instant::now();
    while start.elapsed().as_secs() < DOWN_SECONDS_MAX {
        if DirLock::acquire(state).is_ok() {
            println!("stopped");
            return Ok(PASS);
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    Err(Explained::new(
        ErrorCode("cli/down-slow"),
        format!("the service did not end within {DOWN_SECONDS_MAX} s"),
        "look at its output: ringfence logs; or end its supervisor by process id",
    ))
}

/// Lists sandboxes.
pub(crate) fn ps(state: &Path, format: Format) -> Outcome {
    let sandboxes: Vec<ShownSandbox> = ask_running(state, &get("/v1/sandboxes"))?;
    if format == Format::Json {
        render::json(&sandboxes)?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["SANDBOX", "PROJECT", "ROLE", "PROCESSES", "MEMORY", "CPU"]);
    for sandbox in sandboxes {
        table.row([
            sandbox.id,
            sandbox.project,
            sandbox.role,
            sandbox.stats.processes.to_string(),
            format!("{} KiB", sandbox.stats.memory_bytes / 1024),
            format!("{} ms", sandbox.stats.cpu_us / 1000),
        ]);
    }
    if table.is_empty() {
        println!("no sandbox runs");
    } else {
        print!("{table}");
    }
    Ok(PASS)
}

/// Shows what the assistant printed.
pub(crate) fn logs(args: &LogsArgs, state: &Path) -> Outcome {
    let mut piece: LogPiece = ask_running(state, &get(format!("/v1/logs?tail={}", args.tail)))?;
    print!("{}", neutral(&piece.text));
    if !args.follow {
        return Ok(PASS);
    }
    loop {
        std::thread::park_timeout(LOOK_AGAIN);
        piece = ask_running(state, &get(format!("/v1/logs?from={}", piece.next)))?;
        print!("{}", neutral(&piece.text));
    }
}

/// Shows the service at a glance.
pub(crate) fn status(args: &StatusArgs, state: &Path, format: Format) -> Outcome {
    if args.new_token {
        let question = post("/v1/console/token", &());
        let answer: Value = ask_running(state, &question)?;
        if format == Format::Json {
            render::json(&answer)?;
        } else {
            println!("{}", answer["token"].as_str().unwrap_or_default());
        }
        return Ok(PASS);
    }
    let status: Status = ask_running(state, &get("/v1/status"))?;
    if format == Format::Json {
        render::json(&status)?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["WHAT", "NOW"]);
    let started = status.started.map(|t| t.to_string()).unwrap_or_default();
    for (name, value) in [
        ("project", status.project),
        (
            "verdict",
            status.verdict.unwrap_or_else(|| "none".to_owned()),
        ),
        ("gateway", status.gateway),
        ("console", status.console),
        ("answers come from", status.upstream),
        ("assistant", status.assistant),
        ("open cases", status.cases_open.to_string()),
        (
            "log",
            format!(
                "{} leaves, {} unaccounted for",
                status.leaves, status.unaccounted
            ),
        ),
        ("started", started),
        ("version", status.version),
    ] {
        table.row([name.to_owned(), value]);
    }
    print!("{table}");
    println!("{}", status.anchor);
    let missing = status.walls.iter().filter(|w| !w.stands).count();
    if missing > 0 {
        println!("{missing} walls do not stand: ringfence doctor");
    }
    Ok(PASS)
}
