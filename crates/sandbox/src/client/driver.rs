//! The one future that owns the socket: sends questions, matches answers, tells ends.

use super::socket::PacketSocket;
use super::{Part, Question, gone};
use crate::protocol::{
    self, Answer, Ask, Body, Message, Notice, PROTOCOL_VERSION, ProtocolError, Request,
};
use ringfence_core::error::Explained;
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::Ended;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use tokio::sync::{mpsc, oneshot};

/// LIMIT: questions without an answer yet; more wait.
const PENDING_MAX: usize = 256;
const SIGKILL: i32 = 9;

pub(super) struct Driver {
    socket: PacketSocket,
    asked: mpsc::Receiver<Question>,
    next_id: u64,
    outgoing: VecDeque<Vec<u8>>,
    pending: BTreeMap<u64, Pending>,
    ends: BTreeMap<(SandboxId, u64), oneshot::Sender<Ended>>,
}

/// Where an asker waits.
type Reply = oneshot::Sender<Result<Vec<Part>, Explained>>;

/// A question without its whole answer.
struct Pending {
    /// The sandbox that it is about.
    about: Option<SandboxId>,
    closes: bool,
    parts: Vec<Part>,
    /// `None`: nobody asked, the driver itself cleans up.
    reply: Option<Reply>,
}

impl Driver {
    pub(super) fn new(channel: OwnedFd, asked: mpsc::Receiver<Question>) -> io::Result<Self> {
        Ok(Self {
            socket: PacketSocket::new(channel)?,
            asked,
            next_id: 1,
            outgoing: VecDeque::new(),
            pending: BTreeMap::new(),
            ends: BTreeMap::new(),
        })
    }

