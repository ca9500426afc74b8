//! The loop: one poll, then whatever it says, then again.

use super::channel::{Channel, ChannelError};
use super::doors::{Lingering, WATCHED};
use super::error::{SupervisorError, doing};
use super::roles::{Role, STOP_GRACE_MS, describe, timespec};
use super::sandboxes::Sandboxes;
use super::state::{prepare_directory, prepare_root, prepare_socket};
use super::{Announcement, SupervisorConfig};
use crate::SandboxError;
use crate::protocol::{Message, Notice};
use crate::zygote::Zygote;
use ringfence_sys::lock::DirLock;
use ringfence_sys::process::{Exit, SignalFd};
use ringfence_sys::seqpacket::seqpacket_pair;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
/// LIMIT: questions answered in one turn, so that a flood of them cannot starve the rest.
const REQUESTS_PER_TURN_MAX: usize = 16;
/// LIMIT: milliseconds that the same Ctrl-C may take from the zygote to the supervisor.
const SIGNAL_LAG_MS: u64 = 100;
/// The codes with which a server may end in an orderly way (the binary's own codes).
const ORDERLY: std::ops::RangeInclusive<i32> = 0..=3;

/// Runs a supervisor until its server has ended or a signal asked it to; returns the code to exit
/// with. Must be called before any other thread exists. When it returns, everything that it
/// started is gone.
pub fn run(config: SupervisorConfig) -> Result<i32, SupervisorError> {
    let shared = config.roles.iter().any(|role| role.identity.is_some());
    let root = prepare_root(&config.state_dir, shared)?;
    let lock = DirLock::acquire(&config.state_dir)?;
    for directory in &config.directories {
        prepare_directory(&root, &config.state_dir, directory)?;
    }
    let mut roles: Vec<Role> = config.roles.into_iter().map(Role::new).collect();
    for socket in &config.sockets {
        let fd = prepare_socket(&root, &config.state_dir, socket)?;
        if let Some(role) = roles
            .iter_mut()
            .find(|role| role.command.name == socket.role)
        {
            role.command.fds.push((socket.fd_name.clone(), fd));
        }
    }
    let signals = SignalFd::block(&[SIGINT, SIGTERM]).map_err(doing("blocking signals"))?;
    let zygote = Zygote::launch(config.zygote)?;
    let supervisor = Supervisor {
        roles,
        restarts: 0,
        program: config.program,
        signals,
        zygote,
        channel: None,
        sandboxes: Sandboxes::new(config.permits),
        lingering: Lingering::default(),
        stopping: None,
        hung_up: None,
        announce: config.announce,
    };
    let outcome = supervisor.run();
    drop(lock);
    outcome
}

struct Supervisor {
    roles: Vec<Role>,
    restarts: u64,
    program: PathBuf,
    signals: SignalFd,
    zygote: Zygote,
    channel: Option<Channel>,
    sandboxes: Sandboxes,
    lingering: Lingering,
    /// Until when the server may take to end, once it was asked to.
    stopping: Option<Instant>,
    /// Until when a server that closed its channel may take to end. It is ending, or hangs.
    hung_up: Option<Instant>,
    announce: Box<dyn FnMut(Announcement)>,
}

/// What poll found.
#[derive(Default)]
struct Ready {
    signals: bool,
    channel: bool,
    doors: bool,
}

impl Supervisor {
    fn run(mut self) -> Result<i32, SupervisorError> {
        let outcome = self.start_and_serve();
        // The order of the end: server, sandboxes, the other roles from last to first (the
        // recorder started first, so that it records until the end), then the zygote.
        for server in self.roles.iter_mut().filter(|role| role.command.channel) {
            server.kill();
        }
        let closed = self.sandboxes.close_all();
        for role in self.roles.iter_mut().rev() {
            role.stop(Duration::from_millis(STOP_GRACE_MS));
        }
        let code = outcome?;
        closed?;
        Ok(code)
    }

