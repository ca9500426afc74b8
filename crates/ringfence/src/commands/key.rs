//! `key`: API keys of the running service.

use crate::cli::KeyCommand;
use crate::control::{ask, delete, get, post};
use crate::render::table::Table;
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::time::parse_span_ms;
use ringfence_server::service::keys::{CreatedKey, NewKey, ShownKey};
use serde_json::Value;
use std::path::Path;

/// Runs a key command.
pub(crate) fn run(command: KeyCommand, state: &Path, format: Format) -> Outcome {
    match command {
        KeyCommand::Create {
            name,
            requests_per_minute,
            expires,
            reason,
        } => {
            let expires_in_ms = expires.as_deref().map(span).transpose()?;
            let new = NewKey {
                name,
                requests_per_minute,
                expires_in_ms,
                reason,
            };
            create(&new, state, format)
        }
        KeyCommand::List => list(state, format),
        KeyCommand::Revoke { id } => {
            let answer: Value = ask(state, &delete(format!("/v1/keys/{id}")))?;
            if format == Format::Json {
                render::json(&answer)?;
            } else {
                println!("revoked {id}");
            }
            Ok(PASS)
        }
    }
}

fn span(text: &str) -> Result<i64, Explained> {
    parse_span_ms(text).map_err(|e| {
        Explained::new(
            ErrorCode("cli/span"),
            e.to_string(),
            "write for example 90d or 12h",
        )
    })
}

fn create(new: &NewKey, state: &Path, format: Format) -> Outcome {
    let made: CreatedKey = ask(state, &post("/v1/keys", new))?;
    if format == Format::Json {
        render::json(&made)?;
        return Ok(PASS);
    }
    println!("{}", made.key);
    eprintln!("This is shown once. Only a keyed hash of it is kept.");
    if let Some(end) = made.expires {
        eprintln!("It ends {end}.");
    }
    Ok(PASS)
}

fn list(state: &Path, format: Format) -> Outcome {
    let keys: Vec<ShownKey> = ask(state, &get("/v1/keys"))?;
    if format == Format::Json {
        render::json(&keys)?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["ID", "NAME", "PER MINUTE", "CREATED", "EXPIRES", "STATE"]);
    for key in keys {
        let expires = key
            .expires
            .map_or_else(|| "never".to_owned(), |t| t.to_string());
        let state = if key.revoked.is_some() {
            "revoked"
        } else {
            "active"
        };
        table.row([
            key.id.to_string(),
            key.name,
            key.requests_per_minute.to_string(),
            key.created.to_string(),
            expires,
            state.to_owned(),
        ]);
    }
    if table.is_empty() {
        println!("no keys; make one: ringfence key create --name NAME");
    } else {
        print!("{table}");
    }
    Ok(PASS)
}
