//! The recorder as a process: its socket, who may use it, and what survives when it dies.

use crate::support::{clock, entropy, leaf};
use ringfence_core::error::Explain as _;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::LeafSink;
use ringfence_record::client::{CALLS_MAX, OFFERS_MAX, Slot};
use ringfence_record::log::LogState;
use ringfence_record::recorder::LocalSink;
use ringfence_record::role::{CONNECTIONS_MAX, RecorderOptions, run, serve};
use ringfence_record::verify::{Demands, verify_dir, vkeys_of};
use ringfence_record::{Purpose, RecordError, Recorder, RecorderClient, proof};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

fn own_uid(dir: &Path) -> u32 {
    std::fs::metadata(dir).unwrap().uid()
}

fn options(dir: &Path, allowed_uids: Vec<u32>) -> RecorderOptions {
    RecorderOptions {
        socket_path: dir.join("recorder.sock"),
        dir: dir.join("record"),
        allowed_uids,
        clock: clock(),
        entropy: entropy(),
    }
}

fn client(dir: &Path) -> (RecorderClient, impl Future<Output = ()>) {
    RecorderClient::connect(dir.join("recorder.sock"))
}

/// Runs a test against a recorder of this process, which ends in order after it.
fn with_recorder<F: Future<Output = ()>>(
    allowed: fn(u32) -> u32,
    act: impl FnOnce(TempDirPath, RecorderClient) -> F,
) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = options(dir.path(), vec![allowed(own_uid(dir.path()))]);
        let (client, driver) = client(dir.path());
        let server = serve(options, async {
            drop(stopped.await);
        });
        let test = async {
            act(dir.path().to_owned(), client).await;
        };
        let both = async {
            tokio::join!(test, driver);
            stop.send(()).unwrap();
        };
        let (served, ()) = tokio::join!(server, both);
        served.unwrap();
    });
    dir
}

type TempDirPath = std::path::PathBuf;

#[test]
fn leaves_proofs_and_sealed_values_go_through_the_socket() {
    let dir = with_recorder(
        |uid| uid,
        |path, client| async move {
            let receipt = client.append(leaf(1)).await.unwrap();
            assert_eq!(receipt.index, 0);
            assert_eq!(client.read(0, 10).await.unwrap(), [(0, leaf(1))]);
            let proof = client.prove(0).await.unwrap();
            let keys = vkeys_of(&path.join("record")).unwrap();
            proof::verify(&proof, &leaf(1).canonical().unwrap(), &keys).unwrap();
            let sealed = client
                .seal(Purpose::GatewayPepper, b"pepper")
                .await
                .unwrap();
            let opened = client
                .unseal(Purpose::GatewayPepper, &sealed)
                .await
                .unwrap();
            assert_eq!(opened.danger_expose(), b"pepper");
            let other = client
                .unseal(Purpose::WebhookKey, &sealed)
                .await
                .unwrap_err();
            let RecordError::Remote(explained) = &other else {
                panic!("{other}")
            };
            assert_eq!(explained.code, "record/seal-broken");
            let missing = client.prove(99).await.unwrap_err();
            assert!(missing.to_string().contains("no leaf 99"), "{missing}");
            assert!(
                client
                    .checkpoint()
                    .await
                    .unwrap()
                    .contains("ringfence.invalid/log/")
            );
        },
    );
    assert_eq!(
        verify_dir(&dir.path().join("record"), &Demands::default())
            .unwrap()
            .unaccounted,
        0
    );
}

#[test]
fn slots_are_filled_or_counted_and_the_rest_is_given_back() {
    let dir = with_recorder(
        |uid| uid,
        |_, client| async move {
            client.ready().await.unwrap();
            let slots: Vec<Slot> = (0..5).map(|_| client.offer().unwrap()).collect();
            let sequences: Vec<u64> = slots.iter().map(Slot::sequence).collect();
            assert_eq!(sequences, [0, 1, 2, 3, 4]);
            for slot in slots.into_iter().skip(1) {
                let n = slot.sequence();
                slot.settle(leaf(n));
            }
        },
    );
    let report = verify_dir(&dir.path().join("record"), &Demands::default()).unwrap();
    assert_eq!((report.unaccounted, report.open_numbers), (1, 0));
    let recorder = Recorder::open(&dir.path().join("record"), clock(), entropy()).unwrap();
    let leaves: Vec<Leaf> = recorder
        .read(0, 100)
        .unwrap()
        .into_iter()
        .map(|(_, l)| l)
        .collect();
    let settled = leaves
        .iter()
        .filter(|l| l.action == LeafAction::RequestSettle)
        .count();
    assert_eq!(settled, 4);
}

