//! A long log: memory while it grows, opening it, and recomputing all of it.

use crate::Outcome;
use crate::append::leaf;
use ringfence_crypto::sign::{Algorithm, SigningKey};
use ringfence_record::log::disk::RealDisk;
use ringfence_record::log::{GROUP_OPERATIONS_MAX, Log, LogKeys, LogOptions, Operation};
use ringfence_record::verify::{Demands, verify_dir};
use ringfence_sys::clock::SystemClock;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Octets of a leaf: a request summary.
const LEAF_BYTES: usize = 300;

/// Leaves between two retirements.
const RETIRED_LEAVES: u64 = 100_000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

pub(crate) fn print(folder: &Path, entries: u64) -> Outcome {
    let key = |algorithm| SigningKey::from_seed(algorithm, &[7; 32]);
    let keys = || -> Outcome<LogKeys> {
        Ok(LogKeys {
            ed25519: key(Algorithm::Ed25519)?,
            ml_dsa: key(Algorithm::MlDsa44)?,
        })
    };
    let logs = folder.join("log");
    let disk = Arc::new(RealDisk::writable(&logs));
    std::fs::create_dir_all(&logs)?;
    let clock = Arc::new(SystemClock);
    let options = LogOptions::default();
    let (mut log, _) = Log::open(disk.clone(), keys()?, clock.clone(), options)?;
    let group: Vec<_> = (0..GROUP_OPERATIONS_MAX as u64)
        .map(|n| Operation::Append(leaf(n, LEAF_BYTES)))
        .collect();
    let start = Instant::now();
    let (mut next_report, mut next_retirement) = (entries / 10, RETIRED_LEAVES);
    while log.state().size < entries {
        for done in log.commit(group.clone())? {
            done?;
        }
        if log.state().size >= next_retirement {
            // As the recorder does every second.
            log.checkpoint()?;
            while let Some(retirement) = log.retirement() {
                retirement.force(&*disk)?;
                log.retired(retirement)?;
            }
            next_retirement += RETIRED_LEAVES;
        }
        if log.state().size >= next_report {
            println!(
                "  {} leaves after {:.0} s, {} KiB resident",
                log.state().size,
                start.elapsed().as_secs_f64(),
                resident_kib()
            );
            next_report += entries.div_ceil(2).max(1);
        }
    }
    log.checkpoint()?;
    let size = log.state().size;
    drop(log);
    let start = Instant::now();
    let (log, recovery) = Log::open(disk, keys()?, clock, options)?;
    println!(
        "opening {size} leaves: {:.0} ms, {} read back from the write-ahead log",
        start.elapsed().as_secs_f64() * 1e3,
        recovery.replayed
    );
    drop(log);
    let start = Instant::now();
    let report = verify_dir(folder, &Demands::default())?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "fsck of {} leaves, {} files, {} MB: {seconds:.1} s, {} KiB resident (goal for 10 million: \
         30 s)",
        report.size,
        report.files,
        report.octets / 1_000_000,
        resident_kib()
    );
    Ok(())
}
