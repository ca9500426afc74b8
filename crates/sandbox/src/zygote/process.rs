//! The zygote itself: waits for a request, clones, forgets.

use super::wire::{self, Failure, ZygoteReply, ZygoteRequest};
use crate::init::{self, Birth, Inherited};
use crate::layers::trees;
use crate::weakness::{Weakened, Weakness};
use ringfence_core::isolation::Spec;
use ringfence_sys::cgroup::{Group, Hierarchy};
use ringfence_sys::seccomp::Filters;
use ringfence_sys::seqpacket::SeqPacket;
use ringfence_sys::spawn::{self, Forked};
use ringfence_sys::{mount::Tree, ns, process};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const CLONE_NEWUSER: u64 = 0x1000_0000;
/// Mounts are always a sandbox's own. `CLONE_NEWCGROUP` comes later, from inside: its root is where
/// the process is at that moment, and that must be its own group.
const CLONE_NEWNS: u64 = 0x0002_0000;
/// The others, each with the weakness that leaves it out.
const NAMESPACES: [(u64, Weakness); 5] = [
    (CLONE_NEWUSER, Weakness::UserNamespace),
    (0x2000_0000, Weakness::PidNamespace), // CLONE_NEWPID
    (0x4000_0000, Weakness::NetNamespace), // CLONE_NEWNET
    (0x0800_0000, Weakness::IpcNamespace), // CLONE_NEWIPC
    (0x0400_0000, Weakness::UtsNamespace), // CLONE_NEWUTS
];

fn namespaces(weakened: Weakened) -> u64 {
    NAMESPACES
        .iter()
        .filter(|(_, weakness)| !weakened.lacks(*weakness))
        .fold(CLONE_NEWNS, |flags, (flag, _)| flags | flag)
}

/// LIMIT: sandboxes alive at one time; each has a host uid of its own.
const SANDBOXES_MAX: u32 = 300;
/// LIMIT: milliseconds for sandboxes to be gone at the end.
const GONE_MS_MAX: i64 = 5_000;

struct Living {
    slot: u32,
    pidfd: OwnedFd,
    group: String,
}

struct State {
    inherited: Inherited,
    hierarchy: Hierarchy,
    uid_base: u32,
    parent: String,
    living: Vec<Living>,
}

pub(super) fn main(args: &[String]) -> i32 {
    let [uid_base, parent, weakened] = args else {
        return 2;
    };
    let (Ok(uid_base), Ok(weakened)) = (uid_base.parse(), weakened.parse()) else {
        return 2;
    };
    match prepare(uid_base, parent, weakened) {
        Ok((mut state, channel)) => {
            serve(&mut state, &channel);
            finish(&state);
            0
        }
        Err(_) => 1,
    }
}

/// Everything that every sandbox needs is made once, here: the compiled filters, the identities of
/// the host's namespaces, the sealed binary.
fn prepare(uid_base: u32, parent: &str, weakened: Weakened) -> io::Result<(State, SeqPacket)> {
    spawn::ignore_children();
    // A key such as Ctrl-C signals the whole foreground group; only the owner decides what it means,
    // and the zygote must outlive the owner to clean up.
    process::new_session()?;
    let channel = spawn::take_standard_input()?;
    let identities = ns::KINDS
        .iter()
        .map(|kind| Ok(((*kind).to_owned(), ns::identity("self", kind)?)))
        .collect::<io::Result<_>>()?;
    let inherited = Inherited {
        filters: Filters::for_programs()?,
        binary: File::open("/proc/self/exe")?.into(),
        outside: identities,
        zygote_pid: std::process::id().cast_signed(),
        weakened,
        privileged: ns::is_root() && ns::maps_ids(uid_base, SANDBOXES_MAX),
    };
    if inherited.privileged {
        ns::drop_groups()?;
    }
    let hierarchy = Hierarchy::of_this_process()?;
    let state = State {
        inherited,
        hierarchy,
        uid_base,
        parent: parent.to_owned(),
        living: Vec::new(),
    };
    Ok((state, SeqPacket::new(channel)))
}

