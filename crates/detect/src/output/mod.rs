//! What must not leave in an answer, decided without a model: planted marks, registered texts,
//! forbidden terms, addresses that carry data away, markup that runs.
//!
//! Against an attacker who adapts, only exact rules on the output have held; so these compare
//! with what is known, also in the disguises a model is asked to use (base64, hexadecimal, rot13,
//! backwards). Everything is a [`crate::lexer::Lexer`]: it works on a stream and holds back only
//! what could still become a match.

mod exfiltration;
mod leak;
mod literal;

pub use exfiltration::Exfiltration;
pub use leak::RegisteredTexts;
pub use literal::{Literals, Words};

use crate::error::DetectError;
use crate::stream::PlannedDetector;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ringfence_core::detection::{GuardAction, Label};
use std::sync::Arc;

// LIMIT: octets of registered texts of one filter.
/// How many octets of text may be registered.
pub const REGISTERED_BYTES_MAX: usize = 1 << 20;
// LIMIT: characters of an encoded form that are compared at once: 24 octets of the text.
const ENCODED_BYTES: usize = 32;
// LIMIT: octets of a text whose encoded forms are compared too: a system prompt, not a library.
const ENCODED_TEXT_BYTES_MAX: usize = 64 << 10;

/// What the operator knows that must not come out.
#[derive(Clone, Debug, Default)]
pub struct OutputRules {
    /// Marks planted in system prompts.
    pub canaries: Vec<String>,
    /// System prompts.
    pub system_prompts: Vec<String>,
    /// Other texts: contracts, training sets.
    pub registered: Vec<String>,
    /// Forbidden terms, compared as whole words without case.
    pub blocked_terms: Vec<String>,
    /// Hosts whose pictures and links are harmless, with their subdomains.
    pub allowed_hosts: Vec<String>,
}

/// Markup and schemes that run something when a browser shows them.
const ACTIVE: &[&str] = &[
    "<script",
    "</script",
    "<iframe",
    "<object",
    "<embed",
    "<applet",
    "<frame",
    "<base ",
    "<form",
    "<meta http-equiv",
    "<link rel",
    "<svg/onload",
    "javascript:",
    "vbscript:",
    "data:text/html",
    "data:image/svg+xml",
    "srcdoc=",
    "onerror=",
    "onload=",
    "onclick=",
    "onmouseover=",
    "onmouseenter=",
    "onfocus=",
    "onblur=",
    "onchange=",
    "oninput=",
    "onsubmit=",
    "onkeydown=",
    "onkeyup=",
    "ontoggle=",
    "onanimationstart=",
    "onanimationend=",
    "ontransitionend=",
    "onpointerover=",
    "onpointerenter=",
    "onpageshow=",
    "onhashchange=",
    "onwheel=",
    "onscroll=",
    "ondrag=",
    "onbeforeunload=",
];

/// The detectors for these rules, each with its action.
pub fn detectors(
    rules: &OutputRules,
    action: impl Fn(Label) -> GuardAction,
) -> Result<Vec<PlannedDetector>, DetectError> {
    let mut planned = Vec::new();
    let mut literals = |rule, label, values: Vec<String>, words| -> Result<(), DetectError> {
        if !values.is_empty() {
            let lexer = Arc::new(Literals::new(rule, label, &values, words)?);
            planned.push(PlannedDetector::all(lexer, action(label)));
        }
        Ok(())
    };
    let canaries = rules.canaries.iter().flat_map(|c| disguises(c)).collect();
    literals("run/canary", Label::Canary, canaries, Words::Anywhere)?;
    let prompts = rules
        .system_prompts
        .iter()
        .flat_map(|t| encoded(t))
        .collect();
    literals(
        "run/prompt-leak-encoded",
        Label::PromptLeak,
        prompts,
        Words::Anywhere,
    )?;
    let others = rules.registered.iter().flat_map(|t| encoded(t)).collect();
    literals(
        "run/registered-encoded",
        Label::RegisteredText,
        others,
        Words::Anywhere,
    )?;
    let terms = rules.blocked_terms.clone();
    literals("run/blocked-term", Label::BlockedTerm, terms, Words::Whole)?;
    let active = ACTIVE.iter().map(|t| (*t).to_owned()).collect();
    literals(
        "run/active-content",
        Label::ActiveContent,
        active,
        Words::Anywhere,
    )?;
    for (label, rule, texts) in [
        (Label::PromptLeak, "run/prompt-leak", &rules.system_prompts),
        (
            Label::RegisteredText,
            "run/registered-text",
            &rules.registered,
        ),
    ] {
        if !texts.is_empty() {
            let lexer = Arc::new(RegisteredTexts::new(rule, label, texts)?);
            planned.push(PlannedDetector::all(lexer, action(label)));
        }
    }
    let exfiltration = Arc::new(Exfiltration::new(&rules.allowed_hosts));
    planned.push(PlannedDetector::all(
        exfiltration,
        action(Label::ExfiltrationUrl),
    ));
    Ok(planned)
}

fn rot13(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
            'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
            _ => c,
        })
        .collect()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

fn hex(bytes: &[u8]) -> String {
    ringfence_core::digest::hex(bytes)
}

/// The three forms that base64 gives the inside of a text, by where the text falls in a group of
/// three octets; what its neighbours decide is cut.
fn base64_forms(bytes: &[u8]) -> Vec<String> {
    (0..3)
        .filter_map(|offset| {
            let mut shifted = vec![0_u8; offset];
            shifted.extend_from_slice(bytes);
            let whole = shifted.len() / 3 * 3;
            let encoded = STANDARD_NO_PAD.encode(shifted.get(..whole)?);
            let lead = if offset == 0 { 0 } else { 4 };
            encoded.get(lead..).map(str::to_owned)
        })
        .filter(|form| form.len() >= 8)
        .collect()
}

/// The characters of a mark with something between them.
fn apart(mark: &str, between: &str) -> String {
    let letters: Vec<String> = mark.chars().map(String::from).collect();
    letters.join(between)
}

/// A short mark as it is, and in the disguises a model is asked to use.
fn disguises(mark: &str) -> Vec<String> {
    let mut forms = vec![
        mark.to_owned(),
        reversed(mark),
        rot13(mark),
        hex(mark.as_bytes()),
        apart(mark, " "),
        apart(mark, "-"),
    ];
    forms.extend(base64_forms(mark.as_bytes()));
    forms
}

/// Pieces of the base64 and hexadecimal forms of a text, one at each place where a piece can
/// begin.
fn encoded(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let bytes = bytes
        .get(..ENCODED_TEXT_BYTES_MAX.min(bytes.len()))
        .unwrap_or_default();
    let mut pieces = Vec::new();
    let mut cut = |form: &str, step: usize| {
        let mut at = 0;
        while let Some(piece) = form.get(at..at + ENCODED_BYTES) {
            pieces.push(piece.to_owned());
            at += step;
        }
    };
    for form in base64_forms(bytes) {
        cut(&form, 4);
    }
    cut(&hex(bytes), 2);
    pieces
}
