//! From hits and margins to one judgement, and to an explanation of it.

use super::bundle::{ChannelHead, NAMES};
use super::heads::Best;
use super::readings::{Reading, readings};
use super::verdict::{CERTAIN, Feature, Judgement, Millionths, RULE_SCORE, THRESHOLD, Verdict};
use super::{Shield, is_answer};
use ringfence_core::detection::{Channel, Hit, Label, View};
use ringfence_core::ids::RuleId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

// LIMIT: verdicts of one judgement; the strongest are kept.
const VERDICTS_MAX: usize = 16;
// LIMIT: verdicts of one rule in one judgement: a text with a hundred hidden characters has more to say.
const VERDICTS_PER_RULE_MAX: usize = 4;
// LIMIT: features of one explanation.
const FEATURES_MAX: usize = 16;
// LIMIT: characters of a reading that an explanation shows.
const READING_CHARACTERS_MAX: usize = 400;
/// How fast a score leaves the middle as the margin leaves the threshold.
const STEEPNESS: f32 = 1.5;

/// The rules that stand for the heads, in the order of [`NAMES`].
const HEAD_RULES: [&str; NAMES.len()] = [
    "shield/head-injection",
    "shield/head-jailbreak",
    "shield/head-harmful",
    "shield/head-leak",
    "shield/head-extraction",
    "shield/head-document",
    "shield/head-tool-result",
    "shield/head-tool-schema",
];

/// A way in which the text was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAs {
    /// Which kind of reading.
    pub view: View,
    /// What was undone to get it.
    pub how: String,
    /// What it says, as far as it is shown.
    pub text: String,
}

/// A judgement with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The judgement.
    pub judgement: Judgement,
    /// Every reading but the plain one.
    pub readings: Vec<ReadAs>,
    /// What spoke loudest for and against in the strongest head's best window.
    pub features: Vec<Feature>,
}

/// A head's best window in all readings.
struct Found<'s> {
    head: &'s ChannelHead,
    reading: usize,
    best: Best,
}

impl Shield {
    /// Judges a text that came in one or several pieces (messages sent one after the other). Spans
    /// count octets of the pieces put end to end.
    pub fn judge(&self, channel: Channel, pieces: &[&str]) -> Judgement {
        let text = pieces.concat();
        let (list, hits) = self.look(channel, &text);
        let found = self.best_windows(channel, &list);
        let first = self.decide(channel, &list, hits, &found);
        self.ask_second(channel, &text, first)
    }

    /// The same for one text, with its reasons.
    pub fn explain(&self, channel: Channel, text: &str) -> Explanation {
        let (list, hits) = self.look(channel, text);
        let found = self.best_windows(channel, &list);
        let loudest = found
            .iter()
            .filter(|f| counts_here(channel, f.head.label))
            .max_by(|a, b| {
                (a.best.margin - a.head.margin).total_cmp(&(b.best.margin - b.head.margin))
            });
        let features = loudest.map_or_else(Vec::new, |f| self.features(&list, f));
        let shown = list
            .iter()
            .filter(|r| r.view != View::Canonical)
            .map(|r| ReadAs {
                view: r.view,
                how: r.how.to_owned(),
                text: r.text.chars().take(READING_CHARACTERS_MAX).collect(),
            });
        Explanation {
            readings: shown.collect(),
            features,
            judgement: self.ask_second(channel, text, self.decide(channel, &list, hits, &found)),
        }
    }

    /// Every reading, and the hits of hiding and of rules.
    fn look(&self, channel: Channel, text: &str) -> (Vec<Reading>, Vec<Hit>) {
        let all = readings(text, &self.lexicon);
        let mut hits = all.smuggled;
        for reading in &all.list {
            self.rules.read(channel, reading, &mut hits);
        }
        (all.list, hits)
    }

