//! What the kernel says about processes: who descends from whom, what they hold, what they may.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// A process that cannot be taken for a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Clock ticks after boot when it started.
    pub start: u64,
    /// Program and arguments.
    pub arguments: Vec<String>,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let (_, start, _) = stat(pid)?;
        Some(Self {
            pid,
            start,
            arguments: arguments(pid),
        })
    }

    /// Whether it still runs; one that is dead and not yet waited for does not.
    pub fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|(_, start, state)| start == self.start && !"ZX".contains(state))
    }

    /// Whether it was started with these words next to each other.
    pub fn says(&self, words: &[&str]) -> bool {
        self.arguments.windows(words.len()).any(|w| w == words)
    }

    /// A line of /proc/PID/status, white space folded.
    pub fn status(&self, field: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        let line = line.unwrap_or_else(|| panic!("no {field} in {text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whatever it has open or mapped, as the kernel names it.
    pub fn holds(&self) -> Vec<String> {
        let mut held: Vec<String> = self.descriptors().into_iter().collect();
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap();
        held.extend(
            maps.lines()
                .filter_map(|l| Some(l[l.find('/')?..].to_owned())),
        );
        held
    }

    /// Its descriptors, as the kernel names them.
    pub fn descriptors(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        entries
            .filter_map(|e| std::fs::read_link(e.ok()?.path()).ok())
            .map(|link| link.to_string_lossy().into_owned())
            .collect()
    }

    /// Its descriptors that are sockets of a network family.
    pub fn network_sockets(&self) -> Vec<String> {
        let mut known = BTreeSet::new();
        for table in [
            "tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "icmp", "packet",
        ] {
            let path = format!("/proc/{}/net/{table}", self.pid);
            // A kernel without a protocol has no table for it.
            let text = std::fs::read_to_string(path).unwrap_or_default();
            for line in text.lines().skip(1) {
                let column = if table == "packet" { 8 } else { 9 };
                let inode = line.split_whitespace().nth(column).unwrap_or_default();
                known.insert(format!("socket:[{inode}]"));
            }
        }
        self.descriptors()
            .into_iter()
            .filter(|d| known.contains(d))
            .collect()
    }
}

/// Every process that can be seen.
pub fn all() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::of)
        .collect()
}

/// Everything that a process started, directly or not.
pub fn descendants(pid: u32) -> Vec<Process> {
    let everything = all();
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        for process in &everything {
            if stat(process.pid).is_some_and(|(parent, ..)| family.contains(&parent)) {
                family.insert(process.pid);
            }
        }
        if family.len() == before {
            break;
        }
    }
    everything
        .into_iter()
        .filter(|p| p.pid != pid && family.contains(&p.pid))
        .collect()
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.unwrap().success(), "kill -{name} {pid}");
}

/// Control groups, of any controller, whose name ends so.
pub fn groups(name: &str) -> Vec<PathBuf> {
    let output = Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-name", &format!("*{name}")])
        .output()
        .unwrap();
    // Others make and remove groups meanwhile, which find complains about.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(PathBuf::from)
        .collect()
}

fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes
        .split(|b| *b == 0)
        .map(|w| String::from_utf8_lossy(w).into_owned());
    words.filter(|w| !w.is_empty()).collect()
}

/// Parent, start and state.
fn stat(pid: u32) -> Option<(u32, u64, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; it ends at the last one.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((
        fields.get(1)?.parse().ok()?,
        fields.get(19)?.parse().ok()?,
        fields.first()?.chars().next()?,
    ))
}
