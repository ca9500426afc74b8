//! `guard`: the prompt shield by hand. It needs no service and writes no state; it reads texts,
//! judges them with the same code and weights as the gateway, and says why.

mod lines;
mod spans;

use crate::cli::GuardCommand;
use crate::render::Format;
use crate::render::table::neutral;
use crate::{INCOMPLETE, Outcome, PASS};
use lines::{LINE_BYTES_MAX, Line};
use ringfence_core::detection::{Channel, GuardAction, Label, View};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_detect::shield::calibrate::{self, ChannelThreshold, Thresholds};
use ringfence_detect::shield::verdict::{CERTAIN, Judgement, Millionths, Verdict};
use ringfence_detect::shield::{Shield, is_data};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufRead, Read as _, Write};
use std::path::Path;

/// Runs a guard command.
pub(crate) fn run(command: GuardCommand, format: Format) -> Outcome {
    match command {
        GuardCommand::Redact { .. } => {
            let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
            spans::run(input, output)
        }
        GuardCommand::Score { thresholds, .. } => {
            let shield = shield(thresholds.as_deref())?;
            let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
            score(&shield, input, output)
        }
        GuardCommand::Explain {
            text,
            channel,
            thresholds,
        } => explain(&shield(thresholds.as_deref())?, text, &channel, format),
        GuardCommand::Calibrate { rate } => {
            let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
            calibrate(&shield(None)?, rate, input, output)
        }
    }
}

fn shield(thresholds: Option<&Path>) -> Result<Shield, Explained> {
    let shield = Shield::new().map_err(|e| Explained::of(&e))?;
    let Some(path) = thresholds else {
        return Ok(shield);
    };
    let refused = |why: String| {
        Explained::new(
            ErrorCode("cli/guard-thresholds"),
            format!("the thresholds in {} cannot be used", path.display()),
            "make them again: ringfence guard calibrate < own-harmless-texts.jsonl",
        )
        .because(why)
    };
    let text = std::fs::read(path).map_err(|e| refused(e.to_string()))?;
    let own: Thresholds = serde_json::from_slice(&text).map_err(|e| refused(e.to_string()))?;
    shield
        .with_thresholds(own)
        .map_err(|e| refused(e.to_string()))
}

/// One line of output.
#[derive(Serialize)]
struct Row<'j> {
    label: Option<Label>,
    score: f64,
    verdict: GuardAction,
    threshold: f64,
    span: [usize; 2],
    view: View,
    rule: &'j str,
    rate: Option<f64>,
    labels: BTreeMap<Label, f64>,
    bundle: &'j str,
}

/// One line of output for a line that was not judged.
#[derive(Serialize)]
struct NotScanned {
    label: Option<Label>,
    score: Option<f64>,
    /// Not looked at is never clean.
    verdict: &'static str,
    error: &'static str,
}

fn score(shield: &Shield, mut input: impl BufRead, mut output: impl Write) -> Outcome {
    let mut buffer = Vec::new();
    let (mut refused, mut mended_lines) = (0_u64, 0_u64);
    loop {
        let line = match lines::next(&mut input, &mut buffer, LINE_BYTES_MAX).map_err(unread)? {
            None => break,
            Some(Line::Blank) => continue,
            Some(Line::Read { input, mended }) => {
                mended_lines += u64::from(mended);
                let channel = input.channel();
                let judgement = shield.judge(channel, &input.pieces());
                to_json(&row(channel, &judgement))?
            }
            Some(Line::Refused(error)) => {
                refused += 1;
                to_json(&NotScanned {
                    label: None,
                    score: None,
                    verdict: "not_scanned",
                    error,
                })?
            }
        };
        writeln!(output, "{line}")
            .and_then(|()| output.flush())
            .map_err(unwritten)?;
    }
    if refused + mended_lines > 0 {
        eprintln!(
            "{refused} lines were not judged; {mended_lines} were not valid Unicode and judged without what was not"
        );
    }
    Ok(if refused > 0 { INCOMPLETE } else { PASS })
}

fn row(channel: Channel, judgement: &Judgement) -> Row<'_> {
    let verdict = judgement.verdicts.first().unwrap_or(&judgement.strongest);
    Row {
        label: verdict.counts().then_some(verdict.label),
        score: share(verdict.score),
        verdict: verdict.action(is_data(channel)),
        threshold: share(verdict.threshold),
        span: [verdict.span.start, verdict.span.end],
        view: verdict.view,
        rule: verdict.rule.as_str(),
        rate: verdict.rate.map(share),
        labels: judgement
            .scores
            .iter()
            .map(|(l, s)| (*l, share(*s)))
            .collect(),
        bundle: &judgement.bundle,
    }
}

fn share(millionths: Millionths) -> f64 {
    f64::from(millionths) / f64::from(CERTAIN)
}

fn to_json(value: &impl Serialize) -> Result<String, Explained> {
    serde_json::to_string(value).map_err(|e| {
        Explained::new(ErrorCode("cli/json"), "the answer is not JSON", "report it").because(e)
    })
}

