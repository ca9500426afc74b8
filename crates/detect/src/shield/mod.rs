//! The prompt shield, tier 0: rules over every reading of a text.
//!
//! It raises the cost of an attack and gives it a name; it does not prevent injection, and no published
//! detector does. What it sees it sees at any length and in any disguise that
//! [`crate::canonical`] folds or decodes. The channel decides as much as the words: an order to
//! the assistant is a request in a user's message and an attack in a document.
//!
//! Readings: the canonical text; hidden text (tags, variation selectors, zero-width bits); decoded
//! runs of base64, hex and percent escapes, nested up to [`DEPTH_MAX`]; and rot13 around the
//! rot13 forms of a few words.

mod rules;

use crate::canonical::{Canonical, canonical, encoded_runs};
use crate::error::DetectError;
use crate::lexer::floor_boundary;
use aho_corasick::AhoCorasick;
use ringfence_core::detection::{Channel, Hit, Label, Scan, View};
use ringfence_core::rule::RuleCard;
use rules::{Channels, ShieldRule};
use std::ops::Range;

// LIMIT: decodings inside decodings. What is nested deeper is not read.
/// How often a decoded run is decoded again.
pub const DEPTH_MAX: usize = 3;
// LIMIT: bytes around a rot13 word that are read in rot13.
const ROT13_BYTES: usize = 400;
// LIMIT: bytes before a quotation in which a word says that it is talked about.
const MENTION_BYTES: usize = 120;
// LIMIT: bytes after a match in which its closing quote must stand.
const QUOTE_BYTES: usize = 80;

/// "ignore", "previous", "instructions", "system prompt", "disregard", "restrictions" in rot13.
const ROT13_WORDS: &[&str] = &[
    "vtaber",
    "cerivbhf",
    "vafgehpgvba",
    "flfgrz cebzcg",
    "qvfertneq",
    "erfgevpgvba",
];

/// Words of someone who talks about attacks.
const MENTION_WORDS: &[&str] = &[
    "attack",
    "injection",
    "inject",
    "phrase",
    "such as",
    "for example",
    "e.g.",
    "detect",
    "prevent",
    "defend",
    "protect",
    "jailbreak",
    "prompts like",
    "text like",
    "strings like",
    "what does",
    "mean",
    "regex",
    "test case",
    "malicious",
    "攻击",
    "注入",
    "例如",
    "比如",
    "检测",
    "防御",
    "防止",
    "什么意思",
];

/// The shield.
#[derive(Clone, Debug)]
pub struct Shield {
    rules: Vec<ShieldRule>,
    keywords: AhoCorasick,
    owners: Vec<usize>,
    rot13: AhoCorasick,
    mention: AhoCorasick,
}

