//! The recorder: holds the log key and the secret-store key, has no network and is not root.

use super::{RoleResult, handed, misplaced, value};
use ringfence_core::error::Explained;
use ringfence_core::isolation::Strictness;
use ringfence_crypto::random::SystemEntropy;
use ringfence_record::role::{RecorderOptions, run_on};
use ringfence_sys::clock::SystemClock;
use ringfence_sys::confine::{Confinement, Place, apply};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs until it is told to stop.
pub(super) fn run(rest: Vec<OsString>) -> RoleResult {
    let (mut fds, words) = handed(rest)?;
    let listener = fds.take("recorder-socket").ok_or_else(misplaced)?;
    let dir = PathBuf::from(value(&words, "--dir").ok_or_else(misplaced)?);
    let uid = value(&words, "--client-uid")
        .and_then(|u| u.parse().ok())
        .ok_or_else(misplaced)?;
    let mut confinement = Confinement::recorder(Place::Path(dir.clone()));
    if words.iter().any(|w| w == "--accept-weaker") {
        confinement = confinement.with_strictness(Strictness::AcceptWeaker);
    }
    ringfence_sys::process::set_not_dumpable().map_err(|e| misplaced().because(e))?;
    apply(confinement).map_err(|e| Explained::of(&e))?;
    let options = RecorderOptions {
        socket_path: PathBuf::new(),
        dir,
        allowed_uids: vec![uid],
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    run_on(listener, options).map_err(|e| Explained::of(&e))?;
    Ok(crate::PASS)
}