    fn start_and_serve(&mut self) -> Result<i32, SupervisorError> {
        for index in 0..self.roles.len() {
            self.start_role(index)?;
        }
        loop {
            let ready = self.wait()?;
            let now = Instant::now();
            if ready.signals && self.heard_signals(now)? {
                return Ok(0);
            }
            if ready.channel {
                self.serve_channel(now);
            }
            self.tell_notices();
            if let Some(code) = self.look_after_roles(now)? {
                return Ok(code);
            }
            if ready.doors {
                for door in self.sandboxes.orphaned_doors() {
                    self.lingering.answer(door, now);
                }
            }
            self.lingering.let_go(now);
            self.sandboxes.enforce_deadlines(now);
            if self.hung_up.is_some_and(|until| until <= now) {
                self.kill_server("it closed its channel and did not end".to_owned());
            }
            if self.stopping.is_some_and(|until| until <= now) {
                return Ok(0);
            }
        }
    }

    fn start_role(&mut self, index: usize) -> Result<(), SupervisorError> {
        let Some(role) = self.roles.get_mut(index) else {
            return Ok(());
        };
        let mut theirs: Option<OwnedFd> = None;
        if role.command.channel {
            let (near, far) = seqpacket_pair().map_err(doing("making the server channel"))?;
            self.channel = Some(Channel::new(near).map_err(doing("making the server channel"))?);
            theirs = Some(far);
        }
        let pid = role.start(&self.program, theirs.as_ref().map(AsFd::as_fd))?;
        let (name, restarts) = (role.command.name.clone(), self.restarts);
        (self.announce)(Announcement::RoleStarted {
            name,
            pid,
            restarts,
        });
        Ok(())
    }

