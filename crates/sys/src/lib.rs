//! What the kernel offers, made safe to call.
//!
//! This is the only crate with `unsafe`: the system calls that no safe crate wraps (clone3,
//! `mount_setattr`, `execveat`, …), one operation to a block, each with the reason why it is sound.
//! It decides nothing: no policy, no default limit, no message to a person. What a sandbox is made
//! of is decided in the `sandbox` crate; this crate only knows how to ask the kernel for it.
//!
//! Read [`spawn`] first (who may fork and when), then [`mount`], [`seccomp`] and [`cgroup`].
//! INVARIANT: no function here allocates a thread, and none forks except those in [`spawn`].
#![expect(
    unsafe_code,
    reason = "the one crate that speaks to the kernel directly"
)]

pub mod attack;
pub mod attempt;
pub mod caps;
pub mod cgroup;
pub mod clock;
pub mod confine;
pub mod immutable;
pub mod landlock;
pub mod lock;
pub mod memfd;
pub mod mount;
pub mod netns;
pub mod ns;
pub mod peer;
pub mod process;
pub mod rlimit;
pub mod seccomp;
pub mod seqpacket;
pub mod spawn;

#[cfg(test)]
mod testing;
