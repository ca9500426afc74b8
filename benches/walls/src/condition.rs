//! A kernel that lacks a system call, imitated by a filter over the command that is tried.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The calls that a kernel lacks, and what it says instead.
fn lacking(filter: &str) -> Option<(&'static [i64], i32)> {
    Some(match filter {
        // As with CONFIG_SECURITY_LANDLOCK=n.
        "landlock" => (&[libc::SYS_landlock_create_ruleset], libc::ENOSYS),
        // As with CONFIG_SECCOMP=n; prctl(2) is the older way to it.
        "seccomp" => (&[libc::SYS_seccomp], libc::ENOSYS),
        // As before Linux 5.2 and 5.12.
        "mount" => (
            &[
                libc::SYS_open_tree,
                libc::SYS_fsopen,
                libc::SYS_move_mount,
                libc::SYS_mount_setattr,
            ],
            libc::ENOSYS,
        ),
        // As in a container whose profile does not know it.
        "clone3" => (&[libc::SYS_clone3], libc::ENOSYS),
        _ => return None,
    })
}

fn filter(name: &str) -> Result<BpfProgram, String> {
    let (calls, answer) = lacking(name).ok_or_else(|| format!("no filter {name:?}"))?;
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(|e| format!("{e}"))?;
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(answer.unsigned_abs()),
        arch,
    )
    .and_then(TryInto::try_into)
    .map_err(|e| e.to_string())
}

/// Becomes the command, under the filter.
pub(crate) fn under(name: &str, command: &[&str]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("error: under FILTER needs a command");
        return ExitCode::from(2);
    };
    let installed =
        filter(name).and_then(|f| seccompiler::apply_filter(&f).map_err(|e| e.to_string()));
    let error = match installed {
        Ok(()) => Command::new(program).args(arguments).exec().to_string(),
        Err(error) => error,
    };
    eprintln!("error: {error}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::CELLS;

    #[test]
    fn every_filter_that_a_cell_names_compiles() {
        for cell in CELLS.iter().filter(|c| !c.filter.is_empty()) {
            assert!(filter(cell.filter).is_ok(), "{}", cell.name);
        }
        assert!(filter("nonsense").is_err());
    }
}
