//! Where each controller of this host is, and where our own groups may be made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Which interface a controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One tree for each controller.
    One,
    /// One tree for all.
    Two,
}

/// What a group can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Limits and counts memory.
    Memory,
    /// Limits processes.
    Processes,
    /// Limits processor time.
    Cpu,
    /// Counts processor time.
    CpuTime,
    /// Stops all processes.
    Freezer,
}

impl Controller {
    /// All of them, in the order they are attached.
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Processes,
        Self::Cpu,
        Self::CpuTime,
        Self::Freezer,
    ];

    fn name_one(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Cpu => "cpu",
            Self::CpuTime => "cpuacct",
            Self::Freezer => "freezer",
        }
    }

    /// The controller of version 2 that it needs; `None` for what every group there has.
    fn name_two(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory"),
            Self::Processes => Some("pids"),
            Self::Cpu => Some("cpu"),
            Self::CpuTime | Self::Freezer => None,
        }
    }

    /// A file that a version 2 group has when the controller is on in it.
    pub(super) fn file_two(self) -> &'static str {
        match self {
            Self::Memory => "memory.max",
            Self::Processes => "pids.max",
            Self::Cpu => "cpu.max",
            Self::CpuTime => "cpu.stat",
            Self::Freezer => "cgroup.freeze",
        }
    }
}

/// The controllers of this host with the directory that this process's groups hang under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    controllers: Vec<(Controller, Version, PathBuf)>,
}

impl Hierarchy {
    /// Looks at `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn of_this_process() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let mut found = Self::parse(&mounts, &groups, |place| {
            fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default()
        });
        // A process that shares its version 2 group with its own sub-groups could not hand
        // controllers down (cgroup-v2.rst, "No Internal Process Constraint"), so groups are made
        // beside it unless it is the root.
        for (_, version, base) in &mut found.controllers {
            if *version == Version::Two
                && base.join("cgroup.type").exists()
                && let Some(parent) = base.parent()
            {
                *base = parent.to_path_buf();
            }
        }
        // Something else may be mounted over the place, and plain files take every limit that is
        // written to them.
        found.controllers.retain(|(_, _, base)| is_real(base));
        Ok(found)
    }

    fn parse(mounts: &str, groups: &str, controllers_of: impl Fn(&Path) -> String) -> Self {
        let mut controllers = Vec::new();
        for controller in Controller::ALL {
            let one = mounts
                .lines()
                .filter_map(Mounted::parse)
                .find(|m| {
                    m.kind == "cgroup" && m.options.split(',').any(|o| o == controller.name_one())
                })
                .and_then(|m| {
                    let group = own_group(groups, Some(controller.name_one()))?;
                    Some((controller, Version::One, m.directory_of(&group)))
                });
            let two = || {
                let m = mounts
                    .lines()
                    .filter_map(Mounted::parse)
                    .find(|m| m.kind == "cgroup2")?;
                let root = PathBuf::from(m.place);
                let available = controllers_of(&root);
                let has = controller
                    .name_two()
                    .is_none_or(|name| available.split_whitespace().any(|c| c == name));
                let group = own_group(groups, None)?;
                has.then(|| (controller, Version::Two, m.directory_of(&group)))
            };
            controllers.extend(one.or_else(two));
        }
        Self { controllers }
    }

    pub(super) fn controllers(&self) -> &[(Controller, Version, PathBuf)] {
        &self.controllers
    }

    /// The version and directory of a controller, if this host has it.
    pub fn find(&self, controller: Controller) -> Option<(Version, &Path)> {
        self.controllers
            .iter()
            .find(|c| c.0 == controller)
            .map(|c| (c.1, c.2.as_path()))
    }
}

