//! The live sandboxes: what may be asked of them, and what they say by themselves.
//!
//! The server is not trusted here: it can be taken over through what it parses. It may only ask for
//! what the operator's configuration allows: mounts below named roots, no weaker walls than
//! accepted at the start, and no more of the host than it has.

use super::ceilings::Ceilings;
use crate::error::SandboxError;
use crate::protocol::{Answer, Ask, DOORS_MAX, Notice, evidence_parts};
use crate::zygote::{InitNotice, Started, Zygote};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::{Access, DoorKind, Ended, ExecRequest, Mount, Spec, Strictness};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// LIMIT: sandboxes at the same time.
pub const SANDBOXES_MAX: usize = 128;
/// LIMIT: programs at the same time in one sandbox; their streams must fit beside one message
/// together with [`DOORS_MAX`] doors.
pub const EXECS_MAX: usize = 12;
/// LIMIT: milliseconds for a program to be gone after it was killed for its time. Its init kills it;
/// where that does not work, the whole sandbox is ended from outside.
pub const OVERDUE_MS_MAX: u64 = 3_000;
const SIGKILL: i32 = 9;

/// What the server may ask for, whatever happens to it.
#[derive(Clone, Debug, Default)]
pub struct Permits {
    /// The host trees that may be mounted, each with the most that may be done there.
    pub mounts: Vec<(PathBuf, Access)>,
    /// Whether sandboxes with missing walls may be started.
    pub strictness: Strictness,
}

/// An answer with the descriptors beside it.
pub(super) type Reply = (Answer, Vec<OwnedFd>);

/// All live sandboxes.
pub(super) struct Sandboxes {
    permits: Permits,
    ceilings: Ceilings,
    live: BTreeMap<SandboxId, Live>,
}

struct Live {
    spec: Spec,
    started: Started,
    frozen: bool,
    /// Whether the server that runs now knows it.
    attached: bool,
    execs: BTreeMap<u64, Exec>,
}

/// A running program. Its output is kept open here too, so that it does not break when the server
/// dies; its input is not, so that the server can end it.
struct Exec {
    stdout: OwnedFd,
    stderr: OwnedFd,
    deadline: Option<Instant>,
    /// When it was killed for its time: when it must be gone.
    overdue: Option<Instant>,
}

pub(super) fn failed(code: &'static str, what: impl Into<String>, help: &str) -> Explained {
    Explained::new(ErrorCode(code), what, help)
}

fn explained(error: &SandboxError) -> Explained {
    Explained::of(error)
}

impl Sandboxes {
    pub(super) fn new(permits: Permits) -> Self {
        Self {
            permits,
            ceilings: Ceilings::of_host(),
            live: BTreeMap::new(),
        }
    }

    /// Answers one question. Most have one answer; evidence and adoption have several.
    pub(super) fn answer(&mut self, ask: Ask, zygote: &Zygote, now: Instant) -> Vec<Reply> {
        let outcome = match ask {
            Ask::Start { spec } => self.start(spec, zygote),
            Ask::Exec { sandbox, request } => self.exec(&sandbox, &request, now),
            Ask::Connect { sandbox, port } => self.connect(&sandbox, port),
            Ask::Signal {
                sandbox,
                exec_id,
                signal,
            } => self.signal(&sandbox, exec_id, signal),
            Ask::Freeze { sandbox, frozen } => self.freeze(&sandbox, frozen, now),
            Ask::Evidence { sandbox } => match self.find(&sandbox) {
                Ok(live) => {
                    let parts = evidence_parts(live.started.evidence());
                    return parts.into_iter().map(|part| (part, Vec::new())).collect();
                }
                Err(error) => Err(error),
            },
            Ask::Stats { sandbox } => self.find(&sandbox).map(|live| {
                (
                    Answer::Stats {
                        stats: live.started.stats(),
                    },
                    Vec::new(),
                )
            }),
            Ask::Close { sandbox } => self.close(&sandbox),
            Ask::Adopt => return self.adopt(),
        };
        vec![outcome.unwrap_or_else(|error| (Answer::Failed { error }, Vec::new()))]
    }

    fn find(&mut self, id: &SandboxId) -> Result<&mut Live, Explained> {
        self.live.get_mut(id).ok_or_else(|| {
            failed(
                "run/sandbox-unknown",
                format!("there is no sandbox {id}"),
                "start it first",
            )
        })
    }

