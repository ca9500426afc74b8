//! The workspace's own tool: set-up, tests, tidiness, blessing and statistics.
//!
//! It uses the standard library, `serde_json` and `toml` only, so that it builds in seconds. It is
//! not part of the product; nothing here is shipped.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people at a terminal"
)]

mod benches;
mod bless;
mod cargo;
mod doctor;
mod fuzz;
mod setup;
mod soak;
mod source;
mod stats;
mod test;
mod tidy;

use std::process::ExitCode;

/// Errors of the tool are sentences for the person who typed the command.
type Outcome = Result<(), String>;

const HELP: &str = "\
cargo xtask COMMAND

  doctor            what this machine has and lacks for building and testing
  setup [--yes]     install what is missing (Debian and Ubuntu; asks first)
  test [--yes]      everything: doctor, tidy, format, lints, build, tests, documentation
       [--no-privileged] [--no-browser] [--no-services]
                    leave a part out; it is shown as skipped
  tidy              the rules of the house that no compiler knows
  bless             renew the generated pages, then show the difference
  stats             write docs/STATS.md
  soak crash        the kill -9 loop at full length
  soak log          10,000 starts of the log on a disk that forgets, and as many kills
  fuzz TARGET [--seconds N]
                    feed one parser (fuzz/), or all, with what nobody meant
  bench AREA        measure one area beside its peers (benches/AREA); flags go to it
  eval AREA         judge one area on the development data; fails when it is missing
  train AREA        make the shipped weights of one area again
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["doctor", flags @ ..] => doctor::run(flags),
        ["setup", flags @ ..] => setup::run(flags),
        ["test", flags @ ..] => test::run(flags),
        ["tidy"] => tidy::run(),
        ["bless"] => bless::run(),
        ["stats"] => stats::run(),
        ["fuzz", words @ ..] => fuzz::run(words),
        ["soak", name] => soak::run(name),
        [kind @ ("bench" | "eval" | "train"), rest @ ..] => benches::run(kind, rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("unknown command: {}\n\n{HELP}", words.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
