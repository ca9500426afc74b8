//! The supervisor: a single-threaded loop that owns every sandbox.
//!
//! It holds what the other roles must not: root (or the user), the zygote and the inits. So it does
//! little: it starts the roles and replaces them when they die, answers the typed questions of
//! the server, ends programs whose time is up, and speaks a constant 503 at doors while no server
//! stands behind them. It opens no connection, parses no hostile input and has no second thread.
//! INVARIANT: when this process is gone, however it went, so is everything it started.

mod ceilings;
mod channel;
mod doors;
mod error;
mod roles;
mod run_loop;
mod sandboxes;
mod state;

pub use ceilings::{SANDBOX_PROCESSES_MAX, SMALL_HOST_BYTES};
pub use channel::QUEUE_MAX;
pub use doors::{LINGER_MAX, RESTARTING};
pub use error::SupervisorError;
pub use roles::{CHANNEL_FD_NAME, RESTART_WINDOW_MS, RESTARTS_MAX, RoleCommand, STOP_GRACE_MS};
pub use run_loop::run;
pub use sandboxes::{EXECS_MAX, OVERDUE_MS_MAX, Permits, SANDBOXES_MAX};
pub use state::{StateDirectory, StateSocket};

use crate::zygote::ZygoteOptions;
use std::path::PathBuf;

/// What a supervisor is made of.
pub struct SupervisorConfig {
    /// The state directory; made if it is missing, and locked.
    pub state_dir: PathBuf,
    /// Directories below it, each 0700 for its owner.
    pub directories: Vec<StateDirectory>,
    /// Listening Unix sockets in it, handed to roles.
    pub sockets: Vec<StateSocket>,
    /// The roles, in the order in which they are started; they are stopped the other way round.
    pub roles: Vec<RoleCommand>,
    /// The program that is executed for a role: this very binary.
    pub program: PathBuf,
    /// How sandboxes are made.
    pub zygote: ZygoteOptions,
    /// What the server may ask for.
    pub permits: Permits,
    /// Told what happens, in order; must not block.
    pub announce: Box<dyn FnMut(Announcement)>,
}

impl SupervisorConfig {
    /// A supervisor of this directory without roles.
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            directories: Vec::new(),
            sockets: Vec::new(),
            roles: Vec::new(),
            program: PathBuf::from("/proc/self/exe"),
            zygote: ZygoteOptions::default(),
            permits: Permits::default(),
            announce: Box::new(|_| ()),
        }
    }
}

/// What happens to a supervisor, for the operator's terminal and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Announcement {
    /// A role was started.
    RoleStarted {
        /// Which.
        name: String,
        /// Its process.
        pid: u32,
        /// How often it was started again before.
        restarts: u64,
    },
    /// A role died and will be replaced.
    RoleDied {
        /// Which.
        name: String,
        /// How.
        how: String,
    },
    /// The server broke the protocol of its channel and is ended.
    ServerRefused {
        /// What it did.
        why: String,
    },
    /// A sandbox ended without having been closed.
    SandboxLost {
        /// Which.
        sandbox: String,
        /// What is known of the cause.
        reason: String,
    },
    /// An orderly end begins.
    Stopping {
        /// Why.
        why: String,
    },
}
