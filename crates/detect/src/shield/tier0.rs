//! Tier 0: rules over one reading. One pass for the keywords of all rules, then each rule only where
//! it could match.

use super::is_data;
use super::readings::Reading;
use super::rules::{self, Channels, ShieldRule};
use crate::error::DetectError;
use crate::lexer::floor_boundary;
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use ringfence_core::detection::{Channel, Hit, View};
use ringfence_core::rule::RuleCard;
use std::ops::Range;

// LIMIT: bytes before a quotation in which a word says that it is talked about.
const MENTION_BYTES: usize = 120;
// LIMIT: bytes after a match in which its closing quote must stand.
const QUOTE_BYTES: usize = 80;

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

/// All rules, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    list: Vec<ShieldRule>,
    keywords: AhoCorasick,
    owners: Vec<usize>,
    mention: AhoCorasick,
}

impl Rules {
    /// An error means that a rule file inside the binary is broken.
    pub(super) fn new() -> Result<Self, DetectError> {
        let rules = rules::load()?;
        let mut words: Vec<&str> = Vec::new();
        let mut owners = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for keyword in &rule.keywords {
                words.push(keyword);
                owners.push(index);
            }
        }
        let build = |words: &[&str]| {
            // A table of states is several times faster here than the compact form, and small.
            let builder = AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::DFA))
                .build(words);
            builder.map_err(|e| DetectError::RuleFile {
                file: "shield keywords".to_owned(),
                reason: e.to_string(),
            })
        };
        Ok(Self {
            keywords: build(&words)?,
            mention: build(MENTION_WORDS)?,
            list: rules,
            owners,
        })
    }

    /// The cards, for documentation and reports.
    pub(super) fn cards(&self) -> impl Iterator<Item = &RuleCard> {
        self.list.iter().map(|rule| &rule.card)
    }

    /// Every label that a rule can give.
    #[cfg(test)]
    pub(super) fn labels(&self) -> std::collections::BTreeSet<ringfence_core::detection::Label> {
        self.list.iter().map(|rule| rule.label).collect()
    }

    /// One pass for the keywords, then each rule over the windows where it could match.
    pub(super) fn read(&self, channel: Channel, reading: &Reading, hits: &mut Vec<Hit>) {
        let text = reading.text.as_str();
        let mut windows: Vec<Vec<Range<usize>>> = vec![Vec::new(); self.list.len()];
        for found in self.keywords.find_overlapping_iter(text) {
            let Some(index) = self.owners.get(found.pattern().as_usize()).copied() else {
                continue;
            };
            let (Some(rule), Some(windows)) = (self.list.get(index), windows.get_mut(index)) else {
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
        for (rule, windows) in self.list.iter().zip(windows) {
            if rule.channels == Channels::Data && !is_data(channel) {
                continue;
            }
            for window in windows {
                self.verify(rule, channel, reading, window, hits);
            }
        }
    }

    fn verify(
        &self,
        rule: &ShieldRule,
        channel: Channel,
        reading: &Reading,
        mut window: Range<usize>,
        hits: &mut Vec<Hit>,
    ) {
        let text = reading.text.as_str();
        while let Some((found, _)) = rule.pattern.find(text, window.clone(), false) {
            window.start = found.end.max(found.start + 1);
            let open = reading.view == View::Canonical && !is_data(channel);
            if open && self.is_mention(text, &found) {
                continue;
            }
            hits.push(Hit {
                rule: rule.card.id.clone(),
                label: rule.label,
                span: reading.original_span(found),
                view: reading.view,
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
}
