//! What this host can do, found out by doing it, and what to do where it cannot.
//!
//! [`walls`] makes a real sandbox that accepts missing walls and returns what it found when it
//! attacked itself, so `doctor` and `up` can never disagree.
//! INVARIANT: every wall that does not stand comes with a remedy.

mod remedy;

pub(crate) use remedy::{remedy, setup_remedy};

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

#[cfg(test)]
mod tests {
    use super::*;

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
