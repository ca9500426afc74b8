//! Tier 1: linear heads over hashed features, one for each channel and label, read in windows.
//!
//! A head's margin of a window is `bias + scale * sum / sqrt(tokens + 4)`: evidence adds up, and a
//! long window must have more of it. The margin of a text is that of its best window: of four sizes
//! that slide over it from end to end for the heads that read what people write, of single sentences for
//! the heads that look for an order in data. So an attack weighs the same at any offset of any text.
//! Time is linear; memory does not depend on the length.

use super::features::{BUCKETS, tokens};
use std::borrow::Cow;
use std::ops::Range;

/// How many heads share the table: a feature's weights for all of them stand side by side.
pub const HEADS: usize = 8;

/// Sizes of the windows in tokens.
pub const WINDOWS: [usize; 4] = [12, 48, 192, 768];

/// From this head on, sentences are read instead of windows: an order in data is a sentence.
pub const SENTENCE_HEADS: usize = 5;

// LIMIT: tokens of a sentence; a longer one is read in parts.
/// The longest sentence.
pub const SENTENCE_TOKENS_MAX: usize = 16;

/// Steps of a window in its own size: a quarter.
const STEPS_PER_WINDOW: usize = 4;

// LIMIT: tokens that are kept behind the current one: the largest window, and one more sum.
const RING: usize = 1024;

/// Tokens that a window has at least, as far as its margin is concerned.
const TOKENS_FLOOR: f32 = 4.0;

/// What a window of so many tokens divides its sum by.
pub fn norm(tokens: usize) -> f32 {
    // Windows are at most 768 tokens: exact in f32.
    let tokens = u16::try_from(tokens).unwrap_or(u16::MAX);
    (f32::from(tokens) + TOKENS_FLOOR).sqrt()
}

/// A head's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Head {
    /// Added to every margin.
    pub bias: f32,
    /// What a weight of one stands for.
    pub scale: f32,
}

/// The weights of all heads.
#[derive(Clone, Debug)]
pub struct Heads {
    heads: [Head; HEADS],
    /// `BUCKETS` times `HEADS` signed octets.
    weights: Cow<'static, [u8]>,
}

/// A head's best window.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Its margin.
    pub margin: f32,
    /// Where it stands.
    pub span: Range<usize>,
}

/// Sums of weights, one for each head.
type Sums = [i32; HEADS];

impl Heads {
    /// Heads over a table; nothing if the table has not the right size.
    pub fn new(heads: [Head; HEADS], weights: Cow<'static, [u8]>) -> Option<Self> {
        (weights.len() == BUCKETS * HEADS).then_some(Self { heads, weights })
    }

    /// Adds the weights of some features.
    fn add(&self, sums: &mut Sums, buckets: &[u32]) {
        for bucket in buckets {
            let at = *bucket as usize * HEADS;
            if let Some(row) = self.weights.get(at..at + HEADS) {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum = sum.wrapping_add(i32::from(i8::from_ne_bytes([*weight])));
                }
            }
        }
    }

    /// The best window of each head.
    pub fn read(&self, text: &str) -> [Best; HEADS] {
        let mut windows = Windows::new(&self.heads);
        tokens(text, |token| {
            let mut sums = windows.sums;
            self.add(&mut sums, token.letters);
            self.add(&mut sums, token.words);
            windows.push(&token.span, token.begins, sums);
        });
        windows.finish()
    }

    /// What each feature of a text adds to a head's sum, in thousandths of its margin, with the
    /// place of the token that brought it.
    pub fn contributions(&self, text: &str, head: usize) -> Vec<(Range<usize>, i64)> {
        let mut found: Vec<(Range<usize>, i64)> = Vec::new();
        tokens(text, |token| {
            let mut sums = [0; HEADS];
            self.add(&mut sums, token.letters);
            self.add(&mut sums, token.words);
            found.push((
                token.span.clone(),
                i64::from(sums.get(head).copied().unwrap_or(0)),
            ));
        });
        let scale = self.heads.get(head).map_or(0.0, |h| h.scale) / norm(found.len().min(768));
        for (_, weight) in &mut found {
            *weight = thousandths(scale, *weight);
        }
        found
    }
}

/// A sum of at most a few hundred octets times a scale below one.
fn thousandths(scale: f32, sum: i64) -> i64 {
    let small = i16::try_from(sum).unwrap_or(i16::MAX);
    let milli = (f32::from(small) * scale * 1000.0).clamp(-1e6, 1e6);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a million")]
    let whole = milli as i64;
    whole
}

/// Sliding sums over the tokens of a text.
struct Windows<'h> {
    heads: &'h [Head; HEADS],
    /// Over everything so far; wraps, only differences matter.
    sums: Sums,
    ring: Vec<(Sums, usize)>,
    count: usize,
    end: usize,
    best: [[(i32, Range<usize>); HEADS]; WINDOWS.len()],
    /// The sentence that is being read: how many tokens, the sums before it, and where it starts.
    sentence: (usize, Sums, usize),
    sentences: [Best; HEADS],
}

impl<'h> Windows<'h> {
    fn new(heads: &'h [Head; HEADS]) -> Self {
        let none = || (i32::MIN, 0..0);
        Self {
            heads,
            sentence: (0, [0; HEADS], 0),
            sentences: std::array::from_fn(|i| Best {
                margin: heads.get(i).map_or(0.0, |h| h.bias),
                span: 0..0,
            }),
            sums: [0; HEADS],
            ring: vec![([0; HEADS], 0); RING],
            count: 0,
            end: 0,
            best: std::array::from_fn(|_| std::array::from_fn(|_| none())),
        }
    }