    /// A sandbox whose init can answer.
    fn find_awake(&mut self, id: &SandboxId) -> Result<&mut Live, Explained> {
        let live = self.find(id)?;
        if live.frozen {
            let what = format!("sandbox {id} is frozen");
            return Err(failed(
                "run/sandbox-frozen",
                what,
                "thaw it first, or close it",
            ));
        }
        Ok(live)
    }

    fn start(&mut self, mut spec: Spec, zygote: &Zygote) -> Result<Reply, Explained> {
        if self.live.len() >= SANDBOXES_MAX {
            let what = format!("{SANDBOXES_MAX} sandboxes are open, the most allowed");
            return Err(failed("run/sandboxes-full", what, "close one first"));
        }
        if self.live.contains_key(&spec.id) {
            let what = format!("there is already a sandbox {}", spec.id);
            return Err(failed("run/sandbox-exists", what, "use another id"));
        }
        self.permits.check(&mut spec)?;
        self.ceilings.check(&mut spec)?;
        let started = zygote.start(&spec).map_err(|e| explained(&e))?;
        let answer = Answer::Started {
            attestation: started.attestation.clone(),
            doors: started.doors.iter().map(|(door, _)| door.clone()).collect(),
        };
        let reply = duplicate(started.doors.iter().map(|(_, fd)| fd.as_fd()));
        let fds = match reply {
            Ok(fds) => fds,
            Err(error) => {
                drop(started.kill_and_wait());
                return Err(error);
            }
        };
        let id = spec.id.clone();
        let execs = BTreeMap::new();
        let live = Live {
            spec,
            started,
            frozen: false,
            attached: true,
            execs,
        };
        self.live.insert(id, live);
        Ok((answer, fds))
    }

    fn exec(
        &mut self,
        id: &SandboxId,
        request: &ExecRequest,
        now: Instant,
    ) -> Result<Reply, Explained> {
        let live = self.find_awake(id)?;
        if live.execs.len() >= EXECS_MAX {
            let what = format!("{EXECS_MAX} programs run in sandbox {id}, the most allowed");
            return Err(failed(
                "run/programs-full",
                what,
                "wait until one has ended",
            ));
        }
        let (exec_id, streams) = live.started.init.exec(request).map_err(|e| explained(&e))?;
        let [_, stdout, stderr] = &streams;
        let kept = duplicate([stdout.as_fd(), stderr.as_fd()].into_iter());
        let kept = kept.and_then(|fds| <[OwnedFd; 2]>::try_from(fds).map_err(|_| out_of_fds("")));
        match kept {
            Ok([stdout, stderr]) => {
                let deadline = request.wall_ms.map(|ms| now + Duration::from_millis(ms));
                let exec = Exec {
                    stdout,
                    stderr,
                    deadline,
                    overdue: None,
                };
                live.execs.insert(exec_id, exec);
                Ok((Answer::Running { exec_id }, streams.into()))
            }
            Err(error) => {
                drop(live.started.init.signal(exec_id, SIGKILL));
                Err(error)
            }
        }
    }

    fn connect(&mut self, id: &SandboxId, port: u16) -> Result<Reply, Explained> {
        let live = self.find_awake(id)?;
        let socket = live.started.init.connect(port).map_err(|e| explained(&e))?;
        Ok((Answer::Connected, vec![socket]))
    }

    fn signal(&mut self, id: &SandboxId, exec_id: u64, signal: i32) -> Result<Reply, Explained> {
        if !(1..=64).contains(&signal) {
            let what = format!("there is no signal {signal}");
            return Err(failed("run/bad-signal", what, "give a number from 1 to 64"));
        }
        let live = self.find_awake(id)?;
        live.started
            .init
            .signal(exec_id, signal)
            .map_err(|e| explained(&e))?;
        Ok((Answer::Done, Vec::new()))
    }

    fn freeze(&mut self, id: &SandboxId, frozen: bool, now: Instant) -> Result<Reply, Explained> {
        let live = self.find(id)?;
        live.started.freeze(frozen).map_err(|e| explained(&e))?;
        live.frozen = frozen;
        // A program that was killed just before has had no chance to end while it was frozen.
        for overdue in live.execs.values_mut().filter_map(|e| e.overdue.as_mut()) {
            *overdue = now + Duration::from_millis(OVERDUE_MS_MAX);
        }
        Ok((Answer::Done, Vec::new()))
    }

    fn close(&mut self, id: &SandboxId) -> Result<Reply, Explained> {
        self.find(id)?;
        if let Some(live) = self.live.remove(id) {
            live.started.kill_and_wait().map_err(|e| explained(&e))?;
        }
        Ok((Answer::Done, Vec::new()))
    }

