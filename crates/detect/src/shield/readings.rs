//! All the ways to read one text: as it stands, what was hidden or encoded in it, what that holds
//! in turn, and what is left when a disguise of letters comes off.

use super::disguise::undisguise;
use super::lexicon::Lexicon;
use crate::canonical::{Canonical, canonical, coded_runs, encoded_runs};
use ringfence_core::detection::{Hit, Label, View};
use ringfence_core::ids::RuleId;
use std::ops::Range;

// LIMIT: decodings inside decodings. What is nested deeper is not read.
/// How often a decoded run is decoded again.
pub const DEPTH_MAX: usize = 3;
// LIMIT: octets of all readings together, in octets of the text; beyond it what is left is not read,
// and that is a hit of its own.
const GROWTH_MAX: usize = 4;
/// What a short text may grow by however short it is.
const GROWTH_BYTES: usize = 64 << 10;

/// One reading.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) text: String,
    pub(super) view: View,
    /// What was undone to get it.
    pub(super) how: &'static str,
    origin: Origin,
}

/// Where a reading came from, so that hits point at the bytes as they came.
#[derive(Clone, Debug)]
enum Origin {
    /// Through the map of the canonical view.
    View(Box<Canonical>),
    /// All of it from one run.
    Run(Range<usize>),
}

impl Reading {
    /// The bytes of the original text that a range of this reading came from.
    pub(super) fn original_span(&self, range: Range<usize>) -> Range<usize> {
        match &self.origin {
            Origin::View(view) => view.original_span(range),
            Origin::Run(span) => span.clone(),
        }
    }
}

/// All readings of a text, the canonical one first.
#[derive(Debug, Default)]
pub(super) struct Readings {
    pub(super) list: Vec<Reading>,
    /// Hits of hiding itself.
    pub(super) smuggled: Vec<Hit>,
    bytes_left: usize,
    cut: bool,
}

/// Reads a text in every way.
pub(super) fn readings(text: &str, lexicon: &Lexicon) -> Readings {
    let mut out = Readings {
        bytes_left: text
            .len()
            .saturating_mul(GROWTH_MAX)
            .saturating_add(GROWTH_BYTES),
        ..Readings::default()
    };
    out.read(text, None, "as it stands", 0, lexicon);
    if out.cut {
        out.smuggled.push(Hit {
            rule: RuleId::of("shield/smuggling-expansion"),
            label: Label::Smuggling,
            span: 0..text.len(),
            view: View::Decoded,
            score: 1000,
        });
    }
    out
}

impl Readings {
    fn read(
        &mut self,
        text: &str,
        run: Option<&Range<usize>>,
        how: &'static str,
        depth: usize,
        lexicon: &Lexicon,
    ) {
        if text.len() > self.bytes_left {
            self.cut = true;
            return;
        }
        self.bytes_left -= text.len();
        let mut view = canonical(text);
        for hit in view.smuggled.drain(..) {
            self.smuggled.push(match run {
                Some(span) => Hit {
                    span: span.clone(),
                    view: View::Decoded,
                    ..hit
                },
                None => hit,
            });
        }
        if depth < DEPTH_MAX {
            for hidden in std::mem::take(&mut view.hidden) {
                self.read(
                    &hidden.text,
                    Some(run.unwrap_or(&hidden.span)),
                    "hidden characters",
                    depth + 1,
                    lexicon,
                );
            }
            for found in encoded_runs(text).into_iter().chain(coded_runs(text)) {
                self.read(
                    &found.text,
                    Some(run.unwrap_or(&found.span)),
                    "an encoding",
                    depth + 1,
                    lexicon,
                );
            }
            for plain in undisguise(&view.text, lexicon) {
                let span = run
                    .cloned()
                    .unwrap_or_else(|| view.original_span(plain.span));
                self.read(&plain.text, Some(&span), plain.how, depth + 1, lexicon);
            }
        }
        let reading = match run {
            None => Reading {
                text: std::mem::take(&mut view.text),
                view: View::Canonical,
                how,
                origin: Origin::View(Box::new(view)),
            },
            Some(span) => Reading {
                text: view.text,
                view: if matches!(how, "hidden characters" | "an encoding") {
                    View::Decoded
                } else {
                    View::Plain
                },
                how,
                origin: Origin::Run(span.clone()),
            },
        };
        self.list.push(reading);
    }
}