    fn push(&mut self, span: &Range<usize>, begins: bool, sums: Sums) {
        if begins || self.sentence.0 >= SENTENCE_TOKENS_MAX {
            self.end_sentence();
            self.sentence = (0, self.sums, span.start);
        }
        self.sentence.0 += 1;
        // The sum before this token, and where it starts.
        if let Some(slot) = self.ring.get_mut(self.count % RING) {
            *slot = (self.sums, span.start);
        }
        self.sums = sums;
        self.end = span.end;
        self.count += 1;
        for (index, size) in WINDOWS.iter().enumerate() {
            if self.count >= *size && self.count.is_multiple_of(size / STEPS_PER_WINDOW) {
                self.close(index, *size);
            }
        }
    }

    /// Compares the sentence that ends here with the best one.
    fn end_sentence(&mut self) {
        let (tokens, before, start) = self.sentence;
        if tokens == 0 {
            return;
        }
        let size = norm(tokens);
        let sums = self.sums.iter().zip(before).skip(SENTENCE_HEADS);
        let heads = self
            .heads
            .iter()
            .zip(&mut self.sentences)
            .skip(SENTENCE_HEADS);
        for ((now, before), (head, best)) in sums.zip(heads) {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
            let margin = head.bias + head.scale * (now.wrapping_sub(before) as f32) / size;
            if best.span.is_empty() || margin > best.margin {
                *best = Best {
                    margin,
                    span: start..self.end,
                };
            }
        }
    }

    /// Compares the last `tokens` tokens with the best window of this size.
    fn close(&mut self, index: usize, tokens: usize) {
        let from = (self.count - tokens) % RING;
        let (Some((before, start)), Some(best)) = (self.ring.get(from), self.best.get_mut(index))
        else {
            return;
        };
        for ((best, now), before) in best.iter_mut().zip(self.sums).zip(before) {
            let sum = now.wrapping_sub(*before);
            if sum > best.0 {
                *best = (sum, *start..self.end);
            }
        }
    }

    fn finish(mut self) -> [Best; HEADS] {
        let heads = self.heads;
        self.end_sentence();
        let mut out: [Best; HEADS] = std::array::from_fn(|i| Best {
            margin: heads.get(i).map_or(0.0, |h| h.bias),
            span: 0..0,
        });
        if self.count == 0 {
            return out;
        }
        for (index, size) in WINDOWS.iter().enumerate() {
            let tokens = self.count.min(*size);
            self.close(index, tokens);
            let Some(best) = self.best.get(index) else {
                continue;
            };
            for ((out, head), (sum, span)) in out.iter_mut().zip(heads).zip(best) {
                #[expect(clippy::cast_precision_loss, reason = "a few million at most")]
                let margin = head.bias + head.scale * (*sum as f32) / norm(tokens);
                if out.span.is_empty() || margin > out.margin {
                    *out = Best {
                        margin,
                        span: span.clone(),
                    };
                }
            }
            if self.count <= *size {
                break;
            }
        }
        for (out, sentence) in out.iter_mut().zip(self.sentences).skip(SENTENCE_HEADS) {
            *out = sentence;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One head that knows the word "attack" and nothing else.
    fn knows(word: &str) -> Heads {
        let mut table = vec![0_u8; BUCKETS * HEADS];
        tokens(word, |token| {
            for bucket in token.words.iter().take(1) {
                table[*bucket as usize * HEADS] = 100;
            }
        });
        let mut heads = [Head::default(); HEADS];
        heads[0] = Head {
            bias: -1.0,
            scale: 0.1,
        };
        Heads::new(heads, Cow::Owned(table)).expect("size")
    }

    #[test]
    fn an_attack_weighs_nearly_the_same_at_any_offset_of_a_long_text() {
        let heads = knows("attack");
        let plain = heads.read("the attack is here")[0].margin;
        let filler = "word and word ".repeat(30_000);
        for at in [0, filler.len() / 3 + 1, filler.len() / 2, filler.len()] {
            let at = crate::lexer::floor_boundary(&filler, at);
            let text = format!("{} the attack is here {}", &filler[..at], &filler[at..]);
            let best = &heads.read(&text)[0];
            assert!(text[best.span.clone()].contains("attack"), "at {at}");
            assert!(best.margin > plain * 0.5, "{} {plain}", best.margin);
        }
        assert!(heads.read(&filler)[0].margin < 0.0);
    }

    #[test]
    fn a_text_without_tokens_has_the_bias_and_no_place() {
        for text in ["", "   ", "\u{1f600}"] {
            assert_eq!(
                knows("attack").read(text)[0],
                Best {
                    margin: -1.0,
                    span: 0..0
                }
            );
        }
    }

    #[test]
    fn sums_may_wrap_and_windows_stay_right() {
        let heads = knows("attack");
        let text = "attack ".repeat(3_000);
        let sum: i64 = heads.contributions("attack", 0).iter().map(|c| c.1).sum();
        assert!(sum > 0);
        assert!(heads.read(&text)[0].margin > heads.read("attack")[0].margin);
    }

    #[test]
    fn a_table_of_the_wrong_size_is_refused() {
        let heads = [Head::default(); HEADS];
        assert!(Heads::new(heads, Cow::Owned(vec![0; BUCKETS * HEADS - 1])).is_none());
        assert!(Heads::new(heads, Cow::Owned(vec![0; BUCKETS * HEADS])).is_some());
    }
}
