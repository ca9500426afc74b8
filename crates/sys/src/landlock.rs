//! Paths as an allow-list, by the Landlock LSM.
//!
//! It is asked for by system call, never by looking for files of securityfs, which is often not
//! mounted. It restricts further what mounts already restrict; it grants nothing.
//! INVARIANT: a path that no rule names can be neither read, written nor executed.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::io;
use std::path::Path;

/// The newest version whose rights are used; an older kernel enforces those it knows.
const NEWEST: ABI = ABI::V6;

/// What may be done below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See the names in directories, nothing else.
    List,
    /// Read files and directories.
    Read,
    /// Read and execute.
    ReadExecute,
    /// Read and write existing files: devices.
    Device,
    /// Everything.
    All,
}

impl Right {
    fn bits(self) -> BitFlags<AccessFs> {
        match self {
            Self::List => AccessFs::ReadDir.into(),
            Self::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Self::ReadExecute => AccessFs::from_read(NEWEST),
            Self::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
            Self::All => AccessFs::from_all(NEWEST),
        }
    }
}

/// The version of the Landlock interface that this kernel has; 0 without Landlock.
pub fn version() -> i32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel wants a null pointer and size 0 and returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Restricts this thread and all it will start to these paths, and keeps signals and abstract
/// sockets within it where the kernel can. `false`: the kernel enforces nothing.
pub fn restrict(rules: &[(&Path, Right)]) -> io::Result<bool> {
    let broken = |e: &dyn std::fmt::Display| io::Error::other(format!("landlock: {e}"));
    let mut set = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|set| set.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(|e| broken(&e))?;
    for (path, right) in rules {
        set = add(set, path, *right)?;
    }
    let status = set.restrict_self().map_err(|e| broken(&e))?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn add(set: RulesetCreated, path: &Path, right: Right) -> io::Result<RulesetCreated> {
    let fd = PathFd::new(path).map_err(io::Error::other)?;
    let bits = if path.is_dir() {
        right.bits()
    } else {
        right.bits() & AccessFs::from_file(NEWEST)
    };
    set.add_rule(PathBeneath::new(fd, bits))
        .map_err(|e| io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlisted_file_is_unreadable_in_a_restricted_thread_only() {
        assert!(version() > 0, "this test needs a kernel with Landlock");
        let restricted = std::thread::spawn(|| {
            let before = std::fs::read("/etc/passwd").is_ok();
            let enforced = restrict(&[(Path::new("/usr"), Right::ReadExecute)]).unwrap();
            let after = std::fs::read("/etc/passwd").map_err(|e| e.kind());
            (before, enforced, after.err())
        });
        let denied = Some(io::ErrorKind::PermissionDenied);
        assert_eq!(restricted.join().unwrap(), (true, true, denied));
        assert!(
            std::fs::read("/etc/passwd").is_ok(),
            "the other threads are not restricted"
        );
    }
}
