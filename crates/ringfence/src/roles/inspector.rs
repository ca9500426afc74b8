//! An inspector worker: reads one project inside a sandbox and writes what it found as JSON.
//!
//! The sandbox already keeps it from everything else; it is told what to do on standard input.

use super::RoleResult;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_server::admission::{PROJECT_INSIDE, ScanRequest};
use std::io::{Read as _, Write as _};
use std::path::Path;

/// LIMIT: octets of a request.
const REQUEST_BYTES_MAX: u64 = 1024 * 1024;

fn failed(what: &str) -> Explained {
    Explained::new(
        ErrorCode("admit/inspector-protocol"),
        what,
        "inspectors are started by `ringfence up`; use `ringfence check` by hand",
    )
}

/// Scans and writes.
pub(super) fn run() -> RoleResult {
    let mut request = Vec::new();
    std::io::stdin()
        .lock()
        .take(REQUEST_BYTES_MAX)
        .read_to_end(&mut request)
        .map_err(|e| failed("the request could not be read").because(e))?;
    let request: ScanRequest = serde_json::from_slice(&request)
        .map_err(|e| failed("the request was not understood").because(e))?;
    let options = request.options();
    let report = ringfence_admit::scan(Path::new(PROJECT_INSIDE), &options, &mut |_| {})
        .map_err(|e| Explained::of(&e))?;
    let bytes = serde_json::to_vec(&report)
        .map_err(|e| failed("the report could not be written").because(e))?;
    std::io::stdout()
        .lock()
        .write_all(&bytes)
        .map_err(|e| failed("the report could not be written").because(e))?;
    Ok(crate::PASS)
}
