//! `case`, `waive` and `alert`: weaknesses and incidents of the running service.

use crate::cli::{AlertCommand, CaseCommand, WaiveArgs};
use crate::control::{ask, get, post};
use crate::render::table::{Table, neutral};
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ports::Clock as _;
use ringfence_core::time::{Timestamp, parse_span_ms};
use ringfence_server::service::cases::{CaseFile, ShownAlert, ShownCase};
use ringfence_server::service::waivers::{AskedWaiver, ShownWaiver};
use ringfence_sys::clock::SystemClock;
use serde_json::Value;
use std::path::Path;

/// Runs a case command.
pub(crate) fn run(command: CaseCommand, state: &Path, format: Format) -> Outcome {
    match command {
        CaseCommand::List => list(state, format),
        CaseCommand::Show { id } => show(&id, state, format),
    }
}

fn list(state: &Path, format: Format) -> Outcome {
    let cases: Vec<ShownCase> = ask(state, &get("/v1/cases"))?;
    if format == Format::Json {
        render::json(&cases)?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["CASE", "STATE", "TIER", "DUE", "RULE", "TITLE"]);
    for case in cases {
        table.row([
            case.id, case.state, case.tier, case.due, case.rule, case.title,
        ]);
    }
    if table.is_empty() {
        println!("no case was opened");
    } else {
        print!("{table}");
    }
    Ok(PASS)
}

fn show(id: &str, state: &Path, format: Format) -> Outcome {
    let file: CaseFile = ask(state, &get(format!("/v1/cases/{id}")))?;
    if format == Format::Json {
        render::json(&file)?;
        return Ok(PASS);
    }
    let case = file.case;
    println!("{} {}", case.id, neutral(&case.title));
    for (name, value) in [
        ("rule", &case.rule),
        ("at", &case.place),
        ("state", &case.state),
        ("tier", &case.tier),
        ("due", &case.due),
        ("fix", &case.fix),
        ("until then", &case.mitigation),
        ("fingerprint", &case.fingerprint),
    ] {
        println!("  {name}: {}", neutral(value));
    }
    for line in file.history {
        println!("  {}", neutral(&line));
    }
    Ok(PASS)
}

/// Runs an alert command.
pub(crate) fn alert(command: &AlertCommand, state: &Path, format: Format) -> Outcome {
    if matches!(command, AlertCommand::Key) {
        let answer: Value = ask(state, &get("/v1/alerts/key"))?;
        if format == Format::Json {
            render::json(&answer)?;
        } else {
            println!("{}", answer["key"].as_str().unwrap_or_default());
        }
        return Ok(PASS);
    }
    let alerts: Vec<ShownAlert> = ask(state, &get("/v1/alerts"))?;
    if format == Format::Json {
        render::json(&alerts)?;
        return Ok(PASS);
    }
    for alert in &alerts {
        println!("{}", neutral(&alert.what));
        for (name, value) in [
            ("scope", &alert.scope),
            ("tier", &alert.tier),
            ("until then", &alert.mitigation),
            ("fix", &alert.fix),
            ("due", &alert.due),
        ] {
            println!("  {name}: {}", neutral(value));
        }
    }
    if alerts.is_empty() {
        println!("no alert was raised");
    }
    Ok(PASS)
}

/// Accepts a finding until a date.
pub(crate) fn waive(args: WaiveArgs, state: &Path, format: Format) -> Outcome {
    let asked = AskedWaiver {
        rule: args.rule,
        fingerprint: args.fingerprint,
        until: end(&args.until)?,
        reason: args.reason,
    };
    let made: ShownWaiver = ask(state, &post("/v1/waivers", &asked))?;
    if format == Format::Json {
        render::json(&made)?;
    } else {
        println!("{} is waived until {}", made.rule, made.until);
    }
    Ok(PASS)
}

fn end(text: &str) -> Result<Timestamp, Explained> {
    if let Ok(span) = parse_span_ms(text) {
        return Ok(SystemClock.now().plus_ms(span));
    }
    Timestamp::parse(text).map_err(|e| {
        Explained::new(
            ErrorCode("cli/value"),
            e.to_string(),
            "for example --until 30d",
        )
    })
}
