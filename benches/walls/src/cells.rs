//! The cells: a host that lacks something, the walls that are then missing, and the remedy that must
//! be named.

use crate::Result;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

/// Where a cell is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// On this machine.
    Here,
    /// In a virtual machine with these kernel parameters.
    Machine(&'static str),
}

/// What is missing in a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    /// These walls.
    Walls(&'static [&'static str]),
    /// No sandbox can be made at all.
    Everything,
    /// No wall, and the attack suite shows it.
    NothingUnderAttack,
}

/// One degraded host.
#[derive(Debug)]
pub(crate) struct Cell {
    pub name: &'static str,
    pub place: Place,
    /// Shell that makes the condition, run in mount namespace of its own.
    pub prepare: &'static str,
    /// A system call filter that imitates a kernel; empty for none.
    pub filter: &'static str,
    pub missing: Missing,
    /// What the remedy must say.
    pub remedy: &'static str,
}

const fn here(
    name: &'static str,
    prepare: &'static str,
    missing: Missing,
    remedy: &'static str,
) -> Cell {
    Cell {
        name,
        place: Place::Here,
        prepare,
        filter: "",
        missing,
        remedy,
    }
}

const fn filtered(
    name: &'static str,
    filter: &'static str,
    missing: Missing,
    remedy: &'static str,
) -> Cell {
    Cell {
        name,
        place: Place::Here,
        prepare: "",
        filter,
        missing,
        remedy,
    }
}

const fn machine(
    name: &'static str,
    parameters: &'static str,
    prepare: &'static str,
    missing: Missing,
    remedy: &'static str,
) -> Cell {
    Cell {
        name,
        place: Place::Machine(parameters),
        prepare,
        filter: "",
        missing,
        remedy,
    }
}

const NOTHING: Missing = Missing::Walls(&[]);
const LIMITS: Missing = Missing::Walls(&["memory-limit", "process-limit", "cpu-limit"]);
/// As another user than root, without a control group of its own.
const USER: &str = "set -- setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
/// A machine with version 2 of control groups only.
const TWO: &str = "cgroup_no_v1=all";

pub(crate) const CELLS: &[Cell] = &[
    here("as-it-is", "", NOTHING, ""),
    here(
        "no-user-namespaces",
        "set -- unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"' sh \"$@\"",
        Missing::Everything,
        "sysctl -w user.max_user_namespaces",
    ),
    here(
        "no-cgroups",
        "mount -t tmpfs none /sys/fs/cgroup",
        LIMITS,
        "run ringfence as root",
    ),
    here(
        "read-only-cgroups",
        "for m in $(awk '$9 ~ /^cgroup/ || $10 ~ /^cgroup/ {print $5}' /proc/self/mountinfo); \
         do mount -o remount,bind,ro $m; done",
        LIMITS,
        "a writable /sys/fs/cgroup",
    ),
    here(
        "masked-proc",
        "mount -t tmpfs none /proc/irq",
        Missing::Everything,
        "systempaths=unconfined",
    ),
    here(
        "few-processes",
        "g=/sys/fs/cgroup/pids/ringfence-few-$$; mkdir $g; echo 4 > $g/pids.max; \
         echo $$ > $g/cgroup.procs; code=0; \"$@\" || code=$?; \
         echo $$ > /sys/fs/cgroup/pids/cgroup.procs; rmdir $g; exit $code",
        Missing::Everything,
        "pids.max",
    ),
    here("another-user", USER, LIMITS, "Delegate=yes"),
    filtered(
        "no-landlock",
        "landlock",
        Missing::Walls(&["landlock"]),
        "lsm=",
    ),
    filtered(
        "no-seccomp",
        "seccomp",
        Missing::Everything,
        "CONFIG_SECCOMP_FILTER",
    ),
    filtered(
        "no-mount-interface",
        "mount",
        Missing::Everything,
        "Linux 5.13",
    ),
    filtered("no-clone3", "clone3", Missing::Everything, "knows clone3"),
    machine("machine-two", TWO, "", NOTHING, ""),
    machine(
        "machine-no-landlock",
        "cgroup_no_v1=all lsm=yama,apparmor",
        "",
        Missing::Walls(&["landlock"]),
        "lsm=",
    ),
    machine(
        "machine-no-memory",
        "cgroup_no_v1=all cgroup_disable=memory",
        "",
        Missing::Walls(&["memory-limit"]),
        "cgroup_disable=memory",
    ),
    machine(
        "machine-no-pids",
        "cgroup_no_v1=all cgroup_disable=pids",
        "",
        Missing::Walls(&["process-limit"]),
        "cgroup_disable=pids",
    ),
    machine(
        "machine-no-users",
        TWO,
        "echo 0 > /proc/sys/user/max_user_namespaces",
        Missing::Everything,
        "sysctl -w user.max_user_namespaces",
    ),
    machine(
        "machine-no-cgroups",
        TWO,
        "umount /sys/fs/cgroup",
        LIMITS,
        "run ringfence as root",
    ),
    machine(
        "machine-read-only",
        TWO,
        "mount -o remount,ro /sys/fs/cgroup",
        LIMITS,
        "a writable /sys/fs/cgroup",
    ),
    machine(
        "machine-ram-root",
        "cgroup_no_v1=all stays=ram",
        "",
        Missing::Everything,
        "switch_root",
    ),
    machine(
        "machine-yama",
        TWO,
        "echo 3 > /proc/sys/kernel/yama/ptrace_scope",
        NOTHING,
        "",
    ),
    machine("machine-user", TWO, USER, LIMITS, "Delegate=yes"),
    machine(
        "machine-user-refused",
        TWO,
        "echo 0 > /proc/sys/kernel/unprivileged_userns_clone; set -- setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"",
        Missing::Everything,
        "kernel.unprivileged_userns_clone=1",
    ),
    machine(
        "machine-one",
        "",
        "umount /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup; for c in memory pids cpu cpuacct freezer; \
         do mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c none /sys/fs/cgroup/$c; done",
        NOTHING,
        "",
    ),
    machine(
        "machine-attacks",
        "cgroup_no_v1=all quiet",
        "",
        Missing::NothingUnderAttack,
        "",
    ),
];

