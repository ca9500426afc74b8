//! `run -- CMD`: one command in a sandbox; no configuration, login, service or state.

use crate::cli::RunArgs;
use crate::render::{self, Format};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::ProjectId;
use ringfence_core::isolation::{Access, Ended, ExecRequest, Mount, Program, Spec, Strictness};
use ringfence_core::time::parse_span_ms;
use ringfence_sandbox::oneshot::{self, OneShot, OneShotReport, Streams};
use ringfence_sandbox::zygote::ZygoteOptions;
use ringfence_server::config::Bytes;
use serde_json::json;

/// ringfence itself failed, as env(1) and docker do.
const FAILED: u8 = 125;
/// The command was found and cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// The command was not found.
const NOT_FOUND: u8 = 127;
/// The time was up, as timeout(1).
const TIMED_OUT: u8 = 124;

/// Runs the command and returns its code.
pub(crate) fn run(args: &RunArgs, format: Format) -> u8 {
    match attempt(args, format) {
        Ok(report) => {
            finish(&report, format);
            code(report.ended)
        }
        Err(error) => {
            eprintln!("{error}");
            if error.code == "run/command-not-found" {
                NOT_FOUND
            } else if error.code == "run/command-not-executable" {
                NOT_RUNNABLE
            } else {
                FAILED
            }
        }
    }
}

fn attempt(args: &RunArgs, format: Format) -> Result<OneShotReport, Explained> {
    let bad = |what: String, help: &str| Explained::new(ErrorCode("cli/value"), what, help);
    let memory: Bytes = args
        .memory
        .parse()
        .map_err(|e| bad(format!("{e}"), "for example --memory 512MiB"))?;
    let wall_ms = args
        .timeout
        .as_deref()
        .map(parse_span_ms)
        .transpose()
        .map_err(|e| bad(e.to_string(), "for example --timeout 10s"))?
        .and_then(|ms| u64::try_from(ms).ok());
    let folder = std::env::current_dir().map_err(|e| {
        bad(
            format!("the current folder is gone: {e}"),
            "change to another",
        )
    })?;
    let id = format!("run-{}", std::process::id());
    let id = id
        .parse()
        .map_err(|_| bad("an id was not an id".to_owned(), "report it"))?;
    let mut spec = Spec::new(id, ProjectId::host());
    spec.memory_bytes = memory.0;
    spec.processes = args.processes;
    if args.accept_weaker {
        spec.strictness = Strictness::AcceptWeaker;
    }
    let visible = folder.parent().is_some();
    if visible {
        spec.mounts.push(Mount {
            source: folder.clone(),
            target: folder.clone(),
            access: Access::ReadOnly,
        });
    }
    let variables = ["PATH", "LANG", "TERM"];
    let mut env: Vec<(String, String)> = variables
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    env.push(("HOME".to_owned(), "/tmp".to_owned()));
    let exec = ExecRequest {
        program: Program::Command(args.command.clone()),
        env,
        workdir: if visible { folder } else { "/".into() },
        wall_ms,
    };
    let streams = if format == Format::Json {
        Streams::Capture { stdin: Vec::new() }
    } else {
        Streams::Inherit
    };
    let job = OneShot {
        spec,
        exec,
        streams,
        zygote: ZygoteOptions::default(),
    };
    oneshot::run(&job).map_err(|e| Explained::of(&e))
}

fn finish(report: &OneShotReport, format: Format) {
    if format == Format::Json {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = json!({
            "ended": report.ended,
            "code": code(report.ended),
            "stdout": text(&report.stdout.bytes),
            "stderr": text(&report.stderr.bytes),
            "dropped_bytes": report.stdout.dropped + report.stderr.dropped,
            "stats": report.stats,
            "attestation": report.attestation,
        });
        if let Err(error) = render::json(&value) {
            eprintln!("{error}");
        }
        return;
    }
    for wall in report.attestation.missing() {
        eprintln!(
            "ringfence: weaker: {} does not stand: {}",
            wall.wall.as_str(),
            wall.evidence
        );
    }
    match report.ended {
        Ended::TimedOut => eprintln!("ringfence: the time was up; everything it started is gone"),
        Ended::OutOfMemory => {
            eprintln!("ringfence: it needed more memory than allowed; give more with --memory");
        }
        Ended::Lost => eprintln!("ringfence: the sandbox was lost"),
        Ended::Exited(_) | Ended::Signaled(_) => {}
    }
}

fn code(ended: Ended) -> u8 {
    match ended {
        Ended::Exited(code) => u8::try_from(code & 0xff).unwrap_or(FAILED),
        Ended::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(FAILED),
        Ended::TimedOut => TIMED_OUT,
        Ended::OutOfMemory => 128 + 9,
        Ended::Lost => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!(code(Ended::Exited(3)), 3);
        assert_eq!(code(Ended::Signaled(9)), 137);
        assert_eq!(code(Ended::TimedOut), 124);
        assert_eq!(code(Ended::Lost), 125);
    }
}