fn unread(error: std::io::Error) -> Explained {
    Explained::new(
        ErrorCode("cli/guard-input"),
        "standard input cannot be read",
        "pipe lines of JSON into the command",
    )
    .because(error)
}

fn unwritten(error: std::io::Error) -> Explained {
    Explained::new(
        ErrorCode("cli/guard-output"),
        "standard output cannot be written",
        "keep the reader open until the last line",
    )
    .because(error)
}

fn explain(shield: &Shield, text: Option<String>, channel: &str, format: Format) -> Outcome {
    let name: lines::Name = serde_json::from_value(channel.into()).map_err(|e| {
        Explained::new(
            ErrorCode("cli/guard-channel"),
            format!("there is no channel {channel}"),
            "use user, system, assistant, tool_result, tool_schema, document or content",
        )
        .because(e)
    })?;
    let text = match text {
        Some(text) => text,
        None => {
            let mut bytes = Vec::new();
            let limit = LINE_BYTES_MAX as u64;
            std::io::stdin()
                .lock()
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(unread)?;
            if bytes.len() > LINE_BYTES_MAX {
                return Err(Explained::new(
                    ErrorCode("cli/guard-length"),
                    format!("the text is longer than {LINE_BYTES_MAX} octets"),
                    "judge it in parts",
                ));
            }
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    let channel = name.channel();
    let explanation = shield.explain(channel, &text);
    if format == Format::Json {
        crate::render::json(&explanation)?;
        return Ok(PASS);
    }
    let judgement = &explanation.judgement;
    println!("weights   {}", judgement.bundle);
    for (label, score) in &judgement.scores {
        println!(
            "{:<10}{:.4}",
            format!("{label:?}").to_lowercase(),
            share(*score)
        );
    }
    for verdict in std::iter::once(&judgement.strongest).chain(&judgement.verdicts) {
        print_verdict(channel, verdict, &text);
    }
    for reading in &explanation.readings {
        println!(
            "\nread as {:?} by {}: {}",
            reading.view,
            reading.how,
            neutral(&reading.text)
        );
    }
    if !explanation.features.is_empty() {
        println!("\nwhat spoke for and against, in thousandths of the margin:");
    }
    for feature in &explanation.features {
        println!("{:>8}  {}", feature.weight, neutral(&feature.text));
    }
    Ok(PASS)
}

fn print_verdict(channel: Channel, verdict: &Verdict, text: &str) {
    println!(
        "\n{} {:?} {:.4} (threshold {:.4}) by {} in {:?}, octets {}..{}",
        if verdict.counts() { "COUNTS" } else { "below" },
        verdict.label,
        share(verdict.score),
        share(verdict.threshold),
        verdict.rule,
        verdict.view,
        verdict.span.start,
        verdict.span.end,
    );
    if let Some(rate) = verdict.rate {
        println!(
            "  {:.3} % of the calibration texts score as high",
            share(rate) * 100.0
        );
    }
    if verdict.counts() {
        println!("  by default: {:?}", verdict.action(is_data(channel)));
    }
    let shown: String = text
        .get(verdict.span.clone())
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    println!("  {}", neutral(&shown));
}

fn calibrate(
    shield: &Shield,
    rate: Millionths,
    mut input: impl BufRead,
    mut output: impl Write,
) -> Outcome {
    let mut buffer = Vec::new();
    let mut scores: Vec<(Channel, Vec<Millionths>)> = Vec::new();
    let mut refused = 0_u64;
    while let Some(line) = lines::next(&mut input, &mut buffer, LINE_BYTES_MAX).map_err(unread)? {
        match line {
            Line::Blank => {}
            Line::Refused(_) => refused += 1,
            Line::Read { input, .. } => {
                let channel = input.channel();
                let score = shield.judge(channel, &input.pieces()).strongest.score;
                match scores.iter_mut().find(|(c, _)| *c == channel) {
                    Some((_, of)) => of.push(score),
                    None => scores.push((channel, vec![score])),
                }
            }
        }
    }
    let mut own = Thresholds {
        rate,
        bundle: shield.bundle().to_owned(),
        channels: Vec::new(),
    };
    for (channel, mut of) in scores {
        let texts = of.len() as u64;
        match calibrate::threshold(&mut of, rate) {
            Some(threshold) => own.channels.push(ChannelThreshold {
                channel,
                threshold,
                texts,
            }),
            None => eprintln!(
                "{channel:?}: {texts} texts are too few for this rate, which needs {}; its threshold stays",
                calibrate::texts_min(rate)
            ),
        }
    }
    if refused > 0 {
        eprintln!("{refused} lines were not read");
    }
    if own.channels.is_empty() {
        return Err(Explained::new(
            ErrorCode("cli/guard-calibrate"),
            "no channel had enough texts to calibrate on",
            format!(
                "give at least {} harmless texts of a channel, or a larger --rate",
                calibrate::texts_min(rate)
            ),
        ));
    }
    writeln!(output, "{}", to_json(&own)?).map_err(unwritten)?;
    Ok(if refused > 0 { INCOMPLETE } else { PASS })
}

#[cfg(test)]
mod tests;
