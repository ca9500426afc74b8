//! Thresholds of the bundle: for each channel and head the margin that none of several kinds of
//! harmless texts exceeds more often than stated. Taking the strictest kind instead of the mean is
//! the only honest guess about a kind that is not among them.

use crate::chance::Chance;
use crate::corpus::CLINC_HELD_OUT;
use crate::data::{Row, Sets};
use crate::grammar::Grammar;
use crate::learn::Weights;
use crate::quantise;
use crate::roc;
use ringfence_core::detection::Channel;
use ringfence_detect::canonical::canonical;
use ringfence_detect::shield::bundle::{Bundle, Manifest, NAMES, RATES, ThresholdEntry, fnv};
use ringfence_detect::shield::heads::Heads;
use std::borrow::Cow;

/// Harmless texts of one kind.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Where they come from.
    pub source: String,
    /// The texts.
    pub texts: Vec<String>,
}

/// How often each head may be wrong on its strictest kind of harmless text.
pub const RATE_USER: f64 = 0.004;
/// The same for what data says: one head decides there.
pub const RATE_DATA: f64 = 0.010;
/// The same for harmful material, which is only marked.
pub const RATE_HARMFUL: f64 = 0.005;

/// No head speaks below this margin, however low its harmless texts score: a handful of letters
/// would be enough.
const MARGIN_MIN: f32 = 2.0;

/// Rows of a set that calibrate: every second one; the others are for the figures.
pub fn half(rows: &[Row], second: bool) -> Vec<String> {
    rows.iter()
        .enumerate()
        .filter(|(i, _)| (i % 2 == 1) == second)
        .map(|(_, r)| r.text.clone())
        .collect()
}

/// Harmless texts of users for calibration.
pub fn users(sets: &Sets, grammar: &Grammar, seed: u64) -> Result<Vec<Kind>, String> {
    let rows = |set: &str| sets.rows(set);
    let mut chance = Chance::new(seed ^ 0x5eed);
    let harmless = |set: &str| -> Result<Vec<Row>, String> {
        Ok(rows(set)?.into_iter().filter(|r| r.label == 0).collect())
    };
    let clinc: Vec<String> = rows("clinc-oos")?
        .into_iter()
        .step_by(CLINC_HELD_OUT)
        .map(|r| r.text)
        .collect();
    Ok(vec![
        kind(
            "own grammar, another seed",
            grammar.texts("benign", 3000, &mut chance),
        ),
        kind("clinc-oos, held out", clinc),
        kind(
            "sentinel-neuralchemy, harmless half",
            half(&harmless("sentinel-neuralchemy")?, false),
        ),
        kind(
            "beerqa-questions, half",
            half(&rows("beerqa-questions")?, false),
        ),
        kind(
            "forbidden-questions, half",
            half(&rows("forbidden-questions")?, false),
        ),
    ])
}

/// Harmless data for calibration.
pub fn data(sets: &Sets, grammar: &Grammar, list: &str, seed: u64) -> Result<Vec<Kind>, String> {
    let mut chance = Chance::new(seed ^ 0xda7a);
    let mut kinds = vec![kind(
        "own grammar, another seed",
        grammar.texts(list, 2000, &mut chance),
    )];
    if list != "tool_schema" {
        kinds.push(kind(
            "bipia-contexts-train, half",
            half(&sets.rows("bipia-contexts-train")?, false),
        ));
        let documents: Vec<Row> = sets
            .rows("beerqa-questions")?
            .into_iter()
            .filter(|r| r.category == "document")
            .collect();
        kinds.push(kind("beerqa documents, half", half(&documents, false)));
        kinds.push(kind("clinc-wiki, joined by ten", wiki(sets)?));
    }
    Ok(kinds)
}

/// Encyclopaedia sentences joined to paragraphs.
pub fn wiki(sets: &Sets) -> Result<Vec<String>, String> {
    let rows = sets.rows("clinc-wiki")?;
    Ok(rows
        .chunks(10)
        .map(|c| {
            c.iter()
                .map(|r| r.text.as_str())
                .collect::<Vec<_>>()
                .join(". ")
        })
        .collect())
}