/// Rows of the attack suite that must hold.
const HELD_MIN: u64 = 60;
/// The exit code of `run` when ringfence itself refuses.
const REFUSED: i32 = 125;
/// That of `doctor` when walls are missing.
const FINDINGS: i32 = 1;

impl Cell {
    /// Makes the condition and asks both commands.
    pub(crate) fn try_with(&self, binary: &str) -> Result {
        let said = self.command(binary, &["--json", "doctor"])?;
        let answer: Value = serde_json::from_slice(&said.stdout)
            .map_err(|e| format!("doctor: {e}: {}", String::from_utf8_lossy(&said.stderr)))?;
        let empty = Vec::new();
        let walls = answer["walls"].as_array().unwrap_or(&empty);
        let missing: Vec<&Value> = walls.iter().filter(|w| w["stands"] == false).collect();
        let names: BTreeSet<&str> = missing.iter().filter_map(|w| w["wall"].as_str()).collect();
        let wanted: BTreeSet<&str> = match self.missing {
            Missing::Walls(walls) => walls.iter().copied().collect(),
            Missing::NothingUnderAttack => return self.attacked(binary),
            Missing::Everything => walls.iter().filter_map(|w| w["wall"].as_str()).collect(),
        };
        let first = missing
            .first()
            .map(|w| w["evidence"].to_string())
            .unwrap_or_default();
        if names != wanted || walls.is_empty() {
            return Err(format!("missing {names:?}, expected {wanted:?}; {first}"));
        }
        let remedies = missing.iter().all(|w| {
            w["remedy"]
                .as_str()
                .is_some_and(|r| r.contains(self.remedy))
        });
        if !remedies {
            return Err(format!(
                "no remedy says {:?}: {:?}",
                self.remedy,
                missing.first()
            ));
        }
        let code = if wanted.is_empty() { 0 } else { FINDINGS };
        if said.status.code() != Some(code) {
            return Err(format!("doctor ended with {}", said.status));
        }
        self.refused(binary, !wanted.is_empty())?;
        Ok(if wanted.is_empty() {
            "every wall stands".to_owned()
        } else {
            format!("{} missing; {first}", wanted.len())
        })
    }

    /// The attack suite: nothing broken, nothing void, and enough that holds.
    fn attacked(&self, binary: &str) -> Result {
        let said = self.command(binary, &["--json", "run", "--attack-suite"])?;
        let answer: Value = serde_json::from_slice(&said.stdout)
            .map_err(|e| format!("suite: {e}: {}", String::from_utf8_lossy(&said.stderr)))?;
        let count = |key: &str| answer[key].as_u64().unwrap_or(0);
        let words =
            ["held", "broken", "void", "absent", "skipped"].map(|k| format!("{} {k}", count(k)));
        let text = words.join(", ");
        if answer["passed"] == true && count("held") >= HELD_MIN {
            return Ok(text);
        }
        let empty = Vec::new();
        let bad: Vec<String> = answer["rows"]
            .as_array()
            .unwrap_or(&empty)
            .iter()
            .filter(|r| r["outcome"] == "broken" || r["outcome"] == "void")
            .map(|r| {
                format!(
                    "{}: {} / {}",
                    r["attack"], r["answer"], r["answer_weakened"]
                )
            })
            .collect();
        Err(format!("{text}: {}", bad.join("; ")))
    }

    /// A start must be refused, or not, with the same remedy.
    fn refused(&self, binary: &str, expected: bool) -> std::result::Result<(), String> {
        let said = self.command(binary, &["run", "--", "/bin/true"])?;
        let text = String::from_utf8_lossy(&said.stderr);
        let code = if expected { REFUSED } else { 0 };
        if said.status.code() != Some(code) {
            return Err(format!("run ended with {}: {text}", said.status));
        }
        if expected && !(text.contains("error[run/") && text.contains(self.remedy)) {
            return Err(format!("run does not say {:?}: {text}", self.remedy));
        }
        Ok(())
    }

    fn command(&self, binary: &str, arguments: &[&str]) -> std::result::Result<Output, String> {
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let script = format!("set -e\n{}\nexec \"$@\"", self.prepare);
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]);
        if !self.filter.is_empty() {
            command.arg(own).args(["under", self.filter]);
        }
        command
            .arg(binary)
            .args(arguments)
            .current_dir("/")
            .output()
            .map_err(|e| format!("unshare: {e}"))
    }
}
