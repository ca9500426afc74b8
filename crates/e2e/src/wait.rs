//! Waiting for what a test waits for, never for an amount of time: a look, again and again, until
//! a deadline that is named in the failure.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// Looks until there is something; fails with `what` when `seconds` are over.
pub fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed().as_secs() < seconds,
            "{what}: not within {seconds} s"
        );
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

/// Looks until the look is as it should be; the failure shows the last one.
pub fn settled<T: Debug>(
    what: &str,
    seconds: u64,
    mut look: impl FnMut() -> T,
    right: impl Fn(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let seen = look();
        if right(&seen) {
            return seen;
        }
        assert!(
            start.elapsed().as_secs() < seconds,
            "{what}: not within {seconds} s, last {seen:?}"
        );
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