fn serve(state: &mut State, channel: &SeqPacket) {
    let mut buffer = Vec::new();
    if send(channel, &ZygoteReply::Ready, &[]).is_err() {
        return;
    }
    loop {
        let Ok(mut fds) = channel.recv(&mut buffer) else {
            return;
        };
        let Some(ZygoteRequest::Start(spec)) = wire::decode(&buffer) else {
            return;
        };
        let Some(init_end) = fds.pop() else { return };
        let sent = match clone(state, *spec, init_end) {
            Ok(pidfd) => send(channel, &ZygoteReply::Cloned, &[pidfd]),
            Err(failure) => send(channel, &ZygoteReply::Failed(failure), &[]),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn send(channel: &SeqPacket, reply: &ZygoteReply, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = wire::encode(reply).map_err(io::Error::other)?;
    channel.send(&bytes, fds)
}

fn free_slot(state: &mut State) -> Result<u32, Failure> {
    state
        .living
        .retain(|one| !spawn::has_ended(&one.pidfd, Some(0)).unwrap_or(true));
    (0..SANDBOXES_MAX)
        .find(|slot| state.living.iter().all(|one| one.slot != *slot))
        .ok_or_else(|| Failure {
            step: "slot".to_owned(),
            errno: None,
            reason: format!("{SANDBOXES_MAX} sandboxes are alive"),
        })
}

fn clone(state: &mut State, spec: Spec, init_end: OwnedFd) -> Result<BorrowedFd<'_>, Failure> {
    let slot = free_slot(state)?;
    // Only root can copy mounts out of its own tree beforehand; the user's own init copies them
    // itself, with the rights of the same user.
    let opened = if state.inherited.privileged {
        trees::open(&spec, state.inherited.weakened)?
    } else {
        Vec::new()
    };
    let forked = spawn::clone_namespaces(namespaces(state.inherited.weakened), None)
        .map_err(|e| Failure::new("clone into namespaces", &e))?;
    let (pid, pidfd) = match forked {
        Forked::Child => {
            let birth = Birth {
                spec,
                channel: SeqPacket::new(init_end),
                trees: opened,
            };
            init::run(birth, &state.inherited)
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(init_end);
    let uid = if state.inherited.privileged {
        state.uid_base + slot
    } else {
        ns::own_uid()
    };
    let gid = if state.inherited.privileged {
        state.uid_base + slot
    } else {
        ns::own_gid()
    };
    let mapped = if state.inherited.weakened.lacks(Weakness::UserNamespace) {
        Ok(())
    } else {
        ns::map_single(pid, uid, gid)
            .map_err(|e| Failure::new("map user ids", &e))
            .and_then(|()| map_trees(&opened, &spec, pid, (uid, gid)))
    };
    if let Err(failure) = mapped {
        drop(spawn::kill(&pidfd));
        return Err(failure);
    }
    state.living.push(Living {
        slot,
        pidfd,
        group: spec.id.as_str().to_owned(),
    });
    let newest = state.living.last().ok_or_else(|| Failure {
        step: "slot".to_owned(),
        errno: None,
        reason: "the new sandbox was lost".to_owned(),
    })?;
    Ok(newest.pidfd.as_fd())
}

/// Shows the files of each mount as the sandbox's own: those of the owner of the mounted path, so
/// that what is private to its owner can be read, as asked. A file system without id-mapped mounts
/// stays as it is, and then only what everybody may read can be read.
fn map_trees(opened: &[Tree], spec: &Spec, pid: i32, outside: (u32, u32)) -> Result<(), Failure> {
    for (tree, mount) in opened.iter().zip(&spec.mounts) {
        let owner = trees::owner_of(&mount.source)?;
        let made = if owner == (0, 0) {
            File::open(format!("/proc/{pid}/ns/user")).map(OwnedFd::from)
        } else {
            user_namespace(owner, outside)
        };
        let namespace = made.map_err(|e| Failure::new("map ids of a mount", &e))?;
        drop(tree.map_ids(namespace.as_fd()));
    }
    Ok(())
}

/// A user namespace that nobody lives in, with one id mapped: the form in which the kernel takes
/// the map of a mount.
fn user_namespace(inside: (u32, u32), outside: (u32, u32)) -> io::Result<OwnedFd> {
    match spawn::clone_namespaces(CLONE_NEWUSER, None)? {
        Forked::Child => spawn::wait_to_be_killed(),
        Forked::Parent { pid, pidfd } => {
            let opened = ns::map_one(pid, inside, outside)
                .and_then(|()| File::open(format!("/proc/{pid}/ns/user")));
            spawn::kill(&pidfd)?;
            Ok(opened?.into())
        }
    }
}

/// The owner is gone: so is everything it had.
fn finish(state: &State) {
    for one in &state.living {
        drop(spawn::kill(&one.pidfd));
    }
    for one in &state.living {
        let group = Group::create(&state.hierarchy, &state.parent, &one.group);
        drop(group.freeze(false));
        drop(spawn::has_ended(&one.pidfd, Some(GONE_MS_MAX)));
        drop(group.remove());
    }
    Group::create(&state.hierarchy, &state.parent, "").remove_empty();
}