/// One line of mountinfo (`proc_pid_mountinfo(5)`).
struct Mounted<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mounted<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, place) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let kind = after.next()?;
        let options = after.nth(1)?;
        Some(Self {
            root,
            place,
            kind,
            options,
        })
    }

    /// The directory that shows a group, also when only a part of the tree is mounted, as in a
    /// container.
    fn directory_of(&self, group: &str) -> PathBuf {
        let below = Path::new(group)
            .strip_prefix(self.root)
            .unwrap_or(Path::new(""));
        let below = below.strip_prefix("/").unwrap_or(below);
        if below.as_os_str().is_empty() {
            return PathBuf::from(self.place);
        }
        Path::new(self.place).join(below)
    }
}

/// Whether a directory is one of a control group file system.
fn is_real(directory: &Path) -> bool {
    let kinds = [libc::CGROUP_SUPER_MAGIC, libc::CGROUP2_SUPER_MAGIC];
    rustix::fs::statfs(directory).is_ok_and(|status| kinds.contains(&status.f_type))
}

fn own_group(groups: &str, controller: Option<&str>) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let matches = match controller {
            Some(wanted) => names.split(',').any(|n| n == wanted),
            None => names.is_empty(),
        };
        matches.then(|| path.to_owned())
    })
}

/// Turns controllers on in every directory from `base` down to the parent of `place`.
pub(super) fn delegate(base: &Path, place: &Path) -> io::Result<()> {
    let Ok(below) = place.strip_prefix(base) else {
        return Ok(());
    };
    let mut directory = base.to_path_buf();
    let mut parts = below.components();
    parts.next_back();
    enable(&directory)?;
    for part in parts {
        directory.push(part);
        enable(&directory)?;
    }
    Ok(())
}

fn enable(directory: &Path) -> io::Result<()> {
    let available = fs::read_to_string(directory.join("cgroup.controllers"))?;
    for name in ["memory", "pids", "cpu"] {
        if available.split_whitespace().any(|c| c == name) {
            fs::write(directory.join("cgroup.subtree_control"), format!("+{name}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
33 32 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
34 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 32 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
36 32 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn controllers_of_both_versions_are_found_each_by_itself() {
        let groups = "4:memory:/jail\n3:pids:/\n2:cpu,cpuacct:/x\n0::/two";
        let found = Hierarchy::parse(HYBRID, groups, |_| "hugetlb".to_owned());
        let at = |c| {
            found
                .find(c)
                .map(|(v, p)| (v, p.to_string_lossy().into_owned()))
        };
        let one = |p: &str| Some((Version::One, p.to_owned()));
        assert_eq!(at(Controller::Memory), one("/sys/fs/cgroup/memory/jail"));
        assert_eq!(at(Controller::Processes), one("/sys/fs/cgroup/pids"));
        assert_eq!(at(Controller::CpuTime), one("/sys/fs/cgroup/cpu,cpuacct/x"));
        let frozen = Some((Version::Two, "/sys/fs/cgroup/unified/two".to_owned()));
        assert_eq!(at(Controller::Freezer), frozen);
    }

    #[test]
    fn a_mount_of_a_part_of_the_tree_is_seen_from_its_root() {
        let mounts = "9 1 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw";
        let found = Hierarchy::parse(mounts, "0::/docker/abc/leaf", |_| "memory pids".to_owned());
        assert_eq!(
            found.find(Controller::Memory),
            Some((Version::Two, Path::new("/sys/fs/cgroup/leaf")))
        );
        assert_eq!(found.find(Controller::Cpu), None);
    }

    #[test]
    fn a_plain_directory_is_no_control_group() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_real(folder.path()));
        assert!(!is_real(Path::new("/no/such/place")));
        let found = Hierarchy::of_this_process().unwrap();
        assert!(found.controllers.iter().all(|(_, _, base)| is_real(base)));
    }

    #[test]
    fn malformed_lines_are_passed_over() {
        let found = Hierarchy::parse("nonsense\n1 2 -\n - cgroup", "::", |_| String::new());
        assert_eq!(found.find(Controller::Memory), None);
    }
}
