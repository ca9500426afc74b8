//! Throwing away every privilege, for the init and all it will ever start.
//!
//! The layers are put on the init itself rather than on each program: a fault in the code that
//! starts programs can then not start one without them.

use super::root::{FENCED, FENCED_FILE};
use crate::init::Inherited;
use crate::weakness::Weakness;
use crate::zygote::wire::{Failure, ProbeFinding};
use ringfence_core::isolation::{Access, Spec, Wall};
use ringfence_sys::landlock::{self, Right};
use ringfence_sys::{caps, process, rlimit};
use std::fs;
use std::path::Path;

/// Capabilities, Landlock and seccomp, in this order: a filter that stands could no longer put up
/// the others. What the kernel lacks is not an error here, the probes will find it missing.
pub(crate) fn close(spec: &Spec, inherited: &Inherited) -> Result<Vec<ProbeFinding>, Failure> {
    let at = |step: &'static str| move |e: std::io::Error| Failure::new(step, &e);
    let stands = |weakness| !inherited.weakened.lacks(weakness);
    if stands(Weakness::Rlimits) {
        rlimit::confine().map_err(at("set resource limits"))?;
    }
    if stands(Weakness::Concealment) {
        process::set_not_dumpable().map_err(at("hide the init"))?;
    } else {
        process::set_dumpable().map_err(at("show the init"))?;
    }
    if stands(Weakness::Privileges) {
        caps::drop_all().map_err(at("drop capabilities"))?;
    }
    // The control of the Landlock probe: the very file that must be refused afterwards is readable
    // now, so the refusal is Landlock's and nobody else's.
    let readable_before = fs::read(FENCED_FILE).is_ok();
    let enforced = stands(Weakness::Landlock)
        && landlock::restrict(&rules(spec)).map_err(at("restrict paths"))?;
    let refused_after = fs::read(FENCED_FILE).is_err();
    if stands(Weakness::Seccomp) {
        inherited
            .filters
            .install()
            .map_err(at("install the system call filter"))?;
    }
    Ok(vec![ProbeFinding {
        wall: Wall::Landlock,
        held: readable_before && enforced && refused_after,
        evidence: format!(
            "version {}; open({FENCED_FILE}) was {} before and is {} after",
            landlock::version(),
            if readable_before {
                "allowed"
            } else {
                "refused"
            },
            if refused_after { "refused" } else { "allowed" },
        ),
    }])
}

/// Everything a program may touch. What is not here is refused, [`FENCED`] among it.
fn rules(spec: &Spec) -> Vec<(&Path, Right)> {
    debug_assert!(Path::new(FENCED_FILE).starts_with(FENCED));
    let mut rules: Vec<(&Path, Right)> = vec![
        (Path::new("/"), Right::List),
        (Path::new("/etc"), Right::Read),
        (Path::new("/proc"), Right::Read),
        (Path::new("/dev"), Right::Device),
        (Path::new("/dev/shm"), Right::All),
        (Path::new("/tmp"), Right::All),
    ];
    for system in [
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
    ] {
        let path = Path::new(system);
        // A link leads to a place below /usr, which has a rule of its own.
        if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
            rules.push((path, Right::ReadExecute));
        }
    }
    for mount in &spec.mounts {
        let right = match mount.access {
            Access::ReadOnly => Right::ReadExecute,
            Access::ReadWrite => Right::All,
        };
        rules.push((mount.target.as_path(), right));
    }
    rules
}
