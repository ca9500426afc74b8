//! What this host can do, found out by doing it, and what to do where it cannot.
//!
//! [`walls`] makes a real sandbox that accepts missing walls and returns what it found when it
//! attacked itself, so `doctor` and `up` can never disagree.
//! INVARIANT: every wall that does not stand comes with a remedy.

use crate::error::SandboxError;
use crate::zygote::{Zygote, ZygoteOptions};
use ringfence_core::error::Explain;
use ringfence_core::ids::ProjectId;
use ringfence_core::isolation::{Spec, Strictness, Wall, WallState};

/// Each wall on this host, with the probe's answer and the remedy.
pub fn walls() -> Vec<WallState> {
    walls_with(ZygoteOptions {
        cgroup_parent: "ringfence-doctor".to_owned(),
        ..Default::default()
    })
}

/// [`walls`] with another zygote.
pub fn walls_with(options: ZygoteOptions) -> Vec<WallState> {
    match try_walls(options) {
        Ok(walls) => walls,
        Err(error) => {
            let evidence = match error.why() {
                Some(why) => format!("no sandbox could be made: {error}: {why}"),
                None => format!("no sandbox could be made: {error}"),
            };
            Wall::ALL
                .into_iter()
                .map(|wall| WallState {
                    wall,
                    stands: false,
                    evidence: evidence.clone(),
                    remedy: error.help(),
                })
                .collect()
        }
    }
}

fn try_walls(options: ZygoteOptions) -> Result<Vec<WallState>, SandboxError> {
    let zygote = Zygote::launch(options)?;
    let name = format!("doctor-{}", std::process::id());
    let id = name.parse().map_err(|_| SandboxError::Spec(name))?;
    let mut spec = Spec::new(id, ProjectId::host());
    spec.strictness = Strictness::AcceptWeaker;
    let started = zygote.start(&spec)?;
    let walls = started.attestation.walls.clone();
    started.kill_and_wait()?;
    Ok(walls)
}

const ROOT_OR_DELEGATE: &str = "run ringfence as root; without root, on a systemd host: \
    systemd-run --user --scope -p Delegate=yes ringfence …; in a container: add --cgroupns=host \
    and a writable /sys/fs/cgroup";

/// What to do about a wall that does not stand.
pub(crate) fn remedy(wall: Wall) -> String {
    match wall {
        Wall::UserNamespace => USER_NAMESPACE,
        Wall::MountNamespace
        | Wall::PidNamespace
        | Wall::NetNamespace
        | Wall::IpcNamespace
        | Wall::UtsNamespace
        | Wall::CgroupNamespace => {
            "use a kernel with all namespaces (CONFIG_NAMESPACES=y and CONFIG_*_NS=y; those of \
             Debian, Ubuntu and Fedora have them)"
        }
        Wall::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER=y (Debian, Ubuntu, Fedora: yes)",
        Wall::Landlock => {
            "use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y, and add landlock to the \
             lsm= kernel parameter (Debian 12: GRUB_CMDLINE_LINUX=\"lsm=landlock,lockdown,yama,\
             integrity,apparmor,bpf\", then update-grub and reboot; Ubuntu 22.04 and Fedora 35 or \
             later have it on)"
        }
        Wall::MemoryLimit | Wall::ProcessLimit | Wall::CpuLimit => ROOT_OR_DELEGATE,
        Wall::NoPrivileges => "report this: dropping privileges must always work",
    }
    .to_owned()
}

const USER_NAMESPACE: &str = "allow user namespaces: Debian and Fedora: sysctl -w \
    user.max_user_namespaces=15000; older Debian: sysctl -w kernel.unprivileged_userns_clone=1; \
    Ubuntu 23.10 or later: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or run as \
    root); Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined";

/// What to do when building a sandbox failed in this step.
pub(crate) fn setup_remedy(step: &str, errno: Option<i32>) -> String {
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const ENOSPC: i32 = 28;
    const ENOSYS: i32 = 38;
    let text = match (step, errno) {
        ("clone into namespaces", Some(ENOSPC)) => {
            "raise the limits: sysctl -w user.max_user_namespaces=15000 user.max_net_namespaces=15000"
        }
        ("clone into namespaces", _) => USER_NAMESPACE,
        ("mount /proc", Some(EPERM)) => {
            "the host hides parts of its own /proc, as containers do: Docker: --security-opt \
             systempaths=unconfined; Kubernetes: procMount: Unmasked; or run on the host itself"
        }
        ("map user ids", _) => "run as root, or as a user whose id can be mapped (newer than 3.19)",
        ("slot", _) => "end some sandboxes first",
        (step, Some(ENOENT)) if step.starts_with("mount ") => "check that the path to mount exists",
        (_, Some(ENOSYS)) => "use Linux 5.13 or later: a system call is missing",
        (step, _) if step.starts_with("bind door") => "choose another port for the door",
        _ => "run ringfence doctor, which tries every wall by itself",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wall_has_a_remedy() {
        for wall in Wall::ALL {
            assert!(!remedy(wall).is_empty(), "{wall:?}");
        }
    }

    #[test]
    fn a_program_that_is_no_zygote_leaves_no_wall_standing() {
        let options = ZygoteOptions {
            program: Some("/bin/true".into()),
            ..ZygoteOptions::default()
        };
        let walls = walls_with(options);
        assert_eq!(walls.len(), Wall::ALL.len());
        assert!(walls.iter().all(|w| !w.stands && w.remedy.is_some()));
    }
}
