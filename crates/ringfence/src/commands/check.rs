//! `check`: scans a project on its own, after it has confined itself to reading that project.

use crate::cli::CheckArgs;
use crate::render::{self, Format};
use crate::{FINDINGS, INCOMPLETE, Outcome, PASS};
use ringfence_admit::{ScanOptions, ScanReport, sarif};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::Strictness;
use ringfence_core::ports::Clock as _;
use ringfence_core::verdict::Decision;
use ringfence_server::config;
use ringfence_sys::clock::SystemClock;
use ringfence_sys::confine::{Confinement, Place, apply};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Files between two lines of progress.
const PROGRESS_FILES: u64 = 500;

/// Scans and prints.
pub(crate) fn run(args: &CheckArgs, state: Option<&Path>, format: Format) -> Outcome {
    let root = args.path.canonicalize().map_err(|e| {
        Explained::new(
            ErrorCode("admit/path"),
            format!("{} cannot be opened", args.path.display()),
            "name an existing folder or file",
        )
        .because(e)
    })?;
    let mut options = ScanOptions::at(SystemClock.now());
    options.advisories = args.advisories.clone().or_else(|| imported(state));
    // From here on nothing but the project can be read: its own configuration is parsed inside.
    confine(&root, options.advisories.as_deref(), args.accept_weaker)?;
    options.gate = gate_of(&root)?;
    if let Some(severity) = &args.deny_at {
        options.gate.deny_at = severity.parse().map_err(|e| {
            Explained::new(
                ErrorCode("cli/value"),
                format!("{e}"),
                "for example --deny-at critical",
            )
        })?;
    }
    let show = std::io::stderr().is_terminal() && format == Format::Table;
    let report = ringfence_admit::scan(&root, &options, &mut |progress| {
        if show && progress.files % PROGRESS_FILES == 0 {
            eprint!("\r{} files, {} octets", progress.files, progress.bytes);
            // Progress that cannot be shown is no reason to stop.
            let _shown = std::io::stderr().flush().is_ok();
        }
    })
    .map_err(|e| Explained::of(&e))?;
    if show {
        eprint!("\r{:60}\r", "");
    }
    if args.sarif {
        render::json(&sarif::sarif(&report))?;
    } else if format == Format::Json {
        render::json(&report)?;
    } else {
        render::scan::print(&report);
    }
    Ok(code(&report))
}

/// The exit code of a verdict.
pub(crate) fn code(report: &ScanReport) -> u8 {
    match report.verdict.decision {
        Decision::Allow => PASS,
        Decision::Deny => FINDINGS,
        Decision::Incomplete => INCOMPLETE,
    }
}

/// The project's own gate, where it has a configuration.
fn gate_of(root: &Path) -> Result<ringfence_policy::GateConfig, Explained> {
    let path = root.join("ringfence.toml");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(ringfence_policy::GateConfig::default());
    };
    let config = config::parse(&path.to_string_lossy(), &text).map_err(|e| Explained::of(&e))?;
    Ok(config.gate)
}

/// Imported advisory data of the state directory.
pub(crate) fn imported(state: Option<&Path>) -> Option<PathBuf> {
    state.map(super::advisories::file).filter(|f| f.exists())
}

/// From here on this process reads the project and nothing else, and has no network.
fn confine(root: &Path, advisories: Option<&Path>, accept_weaker: bool) -> Result<(), Explained> {
    let mut confinement = Confinement::inspector(Place::Path(root.to_owned()));
    if let Some(file) = advisories {
        confinement.read.push(Place::Path(file.to_owned()));
    }
    if accept_weaker {
        confinement = confinement.with_strictness(Strictness::AcceptWeaker);
    }
    apply(confinement).map_err(|e| Explained::of(&e))?;
    Ok(())
}
