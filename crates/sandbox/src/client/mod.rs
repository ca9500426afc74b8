//! The server's side of the supervisor channel: sandboxes as [`core::ports`] knows them.
//!
//! [`SupervisorClient::new`] gives a client and its driver. The driver is one future that owns the
//! socket; the server awaits it beside its own work, and when it ends the supervisor is gone.
//! INVARIANT: a program or sandbox whose asker has gone away is ended by the driver, so nothing
//! runs that nobody knows of.
//!
//! [`core::ports`]: ringfence_core::ports

mod driver;
mod sandbox;
mod socket;

use crate::protocol::{Answer, Ask};
use driver::Driver;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::{Ended, Spec};
use ringfence_core::ports::{Adopted, BoxFuture, Isolation, Sandbox};
use sandbox::RemoteSandbox;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// LIMIT: questions that wait to be sent; more callers wait.
const QUESTIONS_WAITING_MAX: usize = 64;
/// LIMIT: milliseconds for an answer. Starting a sandbox takes at most 20 s of them.
const ANSWER_MS_MAX: u64 = 30_000;

/// A question on its way to the driver.
struct Question {
    ask: Ask,
    reply: oneshot::Sender<Result<Vec<Part>, Explained>>,
}

/// One answer with what came beside it.
struct Part {
    answer: Answer,
    fds: Vec<OwnedFd>,
    /// For programs: where their end will be told.
    ended: Vec<(u64, oneshot::Receiver<Ended>)>,
}

/// Asks the supervisor. Cheap to clone.
#[derive(Clone)]
pub struct SupervisorClient {
    questions: mpsc::Sender<Question>,
}

fn gone() -> Explained {
    Explained::new(
        ErrorCode("run/supervisor-gone"),
        "the supervisor is gone, and every sandbox with it",
        "start the service again with `ringfence up`",
    )
}

fn unexpected() -> Explained {
    Explained::new(
        ErrorCode("run/supervisor-protocol"),
        "the supervisor gave an answer that does not fit the question",
        "restart the service: its parts differ",
    )
}

impl SupervisorClient {
    /// Takes over the channel. The future resolves, with the reason, when the supervisor is gone;
    /// nothing works unless it is awaited, within a tokio runtime with I/O and time.
    pub fn new(channel: OwnedFd) -> (Self, impl Future<Output = Explained> + Send) {
        let (questions, asked) = mpsc::channel(QUESTIONS_WAITING_MAX);
        let driver = async move {
            match Driver::new(channel, asked) {
                Ok(driver) => driver.run().await,
                Err(error) => gone().because(error),
            }
        };
        (Self { questions }, driver)
    }

    async fn ask(&self, ask: Ask) -> Result<Vec<Part>, Explained> {
        let (reply, answer) = oneshot::channel();
        let asking = async {
            self.questions
                .send(Question { ask, reply })
                .await
                .map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let limit = Duration::from_millis(ANSWER_MS_MAX);
        tokio::time::timeout(limit, asking).await.map_err(|_| {
            Explained::new(
                ErrorCode("run/supervisor-silent"),
                format!("the supervisor did not answer within {ANSWER_MS_MAX} ms"),
                "look at the load of the host; restart the service if it lasts",
            )
        })?
    }

    /// Asks what has one answer; a refusal is an error.
    async fn ask_one(&self, ask: Ask) -> Result<Part, Explained> {
        let mut parts = self.ask(ask).await?;
        match parts.pop() {
            Some(Part {
                answer: Answer::Failed { error },
                ..
            }) => Err(error),
            Some(part) => Ok(part),
            None => Err(unexpected()),
        }
    }

    async fn ask_done(&self, ask: Ask) -> Result<(), Explained> {
        match self.ask_one(ask).await?.answer {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Takes over the sandboxes that outlived a previous server, with the output of the programs
    /// that run in them. Whoever adopts must go on reading that output: a program whose output
    /// nobody reads stops when its pipe is full.
    async fn adopt_all(&self) -> Result<Vec<Adopted>, Explained> {
        let parts = self.ask(Ask::Adopt).await?;
        let mut adopted = Vec::new();
        for part in parts {
            match part.answer {
                Answer::Adopted {
                    spec,
                    attestation,
                    execs: _,
                } => {
                    let streams = (part.fds, part.ended);
                    let client = self.clone();
                    adopted.push(sandbox::adopted(client, spec, attestation, streams)?);
                }
                Answer::Done => {}
                Answer::Failed { error } => return Err(error),
                _ => return Err(unexpected()),
            }
        }
        Ok(adopted)
    }
}

impl Isolation for SupervisorClient {
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Arc<dyn Sandbox>, Explained>> {
        Box::pin(async move {
            let part = self.ask_one(Ask::Start { spec: spec.clone() }).await?;
            let Answer::Started { attestation, doors } = part.answer else {
                return Err(unexpected());
            };
            let doors = doors.into_iter().zip(part.fds).collect();
            let sandbox = RemoteSandbox::new(self.clone(), spec, attestation, doors);
            Ok(Arc::new(sandbox) as Arc<dyn Sandbox>)
        })
    }

    fn adopt(&self) -> BoxFuture<'_, Result<Vec<Adopted>, Explained>> {
        Box::pin(self.adopt_all())
    }
}

#[cfg(test)]
mod tests;
