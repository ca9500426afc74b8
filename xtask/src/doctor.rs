//! What this machine has and lacks for building and testing.

use crate::{Outcome, cargo::root};
use std::path::PathBuf;
use std::process::Command;

/// One thing that is needed.
pub(crate) struct Need {
    /// What it is.
    pub name: &'static str,
    /// The Debian package that brings it; none when it is installed some other way.
    pub package: Option<&'static str>,
    /// What it is for.
    pub purpose: &'static str,
    /// Which part of the tests needs it; none when building does.
    pub(crate) part: Option<&'static str>,
    /// Whether it is there.
    pub found: fn() -> bool,
}

/// Everything that building and testing needs beyond cargo.
pub(crate) const NEEDS: [Need; 8] = [
    Need {
        name: "C compiler",
        package: Some("build-essential"),
        purpose: "aws-lc and SQLite are C",
        part: None,
        found: || works("cc", &["--version"]),
    },
    Need {
        name: "python3",
        package: Some("python3"),
        purpose: "the helpdesk example and the client tests",
        part: None,
        found: || std::path::Path::new("/usr/bin/python3").exists(),
    },
    Need {
        name: "python3 venv",
        package: Some("python3-venv"),
        purpose: "an environment for the client tests",
        part: Some("--no-services"),
        found: || works("/usr/bin/python3", &["-c", "import venv, ensurepip"]),
    },
    Need {
        name: "curl",
        package: Some("curl"),
        purpose: "the gateway is asked as the documentation shows",
        part: None,
        found: || works("curl", &["--version"]),
    },
    Need {
        name: "chromium",
        package: Some("chromium"),
        purpose: "the console in a real browser",
        part: Some("--no-browser"),
        found: || works("chromium", &["--version"]),
    },
    Need {
        name: "chromedriver",
        package: Some("chromium-driver"),
        purpose: "drives that browser over plain HTTP",
        part: Some("--no-browser"),
        found: || works("chromedriver", &["--version"]),
    },
    Need {
        name: "PostgreSQL server",
        package: Some("postgresql-15"),
        purpose: "the state on a private server, with the feature `scale`",
        part: Some("--no-services"),
        found: postgres,
    },
    Need {
        name: "python packages of the tests",
        package: None,
        purpose: "openai (client), xllamacpp (a real llama.cpp server), gguf (a tiny model), moto (an imitation of S3)",
        part: Some("--no-services"),
        found: || venv().join(".complete").exists(),
    },
];

/// The Python environment of the tests.
pub(crate) fn venv() -> PathBuf {
    root().join("target/test-venv")
}

/// Whether the programs of a `PostgreSQL` server are there, which Debian keeps out of the path: of 15,
/// or newer where the machine has it.
fn postgres() -> bool {
    (15..=20).any(|major| {
        let bin = format!("/usr/lib/postgresql/{major}/bin");
        works(&format!("{bin}/postgres"), &["--version"])
            && works(&format!("{bin}/initdb"), &["--version"])
    })
}

/// Whether a program starts and succeeds.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|o| o.status.success())
}

/// Prints the table; an error when something is missing that no flag leaves out.
pub(crate) fn run(flags: &[&str]) -> Outcome {
    let mut missing = Vec::new();
    for need in &NEEDS {
        let found = (need.found)();
        let left_out = need.part.is_some_and(|part| flags.contains(&part));
        let word = match (found, left_out) {
            (true, _) => "ok",
            (false, true) => "left out",
            (false, false) => "MISSING",
        };
        println!("{word:8} {:30} {}", need.name, need.purpose);
        if !found && !left_out {
            missing.push(need.name);
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "missing: {}\nhelp: cargo xtask setup",
            missing.join(", ")
        ))
    }
}
