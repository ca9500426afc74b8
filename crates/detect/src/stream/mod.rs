//! The filter over text that arrives in pieces.
//!
//! It holds back text only while a partial match is alive: each [`Lexer`] says up to which byte
//! it is certain, and everything before the least certain of them leaves at once. There is no
//! fixed window. A fixed window either delays clean text or leaks a value that is cut across two
//! pieces.
//!
//! It works on one channel of one choice; framing and channels belong to the gateway.

mod plan;

pub use plan::{FilterPlan, PlannedDetector};

use crate::lexer::{End, Next, floor_boundary, hit};
use crate::redact::marker;
use ringfence_core::detection::{GuardAction, Hit, Step, Stream};

// LIMIT: hits that a stream remembers; further ones are acted upon and counted only.
/// How many hits [`Stream::hits`] keeps.
pub const HITS_KEPT_MAX: usize = 4096;

/// A running filter.
pub struct Filter {
    plan: FilterPlan,
    /// Text from `base` on: left context that was already sent, then what is held.
    buffer: String,
    /// Offset of the buffer in the whole text.
    base: usize,
    /// Everything before it was written or replaced. Offset in the whole text.
    consumed: usize,
    /// Bytes before it belong to a span whose marker is already written.
    covered: usize,
    /// For each detector: no undiscovered hit starts before it.
    certain: Vec<usize>,
    /// Discovered, not yet acted upon; few, because a lexer stops where it is uncertain.
    pending: Vec<(usize, Hit)>,
    hits: Vec<Hit>,
    hits_total: u64,
    blocked: Option<Hit>,
    finished: bool,
}

impl Filter {
    /// A filter at the start of a text.
    pub fn new(plan: FilterPlan) -> Self {
        let certain = vec![0; plan.detectors().len()];
        Self {
            plan,
            buffer: String::new(),
            base: 0,
            consumed: 0,
            covered: 0,
            certain,
            pending: Vec::new(),
            hits: Vec::new(),
            hits_total: 0,
            blocked: None,
            finished: false,
        }
    }

    /// All hits, those beyond [`HITS_KEPT_MAX`] included.
    pub fn hits_total(&self) -> u64 {
        self.hits_total
    }

    /// No more than so many bytes are ever held between two pieces.
    pub fn bound_bytes(&self) -> usize {
        self.plan.bound_bytes()
    }

    fn advance(&mut self, end: End, out: &mut String) -> Step {
        if let Some(hit) = &self.blocked {
            return Step::Block(hit.clone());
        }
        let settled = self.lex(end);
        let step = self.emit(settled, out);
        self.compact();
        step
    }

    /// Asks every detector and returns the offset up to which all are certain.
    fn lex(&mut self, end: End) -> usize {
        let total = self.base + self.buffer.len();
        for (index, planned) in self.plan.detectors().iter().enumerate() {
            let Some(certain) = self.certain.get_mut(index) else {
                continue;
            };
            while *certain < total {
                match planned.lexer.next(&self.buffer, *certain - self.base, end) {
                    Next::Hit(found) => {
                        let found = hit(found, self.base);
                        *certain = found.span.end.max(*certain + 1);
                        // A detector of many labels also finds what nobody asked for.
                        if planned.action(found.label).is_some() {
                            self.pending.push((index, found));
                        }
                    }
                    Next::ClearTo(offset) => {
                        let offset = floor_boundary(&self.buffer, offset);
                        *certain = (*certain).max(self.base + offset);
                        break;
                    }
                }
            }
        }
        // Ties go to the detector that is listed first, as in the batch form.
        self.pending
            .sort_by_key(|(index, hit)| (hit.span.start, *index));
        self.certain
            .iter()
            .copied()
            .min()
            .unwrap_or(total)
            .min(total)
    }

    /// Acts on all hits that start before `settled` and writes what is safe.
    fn emit(&mut self, settled: usize, out: &mut String) -> Step {
        let due = self
            .pending
            .partition_point(|(_, hit)| hit.span.start < settled);
        for (index, hit) in self.pending.drain(..due).collect::<Vec<_>>() {
            let action = self
                .plan
                .detectors()
                .get(index)
                .and_then(|planned| planned.action(hit.label))
                .unwrap_or(GuardAction::Block);
            self.hits_total += 1;
            if self.hits.len() < HITS_KEPT_MAX {
                self.hits.push(hit.clone());
            }
            match action {
                GuardAction::Redact => {
                    self.write_to(hit.span.start, out);
                    if hit.span.start >= self.covered {
                        out.push_str(&marker(hit.label));
                    }
                    self.covered = self.covered.max(hit.span.end);
                }
                // `Ask` is refused by the plan; should it ever come here, it must not pass.
                GuardAction::Block | GuardAction::Ask => {
                    self.write_to(hit.span.start, out);
                    self.blocked = Some(hit.clone());
                    return Step::Block(hit);
                }
                GuardAction::Pass
                | GuardAction::Tag
                | GuardAction::Spotlight
                | GuardAction::Taint => {}
            }
        }
        self.write_to(settled, out);
        Step::Continue
    }

    /// Writes up to `to`, leaving out what a marker covers.
    fn write_to(&mut self, to: usize, out: &mut String) {
        let from = self.consumed.max(self.covered);
        if from < to {
            out.push_str(
                self.buffer
                    .get(from - self.base..to - self.base)
                    .unwrap_or_default(),
            );
        }
        self.consumed = self.consumed.max(to);
    }

    /// Forgets sent text beyond the left context that decisions may still read.
    fn compact(&mut self) {
        let keep_from = self.consumed.saturating_sub(self.plan.left_context_bytes());
        if keep_from <= self.base {
            return;
        }
        let cut = floor_boundary(&self.buffer, keep_from - self.base);
        self.buffer.drain(..cut);
        self.base += cut;
    }
}

impl Stream for Filter {
    fn push(&mut self, text: &str, out: &mut String) -> Step {
        if self.finished {
            return self.blocked.clone().map_or(Step::Continue, Step::Block);
        }
        if self.blocked.is_none() {
            self.buffer.push_str(text);
        }
        self.advance(End::Open, out)
    }

    fn finish(&mut self, out: &mut String) -> Step {
        self.finished = true;
        self.advance(End::Closed, out)
    }

    fn held_bytes(&self) -> usize {
        if self.blocked.is_some() {
            return 0;
        }
        self.base + self.buffer.len() - self.consumed
    }

    fn hits(&self) -> &[Hit] {
        &self.hits
    }
}
