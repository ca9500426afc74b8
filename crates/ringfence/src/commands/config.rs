//! `config explain`: every key, its value, and where it comes from.

use crate::cli::ConfigCommand;
use crate::render::table::Table;
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_server::config::{self, Origin};

/// Explains the configuration of a folder.
pub(crate) fn run(command: ConfigCommand, format: Format) -> Outcome {
    let ConfigCommand::Explain { dir } = command;
    let path = dir.join("ringfence.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Explained::new(
            ErrorCode("config/unreadable"),
            format!("{} cannot be read", path.display()),
            "name the folder that holds ringfence.toml; examples/helpdesk has one to copy",
        )
        .because(e)
    })?;
    let shown = path.to_string_lossy();
    let config = config::parse(&shown, &text).map_err(|e| Explained::of(&e))?;
    let keys = config::explain(&config, &text);
    let gate = ringfence_policy::Gate::compile(&config.gate).map_err(|e| Explained::of(&e))?;
    if format == Format::Json {
        render::json(&serde_json::json!({"keys": keys, "gate_rego": gate.rego()}))?;
        return Ok(PASS);
    }
    let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
    for key in keys {
        let origin = match key.origin {
            Origin::File => "file",
            Origin::Default => "default",
        };
        table.row([key.key, key.value, origin.to_owned()]);
    }
    println!("{table}\nThe gate as Rego:\n\n{}", gate.rego());
    Ok(PASS)
}
