//! `cargo xtask bench pii`: personal data beside Presidio's pattern recognisers, in one run on the
//! same texts, and the redaction of a dataset on two threads.
//!
//! The Presidio side is `presidio_side.py` in a virtual environment under `target/` with
//! `presidio-analyzer` from the Python index; without it this fails and says how to make it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use ringfence_bench_pii::generate::{Dice, Grammar};
use ringfence_core::detection::Detector;
use ringfence_detect::{pii, redact};
use ringfence_inspect::dataset::{Format, Job, Plan, PlanConfig, run};
use serde::Deserialize;
use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

const TEXTS: usize = 1500;
const ROUNDS: usize = 3;
const SEED: u64 = 7;
const PYTHON: &str = "target/venv/bin/python";
const GOAL_RATIO: f64 = 50.0;
const GOAL_DATASET_MB: f64 = 50.0;

#[derive(Deserialize)]
struct Peer {
    seconds: Vec<f64>,
    found: u64,
}

fn megabytes(octets: usize) -> f64 {
    f64::from(u32::try_from(octets).unwrap_or(u32::MAX)) / 1e6
}

/// The middle of some measurements.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Sentences of our grammar, one in three with a number of the kinds both sides know.
fn texts() -> Vec<String> {
    let grammar = Grammar::default();
    let mut dice = Dice::new(SEED);
    let numbers = [
        "My card is 4111 1111 1111 1111.",
        "Write to ann.lee@example.com please.",
        "My SSN is 536-90-4399.",
        "Call +1 415 555 2671 after six.",
        "IBAN DE89370400440532013000, from 74.34.59.240.",
    ];
    (0..TEXTS)
        .map(|i| {
            let text = grammar.example(&mut dice).text;
            match (i % 3, numbers.get(i / 3 % numbers.len())) {
                (0, Some(number)) => format!("{text} {number}"),
                _ => text,
            }
        })
        .collect()
}

fn ours(texts: &[String], detectors: &[Box<dyn Detector>]) -> (f64, u64) {
    let started = Instant::now();
    let mut found = 0;
    for text in texts {
        let mut hits = Vec::new();
        for detector in detectors {
            detector.scan(text, &mut hits);
        }
        found += black_box(hits).len() as u64;
    }
    (started.elapsed().as_secs_f64(), found)
}

fn presidio(texts: &[String]) -> Result<Peer, Box<dyn Error>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/presidio_side.py");
    let mut child = Command::new(PYTHON)
        .args([script, &ROUNDS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{PYTHON}: {e}; make it: python3 -m venv target/venv && target/venv/bin/pip install presidio-analyzer"))?;
    if let Some(mut input) = child.stdin.take() {
        for text in texts {
            writeln!(input, "{}", serde_json::json!({ "text": text }))?;
        }
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("the Presidio side failed; run presidio_side.py by hand to see why".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn dataset(texts: &[String], instructions: bool, threads: usize) -> Result<f64, Box<dyn Error>> {
    let mut input = Vec::new();
    while megabytes(input.len()) < 16.0 {
        for (i, text) in texts.iter().enumerate() {
            writeln!(
                input,
                "{}",
                serde_json::json!({ "id": i, "text": text, "source": "bench" })
            )?;
        }
    }
    let config = PlanConfig {
        instructions,
        ..PlanConfig::default()
    };
    let plan = Plan::new(&config, Arc::new(|_: &[u8]| [0; 32]))?;
    let started = Instant::now();
    let mut out = std::io::sink();
    let report = run(
        Job::new(&plan, Format::Jsonl, threads),
        input.as_slice(),
        &mut out,
        &mut |_, _| Ok(()),
    )?;
    black_box(report);
    Ok(megabytes(input.len()) / started.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let texts = texts();
    let size = megabytes(texts.iter().map(String::len).sum());
    println!(
        "{} texts, {:.0} octets on average, {size:.3} MB",
        texts.len(),
        size * 1e6 / 1500.0
    );
    let patterns = pii::detectors()?;
    let everything = redact::everything()?;
    let measured = |detectors: &[Box<dyn Detector>]| {
        let mut found = 0;
        let seconds = (0..ROUNDS)
            .map(|_| {
                let (seconds, hits) = ours(&texts, detectors);
                found = hits;
                seconds
            })
            .collect();
        (median(seconds), found)
    };
    let (structure, hits) = measured(&patterns);
    println!(
        "ours, structure, one core     {:>8.2} MB/s  {hits} hits",
        size / structure
    );
    let (all, hits) = measured(&everything);
    println!(
        "ours, with names, one core    {:>8.2} MB/s  {hits} hits",
        size / all
    );
    for (name, instructions) in [
        ("personal data and secrets", false),
        ("and planted instructions", true),
    ] {
        let rate = dataset(&texts, instructions, 2)?;
        println!("dataset, {name:<27}{rate:>6.1} MB/s on two threads (goal {GOAL_DATASET_MB})");
    }
    let peer = presidio(&texts)?;
    let theirs = median(peer.seconds);
    println!(
        "presidio patterns, blank      {:>8.2} MB/s  {} hits",
        size / theirs,
        peer.found
    );
    println!(
        "ratio structure {:.0} (goal {GOAL_RATIO}), with names {:.0}",
        theirs / structure,
        theirs / all
    );
    Ok(())
}
