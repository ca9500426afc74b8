//! The channel's messages: what is written reads back, and nothing else is accepted.

use super::*;
use proptest::prelude::*;
use ringfence_core::ids::ProjectId;
use ringfence_core::isolation::Program;

fn sandbox() -> SandboxId {
    "sb-1".parse().unwrap()
}

fn request(ask: Ask) -> Request {
    Request {
        v: PROTOCOL_VERSION,
        id: 7,
        ask,
    }
}

fn spec() -> Spec {
    let mut spec = Spec::new(sandbox(), ProjectId::host());
    spec.doors.push(Door::stream("gateway", 8080));
    spec
}

fn exec(argument: &str) -> Ask {
    let request = ExecRequest {
        program: Program::Command(vec!["echo".to_owned(), argument.to_owned()]),
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        workdir: "/tmp".into(),
        wall_ms: Some(1000),
    };
    Ask::Exec {
        sandbox: sandbox(),
        request,
    }
}

#[test]
fn every_question_reads_back() {
    let sandbox = sandbox();
    let asks = [
        Ask::Start { spec: spec() },
        exec("hello"),
        Ask::Connect {
            sandbox: sandbox.clone(),
            port: 80,
        },
        Ask::Signal {
            sandbox: sandbox.clone(),
            exec_id: 1,
            signal: 9,
        },
        Ask::Freeze {
            sandbox: sandbox.clone(),
            frozen: true,
        },
        Ask::Evidence {
            sandbox: sandbox.clone(),
        },
        Ask::Stats {
            sandbox: sandbox.clone(),
        },
        Ask::Close { sandbox },
        Ask::Adopt,
    ];
    for ask in asks {
        let request = request(ask);
        let bytes = encode(&request).unwrap();
        assert_eq!(decode_request(&bytes), Ok(request));
    }
}

#[test]
fn every_answer_and_notice_reads_back() {
    let attestation = Attestation::default();
    let answers = [
        Answer::Started {
            attestation: attestation.clone(),
            doors: spec().doors,
        },
        Answer::Running { exec_id: 3 },
        Answer::Connected,
        Answer::Done,
        Answer::Evidence {
            processes: Vec::new(),
            more: false,
        },
        Answer::Stats {
            stats: SandboxStats::default(),
        },
        Answer::Adopted {
            spec: spec(),
            attestation,
            execs: vec![1, 2],
        },
        Answer::Failed {
            error: ProtocolError::TooLong(1).explained(),
        },
    ];
    let lost = Notice::SandboxLost {
        sandbox: sandbox(),
        reason: "init ended".to_owned(),
    };
    let ended = Notice::Ended {
        sandbox: sandbox(),
        exec_id: 1,
        ended: Ended::Signaled(9),
    };
    let replies = answers.into_iter().map(|a| Message::reply(1, a));
    for message in replies.chain([lost, ended].map(Message::notice)) {
        let bytes = encode(&message).unwrap();
        assert_eq!(decode_message(&bytes), Ok(message));
    }
}

#[test]
fn an_unknown_field_is_refused_at_any_depth() {
    let text = String::from_utf8(encode(&request(Ask::Start { spec: spec() })).unwrap()).unwrap();
    assert!(decode_request(text.as_bytes()).is_ok());
    for (old, new) in [
        (r#"{"v":0"#, r#"{"extra":1,"v":0"#),
        (r#"{"spec":{"#, r#"{"extra":1,"spec":{"#),
        (r#"{"spec":{"#, r#"{"spec":{"privileged":true,"#),
        (r#"{"name":"gateway""#, r#"{"name":"gateway","extra":1"#),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text, "{old} occurs");
        let outcome = decode_request(changed.as_bytes());
        assert!(
            matches!(outcome, Err(ProtocolError::Malformed(_))),
            "{changed}"
        );
    }
}

#[test]
fn duplicate_keys_other_spellings_and_other_versions_are_refused() {
    for text in [
        r#"{"v":0,"id":1,"id":2,"ask":"adopt"}"#,
        r#"{"v":0, "id":1,"ask":"adopt"}"#,
        r#"{"id":1,"v":0,"ask":"adopt"}"#,
        r#"{"v":1,"id":1,"ask":"adopt"}"#,
        r#"{"v":0,"id":1,"ask":"format_disk"}"#,
        "",
    ] {
        assert!(decode_request(text.as_bytes()).is_err(), "{text}");
    }
    assert!(decode_request(br#"{"v":0,"id":1,"ask":"adopt"}"#).is_ok());
}

#[test]
fn a_message_passes_at_the_size_limit_and_is_refused_one_above() {
    let base = encode(&request(exec(""))).unwrap().len();
    let fill = |n: usize| encode(&request(exec(&"x".repeat(n))));
    let full = fill(MESSAGE_BYTES_MAX - base).unwrap();
    assert_eq!(full.len(), MESSAGE_BYTES_MAX);
    assert!(decode_request(&full).is_ok());
    let above = Err(ProtocolError::TooLong(MESSAGE_BYTES_MAX + 1));
    assert_eq!(fill(MESSAGE_BYTES_MAX - base + 1), above);
    let mut longer = full;
    longer.push(b' ');
    assert_eq!(
        decode_request(&longer),
        Err(ProtocolError::TooLong(MESSAGE_BYTES_MAX + 1))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn evidence_of_any_size_fits_its_parts_and_loses_no_process(
        sizes in proptest::collection::vec((0_usize..20_000, 0_usize..100_000), 0..8)
    ) {
        let processes: Vec<ProcessEvidence> = sizes
            .iter()
            .zip(1..)
            .map(|((command, stack), pid)| ProcessEvidence {
                pid,
                command: "\u{1}".repeat(*command),
                kernel_stack: vec!["s".repeat(*stack / 10); 10],
            })
            .collect();
        let parts = evidence_parts(processes.clone());
        let mut pids = Vec::new();
        let count = parts.len();
        for (part, n) in parts.into_iter().zip(1..) {
            prop_assert!(encode(&Message::reply(u64::MAX, part.clone())).is_ok());
            let Answer::Evidence { processes, more } = part else { unreachable!() };
            prop_assert_eq!(more, n < count);
            pids.extend(processes.into_iter().map(|p| p.pid));
        }
        prop_assert_eq!(pids, processes.iter().map(|p| p.pid).collect::<Vec<_>>());
    }
}
