//! The binary: it reads the command line, calls the crate that knows, prints, and chooses the exit
//! code. Only this crate prints, exits or asks the environment.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | pass |
//! | 1 | findings over the gate, or a refusal that was the right answer |
//! | 2 | error |
//! | 3 | incomplete: nothing bad was found, but not everything was understood |
//!
//! `run` passes the command's own code; 125 is ringfence's failure, 126 and 127 as a shell, 128+n
//! for signal n.
//! INVARIANT: a role of `up` is dispatched before anything else happens, while the process has one
//! thread.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this crate is where ringfence speaks to people"
)]

mod cli;
mod commands;
mod control;
mod house;
mod render;
mod roles;
mod state;

use clap::Parser as _;
use cli::{Cli, Command};
use ringfence_core::error::Explained;
use std::process::ExitCode;

/// The command did what it should.
const PASS: u8 = 0;
/// Findings over the gate.
const FINDINGS: u8 = 1;
/// An error.
const ERROR: u8 = 2;
/// Not everything was understood.
const INCOMPLETE: u8 = 3;

/// What a command returns: its exit code, or an error in words.
type Outcome = Result<u8, Explained>;

fn main() -> ExitCode {
    if let Some(code) = roles::dispatch() {
        return ExitCode::from(code);
    }
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Up(_) | Command::Run(_)) {
        ringfence_sys::process::end_with_the_reader();
    }
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(ERROR)
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let format = if cli.json {
        render::Format::Json
    } else {
        render::Format::Table
    };
    let state = || state::directory(cli.state.clone());
    match cli.command {
        Command::Check(args) => commands::check::run(&args, state().ok().as_deref(), format),
        Command::Advisories(command) => commands::advisories::run(command, &state()?, format),
        Command::Up(args) => commands::up::run(&args, &state()?, format),
        Command::Down => commands::service::down(&state()?),
        Command::Ps => commands::service::ps(&state()?, format),
        Command::Logs(args) => commands::service::logs(&args, &state()?),
        Command::Run(args) if args.attack_suite => commands::attack::run(&args, format),
        Command::Run(args) => Ok(commands::run::run(&args, format)),
        Command::Key(command) => commands::key::run(command, &state()?, format),
        Command::Guard(command) => commands::guard::run(command, format),
        Command::Redact(args) => commands::redact::run(&args, format),
        Command::Status(args) => commands::service::status(&args, &state()?, format),
        Command::Case(command) => commands::case::run(command, &state()?, format),
        Command::Waive(args) => commands::case::waive(args, &state()?, format),
        Command::Alert(command) => commands::case::alert(&command, &state()?, format),
        Command::Log(command) => commands::log::run(command, &state()?, format),
        Command::Witness(args) => commands::witness::run(&args, &state()?, format),
        Command::Doctor => commands::doctor::run(format),
        Command::Config(command) => commands::config::run(command, format),
        Command::Completions { shell } => Ok(commands::shell::completions(shell)),
        Command::Man => commands::shell::man(),
        Command::Offline => commands::offline::run(&state()?),
        Command::Role { .. } => Err(roles::misplaced()),
    }
}
