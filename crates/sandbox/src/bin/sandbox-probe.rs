//! The smallest program around the fence: what the tests of this crate launch as zygote, because a
//! test harness has threads and cannot be one, and as an owner that can be killed.
#![forbid(unsafe_code)]

use ringfence_core::isolation::{Ended, ExecRequest, Program, Spec, Strictness};
use ringfence_sandbox::oneshot::{self, OneShot, Streams};
use ringfence_sandbox::zygote::{self, ZygoteOptions};
use ringfence_sandbox::{attack, host};
use std::process::ExitCode;

/// ringfence itself failed, as for the real binary.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    ExitCode::from(match words.as_slice() {
        ["role", "attack", ..] => {
            let code = attack::native::main(args.get(2..).unwrap_or(&[]));
            u8::try_from(code).unwrap_or(FAILED)
        }
        ["role", "zygote", ..] => {
            u8::try_from(zygote::main(args.get(2..).unwrap_or(&[]))).unwrap_or(FAILED)
        }
        ["run", parent, command @ ..] => run(parent, command, Strictness::Full),
        ["run-weaker", parent, command @ ..] => run(parent, command, Strictness::AcceptWeaker),
        ["walls", parent] => walls(parent),
        _ => 2,
    })
}

/// Writes what this host can do as JSON.
fn walls(parent: &str) -> u8 {
    let options = ZygoteOptions {
        cgroup_parent: parent.to_owned(),
        ..ZygoteOptions::default()
    };
    let walls = host::walls_with(options);
    match serde_json::to_writer(std::io::stdout().lock(), &walls) {
        Ok(()) => 0,
        Err(_) => FAILED,
    }
}

fn run(parent: &str, command: &[&str], strictness: Strictness) -> u8 {
    let id = format!("run-{}", std::process::id());
    let (Ok(id), Ok(project)) = (id.parse(), "tests".parse()) else {
        return FAILED;
    };
    let mut spec = Spec::new(id, project);
    spec.strictness = strictness;
    let job = OneShot {
        spec,
        exec: ExecRequest {
            program: Program::Command(command.iter().map(|w| (*w).to_owned()).collect()),
            env: Vec::new(),
            workdir: "/tmp".into(),
            wall_ms: None,
        },
        streams: Streams::Inherit,
        zygote: ZygoteOptions {
            cgroup_parent: parent.to_owned(),
            ..ZygoteOptions::default()
        },
    };
    match oneshot::run(&job).map(|report| report.ended) {
        Ok(Ended::Exited(code)) => u8::try_from(code).unwrap_or(FAILED),
        Ok(Ended::Signaled(signal)) => u8::try_from(128 + signal).unwrap_or(FAILED),
        _ => FAILED,
    }
}
