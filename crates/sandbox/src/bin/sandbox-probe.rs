//! The smallest program that can be a zygote: what the tests of this crate launch, because a test
//! harness has threads and cannot be one.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["role", "zygote", ..] => code(ringfence_sandbox::zygote::main(
            args.get(2..).unwrap_or(&[]),
        )),
        _ => ExitCode::from(2),
    }
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