/// Where a reading came from, so that hits point at the bytes as they came.
enum Origin<'c> {
    /// Through the map of a canonical view.
    View(&'c Canonical),
    /// All of it from one run.
    Run(&'c Range<usize>),
}

impl Shield {
    /// All rules. An error means that a rule file inside the binary is broken.
    pub fn new() -> Result<Self, DetectError> {
        let rules = rules::load()?;
        let mut words = Vec::new();
        let mut owners = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for keyword in &rule.keywords {
                words.push(keyword.clone());
                owners.push(index);
            }
        }
        let build = |words: &[String]| {
            AhoCorasick::new(words).map_err(|e| DetectError::RuleFile {
                file: "shield keywords".to_owned(),
                reason: e.to_string(),
            })
        };
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        Ok(Self {
            keywords: build(&words)?,
            rot13: build(&owned(ROT13_WORDS))?,
            mention: build(&owned(MENTION_WORDS))?,
            rules,
            owners,
        })
    }

    /// The cards, for documentation and reports.
    pub fn cards(&self) -> impl Iterator<Item = &RuleCard> {
        self.rules.iter().map(|rule| &rule.card)
    }

    /// Looks at a whole text of one channel. Hits are in order of start.
    pub fn scan(&self, channel: Channel, text: &str) -> Scan {
        let mut hits = Vec::new();
        let view = canonical(text);
        hits.extend(view.smuggled.iter().cloned());
        self.read(
            channel,
            &view.text,
            &Origin::View(&view),
            View::Canonical,
            &mut hits,
        );
        for hidden in &view.hidden {
            self.decoded(channel, &hidden.text, &hidden.span, 1, &mut hits);
        }
        for run in encoded_runs(text) {
            self.decoded(channel, &run.text, &run.span, 1, &mut hits);
        }
        for window in self.rot13_windows(&view.text) {
            let turned: String = view
                .text
                .get(window.clone())
                .unwrap_or_default()
                .chars()
                .map(rot13)
                .collect();
            let span = view.original_span(window);
            self.read(
                channel,
                &turned,
                &Origin::Run(&span),
                View::Decoded,
                &mut hits,
            );
        }
        hits.sort_by(|a, b| (a.span.start, &a.rule).cmp(&(b.span.start, &b.rule)));
        hits.dedup();
        Scan::Scanned(hits)
    }

    /// Reads a decoded text, and what is encoded in it.
    fn decoded(
        &self,
        channel: Channel,
        text: &str,
        span: &Range<usize>,
        depth: usize,
        hits: &mut Vec<Hit>,
    ) {
        let view = canonical(text);
        self.read(channel, &view.text, &Origin::Run(span), View::Decoded, hits);
        if !view.smuggled.is_empty() {
            hits.extend(view.smuggled.iter().cloned().map(|hit| Hit {
                span: span.clone(),
                view: View::Decoded,
                ..hit
            }));
        }
        if depth >= DEPTH_MAX {
            return;
        }
        for hidden in &view.hidden {
            self.decoded(channel, &hidden.text, span, depth + 1, hits);
        }
        for run in encoded_runs(text) {
            self.decoded(channel, &run.text, span, depth + 1, hits);
        }
    }

    /// One pass for the keywords, then each rule over the windows where it could match.
    fn read(
        &self,
        channel: Channel,
        text: &str,
        origin: &Origin<'_>,
        view: View,
        hits: &mut Vec<Hit>,
    ) {
        let mut windows: Vec<Vec<Range<usize>>> = vec![Vec::new(); self.rules.len()];
        for found in self.keywords.find_overlapping_iter(text) {
            let Some(index) = self.owners.get(found.pattern().as_usize()).copied() else {
                continue;
            };
            let (Some(rule), Some(windows)) = (self.rules.get(index), windows.get_mut(index))
            else {
                continue;
            };
            let reach = rule.pattern.bytes_max;
            let window = floor_boundary(text, found.end().saturating_sub(reach))
                ..floor_boundary(text, found.start().saturating_add(reach));
            match windows.last_mut() {
                Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
                _ => windows.push(window),
            }
        }
        for (rule, windows) in self.rules.iter().zip(windows) {
            if rule.channels == Channels::Data && !is_data(channel) {
                continue;
            }
            for window in windows {
                self.verify(rule, channel, text, window, origin, view, hits);
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one inner step; a struct would only rename them"
    )]
    fn verify(
        &self,
        rule: &ShieldRule,
        channel: Channel,
        text: &str,
        mut window: Range<usize>,
        origin: &Origin<'_>,
        view: View,
        hits: &mut Vec<Hit>,
    ) {
        while let Some((found, _)) = rule.pattern.find(text, window.clone(), false) {
            window.start = found.end.max(found.start + 1);
            if !(is_data(channel) || view == View::Decoded) && self.is_mention(text, &found) {
                continue;
            }
            let span = match origin {
                Origin::View(view) => view.original_span(found),
                Origin::Run(span) => (*span).clone(),
            };
            hits.push(Hit {
                rule: rule.card.id.clone(),
                label: rule.label,
                span,
                view,
                score: 1000,
            });
        }
    }

    /// A person who quotes an attack in order to talk about it. The price: an attacker who quotes
    /// himself and says so passes this tier; in data channels and decoded text nobody may.
    fn is_mention(&self, text: &str, found: &Range<usize>) -> bool {
        let quote = |c: char| matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{300c}'..='\u{300f}');
        let near = floor_boundary(text, found.start.saturating_sub(MENTION_BYTES));
        let before = text.get(near..found.start).unwrap_or_default();
        let far = floor_boundary(text, found.end + QUOTE_BYTES);
        let after = text.get(found.end..far).unwrap_or_default();
        let opened = before.chars().rev().take(12).any(quote);
        opened && after.contains(quote) && self.mention.is_match(before)
    }

    fn rot13_windows(&self, text: &str) -> Vec<Range<usize>> {
        let mut windows: Vec<Range<usize>> = Vec::new();
        for found in self.rot13.find_iter(text) {
            let window = floor_boundary(text, found.start().saturating_sub(ROT13_BYTES))
                ..floor_boundary(text, found.end() + ROT13_BYTES);
            match windows.last_mut() {
                Some(last) if window.start <= last.end => last.end = window.end,
                _ => windows.push(window),
            }
        }
        windows
    }
}

/// Channels in which nobody may give orders to the assistant.
fn is_data(channel: Channel) -> bool {
    matches!(
        channel,
        Channel::ToolResult | Channel::ToolSchema | Channel::Document
    )
}

fn rot13(c: char) -> char {
    match c {
        'a'..='m' => char::from(c as u8 + 13),
        'n'..='z' => char::from(c as u8 - 13),
        _ => c,
    }
}

/// The strongest reading of a scan for people who only ask whether: the labels that were hit.
pub fn labels(scan: &Scan) -> Vec<Label> {
    match scan {
        Scan::Scanned(hits) => {
            let mut labels: Vec<Label> = hits.iter().map(|hit| hit.label).collect();
            labels.sort_unstable();
            labels.dedup();
            labels
        }
        Scan::NotScanned(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
