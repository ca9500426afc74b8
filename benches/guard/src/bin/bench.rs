//! `cargo xtask bench guard`: how long the shield takes, on one core.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use guard_bench::chance::Chance;
use guard_bench::grammar::Grammar;
use ringfence_core::detection::Channel;
use ringfence_detect::canonical::canonical;
use ringfence_detect::shield::Shield;
use ringfence_detect::shield::bundle::Bundle;
use ringfence_detect::shield::features::tokens;
use ringfence_detect::shield::lexicon::Lexicon;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Octets of the prompt whose time counts.
const PROMPT_BYTES: usize = 2048;
/// Octets of the long text.
const LONG_BYTES: usize = 8 << 20;
/// How often each prompt is judged.
const REPETITIONS: usize = 20;

fn main() -> Result<(), String> {
    let grammar = Grammar::training()?;
    let mut chance = Chance::new(9);
    let prompts: Vec<String> = (0..200)
        .map(|_| filled(&grammar, PROMPT_BYTES, &mut chance))
        .collect();
    let load = times(20, || drop(black_box(Bundle::built_in())));
    report("bundle loads", &load);
    let start = Instant::now();
    let shield = Shield::new().map_err(|e| e.to_string())?;
    println!("shield with all rules compiled: {:?}", start.elapsed());
    for prompt in &prompts {
        black_box(shield.judge(Channel::User, &[prompt]));
    }
    let mut all = Vec::new();
    for prompt in &prompts {
        all.extend(times(REPETITIONS, || {
            drop(black_box(shield.judge(Channel::User, &[prompt])));
        }));
    }
    report("tiers 0 and 1 on a 2 KB prompt", &all);
    parts(&prompts)?;
    let long = filled(&grammar, LONG_BYTES, &mut chance);
    let start = Instant::now();
    black_box(shield.judge(Channel::Document, &[&long]));
    rate("long text", long.len(), start.elapsed());
    let flat = "a".repeat(LONG_BYTES);
    let start = Instant::now();
    black_box(shield.judge(Channel::User, &[&flat]));
    rate("one character", flat.len(), start.elapsed());
    Ok(())
}

/// The parts that can be called alone, on the same prompts.
fn parts(prompts: &[String]) -> Result<(), String> {
    let bundle = Bundle::built_in().map_err(|e| e.to_string())?;
    let lexicon = Lexicon::new();
    let views: Vec<String> = prompts.iter().map(|p| canonical(p).text).collect();
    let each = |what: &str, act: &dyn Fn(usize)| {
        let all: Vec<Duration> = (0..prompts.len())
            .flat_map(|i| times(REPETITIONS, || act(i)))
            .collect();
        report(what, &all);
    };
    let at = |i: usize| views.get(i).map_or("", String::as_str);
    each("  canonical view", &|i| {
        drop(black_box(canonical(
            prompts.get(i).map_or("", String::as_str),
        )));
    });
    each("  features", &|i| {
        tokens(at(i), |token| {
            black_box(token.words.len());
        });
    });
    each("  heads, features included", &|i| {
        black_box(bundle.heads.read(at(i)));
    });
    each("  common words", &|i| {
        black_box(lexicon.share(at(i)));
    });
    Ok(())
}

/// Harmless text of about so many octets.
fn filled(grammar: &Grammar, octets: usize, chance: &mut Chance) -> String {
    let mut text = String::new();
    while text.len() < octets {
        text.push_str(&grammar.text(
            if chance.percent(50) {
                "benign"
            } else {
                "document"
            },
            chance,
        ));
        text.push('\n');
    }
    let mut end = octets;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn times(count: usize, mut act: impl FnMut()) -> Vec<Duration> {
    (0..count)
        .map(|_| {
            let start = Instant::now();
            act();
            start.elapsed()
        })
        .collect()
}

fn report(what: &str, all: &[Duration]) {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        sorted
            .get(sorted.len() * percent / 100)
            .or(sorted.last())
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what}: median {:?}, p99 {:?} (n {})",
        at(50),
        at(99),
        sorted.len()
    );
}

fn rate(what: &str, octets: usize, time: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabytes = octets as f64 / 1e6;
    println!(
        "{what}: {:.1} MB/s ({megabytes:.1} MB in {time:?})",
        megabytes / time.as_secs_f64()
    );
}
