//! Control groups of both versions: limits, counters, freezing, and removal without a trace.
//!
//! A host may have version 1, version 2 or both with the controllers split between them; each
//! controller is found by itself. It does not choose limits and it starts no process.
//! INVARIANT: a [`Group`] names one directory per controller, all with the same relative path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

mod hierarchy;
pub use hierarchy::{Controller, Hierarchy, Version};

/// Limits to set on a group; `None` sets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of memory, swap included.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Thousandths of one processor.
    pub cpu_millis: Option<u32>,
}

/// Counters of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Microseconds of processor time.
    pub cpu_us: u64,
    /// Octets of memory now.
    pub memory_bytes: u64,
    /// The highest it was.
    pub memory_peak_bytes: u64,
    /// Processes and threads now.
    pub processes: u32,
    /// Times the memory limit killed something.
    pub oom_kills: u64,
    /// Times a fork was refused by the process limit.
    pub fork_denials: u64,
}

/// One group across all controllers that could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    places: Vec<(Controller, Version, PathBuf)>,
}

const PERIOD_US: u64 = 100_000;
/// LIMIT: milliseconds to wait for a group to freeze or to become removable.
const SETTLE_MS_MAX: u64 = 5_000;

impl Group {
    /// Makes the group `parent/name` in every controller of the hierarchy that can be written, or
    /// takes it when it exists. Controllers that refuse are left out: see [`Group::has`].
    pub fn create(hierarchy: &Hierarchy, parent: &str, name: &str) -> Self {
        let mut places: Vec<(Controller, Version, PathBuf)> = Vec::new();
        for (controller, version, base) in hierarchy.controllers() {
            let place = base.join(parent).join(name);
            let known = places.iter().any(|(_, _, p)| *p == place);
            if known || make(base, &place, *version, *controller).is_ok() {
                places.push((*controller, *version, place));
            }
        }
        Self { places }
    }

    /// Whether this controller takes part.
    pub fn has(&self, controller: Controller) -> bool {
        self.place(controller).is_some()
    }

    fn place(&self, controller: Controller) -> Option<(Version, &Path)> {
        self.places
            .iter()
            .find(|p| p.0 == controller)
            .map(|p| (p.1, p.2.as_path()))
    }

    /// The directory of a controller, for messages.
    pub fn path(&self, controller: Controller) -> Option<&Path> {
        self.place(controller).map(|p| p.1)
    }

    fn directories(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> = self.places.iter().map(|p| p.2.as_path()).collect();
        all.dedup();
        all
    }

    /// Sets limits in the controllers that take part. An error names the file.
    pub fn limit(&self, limits: Limits) -> io::Result<()> {
        if let Some((version, place)) = self.place(Controller::Memory) {
            match version {
                Version::One => {
                    write(
                        place,
                        "memory.limit_in_bytes",
                        &limits.memory_bytes.to_string(),
                    )?;
                    // Without swap accounting the file is absent and swap is not limited apart.
                    let swap = "memory.memsw.limit_in_bytes";
                    if place.join(swap).exists() {
                        write(place, swap, &limits.memory_bytes.to_string())?;
                    }
                }
                Version::Two => {
                    write(place, "memory.max", &limits.memory_bytes.to_string())?;
                    if place.join("memory.swap.max").exists() {
                        write(place, "memory.swap.max", "0")?;
                    }
                }
            }
        }
        if let Some((_, place)) = self.place(Controller::Processes) {
            write(place, "pids.max", &limits.processes.to_string())?;
        }
        if let (Some((version, place)), Some(millis)) =
            (self.place(Controller::Cpu), limits.cpu_millis)
        {
            let quota = (u64::from(millis) * PERIOD_US / 1000).max(1000);
            match version {
                Version::One => {
                    write(place, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
                    write(place, "cpu.cfs_quota_us", &quota.to_string())?;
                }
                Version::Two => write(place, "cpu.max", &format!("{quota} {PERIOD_US}"))?,
            }
        }
        Ok(())
    }

    /// The limit in force as the kernel says it, for evidence: file and content.
    pub fn limit_evidence(&self, controller: Controller) -> Option<(PathBuf, String)> {
        let (version, place) = self.place(controller)?;
        let file = match (controller, version) {
            (Controller::Memory, Version::One) => "memory.limit_in_bytes",
            (Controller::Memory, Version::Two) => "memory.max",
            (Controller::Processes, _) => "pids.max",
            (Controller::Cpu, Version::One) => "cpu.cfs_quota_us",
            (Controller::Cpu, Version::Two) => "cpu.max",
            (Controller::CpuTime | Controller::Freezer, _) => return None,
        };
        let text = fs::read_to_string(place.join(file)).ok()?;
        Some((place.join(file), text.trim().to_owned()))
    }

    /// Moves a process into the group, in every controller.
    pub fn attach(&self, pid: i32) -> io::Result<()> {
        self.directories()
            .into_iter()
            .try_for_each(|place| write(place, "cgroup.procs", &pid.to_string()))
    }

    /// The processes in the group as the caller's pid namespace numbers them.
    pub fn processes(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .directories()
            .first()
            .and_then(|place| fs::read_to_string(place.join("cgroup.procs")).ok())
            .map(|text| text.lines().filter_map(|l| l.parse().ok()).collect())
            .unwrap_or_default();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether a process is in the group, in every controller.
    pub fn holds(&self, pid: i32) -> bool {
        !self.places.is_empty()
            && self.directories().into_iter().all(|place| {
                fs::read_to_string(place.join("cgroup.procs"))
                    .is_ok_and(|text| text.lines().any(|l| l.parse() == Ok(pid)))
            })
    }

    /// Stops or continues every process of the group; returns when it holds.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let (version, place) = self
            .place(Controller::Freezer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "no freezer cgroup"))?;
        match version {
            Version::One => {
                let state = if frozen { "FROZEN" } else { "THAWED" };
                settle(|| {
                    write(place, "freezer.state", state)?;
                    Ok(fs::read_to_string(place.join("freezer.state"))?.trim() == state)
                })
            }
            Version::Two => {
                write(place, "cgroup.freeze", if frozen { "1" } else { "0" })?;
                let line = if frozen { "frozen 1" } else { "frozen 0" };
                settle(|| {
                    let events = fs::read_to_string(place.join("cgroup.events"))?;
                    Ok(events.lines().any(|l| l == line))
                })
            }
        }
    }

