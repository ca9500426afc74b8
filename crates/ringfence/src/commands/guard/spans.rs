//! `guard redact --jsonl`: where personal data stands in each text, under the names that
//! Presidio's evaluators read.

use super::lines::{self, LINE_BYTES_MAX, Line};
use super::{to_json, unread, unwritten};
use crate::{INCOMPLETE, Outcome, PASS};
use ringfence_core::detection::{Detector, Hit, Label};
use ringfence_core::error::Explained;
use ringfence_detect::redact::{everything, resolve};
use ringfence_detect::secrets::SecretDetector;
use serde::Serialize;
use std::io::{BufRead, Write};

#[derive(Serialize)]
struct Spans {
    spans: Vec<Span>,
}

#[derive(Debug, Serialize)]
struct Span {
    r#type: &'static str,
    /// In characters of the text.
    start: usize,
    end: usize,
    score: f64,
}

/// A line that was not looked at. Not looked at is never clean.
#[derive(Serialize)]
struct NotScanned {
    spans: Option<()>,
    error: &'static str,
}

/// Presidio's name of a type, as far as it has one.
fn type_name(label: Label, rule: &str) -> &'static str {
    match label {
        Label::PaymentCard => "CREDIT_CARD",
        Label::Iban => "IBAN_CODE",
        Label::Email => "EMAIL_ADDRESS",
        Label::Phone => "PHONE_NUMBER",
        Label::NationalId if rule == "pii/us-ssn" => "US_SSN",
        Label::NationalId => "NATIONAL_ID",
        Label::TaxId => "TAX_ID",
        Label::Passport => "PASSPORT",
        Label::DriverLicence => "US_DRIVER_LICENSE",
        Label::Medical => "MEDICAL_ID",
        Label::IpAddress => "IP_ADDRESS",
        Label::MacAddress => "MAC_ADDRESS",
        Label::Url => "URL",
        Label::UrlCredential => "URL_CREDENTIAL",
        Label::CryptoAddress => "CRYPTO",
        Label::Date | Label::BirthDate => "DATE_TIME",
        Label::Coordinates => "COORDINATES",
        Label::Person => "PERSON",
        Label::Place => "LOCATION",
        Label::Organisation => "ORGANIZATION",
        Label::Address => "ADDRESS",
        Label::Secret => "SECRET",
        _ => "CUSTOM",
    }
}

/// Reads lines, writes lines.
pub(super) fn run(mut input: impl BufRead, mut output: impl Write) -> Outcome {
    let mut detectors = everything().map_err(|e| Explained::of(&e))?;
    detectors.push(Box::new(
        SecretDetector::new().map_err(|e| Explained::of(&e))?,
    ));
    let mut buffer = Vec::new();
    let (mut refused, mut mended_lines) = (0_u64, 0_u64);
    while let Some(line) = lines::next(&mut input, &mut buffer, LINE_BYTES_MAX).map_err(unread)? {
        let answer = match line {
            Line::Blank => continue,
            Line::Read { input, mended } => {
                mended_lines += u64::from(mended);
                let text = input.pieces().concat();
                to_json(&Spans {
                    spans: spans(&text, &detectors),
                })?
            }
            Line::Refused(error) => {
                refused += 1;
                to_json(&NotScanned { spans: None, error })?
            }
        };
        writeln!(output, "{answer}")
            .and_then(|()| output.flush())
            .map_err(unwritten)?;
    }
    if refused + mended_lines > 0 {
        eprintln!(
            "{refused} lines were not looked at; {mended_lines} were not valid Unicode and looked at without what was not"
        );
    }
    Ok(if refused > 0 { INCOMPLETE } else { PASS })
}

fn spans(text: &str, detectors: &[Box<dyn Detector>]) -> Vec<Span> {
    let mut hits: Vec<Hit> = Vec::new();
    for detector in detectors {
        detector.scan(text, &mut hits);
    }
    // Hits come in order, so characters are counted once over the text.
    let (mut octet, mut character) = (0, 0);
    let mut count_to = |to: usize| {
        let between = text.get(octet..to).unwrap_or_default();
        character += between.chars().count();
        octet = to;
        character
    };
    resolve(hits)
        .into_iter()
        .map(|hit| Span {
            r#type: type_name(hit.label, hit.rule.as_str()),
            start: count_to(hit.span.start),
            end: count_to(hit.span.end),
            score: f64::from(hit.score) / 1000.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_in_characters_and_a_bad_line_is_said_to_be_one() {
        let input = "{\"text\":\"\u{e9}\u{e9} mail ann@example.com, SSN 536-90-4399\"}\nnonsense\n";
        let mut out = Vec::new();
        let code = run(input.as_bytes(), &mut out).expect("answers");
        let text = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect();
        assert_eq!(lines[0]["spans"][0]["type"], "EMAIL_ADDRESS");
        assert_eq!(lines[0]["spans"][0]["start"], 8);
        assert_eq!(lines[0]["spans"][0]["end"], 23);
        let spans = lines[0]["spans"].as_array().expect("spans");
        assert!(spans.iter().any(|s| s["type"] == "US_SSN"), "{spans:?}");
        assert!(lines[1]["spans"].is_null() && lines[1]["error"].is_string());
        assert_eq!(code, INCOMPLETE);
    }
}
