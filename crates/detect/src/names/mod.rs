//! Names of people, places and organisations, and postal addresses: lists and a small linear
//! tagger.
//!
//! # What it is
//! Words are looked up in our own lists ([`lists`]), described by features of themselves and
//! their neighbours ([`features`]), and given one of five tags from left to right by a linear
//! model of signed octets ([`model`]). The weights are made by `cargo xtask train pii` from
//! sentences that our own grammar writes; no text of anybody else is in them.
//!
//! # What it is not
//! No language model: it does not understand a sentence, and a rare name in lower case passes it.
//! It needs the words behind a name as well as those before, so it does not work on a stream.
//!
//! INVARIANT: time is linear in the text and memory is bounded by [`CHUNK_TOKENS`].

pub mod features;
pub mod lists;
pub mod model;
pub mod token;

use crate::error::DetectError;
use features::{Sentence, is_open};
use lists::Lists;
use model::{Model, TAGS, Tag};
use ringfence_core::detection::{Bound, Detector, Hit, Label, View};
use ringfence_core::ids::RuleId;
use token::{Kind, Token, next_token};

// LIMIT: words that are looked at together. A name across the border of two such pieces, which
// are cut at the end of a line where there is one, may be seen as two.
/// How many tokens are held at once.
pub const CHUNK_TOKENS: usize = 4096;

/// Mean margin below which a span is a guess and is dropped.
const MARGIN_MIN: i32 = 60;
/// Digits of the shortest postal code that stands alone.
const ZIP_DIGITS_MIN: usize = 4;

const LABELS: [Label; 4] = [
    Label::Person,
    Label::Place,
    Label::Organisation,
    Label::Address,
];

/// The tagger of names.
#[derive(Clone, Debug)]
pub struct Names {
    lists: Lists,
    model: Model,
}

impl Names {
    /// Reads lists and weights out of the binary.
    pub fn new() -> Result<Self, DetectError> {
        Ok(Self {
            lists: Lists::new(),
            model: Model::shipped()?,
        })
    }

    /// The same lists with other weights: for training and its measurement.
    pub fn with_model(model: Model) -> Self {
        Self {
            lists: Lists::new(),
            model,
        }
    }

    /// Tags one piece and appends the spans found.
    fn tag(&self, text: &str, tokens: &[Token], scratch: &mut Scratch, hits: &mut Vec<Hit>) {
        let sentence = Sentence::new(text, tokens, &self.lists);
        scratch.tags.clear();
        scratch.margins.clear();
        for at in 0..tokens.len() {
            let back = |n: usize| {
                at.checked_sub(n)
                    .and_then(|i| scratch.tags.get(i))
                    .copied()
                    .unwrap_or(Tag::Other)
            };
            let (previous, before) = (back(1), back(2));
            let (tag, margin) = if is_open(&sentence, at, previous) {
                scratch.features.clear();
                sentence.features(at, previous, before, &mut scratch.features);
                self.model.decide(&scratch.features)
            } else {
                (Tag::Other, 0)
            };
            scratch.tags.push(tag);
            scratch.margins.push(margin);
        }
        spans(tokens, scratch, hits);
    }
}

/// What one piece after the other uses again.
#[derive(Debug, Default)]
struct Scratch {
    tags: Vec<Tag>,
    margins: Vec<i32>,
    features: Vec<u32>,
}

/// Runs of one tag, without the marks and ends of lines around them.
fn spans(tokens: &[Token], scratch: &Scratch, hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(tag) = scratch.tags.get(at).copied() {
        let run = scratch
            .tags
            .get(at..)
            .unwrap_or_default()
            .iter()
            .take_while(|t| **t == tag)
            .count();
        let range = at..at + run;
        at += run;
        let Some((label, rule)) = named(tag) else {
            continue;
        };
        let words = tokens.get(range.clone()).unwrap_or_default();
        let is_word = |t: &Token| matches!(t.kind, Kind::Word | Kind::Number);
        let (Some(first), Some(last)) = (
            words.iter().position(is_word),
            words.iter().rposition(is_word),
        ) else {
            continue;
        };
        let (Some(first), Some(last)) = (words.get(first), words.get(last)) else {
            continue;
        };
        let margins = scratch.margins.get(range).unwrap_or_default();
        let mean = margins.iter().sum::<i32>() / i32::try_from(margins.len().max(1)).unwrap_or(1);
        // A number alone is no address, however much the words around it look like one.
        let lone_number = label == Label::Address && words.iter().all(|t| t.kind != Kind::Word);
        if mean < MARGIN_MIN || (lone_number && last.end - first.start < ZIP_DIGITS_MIN) {
            continue;
        }
        hits.push(Hit {
            rule: RuleId::of(rule),
            label,
            span: first.start..last.end,
            view: View::Original,
            score: model::confidence(mean),
        });
    }
}

fn named(tag: Tag) -> Option<(Label, &'static str)> {
    match tag {
        Tag::Other => None,
        Tag::Person => Some((Label::Person, "pii/person")),
        Tag::Place => Some((Label::Place, "pii/place")),
        Tag::Organisation => Some((Label::Organisation, "pii/organisation")),
        Tag::Address => Some((Label::Address, "pii/address")),
    }
}

impl Detector for Names {
    fn id(&self) -> &'static str {
        "detect/names"
    }

    fn labels(&self) -> &[Label] {
        &LABELS
    }

    fn bound(&self) -> Bound {
        Bound::Buffer
    }

    fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        let mut tokens = Vec::with_capacity(CHUNK_TOKENS.min(text.len() / 4 + 1));
        let mut scratch = Scratch::default();
        let mut at = 0;
        loop {
            let token = next_token(text, at);
            if let Some(token) = token {
                at = token.end;
                tokens.push(token);
            }
            let full = tokens.len() >= CHUNK_TOKENS
                || (tokens.len() >= CHUNK_TOKENS / 2
                    && token.is_some_and(|t| t.kind == Kind::Line));
            if full || (token.is_none() && !tokens.is_empty()) {
                self.tag(text, &tokens, &mut scratch, hits);
                tokens.clear();
            }
            if token.is_none() {
                break;
            }
        }
    }
}

/// The tags of a text, token by token: for training.
pub fn tokens_of(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(token) = next_token(text, at) {
        at = token.end;
        tokens.push(token);
    }
    tokens
}

const _: () = assert!(TAGS == 5, "one name for each tag");

#[cfg(test)]
mod tests;