#[test]
fn an_orderly_close_gives_every_unused_number_back_though_clones_live_on() {
    let dir = with_recorder(
        |uid| uid,
        |_, client| async move {
            client.ready().await.unwrap();
            let clone = client.clone();
            client.offer().unwrap().settle(leaf(0));
            client.close();
            // Nothing is taken any more once the conversation has ended.
            while clone.append(leaf(1)).await.is_ok() {}
        },
    );
    let report = verify_dir(&dir.path().join("record"), &Demands::default()).unwrap();
    assert_eq!((report.unaccounted, report.open_numbers), (0, 0));
}

#[test]
fn slots_are_offered_up_to_the_limit_and_refused_one_above() {
    let dir = with_recorder(
        |uid| uid,
        |_, client| async move {
            client.ready().await.unwrap();
            let mut slots: Vec<Slot> = (0..OFFERS_MAX).map(|_| client.offer().unwrap()).collect();
            let above = client.offer().err().unwrap();
            assert_eq!(above.code().0, "record/too-many");
            slots.pop().unwrap().settle(leaf(0));
            // The place is free again once the leaf is durable.
            while client.state().await.unwrap().size < 1 {}
            client.state().await.unwrap();
            slots.push(client.offer().unwrap());
            for slot in slots {
                slot.settle(leaf(1));
            }
        },
    );
    let report = verify_dir(&dir.path().join("record"), &Demands::default()).unwrap();
    assert_eq!(report.unaccounted, 0);
    assert!(report.size > OFFERS_MAX as u64);
}

#[test]
fn requests_are_taken_up_to_the_limit_and_refused_one_above() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // The driver is not awaited, so that every request stays under way.
        let (client, driver) = RecorderClient::connect("nowhere.sock");
        let mut asked: Vec<_> = (0..CALLS_MAX).map(|_| Box::pin(client.state())).collect();
        for call in &mut asked {
            let waits = std::future::poll_fn(|c| Poll::Ready(call.as_mut().poll(c).is_pending()));
            assert!(waits.await);
        }
        let above = client.state().await.unwrap_err();
        assert_eq!(above.code().0, "record/too-many");
        drop(asked);
        drop(client);
        driver.await;
    });
}

#[test]
fn another_user_is_turned_away() {
    // The control on: this user is not the one allowed.
    with_recorder(
        |uid| uid + 1,
        |path, patient| async move {
            drop(patient);
            let socket = path.join("recorder.sock");
            let (client, driver) = RecorderClient::connect_with(socket, Duration::from_millis(300));
            let asked = async {
                let error = client.append(leaf(0)).await.unwrap_err();
                assert!(
                    matches!(error, RecordError::Timeout(_) | RecordError::Unreachable),
                    "{error}"
                );
                drop(client);
            };
            tokio::join!(asked, driver);
        },
    );
    // The control off: the same request of an allowed user is carried out.
    with_recorder(
        |uid| uid,
        |_, client| async move {
            assert!(client.append(leaf(0)).await.is_ok());
        },
    );
}

#[test]
fn connections_are_served_up_to_the_limit_and_refused_one_above() {
    with_recorder(
        |uid| uid,
        |path, client| async move {
            client.ready().await.unwrap();
            let socket = path.join("recorder.sock");
            let mut held = Vec::new();
            for _ in 0..CONNECTIONS_MAX - 1 {
                held.push(UnixStream::connect(&socket).await.unwrap());
            }
            let mut above = UnixStream::connect(&socket).await.unwrap();
            assert_eq!(above.read(&mut [0; 1]).await.unwrap(), 0, "closed at once");
            let last = held.last_mut().unwrap();
            let silent =
                tokio::time::timeout(Duration::from_millis(50), last.read(&mut [0; 1])).await;
            assert!(silent.is_err(), "the one at the limit stays open");
            client.state().await.unwrap();
        },
    );
}