    /// Waits until something happens or a time limit is reached.
    fn wait(&self) -> Result<Ready, SupervisorError> {
        let mut polled = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.zygote.channel(), PollFlags::IN),
        ];
        let channel_at = self.channel.as_ref().map(|channel| {
            let behind = if channel.is_behind() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            polled.push(PollFd::new(channel, PollFlags::IN | behind));
            polled.len() - 1
        });
        let doors_from = polled.len();
        for door in self.sandboxes.orphaned_doors() {
            polled.push(PollFd::from_borrowed_fd(door, PollFlags::IN));
        }
        let doors_to = polled.len();
        // These only wake the loop: what they say is looked for in every turn.
        for (_, init) in self.sandboxes.inits() {
            polled.push(PollFd::from_borrowed_fd(init, PollFlags::IN));
        }
        for child in self.roles.iter().filter_map(|role| role.child.as_ref()) {
            polled.push(PollFd::new(&child.pidfd, PollFlags::IN));
        }
        for held in self.lingering.sockets() {
            polled.push(PollFd::from_borrowed_fd(held, WATCHED));
        }
        let deadlines = [
            self.sandboxes.deadline(),
            self.lingering.deadline(),
            self.stopping,
            self.hung_up,
        ];
        let timeout = deadlines
            .into_iter()
            .flatten()
            .min()
            .map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(doing("waiting")(error)),
        }
        let happened = |at: usize| polled.get(at).is_some_and(|p| !p.revents().is_empty());
        // Ctrl-C in a terminal may reach the zygote too: then the signal is what counts, also if it
        // arrives a moment later.
        if happened(1) && self.stopping.is_none() {
            let mut signal = [PollFd::new(&self.signals, PollFlags::IN)];
            let moment = timespec(Duration::from_millis(SIGNAL_LAG_MS));
            if !poll(&mut signal, Some(&moment)).is_ok_and(|n| n > 0) {
                return Err(SandboxError::ZygoteLost.into());
            }
            return Ok(Ready {
                signals: true,
                ..Ready::default()
            });
        }
        Ok(Ready {
            signals: happened(0),
            channel: channel_at.is_some_and(happened),
            doors: (doors_from..doors_to).any(happened),
        })
    }

    /// Whether to end at once: the second signal, or nobody to wait for.
    fn heard_signals(&mut self, now: Instant) -> Result<bool, SupervisorError> {
        let mut heard = false;
        while let Some(signal) = self
            .signals
            .next_signal()
            .map_err(doing("reading signals"))?
        {
            heard = true;
            if self.stopping.is_some() {
                return Ok(true);
            }
            let why = if signal == SIGINT {
                "SIGINT"
            } else {
                "SIGTERM"
            };
            (self.announce)(Announcement::Stopping {
                why: why.to_owned(),
            });
            self.stopping = Some(now + Duration::from_millis(STOP_GRACE_MS));
            for role in self.roles.iter().filter(|role| role.command.channel) {
                role.ask_to_stop();
            }
        }
        let server = self
            .roles
            .iter()
            .any(|r| r.command.channel && r.child.is_some());
        Ok(heard && !server)
    }

    /// Answers what the server asks. A server that breaks the protocol is ended; that it is gone is
    /// then seen like any other death.
    fn serve_channel(&mut self, now: Instant) {
        for _ in 0..REQUESTS_PER_TURN_MAX {
            let Some(channel) = &mut self.channel else {
                return;
            };
            let request = match channel.flush().and_then(|()| channel.next_request()) {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => return self.refuse_server(&error),
            };
            let replies = self.sandboxes.answer(request.ask, &self.zygote, now);
            for (answer, fds) in replies {
                let message = Message::reply(request.id, answer);
                if let Err(error) = channel.send(&message, fds) {
                    return self.refuse_server(&error);
                }
            }
            self.tell_notices();
        }
    }

    fn refuse_server(&mut self, error: &ChannelError) {
        self.channel = None;
        self.sandboxes.detach_all();
        // A server that ends closes its channel first; what matters then is how it ends.
        if matches!(error, ChannelError::Closed) {
            self.hung_up = Some(Instant::now() + Duration::from_millis(STOP_GRACE_MS));
            return;
        }
        self.kill_server(error.to_string());
    }

    /// Ends the server by force; its death is then seen and it is replaced.
    fn kill_server(&mut self, why: String) {
        self.hung_up = None;
        (self.announce)(Announcement::ServerRefused { why });
        for child in self
            .roles
            .iter()
            .filter(|r| r.command.channel)
            .flat_map(|r| &r.child)
        {
            // One that cannot be signalled is gone already.
            drop(child.signal(rustix::process::Signal::KILL));
        }
    }

    /// Passes on what the sandboxes say.
    fn tell_notices(&mut self) {
        for notice in self.sandboxes.notices() {
            if let Notice::SandboxLost { sandbox, reason } = &notice {
                let (sandbox, reason) = (sandbox.to_string(), reason.clone());
                (self.announce)(Announcement::SandboxLost { sandbox, reason });
            }
            let Some(channel) = &mut self.channel else {
                continue;
            };
            if let Err(error) = channel.send(&Message::notice(notice), Vec::new()) {
                self.refuse_server(&error);
            }
        }
    }

    /// Reaps roles and replaces them. A code means that the service has ended in an orderly way.
    fn look_after_roles(&mut self, now: Instant) -> Result<Option<i32>, SupervisorError> {
        for index in 0..self.roles.len() {
            let Some(role) = self.roles.get_mut(index) else {
                continue;
            };
            let Some(exit) = role.reap()? else { continue };
            if role.command.channel {
                self.channel = None;
                self.hung_up = None;
                self.sandboxes.detach_all();
                match exit {
                    Exit::Code(code) if ORDERLY.contains(&code) => return Ok(Some(code)),
                    _ if self.stopping.is_some() => return Ok(Some(0)),
                    _ => {}
                }
            }
            if self.stopping.is_some() {
                // On the way down nothing is started again.
                continue;
            }
            let (name, how) = (role.command.name.clone(), describe(exit));
            role.note_death(exit, now)?;
            (self.announce)(Announcement::RoleDied { name, how });
            self.restarts += 1;
            self.start_role(index)?;
        }
        Ok(None)
    }
}