    /// Ends every sandbox. What could not be ended is named; the rest is ended all the same.
    pub(super) fn close_all(&mut self) -> Result<(), SandboxError> {
        let mut outcome = Ok(());
        for live in std::mem::take(&mut self.live).into_values() {
            outcome = outcome.and(live.started.kill_and_wait());
        }
        outcome
    }

    fn adopt(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        for live in self.live.values_mut().filter(|live| !live.attached) {
            let doors = live.started.doors.iter().map(|(_, fd)| fd.as_fd());
            let streams = live
                .execs
                .values()
                .flat_map(|e| [e.stdout.as_fd(), e.stderr.as_fd()]);
            let reply = duplicate(doors.chain(streams)).map(|fds| {
                let answer = Answer::Adopted {
                    spec: live.spec.clone(),
                    attestation: live.started.attestation.clone(),
                    execs: live.execs.keys().copied().collect(),
                };
                (answer, fds)
            });
            match reply {
                Ok(reply) => {
                    live.attached = true;
                    replies.push(reply);
                }
                Err(error) => return vec![(Answer::Failed { error }, Vec::new())],
            }
        }
        replies.push((Answer::Done, Vec::new()));
        replies
    }

    /// No server stands behind the doors any more.
    pub(super) fn detach_all(&mut self) {
        for live in self.live.values_mut() {
            live.attached = false;
        }
    }

    /// The doors that have no server behind them and at which somebody can be answered. Datagrams
    /// wait in their socket for the next server.
    pub(super) fn orphaned_doors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let orphans = self.live.values().filter(|live| !live.attached);
        let doors = orphans.flat_map(|live| &live.started.doors);
        let streams = doors.filter(|(door, _)| door.kind != DoorKind::Datagram);
        streams.map(|(_, fd)| fd.as_fd())
    }

    /// What says something when an init has something to say.
    pub(super) fn inits(&self) -> impl Iterator<Item = (&SandboxId, BorrowedFd<'_>)> {
        self.live
            .iter()
            .map(|(id, live)| (id, live.started.init.fd()))
    }

    /// What all inits have to say; sandboxes that are gone are cleaned up.
    pub(super) fn notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut gone = Vec::new();
        for (id, live) in &mut self.live {
            loop {
                match live.started.init.next_notice() {
                    Ok(Some(InitNotice::Ended { exec_id, ended })) => {
                        let timed_out = live
                            .execs
                            .remove(&exec_id)
                            .is_some_and(|e| e.overdue.is_some());
                        let killed = ended == Ended::Signaled(SIGKILL) || ended == Ended::Lost;
                        let ended = if timed_out && killed {
                            Ended::TimedOut
                        } else {
                            ended
                        };
                        notices.push(Notice::Ended {
                            sandbox: id.clone(),
                            exec_id,
                            ended,
                        });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        gone.push((id.clone(), error.to_string()));
                        break;
                    }
                }
            }
        }
        for (sandbox, mut reason) in gone {
            if let Some(live) = self.live.remove(&sandbox)
                && let Err(error) = live.started.kill_and_wait()
            {
                reason = format!("{reason}; then {error}");
            }
            notices.push(Notice::SandboxLost { sandbox, reason });
        }
        notices
    }

    /// Kills the programs whose time is up, and gives up sandboxes in which that did not help; the
    /// next [`notices`](Self::notices) end those. A frozen sandbox cannot answer: its programs wait
    /// for it to thaw.
    pub(super) fn enforce_deadlines(&mut self, now: Instant) {
        let passed = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        for live in self.live.values_mut().filter(|live| !live.frozen) {
            for (exec_id, exec) in &mut live.execs {
                if passed(exec.deadline) {
                    exec.deadline = None;
                    exec.overdue = Some(now + Duration::from_millis(OVERDUE_MS_MAX));
                    // An init that is gone is noticed through its own socket.
                    drop(live.started.init.signal(*exec_id, SIGKILL));
                }
            }
            if live.execs.values().any(|exec| passed(exec.overdue)) {
                live.started.init.give_up_overdue(OVERDUE_MS_MAX);
            }
        }
    }

    /// The next time at which [`enforce_deadlines`](Self::enforce_deadlines) has work.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let awake = self.live.values().filter(|live| !live.frozen);
        awake
            .flat_map(|live| live.execs.values())
            .filter_map(|e| e.deadline.or(e.overdue))
            .min()
    }
}

fn duplicate<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> Result<Vec<OwnedFd>, Explained> {
    fds.map(|fd| fd.try_clone_to_owned().map_err(out_of_fds))
        .collect()
}

