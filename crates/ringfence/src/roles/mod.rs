//! The processes behind `up`: this binary again, as `ringfence role NAME …`.
//!
//! INVARIANT: [`dispatch`] is the first thing `main` does; a role confines itself before it starts
//! a thread or reads anything hostile.

pub(crate) mod exporter;
mod inspector;
mod recorder;
pub(crate) mod server;

use ringfence_core::error::{ErrorCode, Explained};
use ringfence_sys::process::{NamedFds, named_fds};
use std::ffi::OsString;

/// What a role returns.
type RoleResult = Result<u8, Explained>;

/// Runs the role that the command line names, if it names one.
pub(crate) fn dispatch() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != "role" {
        return None;
    }
    let name = arguments.next()?;
    let rest: Vec<OsString> = arguments.collect();
    let outcome = match name.to_str() {
        Some("zygote") => Ok(words(&rest, ringfence_sandbox::zygote::main)),
        Some("attack") => Ok(words(&rest, ringfence_sandbox::attack::native::main)),
        Some("recorder") => recorder::run(rest),
        Some("server") => server::run(rest),
        Some("inspector") => inspector::run(),
        Some("exporter") => exporter::run(rest),
        _ => Err(misplaced()),
    };
    Some(outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        crate::ERROR
    }))
}

/// A role whose arguments are words.
fn words(rest: &[OsString], role: fn(&[String]) -> i32) -> u8 {
    let words: Vec<String> = rest
        .iter()
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    u8::try_from(role(&words) & 0xff).unwrap_or(crate::ERROR)
}

/// The error of a role that nobody asked for in the right way.
pub(crate) fn misplaced() -> Explained {
    Explained::new(
        ErrorCode("cli/role"),
        "roles are started by `ringfence up` only",
        "host a project: ringfence up",
    )
}

/// Descriptors and arguments that the supervisor handed over.
fn handed(rest: Vec<OsString>) -> Result<(NamedFds, Vec<String>), Explained> {
    let (fds, rest) = named_fds(rest).map_err(|e| misplaced().because(e))?;
    let words = rest
        .into_iter()
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    Ok((fds, words))
}

/// The value of `--name VALUE` among a role's arguments.
fn value(words: &[String], name: &str) -> Option<String> {
    words
        .iter()
        .position(|w| w == name)
        .and_then(|i| words.get(i + 1))
        .cloned()
}
