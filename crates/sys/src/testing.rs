//! Only for this crate's tests: a forked child in which a test may confine or cripple itself.

use rustix::process::geteuid;

/// Runs `body` in a forked child and fails if it panics there.
pub(crate) fn in_child(body: impl FnOnce()) {
    // SAFETY: the child has one thread, runs `body` and ends without returning to the harness.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(
        (reaped, status),
        (pid, 0),
        "the child failed; its own message is above"
    );
}

/// Whether this process is root. Without root it fails the test, unless the environment says that
/// this run goes without privileges.
pub(crate) fn needs_root(test: &str) -> bool {
    if geteuid().is_root() {
        return true;
    }
    let skipping = std::env::var_os("RINGFENCE_TEST_NO_PRIVILEGED").is_some_and(|v| v == "1");
    assert!(
        skipping,
        "{test} needs root; set RINGFENCE_TEST_NO_PRIVILEGED=1 to go without"
    );
    println!("SKIPPED {test}: needs root");
    false
}
