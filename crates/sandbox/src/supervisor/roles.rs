//! The roles as processes: started, watched, replaced at a bounded rate, ended in order.

use super::error::SupervisorError;
use ringfence_sys::process::{Child, Exit, Identity, RoleProgram, spawn_role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// LIMIT: restarts of one role within [`RESTART_WINDOW_MS`]; one more ends everything.
pub const RESTARTS_MAX: usize = 5;
/// The window of [`RESTARTS_MAX`], in milliseconds.
pub const RESTART_WINDOW_MS: u64 = 60_000;
/// LIMIT: milliseconds from SIGTERM to SIGKILL.
pub const STOP_GRACE_MS: u64 = 5_000;

/// One role of the service.
#[derive(Debug)]
pub struct RoleCommand {
    /// `recorder`, `server`: the process is started as `ringfence role NAME ARGS…`.
    pub name: String,
    /// Further arguments. `--fd NAME=N` is added for each descriptor.
    pub args: Vec<OsString>,
    /// Whom it becomes; `None` keeps the user of the supervisor.
    pub identity: Option<Identity>,
    /// Descriptors and the names under which the role finds them; each new process gets them again.
    pub fds: Vec<(String, OwnedFd)>,
    /// Whether it is started again when it dies. If not, its death ends everything.
    pub restart: bool,
    /// Whether it holds the supervisor channel, as descriptor `supervisor`. At most one does. Its
    /// own end with a code of 0 to 3 is the orderly end of the service.
    pub channel: bool,
}

/// The name of the descriptor of the supervisor channel.
pub const CHANNEL_FD_NAME: &str = "supervisor";

/// A role with its process.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) command: RoleCommand,
    pub(super) child: Option<Child>,
    deaths: Deaths,
}

impl Role {
    pub(super) fn new(command: RoleCommand) -> Self {
        Self {
            command,
            child: None,
            deaths: Deaths::default(),
        }
    }

    /// Starts the process, with the end of a new channel if it is the one that holds it.
    pub(super) fn start(
        &mut self,
        program: &Path,
        channel: Option<BorrowedFd<'_>>,
    ) -> Result<u32, SupervisorError> {
        let name = self.command.name.as_str();
        let mut argv: Vec<OsString> = vec!["ringfence".into(), "role".into(), name.into()];
        argv.extend(self.command.args.iter().cloned());
        let fds = self
            .command
            .fds
            .iter()
            .map(|(name, fd)| (name.as_str(), fd.as_fd()));
        let fds = fds.chain(channel.map(|fd| (CHANNEL_FD_NAME, fd))).collect();
        let role = RoleProgram {
            program,
            argv,
            identity: self.command.identity,
            fds,
        };
        let child = spawn_role(role).map_err(|source| SupervisorError::Spawn {
            name: name.to_owned(),
            source,
        })?;
        let pid = child.pid;
        self.child = Some(child);
        Ok(pid)
    }

    /// Reaps the process if it has ended.
    pub(super) fn reap(&mut self) -> Result<Option<Exit>, SupervisorError> {
        let Some(child) = &self.child else {
            return Ok(None);
        };
        let exit = child
            .try_wait()
            .map_err(super::error::doing("waiting for a role"))?;
        if exit.is_some() {
            self.child = None;
        }
        Ok(exit)
    }

    /// Notes a death; an error if there were too many.
    pub(super) fn note_death(&mut self, exit: Exit, now: Instant) -> Result<(), SupervisorError> {
        let name = self.command.name.clone();
        if !self.command.restart {
            return Err(SupervisorError::Died {
                name,
                how: describe(exit),
            });
        }
        let times = self.deaths.note(now);
        if times > RESTARTS_MAX {
            let seconds = RESTART_WINDOW_MS / 1000;
            return Err(SupervisorError::KeepsDying {
                name,
                times,
                seconds,
                how: describe(exit),
            });
        }
        Ok(())
    }

    /// Asks the process to end. That it has ended is no error.
    pub(super) fn ask_to_stop(&self) {
        if let Some(child) = &self.child {
            // A process that cannot be signalled is gone; the wait that follows decides.
            drop(child.signal(Signal::TERM));
        }
    }

    /// Ends the process, by force if it does not end in time, and says how it ended.
    pub(super) fn stop(&mut self, grace: Duration) -> Option<Exit> {
        let child = self.child.take()?;
        drop(child.signal(Signal::TERM));
        if !ends_within(&child, grace) {
            drop(child.signal(Signal::KILL));
        }
        child.wait().ok()
    }

    /// Ends the process at once.
    pub(super) fn kill(&mut self) -> Option<Exit> {
        let child = self.child.take()?;
        drop(child.signal(Signal::KILL));
        child.wait().ok()
    }
}

/// In words, for messages.
pub(super) fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("with exit code {code}"),
        Exit::Signal(signal) => format!("by signal {signal}"),
    }
}

fn ends_within(child: &Child, grace: Duration) -> bool {
    let until = Instant::now() + grace;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = timespec(left);
        let mut polled = [PollFd::new(&child.pidfd, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// A span for poll, rounded up to the next millisecond so that it never wakes too early.
pub(super) fn timespec(span: Duration) -> Timespec {
    let ms = span.as_millis().saturating_add(1);
    Timespec {
        tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ms % 1000).unwrap_or(0) * 1_000_000,
    }
}

/// When a role died, within the window.
#[derive(Debug, Default)]
struct Deaths {
    times: VecDeque<Instant>,
}

impl Deaths {
    /// Notes one and returns how many there are in the window.
    fn note(&mut self, now: Instant) -> usize {
        let window = Duration::from_millis(RESTART_WINDOW_MS);
        self.times
            .retain(|t| now.saturating_duration_since(*t) < window);
        self.times.push_back(now);
        self.times.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::error::Explain;

    fn role(restart: bool) -> Role {
        Role::new(RoleCommand {
            name: "recorder".to_owned(),
            args: Vec::new(),
            identity: None,
            fds: Vec::new(),
            restart,
            channel: false,
        })
    }

    #[test]
    fn deaths_are_forgiven_up_to_the_limit_and_after_the_window() {
        let mut role = role(true);
        let start = Instant::now();
        let exit = Exit::Signal(9);
        for _ in 0..RESTARTS_MAX {
            role.note_death(exit, start).unwrap();
        }
        let error = role.note_death(exit, start).unwrap_err();
        assert_eq!(error.code().0, "run/role-keeps-dying");
        assert_eq!(
            error.to_string(),
            "the recorder role died 6 times within 60 s, last by signal 9"
        );
        let later = start + Duration::from_millis(RESTART_WINDOW_MS);
        role.note_death(exit, later).unwrap();
    }

    #[test]
    fn a_role_that_is_not_restarted_ends_everything_at_its_first_death() {
        let error = role(false)
            .note_death(Exit::Code(101), Instant::now())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the recorder role ended with exit code 101"
        );
    }

    #[test]
    fn a_timeout_is_rounded_up() {
        let span = timespec(Duration::from_micros(1_999_500));
        assert_eq!((span.tv_sec, span.tv_nsec), (2, 0));
        assert_eq!(timespec(Duration::ZERO).tv_nsec, 1_000_000);
    }
}
