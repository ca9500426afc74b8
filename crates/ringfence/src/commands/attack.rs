//! `run --attack-suite`: every wall attacked from inside and judged from the host, as a table.

use crate::cli::RunArgs;
use crate::render::table::Table;
use crate::render::{self, Format};
use crate::{FINDINGS, INCOMPLETE, Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_crypto::random::{SystemEntropy, token_hex};
use ringfence_sandbox::attack::suite::Options;
use ringfence_sandbox::attack::{self, Language, Report, Row, Verdict};
use ringfence_sandbox::zygote::ZygoteOptions;
use serde_json::json;
use std::path::PathBuf;

/// A folder that goes when the suite is done, whatever came of it.
struct Folder(PathBuf);

impl Folder {
    fn make(name: &str) -> Result<Self, Explained> {
        let path = std::env::temp_dir().join(format!("ringfence-attack-{name}"));
        std::fs::create_dir(&path).map_err(|e| {
            let what = format!("{} could not be made", path.display());
            Explained::new(
                ErrorCode("run/attack-folder"),
                what,
                "check the space below /tmp",
            )
            .because(e)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn random() -> Result<String, Explained> {
    token_hex(&SystemEntropy, 12).map_err(|e| Explained::of(&e))
}

/// Runs the suite and prints the table.
pub(crate) fn run(args: &RunArgs, format: Format) -> Outcome {
    let folder = Folder::make(&random()?)?;
    let options = Options {
        folder: folder.0.clone(),
        only: args.only.clone(),
        secret: format!("secret-{}", random()?),
        token: format!("ringfence-{}", random()?),
        zygote: ZygoteOptions::default(),
    };
    let report = attack::run(&options, &mut |_| {}).map_err(|e| Explained::of(&e))?;
    if report.rows.is_empty() {
        let only = args.only.as_deref().unwrap_or_default();
        return Err(Explained::new(
            ErrorCode("run/no-such-attack"),
            format!("no attack has {only:?} in its name"),
            "names are in the first column of ringfence run --attack-suite",
        ));
    }
    if format == Format::Json {
        let count = |verdict| report.count(verdict);
        render::json(&json!({
            "passed": report.passed(),
            "held": count(Verdict::Held),
            "broken": count(Verdict::Broken),
            "void": count(Verdict::Void),
            "absent": count(Verdict::Absent),
            "skipped": count(Verdict::Skipped),
            "rows": report.rows,
        }))?;
    } else {
        print(&report);
    }
    Ok(if !report.passed() {
        FINDINGS
    } else if report.count(Verdict::Skipped) > 0 {
        INCOMPLETE
    } else {
        PASS
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Broken => "BROKEN",
        Verdict::Void => "VOID",
        Verdict::Absent => "absent",
        Verdict::Skipped => "skipped",
    }
}

fn language(row: &Row) -> &'static str {
    match row.language {
        Language::Native => "native",
        Language::Python => "python",
    }
}

fn print(report: &Report) {
    let heads = [
        "ATTACK",
        "IN",
        "RESULT",
        "ANSWER",
        "EVENT",
        "SUCCEEDS WITHOUT",
        "ANSWER THEN",
    ];
    let mut table = Table::new(&heads);
    for row in &report.rows {
        table.row([
            row.attack.to_owned(),
            language(row).to_owned(),
            word(row.outcome).to_owned(),
            row.answer.clone(),
            row.event.clone().unwrap_or_else(|| "silent".to_owned()),
            row.weakened.join(" "),
            row.answer_weakened.clone(),
        ]);
    }
    print!("{table}");
    let count = |verdict| report.count(verdict);
    println!(
        "{} held, {} BROKEN, {} void, {} absent on this host, {} skipped",
        count(Verdict::Held),
        count(Verdict::Broken),
        count(Verdict::Void),
        count(Verdict::Absent),
        count(Verdict::Skipped),
    );
}