    /// Runs until the supervisor is gone or every client is dropped, and says why. Everything that
    /// waits is then told: questions fail, programs are [`Ended::Lost`].
    pub(super) async fn run(mut self) -> Explained {
        let mut buffer = Vec::new();
        loop {
            let outcome = tokio::select! {
                message = self.socket.receive(&mut buffer) => match message {
                    Ok(fds) if !buffer.is_empty() => self.take(&buffer, fds),
                    Ok(_) => return gone(),
                    Err(error) => Err(error),
                },
                sent = send_front(&self.socket, self.outgoing.front()), if !self.outgoing.is_empty() => {
                    self.outgoing.pop_front();
                    sent
                }
                question = self.asked.recv(), if self.pending.len() < PENDING_MAX => {
                    let Some(question) = question else { return gone() };
                    self.put(question);
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                return gone().because(error);
            }
        }
    }

    fn put(&mut self, question: Question) {
        let Question { ask, reply } = question;
        if !reply.is_closed() {
            self.queue(ask, Some(reply));
        }
    }

    fn queue(&mut self, ask: Ask, reply: Option<Reply>) {
        let about = match &ask {
            Ask::Start { spec } => Some(spec.id.clone()),
            Ask::Exec { sandbox, .. }
            | Ask::Connect { sandbox, .. }
            | Ask::Signal { sandbox, .. }
            | Ask::Freeze { sandbox, .. }
            | Ask::Evidence { sandbox }
            | Ask::Stats { sandbox }
            | Ask::Close { sandbox } => Some(sandbox.clone()),
            Ask::Adopt => None,
        };
        let closes = matches!(ask, Ask::Close { .. });
        let id = self.next_id;
        let bytes = match protocol::encode(&Request {
            v: PROTOCOL_VERSION,
            id,
            ask,
        }) {
            Ok(bytes) => bytes,
            Err(error) => {
                if let Some(reply) = reply {
                    // If nobody waits any more, nobody needs to know.
                    drop(reply.send(Err(error.explained())));
                }
                return;
            }
        };
        self.next_id += 1;
        self.outgoing.push_back(bytes);
        self.pending.insert(
            id,
            Pending {
                about,
                closes,
                parts: Vec::new(),
                reply,
            },
        );
    }

    fn take(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        let message: Message = protocol::decode_message(bytes).map_err(io::Error::other)?;
        match message.body {
            Body::Reply { id, answer } => self.take_answer(id, answer, fds),
            Body::Notice {
                notice:
                    Notice::Ended {
                        sandbox,
                        exec_id,
                        ended,
                    },
            } => {
                if let Some(end) = self.ends.remove(&(sandbox, exec_id)) {
                    let _nobody_waits_for_this_end = end.send(ended);
                }
                Ok(())
            }
            Body::Notice {
                notice: Notice::SandboxLost { sandbox, .. },
            } => {
                self.forget(&sandbox);
                Ok(())
            }
        }
    }

    /// Everyone who waits for an end in this sandbox learns that it is lost.
    fn forget(&mut self, sandbox: &SandboxId) {
        self.ends.retain(|(id, _), _| id != sandbox);
    }

    fn take_answer(&mut self, id: u64, answer: Answer, fds: Vec<OwnedFd>) -> io::Result<()> {
        let Some(pending) = self.pending.get_mut(&id) else {
            return Err(io::Error::other("an answer without a question"));
        };
        let (about, execs, last) = match &answer {
            Answer::Running { exec_id } => (pending.about.clone(), vec![*exec_id], true),
            Answer::Adopted { spec, execs, .. } => (Some(spec.id.clone()), execs.clone(), false),
            Answer::Evidence { more, .. } => (None, Vec::new(), !*more),
            _ => (None, Vec::new(), true),
        };
        let needed = descriptors(&answer);
        if fds.len() != needed {
            let found = fds.len();
            return Err(io::Error::other(ProtocolError::Descriptors {
                needed,
                found,
            }));
        }
        let mut ended = Vec::new();
        if let Some(sandbox) = about {
            for exec_id in execs {
                let (tell, hear) = oneshot::channel();
                self.ends.insert((sandbox.clone(), exec_id), tell);
                ended.push((exec_id, hear));
            }
        }
        pending.parts.push(Part { answer, fds, ended });
        if last && let Some(pending) = self.pending.remove(&id) {
            self.finish(pending);
        }
        Ok(())
    }

    fn finish(&mut self, pending: Pending) {
        let Pending {
            about,
            closes,
            parts,
            reply,
        } = pending;
        let done = matches!(
            parts.as_slice(),
            [Part {
                answer: Answer::Done,
                ..
            }]
        );
        if let (true, true, Some(sandbox)) = (closes, done, &about) {
            self.forget(sandbox);
        }
        let unheard = match reply {
            Some(reply) => reply.send(Ok(parts)).err(),
            None => None,
        };
        // Whoever asked is gone: what was started for them is ended.
        for part in unheard.and_then(Result::ok).into_iter().flatten() {
            let ask = match (part.answer, &about) {
                (Answer::Started { .. }, Some(sandbox)) => Ask::Close {
                    sandbox: sandbox.clone(),
                },
                (Answer::Running { exec_id }, Some(sandbox)) => Ask::Signal {
                    sandbox: sandbox.clone(),
                    exec_id,
                    signal: SIGKILL,
                },
                _ => continue,
            };
            self.queue(ask, None);
        }
    }
}

/// How many descriptors an answer needs beside it.
fn descriptors(answer: &Answer) -> usize {
    match answer {
        Answer::Started { doors, .. } => doors.len(),
        Answer::Running { .. } => 3,
        Answer::Connected => 1,
        Answer::Adopted { spec, execs, .. } => spec.doors.len() + 2 * execs.len(),
        Answer::Done | Answer::Evidence { .. } | Answer::Stats { .. } | Answer::Failed { .. } => 0,
    }
}

async fn send_front(socket: &PacketSocket, bytes: Option<&Vec<u8>>) -> io::Result<()> {
    match bytes {
        Some(bytes) => socket.send(bytes, &[]).await,
        None => Ok(()),
    }
}