    fn best_windows(&self, channel: Channel, list: &[Reading]) -> Vec<Found<'_>> {
        let mut found: Vec<Found<'_>> = Vec::new();
        for (index, reading) in list.iter().enumerate() {
            let all = self.bundle.heads.read(&reading.text);
            for head in self.bundle.of(channel) {
                let Some(best) = all.get(head.index) else {
                    continue;
                };
                match found.iter_mut().find(|f| f.head.index == head.index) {
                    Some(known) if known.best.margin >= best.margin => {}
                    Some(known) => {
                        known.reading = index;
                        known.best = best.clone();
                    }
                    None => found.push(Found {
                        head,
                        reading: index,
                        best: best.clone(),
                    }),
                }
            }
        }
        found
    }

    fn decide(
        &self,
        channel: Channel,
        list: &[Reading],
        hits: Vec<Hit>,
        found: &[Found<'_>],
    ) -> Judgement {
        let threshold = self
            .thresholds
            .as_ref()
            .map_or(THRESHOLD, |own| own.of(channel));
        let heads: Vec<Verdict> = found.iter().map(|f| of_head(f, list, threshold)).collect();
        let mut scores: Vec<(Label, Millionths)> = Vec::new();
        let loudest = heads
            .iter()
            .filter(|v| counts_here(channel, v.label))
            .map(|v| v.score)
            .max();
        // Rules order among themselves by what the heads think.
        let rule_score = RULE_SCORE + loudest.unwrap_or(0) / 10;
        let rules = hits.into_iter().map(|hit| Verdict {
            label: hit.label,
            score: rule_score,
            threshold,
            span: hit.span,
            view: hit.view,
            rule: hit.rule,
            rate: None,
        });
        let mut verdicts: Vec<Verdict> = rules.chain(heads).collect();
        for verdict in &verdicts {
            match scores.iter_mut().find(|(label, _)| *label == verdict.label) {
                Some((_, best)) => *best = verdict.score.max(*best),
                None => scores.push((verdict.label, verdict.score)),
            }
        }
        verdicts.retain(|v| counts_here(channel, v.label));
        verdicts.sort_by(|a, b| {
            (b.score, a.span.start, &a.rule).cmp(&(a.score, b.span.start, &b.rule))
        });
        verdicts.dedup();
        let strongest = verdicts.first().cloned().unwrap_or_else(nothing);
        let mut by_rule: BTreeMap<RuleId, usize> = BTreeMap::new();
        verdicts.retain(|v| {
            let count = by_rule.entry(v.rule.clone()).or_default();
            *count += 1;
            v.counts() && *count <= VERDICTS_PER_RULE_MAX
        });
        verdicts.truncate(VERDICTS_MAX);
        Judgement {
            strongest,
            verdicts,
            scores,
            bundle: self.bundle().to_owned(),
        }
    }

    /// Where the shield is unsure and somebody is there to ask, his score counts. No answer is no
    /// all-clear: the text is flagged.
    fn ask_second(&self, channel: Channel, text: &str, first: Judgement) -> Judgement {
        let Some(second) = self
            .second
            .as_ref()
            .filter(|s| s.band.contains(&first.strongest.score))
        else {
            return first;
        };
        let score = second
            .opinion
            .score(channel, text, &first)
            .unwrap_or(CERTAIN);
        let verdict = Verdict {
            score,
            rule: RuleId::of("shield/second-opinion"),
            rate: None,
            ..first.strongest.clone()
        };
        Judgement {
            verdicts: Some(verdict.clone())
                .filter(Verdict::counts)
                .into_iter()
                .collect(),
            strongest: verdict,
            ..first
        }
    }

    /// The tokens of a window that weigh most.
    fn features(&self, list: &[Reading], found: &Found<'_>) -> Vec<Feature> {
        let text = list
            .get(found.reading)
            .and_then(|r| r.text.get(found.best.span.clone()))
            .unwrap_or_default();
        let mut all: Vec<Feature> = Vec::new();
        for (span, weight) in self.bundle.heads.contributions(text, found.head.index) {
            let token = text.get(span).unwrap_or_default();
            match all.iter_mut().find(|f| f.text == token) {
                Some(known) => known.weight += weight,
                None => all.push(Feature {
                    text: token.to_owned(),
                    weight,
                }),
            }
        }
        all.sort_by_key(|f| std::cmp::Reverse(f.weight.abs()));
        all.truncate(FEATURES_MAX);
        all
    }
}

/// Harmful material is a verdict where a model speaks; where somebody asks it is only a score, because
/// a harmful question is no attack.
fn counts_here(channel: Channel, label: Label) -> bool {
    label != Label::Harmful || is_answer(channel)
}

fn of_head(found: &Found<'_>, list: &[Reading], threshold: Millionths) -> Verdict {
    let reading = list.get(found.reading);
    Verdict {
        label: found.head.label,
        score: score(found.best.margin - found.head.margin),
        threshold,
        span: reading.map_or(0..0, |r| r.original_span(found.best.span.clone())),
        view: reading.map_or(View::Canonical, |r| r.view),
        rule: RuleId::of(
            HEAD_RULES
                .get(found.head.index)
                .copied()
                .unwrap_or("shield/head"),
        ),
        rate: found.head.rate(found.best.margin),
    }
}

/// Lays a distance from the threshold onto the scale: none is [`THRESHOLD`].
fn score(distance: f32) -> Millionths {
    let share = 1.0 / (1.0 + (-STEEPNESS * distance).exp());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    let score = (share * 1e6).round().clamp(0.0, 1e6) as Millionths;
    score
}

fn nothing() -> Verdict {
    Verdict {
        label: Label::Injection,
        score: 0,
        threshold: THRESHOLD,
        span: 0..0,
        view: View::Original,
        rule: RuleId::of("shield/nothing"),
        rate: None,
    }
}
