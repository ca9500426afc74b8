//! The client against a supervisor played by the test, message by message.

use super::socket::PacketSocket;
use super::*;
use crate::protocol::{self, Body, Message, Notice, PROTOCOL_VERSION, Request};
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{Attestation, Door, ExecRequest, Program};
use ringfence_core::ports::Running;
use ringfence_sys::seqpacket::seqpacket_pair;
use std::os::fd::{AsFd, BorrowedFd};
use tokio::task::JoinSet;

/// The supervisor's end.
struct Stage {
    socket: PacketSocket,
}

impl Stage {
    async fn next(&self) -> Request {
        let mut buffer = Vec::new();
        assert!(self.socket.receive(&mut buffer).await.unwrap().is_empty());
        protocol::decode_request(&buffer).unwrap()
    }

    async fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) {
        self.socket
            .send(&protocol::encode(message).unwrap(), fds)
            .await
            .unwrap();
    }

    async fn reply(&self, request: &Request, answer: Answer, fds: usize) {
        let (near, _far) = std::io::pipe().unwrap();
        self.send(
            &Message::reply(request.id, answer),
            &vec![near.as_fd(); fds],
        )
        .await;
    }
}

fn stage<F: Future<Output = ()>>(
    test: impl FnOnce(SupervisorClient, Stage, JoinSet<Explained>) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ours, theirs) = seqpacket_pair().unwrap();
        let (client, driver) = SupervisorClient::new(ours);
        let mut tasks = JoinSet::new();
        tasks.spawn(driver);
        test(
            client,
            Stage {
                socket: PacketSocket::new(theirs).unwrap(),
            },
            tasks,
        )
        .await;
    });
}

fn spec() -> Spec {
    let mut spec = Spec::new(id(), ProjectId::host());
    spec.doors.push(Door::stream("gateway", 80));
    spec
}

fn id() -> SandboxId {
    "sb-1".parse().unwrap()
}

fn program() -> ExecRequest {
    ExecRequest {
        program: Program::Command(vec!["true".to_owned()]),
        env: Vec::new(),
        workdir: "/".into(),
        wall_ms: None,
    }
}

async fn start(client: &SupervisorClient, stage: &Stage) -> Arc<dyn Sandbox> {
    let serve = async {
        let request = stage.next().await;
        assert_eq!(request.ask, Ask::Start { spec: spec() });
        let doors = spec().doors;
        stage
            .reply(
                &request,
                Answer::Started {
                    attestation: Attestation::default(),
                    doors,
                },
                1,
            )
            .await;
    };
    tokio::join!(client.start(spec()), serve).0.unwrap()
}

async fn exec(sandbox: &Arc<dyn Sandbox>, stage: &Stage, exec_id: u64) -> Running {
    let serve = async {
        let request = stage.next().await;
        stage.reply(&request, Answer::Running { exec_id }, 3).await;
    };
    tokio::join!(sandbox.exec(program()), serve).0.unwrap()
}

#[test]
fn a_sandbox_starts_with_its_doors_once_and_an_end_is_told_to_its_program_only() {
    stage(|client, stage, tasks| async move {
        let _driven = tasks;
        let sandbox = start(&client, &stage).await;
        assert_eq!(
            (sandbox.id(), sandbox.project()),
            (&id(), &ProjectId::host())
        );
        assert_eq!(sandbox.take_doors().len(), 1);
        assert!(sandbox.take_doors().is_empty());
        let first = exec(&sandbox, &stage, 1).await;
        let second = exec(&sandbox, &stage, 2).await;
        let end = |exec_id, ended| {
            Message::notice(Notice::Ended {
                sandbox: id(),
                exec_id,
                ended,
            })
        };
        stage.send(&end(2, Ended::Exited(7)), &[]).await;
        assert_eq!(second.ended.await, Ended::Exited(7));
        stage.send(&end(1, Ended::TimedOut), &[]).await;
        assert_eq!(first.ended.await, Ended::TimedOut);
    });
}

#[test]
fn a_program_that_ends_at_once_is_not_missed() {
    stage(|client, stage, tasks| async move {
        let _driven = tasks;
        let sandbox = start(&client, &stage).await;
        let serve = async {
            let request = stage.next().await;
            stage
                .reply(&request, Answer::Running { exec_id: 1 }, 3)
                .await;
            let ended = Ended::Exited(0);
            stage
                .send(
                    &Message::notice(Notice::Ended {
                        sandbox: id(),
                        exec_id: 1,
                        ended,
                    }),
                    &[],
                )
                .await;
        };
        let running = tokio::join!(sandbox.exec(program()), serve).0.unwrap();
        assert_eq!(running.ended.await, Ended::Exited(0));
    });
}

#[test]
fn a_lost_sandbox_a_closed_one_and_a_lost_supervisor_are_lost_programs() {
    stage(|client, stage, mut tasks| async move {
        let sandbox = start(&client, &stage).await;
        let running = exec(&sandbox, &stage, 1).await;
        let reason = "init ended".to_owned();
        stage
            .send(
                &Message::notice(Notice::SandboxLost {
                    sandbox: id(),
                    reason,
                }),
                &[],
            )
            .await;
        assert_eq!(running.ended.await, Ended::Lost);
        let running = exec(&sandbox, &stage, 2).await;
        let serve = async {
            let request = stage.next().await;
            assert_eq!(request.ask, Ask::Close { sandbox: id() });
            stage.reply(&request, Answer::Done, 0).await;
        };
        tokio::join!(sandbox.close(), serve).0.unwrap();
        assert_eq!(running.ended.await, Ended::Lost);
        let running = exec(&sandbox, &stage, 3).await;
        drop(stage);
        assert_eq!(running.ended.await, Ended::Lost);
        let end = tasks.join_next().await.unwrap().unwrap();
        assert_eq!(end.code, "run/supervisor-gone");
        let error = sandbox.stats().await.unwrap_err();
        assert_eq!(error.code, "run/supervisor-gone");
    });
}