fn out_of_fds(error: impl std::fmt::Display) -> Explained {
    failed(
        "run/descriptors",
        "a descriptor could not be kept",
        "raise the limit of open files",
    )
    .because(error)
}

impl Permits {
    /// Refuses a spec that asks for more than allowed, and replaces mount sources by what they
    /// really are, so that a link in a project cannot lead out of it.
    fn check(&self, spec: &mut Spec) -> Result<(), Explained> {
        if spec.doors.len() > DOORS_MAX {
            let what = format!("a sandbox has at most {DOORS_MAX} doors");
            return Err(failed("run/bad-spec", what, "use fewer doors"));
        }
        if spec.strictness == Strictness::AcceptWeaker && self.strictness == Strictness::Full {
            return Err(failed(
                "run/weaker-not-accepted",
                "missing walls were not accepted when the service was started",
                "start the service with --accept-weaker",
            ));
        }
        for mount in &mut spec.mounts {
            self.check_mount(mount)?;
        }
        Ok(())
    }

    fn check_mount(&self, mount: &mut Mount) -> Result<(), Explained> {
        let source = mount.source.display().to_string();
        let real = std::fs::canonicalize(&mount.source).map_err(|error| {
            failed(
                "run/bad-spec",
                format!("{source} cannot be mounted"),
                "check that it exists",
            )
            .because(error)
        })?;
        let allowed = self.mounts.iter().any(|(root, most)| {
            let inside = std::fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
            inside && (mount.access == Access::ReadOnly || *most == Access::ReadWrite)
        });
        if !allowed {
            return Err(failed(
                "run/mount-not-allowed",
                format!("{source} may not be mounted like this"),
                "only the directories of hosted projects can be mounted",
            ));
        }
        mount.source = real;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::ids::ProjectId;
    use ringfence_core::isolation::Door;
    use std::path::Path;

    fn spec() -> Spec {
        Spec::new("s".parse().unwrap(), ProjectId::host())
    }

    fn mounting(source: &Path, access: Access) -> Spec {
        let mut spec = spec();
        spec.mounts.push(Mount {
            source: source.to_owned(),
            target: "/project".into(),
            access,
        });
        spec
    }

    #[test]
    fn a_server_can_mount_only_below_named_roots_and_no_link_leads_out() {
        let scratch = tempfile::tempdir().unwrap();
        let project = scratch.path().join("project");
        std::fs::create_dir_all(project.join("data")).unwrap();
        std::os::unix::fs::symlink("/etc", project.join("link")).unwrap();
        let root = (project.clone(), Access::ReadOnly);
        let permits = Permits {
            mounts: vec![root],
            ..Permits::default()
        };
        let check = |path: &Path, access| permits.check(&mut mounting(path, access));
        assert_eq!(check(&project, Access::ReadOnly), Ok(()));
        assert_eq!(check(&project.join("data"), Access::ReadOnly), Ok(()));
        for (path, access) in [
            (project.clone(), Access::ReadWrite),
            (project.join("link"), Access::ReadOnly),
            (project.join(".."), Access::ReadOnly),
            ("/".into(), Access::ReadOnly),
            (scratch.path().join("project2"), Access::ReadOnly),
        ] {
            assert!(
                check(&path, access).is_err(),
                "{} {access:?}",
                path.display()
            );
        }
    }

    #[test]
    fn a_server_cannot_weaken_the_walls_by_itself() {
        let mut weak = spec();
        weak.strictness = Strictness::AcceptWeaker;
        let code = Permits::default().check(&mut weak).unwrap_err().code;
        assert_eq!(code, "run/weaker-not-accepted");
        let accepted = Permits {
            strictness: Strictness::AcceptWeaker,
            ..Permits::default()
        };
        assert_eq!(accepted.check(&mut weak), Ok(()));
    }

    #[test]
    fn doors_are_accepted_at_the_limit_and_refused_one_above() {
        let mut many = spec();
        let ports = 1..=u16::try_from(DOORS_MAX).unwrap();
        many.doors = ports
            .map(|port| Door::stream(port.to_string(), port))
            .collect();
        assert_eq!(Permits::default().check(&mut many), Ok(()));
        many.doors.push(Door::stream("more", 99));
        assert!(Permits::default().check(&mut many).is_err());
        let beside = DOORS_MAX + 2 * EXECS_MAX;
        assert!(
            beside <= ringfence_sys::seqpacket::PACKET_FDS_MAX,
            "{beside}"
        );
    }
}
