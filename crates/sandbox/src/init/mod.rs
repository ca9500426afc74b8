//! Pid 1 of a sandbox: ours, without privilege, and the only one who talks to the owner.
//!
//! It builds the walls, attacks them, then starts programs, collects the dead and reports ends.
//! It never reads anything that a hosted program wrote.
//! INVARIANT: when the owner's end of the socket is closed, this process ends, and the kernel ends
//! every other process of the pid namespace with it.

mod doors;
mod exec;
mod serve;

use crate::layers::{lock, root, trees};
use crate::probe;
use crate::weakness::{Weakened, Weakness};
use crate::zygote::wire::{self, Failure, InitReply, InitRequest, ProbeFinding};
use ringfence_core::isolation::Spec;
use ringfence_sys::mount::Tree;
use ringfence_sys::seccomp::Filters;
use ringfence_sys::seqpacket::SeqPacket;
use ringfence_sys::{attack, netns, ns, process, spawn};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What every init of a zygote starts with.
pub(crate) struct Inherited {
    /// Compiled once.
    pub filters: Filters,
    /// The sealed copy of this binary.
    pub binary: OwnedFd,
    /// The host's namespaces, by kind.
    pub outside: Vec<(String, String)>,
    /// A process of the host, to show that it cannot be reached.
    pub zygote_pid: i32,
    /// What is left out on purpose, for the attack suite.
    pub weakened: Weakened,
    /// Whether the host side is root.
    pub privileged: bool,
}

/// What one init starts with.
pub(crate) struct Birth {
    /// What to be.
    pub spec: Spec,
    /// To the owner.
    pub channel: SeqPacket,
    /// The mounts, if the zygote could open them.
    pub trees: Vec<Tree>,
}

/// The life of an init. Never returns: the code of the zygote above it must not run twice.
pub(crate) fn run(birth: Birth, inherited: &Inherited) -> ! {
    let Birth {
        spec,
        channel,
        trees,
    } = birth;
    let code = match live(&spec, &channel, trees, inherited) {
        Ok(()) => 0,
        Err(failure) => {
            drop(tell(&channel, &InitReply::Failed(failure), &[]));
            1
        }
    };
    spawn::exit_now(code)
}

fn tell(channel: &SeqPacket, reply: &InitReply, fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    channel.send(&wire::encode(reply).map_err(std::io::Error::other)?, fds)
}

fn live(
    spec: &Spec,
    channel: &SeqPacket,
    trees: Vec<Tree>,
    inherited: &Inherited,
) -> Result<(), Failure> {
    let at = |step: &'static str| move |e: std::io::Error| Failure::new(step, &e);
    // The zygote lets the kernel reap its children; an init collects its own.
    spawn::default_signals();
    spawn::die_with_parent().map_err(at("tie to the zygote"))?;
    let mut buffer = Vec::new();
    channel
        .recv(&mut buffer)
        .map_err(at("wait for the owner"))?;
    let Some(InitRequest::Go) = wire::decode(&buffer) else {
        return Ok(());
    };
    ns::become_root().map_err(at("become root inside"))?;
    // Changing ids cleared the tie (prctl(2), PR_SET_PDEATHSIG).
    spawn::die_with_parent().map_err(at("tie to the zygote"))?;
    let (doors, mut findings) = build(spec, channel, trees, inherited)?;
    findings.extend(probe::attack(inherited).map_err(at("attack the walls"))?);
    let fds: Vec<BorrowedFd<'_>> = doors.iter().map(AsFd::as_fd).collect();
    tell(channel, &InitReply::Ready { findings }, &fds).map_err(at("report"))?;
    drop(doors);
    serve::serve(channel, inherited).map_err(at("serve"))
}

/// Every wall, in the only order that works: what needs privilege first, giving it up last.
fn build(
    spec: &Spec,
    channel: &SeqPacket,
    trees: Vec<Tree>,
    inherited: &Inherited,
) -> Result<(Vec<OwnedFd>, Vec<ProbeFinding>), Failure> {
    let at = |step: &'static str| move |e: std::io::Error| Failure::new(step, &e);
    let trees = if trees.len() == spec.mounts.len() {
        trees
    } else {
        trees::open(spec, inherited.weakened)?
    };
    let mut kept: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
    kept.extend([channel.as_fd(), inherited.binary.as_fd()]);
    spawn::close_all_except(&kept).map_err(at("close inherited descriptors"))?;
    process::new_session().map_err(at("start a session"))?;
    ns::set_umask();
    ns::unshare_cgroup().map_err(at("hide the cgroups"))?;
    if inherited.weakened.lacks(Weakness::Descriptors) {
        File::open("/").and_then(attack::leak).map_err(at("leak"))?;
    }
    if !inherited.weakened.lacks(Weakness::UtsNamespace) {
        ns::set_host_name("sandbox").map_err(at("set the host name"))?;
    }
    if !inherited.weakened.lacks(Weakness::Keyring) {
        ns::own_session_keyring().map_err(at("make a keyring"))?;
    }
    if !inherited.weakened.lacks(Weakness::NetNamespace) {
        netns::raise_loopback().map_err(at("raise loopback"))?;
    }
    if !inherited.weakened.lacks(Weakness::FileSystem) {
        root::build(spec, &trees, inherited.weakened)?;
    }
    drop(trees);
    let doors = doors::bind(&spec.doors)?;
    let findings = lock::close(spec, inherited)?;
    Ok((doors, findings))
}