    /// The counters of the controllers that take part; zero for the others.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        if let Some((version, place)) = self.place(Controller::CpuTime) {
            counters.cpu_us = match version {
                Version::One => number(place, "cpuacct.usage") / 1000,
                Version::Two => field(place, "cpu.stat", "usage_usec"),
            };
        }
        if let Some((version, place)) = self.place(Controller::Memory) {
            let (now, peak) = match version {
                Version::One => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
                Version::Two => ("memory.current", "memory.peak"),
            };
            counters.memory_bytes = number(place, now);
            counters.memory_peak_bytes = number(place, peak);
        }
        counters.oom_kills = self.oom_kills();
        if let Some((_, place)) = self.place(Controller::Processes) {
            counters.processes = u32::try_from(number(place, "pids.current")).unwrap_or(u32::MAX);
            counters.fork_denials = field(place, "pids.events", "max");
        }
        counters
    }

    /// Times the memory limit killed something.
    pub fn oom_kills(&self) -> u64 {
        match self.place(Controller::Memory) {
            Some((Version::One, place)) => field(place, "memory.oom_control", "oom_kill"),
            Some((Version::Two, place)) => field(place, "memory.events", "oom_kill"),
            None => 0,
        }
    }

    /// Removes the group if nothing is in it, and leaves it otherwise.
    pub fn remove_empty(&self) {
        for place in self.directories() {
            drop(fs::remove_dir(place));
        }
    }

    /// Removes the group, which must hold no living process. A group that is gone is no error.
    pub fn remove(&self) -> io::Result<()> {
        for place in self.directories() {
            settle(|| match fs::remove_dir(place) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
                // A dying task leaves its group a moment after it has been seen to end.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(false),
                Err(error) => Err(named(&error, place)),
            })?;
        }
        Ok(())
    }
}

fn make(base: &Path, place: &Path, version: Version, controller: Controller) -> io::Result<()> {
    fs::create_dir_all(place)?;
    if version == Version::Two && !place.join(controller.file_two()).exists() {
        hierarchy::delegate(base, place)?;
        if !place.join(controller.file_two()).exists() {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
    }
    Ok(())
}

fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn write(place: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = place.join(file);
    fs::write(&path, value).map_err(|e| named(&e, &path))
}

fn number(place: &Path, file: &str) -> u64 {
    fs::read_to_string(place.join(file))
        .ok()
        .and_then(|t| t.trim().parse().ok())
        .unwrap_or(0)
}

fn field(place: &Path, file: &str, key: &str) -> u64 {
    fs::read_to_string(place.join(file))
        .ok()
        .and_then(|text| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(' ')?;
                (name == key).then(|| value.trim().parse().ok()).flatten()
            })
        })
        .unwrap_or(0)
}

/// Asks until it holds, waiting a little longer each time, up to [`SETTLE_MS_MAX`].
fn settle(mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let mut wait_us: u64 = 50;
    let mut waited_us: u64 = 0;
    loop {
        if holds()? {
            return Ok(());
        }
        if waited_us > SETTLE_MS_MAX * 1000 {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let pause = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(wait_us * 1000).unwrap_or(1_000_000),
        };
        // The kernel offers nothing to wait on here (version 1 has no events file), so this polls.
        rustix::event::poll(&mut [], Some(&pause))?;
        waited_us += wait_us;
        wait_us = (wait_us * 2).min(5_000);
    }
}

#[cfg(test)]
mod tests;
