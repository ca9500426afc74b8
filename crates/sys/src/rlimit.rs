//! Per-process limits, for what no cgroup limits.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// LIMIT: open files a program starts with, and may raise itself to.
pub const OPEN_FILES: (u64, u64) = (1024, 4096);
/// LIMIT: octets a program may lock in memory.
pub const LOCKED_BYTES: u64 = 64 * 1024;

/// Sets the limits of this process and all it will start: no core dumps (their handler runs on the
/// host), few open files, little locked memory, no message queues, no priority.
pub fn confine() -> io::Result<()> {
    let fixed = |n| Rlimit {
        current: Some(n),
        maximum: Some(n),
    };
    set(Resource::Core, fixed(0))?;
    set(
        Resource::Nofile,
        Rlimit {
            current: Some(OPEN_FILES.0),
            maximum: Some(OPEN_FILES.1),
        },
    )?;
    set(Resource::Memlock, fixed(LOCKED_BYTES))?;
    set(Resource::Msgqueue, fixed(0))?;
    set(Resource::Nice, fixed(0))?;
    set(Resource::Rtprio, fixed(0))
}

/// A limit that is already lower stays.
fn set(resource: Resource, wanted: Rlimit) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let maximum = lower(wanted.maximum, now.maximum);
    let current = lower(wanted.current, maximum);
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}