#[test]
fn a_refusal_comes_back_in_the_supervisors_own_words() {
    stage(|client, stage, tasks| async move {
        let _driven = tasks;
        let error = Explained::new(ErrorCode("run/walls-missing"), "no", "yes").because("kernel");
        let serve = async {
            let request = stage.next().await;
            stage
                .reply(
                    &request,
                    Answer::Failed {
                        error: error.clone(),
                    },
                    0,
                )
                .await;
        };
        let outcome = tokio::join!(client.start(spec()), serve).0;
        assert_eq!(outcome.err(), Some(error));
    });
}

#[test]
fn what_was_started_for_a_caller_that_went_away_is_ended() {
    stage(|client, stage, mut tasks| async move {
        let request = {
            let starting = client.start(spec());
            tokio::select! {
                _ = starting => panic!("not answered yet"),
                request = stage.next() => request,
            }
        };
        let doors = spec().doors;
        stage
            .reply(
                &request,
                Answer::Started {
                    attestation: Attestation::default(),
                    doors,
                },
                1,
            )
            .await;
        let close = stage.next().await;
        assert_eq!(close.ask, Ask::Close { sandbox: id() });
        stage.reply(&close, Answer::Done, 0).await;
        let sandbox = start(&client, &stage).await;
        let request = tokio::select! {
            _ = sandbox.exec(program()) => panic!("not answered yet"),
            request = stage.next() => request,
        };
        stage
            .reply(&request, Answer::Running { exec_id: 5 }, 3)
            .await;
        let kill = stage.next().await;
        assert_eq!(
            kill.ask,
            Ask::Signal {
                sandbox: id(),
                exec_id: 5,
                signal: 9
            }
        );
        tasks.abort_all();
    });
}

#[test]
fn an_adopted_sandbox_brings_its_doors_and_the_output_of_its_programs() {
    stage(|client, stage, tasks| async move {
        let _driven = tasks;
        let serve = async {
            let request = stage.next().await;
            assert_eq!(request.ask, Ask::Adopt);
            let attestation = Attestation::default();
            let answer = Answer::Adopted {
                spec: spec(),
                attestation,
                execs: vec![4],
            };
            stage.reply(&request, answer, 3).await;
            stage.reply(&request, Answer::Done, 0).await;
        };
        let mut adopted = tokio::join!(client.adopt_all(), serve).0.unwrap();
        let one = adopted.pop().unwrap();
        assert!(adopted.is_empty());
        assert_eq!(one.spec, spec());
        assert_eq!(one.sandbox.take_doors().len(), 1);
        let exec = one.execs.into_iter().next().unwrap();
        assert_eq!(exec.exec_id, 4);
        let ended = Ended::Signaled(15);
        stage
            .send(
                &Message::notice(Notice::Ended {
                    sandbox: id(),
                    exec_id: 4,
                    ended,
                }),
                &[],
            )
            .await;
        assert_eq!(exec.ended.await, ended);
    });
}

#[test]
fn evidence_in_parts_is_one_answer() {
    stage(|client, stage, tasks| async move {
        let _driven = tasks;
        let sandbox = start(&client, &stage).await;
        let process = |pid| ringfence_core::isolation::ProcessEvidence {
            pid,
            command: "sleep".to_owned(),
            kernel_stack: Vec::new(),
        };
        let serve = async {
            let request = stage.next().await;
            for (pid, more) in [(1, true), (2, false)] {
                let processes = vec![process(pid)];
                stage
                    .reply(&request, Answer::Evidence { processes, more }, 0)
                    .await;
            }
        };
        let all = tokio::join!(sandbox.evidence(), serve).0.unwrap();
        assert_eq!(all, [process(1), process(2)]);
    });
}

#[test]
fn a_supervisor_that_breaks_the_protocol_is_not_believed() {
    for bytes in [
        br#"{"v":0,"body":{"reply":{"id":77,"answer":"done"}}}"#.as_slice(),
        br#"{"v":0,"body":{"reply":{"id":1,"answer":"connected"}}}"#,
        b"nonsense",
    ] {
        stage(|client, stage, mut tasks| async move {
            let serve = async {
                stage.next().await;
                stage.socket.send(bytes, &[]).await.unwrap();
            };
            let outcome = tokio::join!(client.start(spec()), serve).0;
            assert_eq!(
                outcome.err().map(|e| e.code),
                Some("run/supervisor-gone".to_owned())
            );
            tasks.join_next().await.unwrap().unwrap();
        });
    }
    let message = Message {
        v: PROTOCOL_VERSION,
        body: Body::Reply {
            id: 1,
            answer: Answer::Done,
        },
    };
    assert_eq!(protocol::encode(&message).unwrap().len(), 49);
}