fn kind(source: &str, texts: Vec<String>) -> Kind {
    Kind {
        source: source.to_owned(),
        texts,
    }
}

/// The margins of each head on some texts.
pub fn margins(heads: &Heads, texts: &[String], head: usize) -> Vec<f32> {
    texts
        .iter()
        .map(|t| {
            heads
                .read(&canonical(t).text)
                .get(head)
                .map_or(0.0, |b| b.margin)
        })
        .collect()
}

/// A finished bundle: the manifest and the table.
pub fn bundle(
    name: &str,
    seed: u64,
    weights: &Weights,
    sets: &Sets,
    grammar: &Grammar,
) -> Result<(Manifest, Vec<u8>), String> {
    let (table, head) = quantise::table(weights);
    let mut manifest = Manifest {
        name: name.to_owned(),
        seed,
        weights_fnv: format!("{:016x}", fnv(&table)),
        trained_on: Vec::new(),
        calibrated_on: Vec::new(),
        head,
        threshold: Vec::new(),
    };
    let heads = read(&manifest, &table)?.heads;
    let users = users(sets, grammar, seed)?;
    let attack: &[usize] = &[0, 1, 3, 4];
    for channel in [Channel::User, Channel::Assistant, Channel::System] {
        thresholds(&heads, channel, attack, &users, RATE_USER, &mut manifest);
    }
    for (channel, list, head) in [
        (Channel::Document, "document", 5),
        (Channel::ToolResult, "tool_output", 6),
        (Channel::ToolSchema, "tool_schema", 7),
    ] {
        let kinds = data(sets, grammar, list, seed)?;
        thresholds(&heads, channel, &[head], &kinds, RATE_DATA, &mut manifest);
        thresholds(
            &heads,
            channel,
            attack,
            &kinds,
            RATE_USER / 2.0,
            &mut manifest,
        );
    }
    // Harmful questions are harmless to the other heads only.
    let mut answers: Vec<Kind> = users
        .into_iter()
        .filter(|k| !k.source.starts_with("forbidden"))
        .collect();
    answers.extend(data(sets, grammar, "document", seed)?);
    for channel in [
        Channel::Content,
        Channel::Reasoning,
        Channel::User,
        Channel::Assistant,
    ] {
        thresholds(&heads, channel, &[2], &answers, RATE_HARMFUL, &mut manifest);
    }
    Ok((manifest, table))
}

fn thresholds(
    heads: &Heads,
    channel: Channel,
    of: &[usize],
    kinds: &[Kind],
    rate: f64,
    manifest: &mut Manifest,
) {
    for index in of {
        let scores: Vec<Vec<f32>> = kinds
            .iter()
            .map(|k| margins(heads, &k.texts, *index))
            .collect();
        let strictest = |rate: f64| {
            scores
                .iter()
                .map(|s| roc::threshold(s, rate))
                .fold(f32::NEG_INFINITY, f32::max)
        };
        manifest.threshold.push(ThresholdEntry {
            channel,
            head: NAMES
                .get(*index)
                .map_or_else(String::new, |(name, _)| (*name).to_owned()),
            margin: strictest(rate).max(MARGIN_MIN),
            texts: u32::try_from(scores.iter().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX),
            exceeded: RATES
                .iter()
                .map(|r| strictest(f64::from(*r) / 1e6))
                .collect(),
        });
    }
    for kind in kinds {
        let line = format!("{channel:?}: {} ({} texts)", kind.source, kind.texts.len());
        if !manifest.calibrated_on.contains(&line) {
            manifest.calibrated_on.push(line);
        }
    }
}

/// A bundle from its parts.
pub fn read(manifest: &Manifest, table: &[u8]) -> Result<Bundle, String> {
    let text = toml::to_string(manifest).map_err(|e| e.to_string())?;
    Bundle::new(&text, Cow::Owned(table.to_vec())).map_err(|e| e.to_string())
}
