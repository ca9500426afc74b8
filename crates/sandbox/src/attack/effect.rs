//! What would prove that an attack succeeded, looked for from the host.
//!
//! Nothing an attack program says is believed, except a secret that it cannot know and the answer
//! of a gate that ends the process when it is closed.
//! INVARIANT: a look changes nothing.

use super::fill;
use super::stage::{FILES, MEMORY_MIB, PROCESSES, Stage, TMP_MIB};
use ringfence_sys::{ns, rlimit};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

/// The effect of an attack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// It printed the secret.
    Secret,
    /// A gate answered it instead of ending it.
    Answered,
    /// It holds a descriptor beyond the standard streams whose target begins so.
    Descriptor(&'static str),
    /// It holds this file itself, not a mask over it.
    Opened(&'static str),
    /// Its mounts are not those of the init.
    Mounts,
    /// Its root is not that of the init.
    Root,
    /// One of its processes is in another namespace of this kind than the init.
    Namespace(&'static str),
    /// It has a capability.
    Capable,
    /// It is another user than the init.
    OtherUser,
    /// Its personality is changed.
    Personality,
    /// It has this precedence for a processor.
    Nice(i32),
    /// It may dump core.
    CoreDumps,
    /// It has locked more memory than it may.
    Locked,
    /// It has more files open than it may.
    OpenFiles,
    /// It is no longer in its control group.
    OutsideGroup,
    /// The init is stopped.
    InitStopped,
    /// The init may open only so many files.
    InitLimited(u64),
    /// The init is scheduled under this policy.
    InitPolicy(u32),
    /// The program has ended and something of it runs.
    Survivor,
    /// The victim has ended.
    VictimGone,
    /// The victim is traced.
    VictimTraced,
    /// A canary is not as it was.
    Changed,
    /// This file exists below the folder of the stage.
    Made(&'static str),
    /// It is a file that runs with its owner's rights.
    SetId(&'static str),
    /// It is a device.
    Device(&'static str),
    /// The host has another name.
    HostName,
    /// A listener received the token.
    Arrived,
    /// The person's terminal received a key.
    Typed,
    /// It has more processes and threads than it may.
    Processes,
    /// It has more memory than it may.
    Memory,
    /// It took more of a processor than it may.
    Processor,
    /// A scratch file is larger than scratch space.
    Size(&'static str),
    /// A scratch directory holds more files than scratch space.
    Files(&'static str),
}

/// What the host knows about one sandbox after its attack.
pub(super) struct Scene<'a> {
    pub stage: &'a mut Stage,
    pub init: i32,
    /// Processes of the sandbox beside the init.
    pub programs: Vec<i32>,
    /// Those that its control group holds.
    pub grouped: Vec<i32>,
    pub output: &'a [u8],
    /// Whether all steps were made.
    pub made: bool,
    /// Whether a key arrived at the terminal.
    pub typed: bool,
    pub memory_bytes: u64,
    pub processes: u32,
    /// Processor time and the time it took, in microseconds.
    pub cpu_us: u64,
    pub took_us: u64,
    pub facts: &'a super::Facts,
}

/// Whether a signal stopped a process.
pub(super) fn stopped(pid: i32) -> bool {
    stat(pid, 2).is_some_and(|state| state == "T")
}

impl Effect {
    /// Whether the kernel lets it come true a moment after the call has returned: a signal is acted
    /// on when its receiver runs.
    pub(super) fn follows_later(self) -> bool {
        matches!(self, Self::InitStopped | Self::VictimGone)
    }

    /// Whether it is there.
    pub(super) fn seen(self, scene: &mut Scene<'_>) -> bool {
        match self {
            Self::Secret => contains(scene.output, scene.stage.secret.as_bytes()),
            Self::Answered => scene.made,
            Self::Typed => scene.typed,
            Self::Arrived => scene.stage.arrived(),
            Self::Changed => scene.stage.changed(),
            Self::HostName => scene.stage.renamed(),
            Self::VictimGone => !scene.stage.victim_lives(),
            Self::VictimTraced => {
                let victim = scene.stage.victim().cast_signed();
                status(victim, "TracerPid").is_some_and(|pid| pid != "0")
            }
            Self::Made(name) => scene.stage.path(name).symlink_metadata().is_ok(),
            Self::SetId(name) => mode(scene, name) & 0o6000 != 0,
            Self::Device(name) => fs::symlink_metadata(scene.stage.path("out").join(name))
                .is_ok_and(|m| m.file_type().is_char_device()),
            Self::Processes => scene.processes > PROCESSES,
            Self::Memory => scene.memory_bytes > (MEMORY_MIB as u64) << 20,
            // A tenth is allowed and measured over less than half a second, so a quarter is beyond.
            Self::Processor => scene.made && scene.cpu_us > scene.took_us / 4,
            Self::Survivor => !scene.programs.is_empty(),
            Self::InitStopped => stopped(scene.init),
            Self::InitLimited(limit) => {
                limit_of(scene.init, "Max open files") == Some(limit.to_string())
            }
            Self::InitPolicy(policy) => stat(scene.init, POLICY) == Some(policy.to_string()),
            Self::OutsideGroup => {
                scene.made && scene.programs.iter().any(|p| !scene.grouped.contains(p))
            }
            other => scene
                .programs
                .iter()
                .any(|pid| other.of_process(*pid, scene)),
        }
    }

    fn of_process(self, pid: i32, scene: &Scene<'_>) -> bool {
        let path = |file: &str| PathBuf::from(format!("/proc/{pid}/{file}"));
        match self {
            Self::Descriptor(start) => fill(start, scene.facts).is_some_and(|start| {
                descriptors(pid)
                    .iter()
                    .any(|(_, to)| to.starts_with(&start))
            }),
            Self::Opened(file) => fill(file, scene.facts).is_some_and(|file| opened(pid, &file)),
            Self::Mounts => {
                let mounts = |pid: i32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok();
                mounts(pid).is_some_and(|now| scene.mounts_before() != Some(now))
            }
            Self::Root => {
                fs::read_link(path("root")).ok()
                    != fs::read_link(format!("/proc/{}/root", scene.init)).ok()
            }
            Self::Namespace(kind) => {
                let of = |pid: i32| ns::identity(&pid.to_string(), kind).ok();
                of(pid).is_some() && of(pid) != of(scene.init)
            }
            Self::Capable => {
                status(pid, "CapEff").is_some_and(|set| set.bytes().any(|b| b != b'0'))
            }
            Self::OtherUser => {
                status(pid, "Uid").is_some() && status(pid, "Uid") != status(scene.init, "Uid")
            }
            Self::Personality => {
                fs::read_to_string(path("personality")).is_ok_and(|t| t.trim() != "00000000")
            }
            Self::Nice(nice) => stat(pid, NICE) == Some(nice.to_string()),
            Self::CoreDumps => limit_of(pid, "Max core file size").is_some_and(|soft| soft != "0"),
            Self::Locked => status(pid, "VmLck")
                .and_then(|t| t.split(' ').next()?.parse::<u64>().ok())
                .is_some_and(|kib| kib * 1024 > rlimit::LOCKED_BYTES),
            Self::OpenFiles => descriptors(pid).len() as u64 > rlimit::OPEN_FILES.1,
            Self::Size(name) => fs::metadata(path("root").join(name))
                .is_ok_and(|m| m.len() > (TMP_MIB as u64) << 20),
            Self::Files(name) => fs::read_dir(path("root").join(name))
                .is_ok_and(|entries| entries.count() > FILES as usize),
            _ => false,
        }
    }
}

impl Scene<'_> {
    fn mounts_before(&self) -> Option<String> {
        self.facts.get(MOUNTS).cloned()
    }
}

/// The fact that holds the mounts as they were before the attack; no attack is told it.
pub(super) const MOUNTS: &str = "mounts-before";
/// The place of the precedence in /proc/PID/stat (proc(5), 19).
const NICE: usize = 18;
/// The place of the scheduling policy in /proc/PID/stat, counted from the command (proc(5), 41).
const POLICY: usize = 40;

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|w| w == part)
}

fn mode(scene: &Scene<'_>, name: &str) -> u32 {
    fs::metadata(scene.stage.path("out").join(name)).map_or(0, |m| m.permissions().mode())
}

/// A line of /proc/PID/status.
fn status(pid: i32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// A field of /proc/PID/stat, counted from zero; the command may hold spaces, so the count starts
/// behind it.
pub(super) fn stat(pid: i32, place: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    behind
        .split_whitespace()
        .nth(place.checked_sub(2)?)
        .map(str::to_owned)
}

fn limit_of(pid: i32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// The descriptors of a process beyond the standard streams, and what they are of.
fn descriptors(pid: i32) -> BTreeMap<u32, String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            (number > 2).then(|| (number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Whether a process has this file open; /dev/null, which masks are made of, is another file.
fn opened(pid: i32, file: &str) -> bool {
    let null = fs::metadata("/dev/null").map(|m| m.rdev()).ok();
    descriptors(pid).iter().any(|(number, target)| {
        let it = fs::metadata(format!("/proc/{pid}/fd/{number}"));
        target == file
            && it.is_ok_and(|m| !m.file_type().is_char_device() || Some(m.rdev()) != null)
    })
}

/// The descendants of a process, by the parents that /proc names.
pub(super) fn descendants(init: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: Vec<(i32, i32)> = entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid, 3)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![init];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_outside() {
        let own = std::process::id().cast_signed();
        let state = stat(own, 2).unwrap();
        assert!(["R", "S"].contains(&state.as_str()), "{state}");
        assert_eq!(stat(own, POLICY).as_deref(), Some("0"));
        assert!(status(own, "CapEff").is_some());
        assert!(limit_of(own, "Max open files").is_some());
        let file = fs::File::open("/proc/self/comm").unwrap();
        assert!(
            descriptors(own).values().any(|to| to.ends_with("/comm")),
            "{file:?}"
        );
        let mask = fs::File::open("/dev/null").unwrap();
        assert!(!opened(own, "/dev/null"), "{mask:?}");
    }

    #[test]
    fn descendants_are_found_and_a_stranger_is_not() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let number = child.id().cast_signed();
        assert!(descendants(std::process::id().cast_signed()).contains(&number));
        assert!(!descendants(number).contains(&number));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
