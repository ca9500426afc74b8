//! System calls as an allow-list.
//!
//! Four filters are stacked; for equal actions the kernel takes the answer of the one installed
//! last (seccomp(2)), so the order below is from the widest to the most specific:
//! 1. the allow-list: all that is not named answers ENOSYS, as on a kernel that lacks it, so that
//!    libraries fall back;
//! 2. refusals: calls that exist but are nobody's business in a sandbox answer EPERM;
//! 3. families: sockets of other families than Unix and IP answer EAFNOSUPPORT;
//! 4. absences: calls whose arguments a filter cannot read (`clone3`, `openat2`, `io_uring`) answer
//!    ENOSYS.
//!
//! Every filter checks the architecture first: a call of another one (int 0x80) kills the process,
//! and an x32 number matches nothing. It does not decide about paths: that is Landlock's.
//! INVARIANT: a filter compares only values in registers, never memory that can change.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

mod table;

/// Compiled filters, ready to be installed.
#[derive(Clone, Debug)]
pub struct Filters(Vec<BpfProgram>);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("seccomp: {error}"))
}

fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    // Dword: the upper half of a register is not compared, because the kernel itself ignores it
    // for these arguments (CVE-2019-7303 passed TIOCSTI with a high bit set).
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(broken)
}

fn all(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(broken)
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(broken)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(broken)?;
    filter.try_into().map_err(broken)
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

impl Filters {
    /// The filters for programs hosted in a sandbox.
    pub fn for_programs() -> io::Result<Self> {
        let allowed = table::ALLOWED.iter().map(|n| (*n, Vec::new())).collect();
        let refused = refusals()?;
        let absent = table::ABSENT.iter().map(|n| (*n, Vec::new())).collect();
        Ok(Self(vec![
            compile(allowed, errno(libc::ENOSYS), SeccompAction::Allow)?,
            compile(refused, SeccompAction::Allow, errno(libc::EPERM))?,
            compile(families()?, SeccompAction::Allow, errno(libc::EAFNOSUPPORT))?,
            compile(absent, SeccompAction::Allow, errno(libc::ENOSYS))?,
        ]))
    }

    /// Installs them on this thread and all it will start; sets `no_new_privs`. Cannot be undone.
    pub fn install(&self) -> io::Result<()> {
        self.0
            .iter()
            .try_for_each(|program| seccompiler::apply_filter(program).map_err(broken))
    }
}

/// Sockets of any family but Unix and IP.
fn families() -> io::Result<Rules> {
    let others = |families: &[i32]| {
        all(families
            .iter()
            .map(|f| when(0, SeccompCmpOp::Ne, u64::from(f.unsigned_abs())))
            .collect::<io::Result<_>>()?)
    };
    Ok(BTreeMap::from([
        (
            libc::SYS_socket,
            vec![others(&[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6])?],
        ),
        (libc::SYS_socketpair, vec![others(&[libc::AF_UNIX])?]),
    ]))
}

/// Scheduling and limits of any process but the caller, which is number 0: a program could starve
/// the init, or the start of another program, which have its user id.
fn of_other_processes() -> io::Result<Rules> {
    let mut rules = Rules::new();
    for call in table::OF_PROCESSES {
        rules.insert(*call, vec![all(vec![when(0, SeccompCmpOp::Ne, 0)?])?]);
    }
    rules.insert(
        libc::SYS_setpriority,
        vec![
            // A group or a user is more than the caller.
            all(vec![when(
                0,
                SeccompCmpOp::Ne,
                u64::from(libc::PRIO_PROCESS),
            )?])?,
            all(vec![when(1, SeccompCmpOp::Ne, 0)?])?,
        ],
    );
    Ok(rules)
}

/// What exists, is refused, and says so with EPERM.
fn refusals() -> io::Result<Rules> {
    let mut rules: Rules = table::REFUSED.iter().map(|n| (*n, Vec::new())).collect();
    let flagged = |argument, bits: &[i32]| {
        bits.iter()
            .map(|bit| {
                let bit = u64::from(bit.cast_unsigned());
                all(vec![when(argument, SeccompCmpOp::MaskedEq(bit), bit)?])
            })
            .collect::<io::Result<Vec<_>>>()
    };
    rules.insert(libc::SYS_clone, flagged(0, &table::NAMESPACE_FLAGS)?);
    rules.insert(libc::SYS_unshare, flagged(0, &table::NAMESPACE_FLAGS)?);
    // Injecting keystrokes into a terminal that a person also uses; line disciplines load modules.
    let terminal = [libc::TIOCSTI, libc::TIOCLINUX, table::TIOCSETD]
        .into_iter()
        .map(|request| all(vec![when(1, SeccompCmpOp::Eq, request)?]))
        .collect::<io::Result<_>>()?;
    rules.insert(libc::SYS_ioctl, terminal);
    let kind = |kind: i32| {
        when(
            1,
            SeccompCmpOp::MaskedEq(0xf),
            u64::from(kind.unsigned_abs()),
        )
    };
    let protocol = |p: i32| when(2, SeccompCmpOp::Eq, u64::from(p.unsigned_abs()));
    rules.insert(
        libc::SYS_socket,
        vec![
            all(vec![kind(libc::SOCK_RAW)?])?,
            all(vec![kind(table::SOCK_PACKET)?])?,
            all(vec![kind(table::SOCK_DCCP)?])?,
            all(vec![protocol(libc::IPPROTO_SCTP)?])?,
            // Outside of Unix sockets a sequence of packets is SCTP, which protocol 0 also means.
            all(vec![
                kind(libc::SOCK_SEQPACKET)?,
                when(0, SeccompCmpOp::Ne, u64::from(libc::AF_UNIX.unsigned_abs()))?,
            ])?,
        ],
    );
    rules.extend(of_other_processes()?);
    // 0 is the ordinary Linux personality and all ones only asks; the rest weakens the address
    // layout or changes the system call table.
    rules.insert(
        libc::SYS_personality,
        vec![all(vec![
            when(0, SeccompCmpOp::Ne, 0)?,
            when(0, SeccompCmpOp::Ne, 0xffff_ffff)?,
        ])?],
    );
    for (call, mode, flags) in table::MODES {
        let mut set_id = Vec::new();
        for bit in [0o4000, 0o2000] {
            let bit = when(*mode, SeccompCmpOp::MaskedEq(bit), bit)?;
            match flags {
                None => set_id.push(all(vec![bit])?),
                Some(place) => {
                    for creating in table::CREATING {
                        let creates = when(*place, SeccompCmpOp::MaskedEq(creating), creating)?;
                        set_id.push(all(vec![bit.clone(), creates])?);
                    }
                }
            }
        }
        rules.insert(*call, set_id);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_within_the_kernels_limit_of_instructions() {
        // LIMIT: BPF_MAXINSNS, 4096.
        for program in Filters::for_programs().unwrap().0 {
            assert!(program.len() < 4096, "{}", program.len());
        }
    }

    #[test]
    fn no_call_is_both_allowed_and_refused_without_a_condition() {
        for number in table::REFUSED.iter().chain(table::ABSENT) {
            assert!(!table::ALLOWED.contains(number), "{number}");
        }
    }

    #[test]
    fn calls_with_conditional_refusals_are_on_the_allow_list() {
        for number in refusals()
            .unwrap()
            .into_iter()
            .filter(|(_, r)| !r.is_empty())
        {
            assert!(table::ALLOWED.contains(&number.0) || number.0 == libc::SYS_unshare);
        }
    }
}