#[test]
fn a_request_that_is_none_ends_the_connection_and_nothing_else() {
    with_recorder(
        |uid| uid,
        |path, client| async move {
            client.ready().await.unwrap();
            let mut stream = UnixStream::connect(path.join("recorder.sock"))
                .await
                .unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"\0\0\0\x04what")
                .await
                .unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            client.append(leaf(0)).await.unwrap();
        },
    );
}

#[test]
fn a_command_without_a_server_writes_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let sink = LocalSink::new(Recorder::open(dir.path(), clock(), entropy()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let receipt = runtime.block_on(sink.append(leaf(0))).unwrap();
    assert_eq!(receipt.index, 0);
    let slot = sink.offer().unwrap();
    slot.settle(leaf(1));
    drop(sink.offer().unwrap());
    assert_eq!(sink.with(|r| r.state()).unaccounted, 1);
    sink.with(Recorder::checkpoint).unwrap();
    drop(sink);
    assert_eq!(
        verify_dir(dir.path(), &Demands::default())
            .unwrap()
            .open_numbers,
        0
    );
}

/// This test binary again, as a recorder in a process of its own.
fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "role::a_killed_recorder_loses_nothing_acknowledged",
            "--nocapture",
        ])
        .env("RINGFENCE_TEST_RECORDER", dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Appends until the recorder dies; says what was acknowledged.
async fn load(client: &RecorderClient, told: &mut Vec<(u64, Leaf)>, n: &mut u64) {
    loop {
        *n += 1;
        let mine = leaf(*n);
        // A request that the connection died before is sent on the next one: not waited for here.
        let patience = Duration::from_millis(200);
        match tokio::time::timeout(patience, client.append(mine.clone())).await {
            Ok(Ok(receipt)) => told.push((receipt.index, mine)),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[test]
fn a_killed_recorder_loses_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os("RINGFENCE_TEST_RECORDER") {
        let dir = Path::new(&dir);
        run(options(dir, vec![own_uid(dir)])).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, driver) = client(dir.path());
        let test = async {
            let (mut told, mut n, mut settled) = (Vec::new(), 0, Vec::new());
            let mut held: Option<Slot> = None;
            for round in 0..8_u64 {
                let mut child = spawn(dir.path());
                client.ready().await.unwrap();
                // A slot of the recorder before this one is filled late.
                if let Some(slot) = held.take() {
                    settled.push(slot.sequence());
                    slot.settle(leaf(0));
                }
                held = Some(client.offer().unwrap());
                let until = told.len() + 20 + usize::try_from(round).unwrap() * 7;
                while told.len() < until {
                    n += 1;
                    let receipt = client.append(leaf(n)).await.unwrap();
                    told.push((receipt.index, leaf(n)));
                }
                let more = load(&client, &mut told, &mut n);
                tokio::join!(async { kill(&mut child) }, more);
            }
            check(&dir, &client, &told, &settled, held).await;
            drop(client);
        };
        tokio::join!(test, driver);
    });
}

async fn check(
    dir: &TempDir,
    client: &RecorderClient,
    told: &[(u64, Leaf)],
    settled: &[u64],
    held: Option<Slot>,
) {
    let mut child = spawn(dir.path());
    client.ready().await.unwrap();
    drop(held);
    let state: LogState = client.state().await.unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < state.size {
        all.extend(client.read(all.len() as u64, 500).await.unwrap());
    }
    for (index, leaf) in told {
        let found = &all[usize::try_from(*index).unwrap()];
        assert_eq!(found, &(*index, leaf.clone()));
    }
    for sequence in settled {
        let number = ringfence_core::leaf::Detail::Integer(i64::try_from(*sequence).unwrap());
        assert!(
            all.iter()
                .any(|(_, l)| l.detail.get("sequence") == Some(&number))
        );
    }
    let gaps = all
        .iter()
        .filter(|(_, l)| l.action == LeafAction::LogGap)
        .count();
    assert!(gaps >= 8, "each crash says what is unaccounted for: {gaps}");
    kill(&mut child);
    let report = verify_dir(&dir.path().join("record"), &Demands::default()).unwrap();
    assert!(report.size >= told.len() as u64 && report.unaccounted > 0);
}
