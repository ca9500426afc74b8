//! Durable appends: how many a second, how long one takes, how long until its proof.

use crate::Outcome;
use crate::disk;
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::time::Timestamp;
use ringfence_crypto::random::SystemEntropy;
use ringfence_record::client::CALLS_MAX;
use ringfence_record::log::{GROUP_OPERATIONS_MAX, Operation};
use ringfence_record::role::{RecorderOptions, run};
use ringfence_record::{Recorder, RecorderClient};
use ringfence_sys::clock::SystemClock;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a rate is measured.
const SPAN: Duration = Duration::from_secs(5);
/// Octets of a leaf.
pub(crate) const LEAF_BYTES: usize = 512;

/// A leaf of so many octets.
pub(crate) fn leaf(n: u64, octets: usize) -> Leaf {
    let bare = |fill: usize| {
        Leaf::new(
            Timestamp(1_795_176_000_000),
            ProjectId::host(),
            "key:bench",
            LeafAction::RequestSettle,
            format!("request:{n:012}"),
        )
        .with("fill", "x".repeat(fill))
    };
    let least = bare(0).canonical().map_or(0, |b| b.len());
    bare(octets.saturating_sub(least))
}

/// A recorder of its own in a folder.
pub(crate) fn recorder(folder: &Path) -> Outcome<Recorder> {
    let clock = Arc::new(SystemClock);
    Ok(Recorder::open(folder, clock, Arc::new(SystemEntropy))?)
}

pub(crate) fn print(folder: &Path) -> Outcome {
    let single = disk::fdatasync_rate(folder, LEAF_BYTES)?;
    println!("raw: write {LEAF_BYTES} octets + fdatasync, one writer: {single:.0}/s");
    let group = disk::fdatasync_rate(folder, LEAF_BYTES * GROUP_OPERATIONS_MAX)?;
    let limit = group * GROUP_OPERATIONS_MAX as f64;
    println!(
        "raw: write {GROUP_OPERATIONS_MAX} x {LEAF_BYTES} octets + fdatasync: {group:.0}/s, \
         which is {limit:.0} leaves/s"
    );
    let core = in_process(&folder.join("core"))?;
    println!(
        "log core, groups of {GROUP_OPERATIONS_MAX}, {LEAF_BYTES}-octet leaves, fdatasync before the \
         index is returned: {core:.0} leaves/s ({:.0} % of the raw group limit)",
        100.0 * core / limit
    );
    through_the_socket(&folder.join("socket"))
}

/// One caller with full groups: what the log itself can do.
fn in_process(folder: &Path) -> Outcome<f64> {
    let mut recorder = recorder(folder)?;
    let group: Vec<Leaf> = (0..GROUP_OPERATIONS_MAX as u64)
        .map(|n| leaf(n, LEAF_BYTES))
        .collect();
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < SPAN {
        let operations = group.iter().cloned().map(Operation::Append).collect();
        for done in recorder.commit(operations)? {
            done?;
            count += 1;
        }
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// Starts the recorder's own loop in a thread, which ends with this process, and says its socket.
pub(crate) fn serve(folder: &Path) -> Outcome<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let socket = folder.join("recorder.sock");
    let options = RecorderOptions {
        socket_path: socket.clone(),
        dir: folder.join("record"),
        allowed_uids: vec![std::fs::metadata(folder)?.uid()],
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    std::thread::spawn(move || run(options));
    while !socket.exists() {
        std::thread::yield_now();
    }
    Ok(socket)
}

/// As many callers as may ask at once.
fn through_the_socket(folder: &Path) -> Outcome {
    let socket = serve(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (client, driver) = RecorderClient::connect(&socket);
        let mut driving = JoinSet::new();
        driving.spawn(driver);
        client.ready().await?;
        let (full, _) = load(&client, CALLS_MAX, None).await?;
        println!("recorder, over its socket, {CALLS_MAX} callers: {full:.0} durable appends/s");
        let half = full / 2.0;
        let (rate, mut times) = load(&client, CALLS_MAX, Some(half)).await?;
        let [p50, p95, p99] = percentiles(&mut times);
        println!(
            "recorder at half load ({rate:.0}/s): append p50 {p50:.2} ms, p95 {p95:.2} ms, \
             p99 {p99:.2} ms (goal p99 10 ms)"
        );
        let mut times = Vec::new();
        for n in 0..500 {
            let start = Instant::now();
            let receipt = client.append(leaf(n, LEAF_BYTES)).await?;
            client.prove(receipt.index).await?;
            times.push(start.elapsed());
        }
        let [p50, p95, p99] = percentiles(&mut times);
        println!(
            "append to .tlog-proof, one after the other: p50 {p50:.2} ms, p95 {p95:.2} ms, \
             p99 {p99:.2} ms (goal p99 1200 ms)"
        );
        client.close();
        drop(client);
        driving.join_all().await;
        Ok(())
    })
}

/// Appends from many callers, as fast as they can or at a pace; the rate, and how long each took.
async fn load(
    client: &RecorderClient,
    callers: usize,
    pace: Option<f64>,
) -> Outcome<(f64, Vec<Duration>)> {
    let mut tasks = JoinSet::new();
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    for _ in 0..callers {
        let (client, next) = (client.clone(), Arc::clone(&next));
        let one = leaf(0, LEAF_BYTES);
        tasks.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < SPAN {
                let due = next.fetch_add(1, Ordering::Relaxed);
                let mut begun = Instant::now();
                if let Some(pace) = pace {
                    // Counted from when it was due: waiting for a slow one counts too.
                    begun = start + Duration::from_secs_f64(due as f64 / pace);
                    tokio::time::sleep_until(begun.into()).await;
                }
                client.append(one.clone()).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, ringfence_record::RecordError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok((times.len() as f64 / start.elapsed().as_secs_f64(), times))
}

/// The median, the 95th and the 99th percentile, in milliseconds.
pub(crate) fn percentiles(times: &mut [Duration]) -> [f64; 3] {
    times.sort_unstable();
    [50, 95, 99].map(|percent| {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(at).map_or(0.0, |t| t.as_secs_f64() * 1e3)
    })
}
