//! A sandbox that lives with the supervisor.

use super::{Part, SupervisorClient, unexpected};
use crate::protocol::{Answer, Ask};
use ringfence_core::error::Explained;
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{
    Attestation, Door, Ended, ExecRequest, ProcessEvidence, SandboxStats, Spec,
};
use ringfence_core::ports::{Adopted, AdoptedExec, BoxFuture, Running, Sandbox};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A handle; the sandbox outlives it.
pub(super) struct RemoteSandbox {
    client: SupervisorClient,
    id: SandboxId,
    project: ProjectId,
    attestation: Attestation,
    doors: Mutex<Vec<(Door, OwnedFd)>>,
}

impl RemoteSandbox {
    pub(super) fn new(
        client: SupervisorClient,
        spec: Spec,
        attestation: Attestation,
        doors: Vec<(Door, OwnedFd)>,
    ) -> Self {
        let Spec { id, project, .. } = spec;
        Self {
            client,
            id,
            project,
            attestation,
            doors: Mutex::new(doors),
        }
    }
}

/// Descriptors and ends that came beside an adoption.
type Streams = (Vec<OwnedFd>, Vec<(u64, oneshot::Receiver<Ended>)>);

/// Puts together what came over the channel.
pub(super) fn adopted(
    client: SupervisorClient,
    spec: Spec,
    attestation: Attestation,
    (fds, ends): Streams,
) -> Result<Adopted, Explained> {
    if fds.len() != spec.doors.len() + 2 * ends.len() {
        return Err(unexpected());
    }
    let mut fds = fds.into_iter();
    let doors = spec.doors.iter().cloned().zip(fds.by_ref()).collect();
    let mut taken = Vec::new();
    for (exec_id, receiver) in ends {
        let (Some(stdout), Some(stderr)) = (fds.next(), fds.next()) else {
            return Err(unexpected());
        };
        taken.push(AdoptedExec {
            exec_id,
            stdout,
            stderr,
            ended: end_of(receiver),
        });
    }
    let sandbox = Arc::new(RemoteSandbox::new(client, spec.clone(), attestation, doors));
    Ok(Adopted {
        sandbox,
        spec,
        execs: taken,
    })
}

/// The end of a program; if nobody can tell it any more, the sandbox is gone.
fn end_of(receiver: oneshot::Receiver<Ended>) -> BoxFuture<'static, Ended> {
    Box::pin(async move { receiver.await.unwrap_or(Ended::Lost) })
}

impl Sandbox for RemoteSandbox {
    fn id(&self) -> &SandboxId {
        &self.id
    }

    fn project(&self) -> &ProjectId {
        &self.project
    }

    fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    fn take_doors(&self) -> Vec<(Door, OwnedFd)> {
        std::mem::take(&mut *self.doors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Running, Explained>> {
        Box::pin(async move {
            let ask = Ask::Exec {
                sandbox: self.id.clone(),
                request,
            };
            let mut part = self.client.ask_one(ask).await?;
            let fds = <[OwnedFd; 3]>::try_from(part.fds).map_err(|_| unexpected())?;
            let [stdin, stdout, stderr] = fds;
            let (exec_id, receiver) = part.ended.pop().ok_or_else(unexpected)?;
            Ok(Running {
                exec_id,
                stdin,
                stdout,
                stderr,
                ended: end_of(receiver),
            })
        })
    }

    fn connect(&self, port: u16) -> BoxFuture<'_, Result<OwnedFd, Explained>> {
        Box::pin(async move {
            let ask = Ask::Connect {
                sandbox: self.id.clone(),
                port,
            };
            match self.client.ask_one(ask).await? {
                Part {
                    answer: Answer::Connected,
                    mut fds,
                    ..
                } => fds.pop().ok_or_else(unexpected),
                _ => Err(unexpected()),
            }
        })
    }

    fn signal(&self, exec_id: u64, signal: i32) -> BoxFuture<'_, Result<(), Explained>> {
        let sandbox = self.id.clone();
        Box::pin(self.client.ask_done(Ask::Signal {
            sandbox,
            exec_id,
            signal,
        }))
    }

    fn freeze(&self, frozen: bool) -> BoxFuture<'_, Result<(), Explained>> {
        Box::pin(self.client.ask_done(Ask::Freeze {
            sandbox: self.id.clone(),
            frozen,
        }))
    }

    fn evidence(&self) -> BoxFuture<'_, Result<Vec<ProcessEvidence>, Explained>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for part in self
                .client
                .ask(Ask::Evidence {
                    sandbox: self.id.clone(),
                })
                .await?
            {
                match part.answer {
                    Answer::Evidence { processes, .. } => all.extend(processes),
                    Answer::Failed { error } => return Err(error),
                    _ => return Err(unexpected()),
                }
            }
            Ok(all)
        })
    }

    fn stats(&self) -> BoxFuture<'_, Result<SandboxStats, Explained>> {
        Box::pin(async move {
            match self
                .client
                .ask_one(Ask::Stats {
                    sandbox: self.id.clone(),
                })
                .await?
                .answer
            {
                Answer::Stats { stats } => Ok(stats),
                _ => Err(unexpected()),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Explained>> {
        Box::pin(self.client.ask_done(Ask::Close {
            sandbox: self.id.clone(),
        }))
    }
}
