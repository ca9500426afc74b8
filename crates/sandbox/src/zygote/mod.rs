//! The zygote: a single-threaded process that clones sandboxes, and its owner's side of it.
//!
//! Cloning a process with several threads copies locks that nobody will ever open, so sandboxes are
//! cloned by a process that never has a second thread. It runs from a sealed copy of this binary in
//! memory: nothing that a hosted program could reach through `/proc/self/exe` can be written.
//! It decides nothing about what a sandbox may do; the [`Spec`] does.
//! INVARIANT: when the owner is gone, so is the zygote, and with it every sandbox and its cgroups.

mod birth;
mod handle;
mod plan;
mod process;
mod started;
pub(crate) mod wire;

pub use handle::{ANSWER_MS_MAX, InitHandle, InitNotice};
pub use started::{Started, end, stats};

use crate::error::{SandboxError, doing};
use crate::weakness::{Weakened, Weakness};
use ringfence_core::isolation::Spec;
use ringfence_sys::cgroup::{Group, Hierarchy};
use ringfence_sys::{memfd, ns, seqpacket, seqpacket::SeqPacket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

/// LIMIT: milliseconds for the zygote and a new sandbox to answer.
const START_MS_MAX: i64 = 20_000;

/// How to run the zygote.
#[derive(Clone, Debug)]
pub struct ZygoteOptions {
    /// First host uid and gid that sandboxes are mapped to, when run by root.
    pub uid_base: u32,
    /// Name of the cgroup that holds the sandboxes' groups, below this process's own.
    pub cgroup_parent: String,
    /// The program to run as `PROGRAM role zygote`; `None` is this very binary.
    pub program: Option<PathBuf>,
}

impl Default for ZygoteOptions {
    fn default() -> Self {
        Self {
            uid_base: 65_200,
            cgroup_parent: "ringfence".to_owned(),
            program: None,
        }
    }
}

/// The owner's end of a running zygote. Dropping it ends the zygote and every sandbox.
#[derive(Debug)]
pub struct Zygote {
    channel: SeqPacket,
    /// Held from a question to its answer.
    turn: Mutex<()>,
    child: Child,
    hierarchy: Hierarchy,
    options: ZygoteOptions,
    weakened: Weakened,
}

impl Zygote {
    /// Copies the program into sealed memory and starts it as a zygote. Safe to call from a
    /// process with threads: the fork is followed at once by an exec.
    pub fn launch(options: ZygoteOptions) -> Result<Self, SandboxError> {
        Self::launch_weakened(options, Weakened::none())
    }

    /// A zygote all of whose sandboxes lack these walls: for the attack suite, and nobody else.
    pub(crate) fn launch_weakened(
        options: ZygoteOptions,
        weakened: Weakened,
    ) -> Result<Self, SandboxError> {
        let program = options
            .program
            .clone()
            .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let sealed = memfd::sealed_copy(&program).map_err(SandboxError::Launch)?;
        let (ours, theirs) = seqpacket::seqpacket_pair().map_err(SandboxError::Launch)?;
        let child = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()))
            .args([
                "role",
                "zygote",
                &options.uid_base.to_string(),
                &options.cgroup_parent,
                &weakened.to_string(),
            ])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SandboxError::Launch)?;
        let hierarchy = Hierarchy::of_this_process().map_err(SandboxError::Launch)?;
        let zygote = Self {
            channel: SeqPacket::new(ours),
            turn: Mutex::new(()),
            child,
            hierarchy,
            options,
            weakened,
        };
        zygote.greeting()?;
        Ok(zygote)
    }

    /// The zygote says one word when it is ready; a program that is not a zygote says nothing.
    fn greeting(&self) -> Result<(), SandboxError> {
        match self.answer()? {
            (wire::ZygoteReply::Ready, _) => Ok(()),
            _ => Err(SandboxError::ZygoteLost),
        }
    }

    fn answer(&self) -> Result<(wire::ZygoteReply, Vec<OwnedFd>), SandboxError> {
        if !ns::readable(self.channel.as_fd(), Some(START_MS_MAX)).map_err(doing("poll"))? {
            return Err(SandboxError::ZygoteLost);
        }
        let mut buffer = Vec::new();
        let fds = self
            .channel
            .recv(&mut buffer)
            .map_err(|_| SandboxError::ZygoteLost)?;
        let reply = wire::decode(&buffer).ok_or(SandboxError::ZygoteLost)?;
        Ok((reply, fds))
    }

    /// Readable or at its end when the zygote is gone: nothing else is sent unasked.
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Makes a sandbox, waits until it has attacked itself, and hands it over. Blocks for some
    /// milliseconds.
    pub fn start(&self, spec: &Spec) -> Result<Started, SandboxError> {
        let began = Instant::now();
        plan::check(spec)?;
        let group = Group::create(
            &self.hierarchy,
            &self.options.cgroup_parent,
            spec.id.as_str(),
        );
        let made = self.start_in(spec, &group, began);
        if made.is_err() {
            // The sandbox may be dying still; removal waits for it.
            drop(group.remove());
        }
        made
    }

    fn start_in(
        &self,
        spec: &Spec,
        group: &Group,
        began: Instant,
    ) -> Result<Started, SandboxError> {
        if !self.weakened.lacks(Weakness::Limits) {
            birth::limit(group, spec)?;
        }
        let (ours, theirs) = seqpacket::seqpacket_pair().map_err(doing("socketpair"))?;
        let pidfd = self.ask_for_clone(spec, &theirs)?;
        drop(theirs);
        birth::raise(spec, group, pidfd, SeqPacket::new(ours), began)
    }

    fn ask_for_clone(&self, spec: &Spec, theirs: &OwnedFd) -> Result<OwnedFd, SandboxError> {
        let request = wire::encode(&wire::ZygoteRequest::Start(Box::new(spec.clone())))?;
        let _turn = self.turn.lock().map_err(|_| SandboxError::ZygoteLost)?;
        self.channel
            .send(&request, &[theirs.as_fd()])
            .map_err(|_| SandboxError::ZygoteLost)?;
        match self.answer()? {
            (wire::ZygoteReply::Cloned, mut fds) => fds.pop().ok_or(SandboxError::ZygoteLost),
            (wire::ZygoteReply::Failed(failure), _) => Err(failure.into()),
            (wire::ZygoteReply::Ready, _) => Err(SandboxError::ZygoteLost),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // The end of the conversation is what the zygote waits for; it takes its sandboxes and
        // their cgroups with it before it ends.
        drop(ns::hang_up(self.channel.as_fd()));
        drop(self.child.wait());
    }
}

/// The zygote process. Called by the binary for `role zygote ARGS`, before any thread exists and
/// before anything else is done.
pub fn main(args: &[String]) -> i32 {
    process::main(args)
}
