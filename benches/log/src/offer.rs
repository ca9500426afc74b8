//! What a slot costs the one who takes and fills it: processor time of the calling thread.

use crate::Outcome;
use crate::append::{LEAF_BYTES, leaf, serve};
use ringfence_record::RecorderClient;
use ringfence_record::client::OFFERS_MAX;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use tokio::task::JoinSet;

/// Rounds of as many slots as may be open at once.
const ROUNDS: usize = 200;

fn thread_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

pub(crate) fn print(folder: &Path) -> Outcome {
    let socket = serve(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (client, driver) = RecorderClient::connect(&socket);
    let mut driving = JoinSet::new();
    driving.spawn_on(driver, runtime.handle());
    runtime.block_on(client.ready())?;
    let (mut spent, mut count, mut full) = (0, 0_u32, 0_u32);
    for _ in 0..ROUNDS {
        let leaves: Vec<_> = (0..OFFERS_MAX as u64)
            .map(|n| leaf(n, LEAF_BYTES))
            .collect();
        let start = thread_ns();
        for leaf in leaves {
            match client.offer() {
                Ok(slot) => {
                    slot.settle(leaf);
                    count += 1;
                }
                Err(_) => full += 1,
            }
        }
        spent += thread_ns() - start;
        // The recorder takes its time; what is measured is the caller's.
        std::thread::yield_now();
    }
    let each = spent as f64 / f64::from(count + full) / 1e3;
    println!(
        "offer and settle: {each:.2} us of the caller's processor time each (goal 5 us; {count} \
         taken, {full} refused because {OFFERS_MAX} were open)"
    );
    Ok(())
}
