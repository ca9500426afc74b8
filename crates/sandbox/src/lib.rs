//! RUN, workloads: the fence itself.
//!
//! A sandbox is an init of ours (pid 1 of its own namespaces) that starts programs on request and
//! holds no privilege. The way to one: `Spec` → [`zygote`] (single-threaded, clones) → layers
//! (mounts, limits, Landlock, seccomp) → self-probe → programs. [`oneshot`] does all of it for one
//! command without a server; [`host`] says what this machine can do.
//!
//! It is not a container engine: there are no images, no networks to configure, no privileged mode.
//! INVARIANT: nothing hosted runs before every layer stands and has been attacked from inside.
#![forbid(unsafe_code)]

pub mod attack;
pub mod client;
pub mod egress;
pub mod error;
pub mod exec_service;
pub mod host;
pub mod init;
mod layers;
pub mod oneshot;
mod probe;
pub mod protocol;
pub mod supervisor;
mod weakness;
pub mod zygote;

pub use error::SandboxError;
