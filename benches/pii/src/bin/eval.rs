//! `cargo xtask eval pii`: detection against the development data, by source, with n.
//!
//! The data is not part of the repository; without it this fails. `--misses TYPE` prints what was
//! missed or found too much of one type; `--weights FILE` judges other weights than the shipped.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use ringfence_bench_pii::measure::{
    Counts, STRUCTURED, Span, compare, compare_octets, join, spans_of,
};
use ringfence_core::detection::{Detector, Label};
use ringfence_detect::names::{Names, model::Model};
use ringfence_detect::redact;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

/// Goals of the issue, in thousandths.
const STRUCTURED_GOAL: f64 = 0.95;
const ALL_GOAL: f64 = 0.65;

#[derive(Deserialize)]
struct Row {
    full_text: String,
    spans: Vec<Gold>,
}

#[derive(Deserialize)]
struct Gold {
    entity_type: String,
    start_position: usize,
    end_position: usize,
}

/// Types of the data under the names of [`ringfence_bench_pii::measure`]. Titles of persons and
/// of jobs are not personal data here.
fn gold_type(name: &str) -> Option<&'static str> {
    Some(match name {
        "PERSON" => "PERSON",
        "ADDRESS" | "LOCATION" => "LOCATION",
        "ORGANIZATION" => "ORGANISATION",
        "CREDIT_CARD" => "CARD",
        "PHONE_NUMBER" => "PHONE",
        "DATE_TIME" => "DATE",
        "EMAIL_ADDRESS" => "EMAIL",
        "US_SSN" => "SSN",
        "IBAN_CODE" => "IBAN",
        "DOMAIN_NAME" => "URL",
        "US_DRIVER_LICENSE" => "LICENCE",
        "IP_ADDRESS" => "IP",
        _ => return None,
    })
}

/// Positions of the data are in characters.
fn gold(row: &Row) -> Vec<Span> {
    let mut octets: Vec<usize> = row.full_text.char_indices().map(|(at, _)| at).collect();
    octets.push(row.full_text.len());
    let at = |i: usize| octets.get(i).copied().unwrap_or(row.full_text.len());
    row.spans
        .iter()
        .filter_map(|s| {
            gold_type(&s.entity_type).map(|kind| (at(s.start_position)..at(s.end_position), kind))
        })
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut folder = PathBuf::from("target/data/guard");
    let (mut misses, mut weights) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--misses" => misses = arguments.next(),
            "--weights" => weights = arguments.next(),
            _ => folder = argument.into(),
        }
    }
    let path = folder.join("presidio-research/generated_large.json");
    let data = std::fs::read(&path).map_err(|e| {
        format!(
            "{}: {e}; unpack the development data into target/data first",
            path.display()
        )
    })?;
    let rows: Vec<Row> = serde_json::from_slice(&data)?;
    let mut detectors = redact::everything()?;
    if let Some(path) = weights {
        let model = Model::read(&std::fs::read(path)?)?;
        detectors.retain(|detector| !detector.labels().contains(&Label::Person));
        detectors.push(Box::new(Names::with_model(model)));
    }
    let mut counts: BTreeMap<&'static str, Counts> = BTreeMap::new();
    let mut octets = Counts::default();
    for row in &rows {
        let hits = found(&row.full_text, &detectors);
        let text = &row.full_text;
        let (gold, found) = (join(text, gold(row)), join(text, spans_of(&hits)));
        compare(&gold, &found, &mut counts);
        compare_octets(row.full_text.len(), &gold, &found, &mut octets);
        if let Some(kind) = &misses {
            show(&row.full_text, &gold, &found, kind);
        }
    }
    print(rows.len(), &counts, &octets);
    Ok(())
}

fn found(text: &str, detectors: &[Box<dyn Detector>]) -> Vec<ringfence_core::detection::Hit> {
    let mut hits = Vec::new();
    for detector in detectors {
        detector.scan(text, &mut hits);
    }
    redact::resolve(hits)
}

fn show(text: &str, gold: &[Span], found: &[Span], kind: &str) {
    let of = |spans: &[Span]| {
        spans
            .iter()
            .filter(|(_, k)| *k == kind)
            .map(|(span, _)| text.get(span.clone()).unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let (expected, got) = (of(gold), of(found));
    if expected != got {
        println!("{text:?}\n  expected {expected:?}\n  found    {got:?}");
    }
}

/// The table and the goals.
fn print(texts: usize, counts: &BTreeMap<&'static str, Counts>, octets: &Counts) {
    println!(
        "presidio-research generated_large: {texts} texts (tune: thresholds and comparison only)"
    );
    println!(
        "a span counts when its type is right and half of the union is shared; neighbours of one type are joined"
    );
    println!("{:<14}{:>7}{:>8}{:>8}{:>8}", "type", "n", "P", "R", "F2");
    let line = |name: &str, c: &Counts| {
        println!(
            "{name:<14}{:>7}{:>8.3}{:>8.3}{:>8.3}",
            c.expected(),
            c.precision(),
            c.recall(),
            c.f2()
        );
    };
    let (mut structured, mut all) = (Counts::default(), Counts::default());
    for (kind, count) in counts {
        line(kind, count);
        all.add(*count);
        if STRUCTURED.contains(kind) {
            structured.add(*count);
        }
    }
    line("structured", &structured);
    line("all types", &all);
    line("octets", octets);
    let verdict = |reached: bool| if reached { "reached" } else { "MISSED" };
    println!(
        "goal structured F2 >= {STRUCTURED_GOAL}: {}",
        verdict(structured.f2() >= STRUCTURED_GOAL)
    );
    println!(
        "goal all types F2 >= {ALL_GOAL}: {}",
        verdict(all.f2() >= ALL_GOAL)
    );
}
