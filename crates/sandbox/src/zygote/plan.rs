//! Whether a spec can be built at all, said before anything is built.

use crate::error::SandboxError;
use ringfence_core::isolation::{Door, DoorKind, Spec};
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// LIMIT: mounts of one sandbox.
pub(crate) const MOUNTS_MAX: usize = 64;
/// LIMIT: doors of one sandbox; their descriptors travel in one packet.
pub(crate) const DOORS_MAX: usize = 16;
/// LIMIT: octets of memory below which our init itself could not live.
pub(crate) const MEMORY_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// LIMIT: processes below which nothing can be started: init, probe, program.
pub(crate) const PROCESSES_MIN: u32 = 4;

/// What belongs to the sandbox itself; a mount may not cover it.
const OWN: [&str; 10] = [
    "/proc", "/dev", "/sys", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/.fenced",
];

/// Refuses what cannot be built or would undo a wall.
pub(crate) fn check(spec: &Spec) -> Result<(), SandboxError> {
    let refuse = |text: String| Err(SandboxError::Spec(text));
    if spec.mounts.len() > MOUNTS_MAX {
        return refuse(format!(
            "{} mounts, at most {MOUNTS_MAX}",
            spec.mounts.len()
        ));
    }
    if spec.doors.len() > DOORS_MAX {
        return refuse(format!("{} doors, at most {DOORS_MAX}", spec.doors.len()));
    }
    if spec.memory_bytes < MEMORY_BYTES_MIN {
        return refuse(format!(
            "{} octets of memory, at least {MEMORY_BYTES_MIN}",
            spec.memory_bytes
        ));
    }
    if spec.processes < PROCESSES_MIN {
        return refuse(format!(
            "{} processes, at least {PROCESSES_MIN}",
            spec.processes
        ));
    }
    if matches!(spec.id.as_str(), "." | "..") {
        return refuse("its id is a path".to_owned());
    }
    let datagram = |door: &Door| door.kind == DoorKind::Datagram;
    let ports: BTreeSet<(bool, u16)> = spec.doors.iter().map(|d| (datagram(d), d.port)).collect();
    if ports.len() != spec.doors.len() || spec.doors.iter().any(|d| d.port == 0) {
        return refuse("two doors have the same port, or one has port 0".to_owned());
    }
    spec.mounts.iter().try_for_each(|mount| {
        plain(&mount.source)?;
        plain(&mount.target)?;
        let covers =
            |own: &&str| mount.target.starts_with(own) || Path::new(own).starts_with(&mount.target);
        match OWN.iter().find(|own| covers(own)) {
            Some(own) => Err(SandboxError::Spec(format!(
                "a mount at {} would cover {own}",
                mount.target.display()
            ))),
            None => Ok(()),
        }
    })
}

fn plain(path: &Path) -> Result<(), SandboxError> {
    let fine = path.is_absolute()
        && path
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if fine {
        return Ok(());
    }
    Err(SandboxError::Spec(format!(
        "{} is not a plain absolute path",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::isolation::{Access, Mount};

    fn spec() -> Spec {
        Spec::new("s1".parse().unwrap(), "p".parse().unwrap())
    }

    fn mounted(source: &str, target: &str) -> Spec {
        let mut spec = spec();
        spec.mounts.push(Mount {
            source: source.into(),
            target: target.into(),
            access: Access::ReadOnly,
        });
        spec
    }

    #[test]
    fn mounts_over_the_sandboxs_own_places_are_refused() {
        for target in [
            "/",
            "/proc",
            "/proc/self",
            "/usr/bin",
            "/etc",
            "/dev/shm",
            "relative",
        ] {
            assert!(check(&mounted("/srv", target)).is_err(), "{target}");
        }
        assert!(check(&mounted("/srv/../etc", "/srv")).is_err());
        assert!(check(&mounted("/srv", "/project")).is_ok());
        assert!(check(&mounted("/srv", "/tmp/project")).is_ok());
    }

    #[test]
    fn each_limit_holds_at_its_edge() {
        let mut spec = spec();
        spec.memory_bytes = MEMORY_BYTES_MIN;
        spec.processes = PROCESSES_MIN;
        let count = u16::try_from(DOORS_MAX).unwrap();
        spec.doors = (1..=count).map(|port| Door::stream("d", port)).collect();
        let one = mounted("/srv", "/srv").mounts;
        spec.mounts = one.iter().cycle().take(MOUNTS_MAX).cloned().collect();
        assert!(check(&spec).is_ok());
        let broken = |change: fn(&mut Spec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            check(&spec).is_err()
        };
        assert!(broken(|s| s.memory_bytes -= 1));
        assert!(broken(|s| s.processes -= 1));
        assert!(broken(|s| s.doors.push(Door::stream("d", 99))));
        assert!(broken(|s| s.mounts.push(s.mounts[0].clone())));
    }

    #[test]
    fn two_doors_on_one_port_are_refused() {
        let mut spec = spec();
        spec.doors = vec![Door::stream("a", 80); 2];
        assert!(check(&spec).is_err());
    }
}
