//! Logistic regression on the best window: what the shield takes the maximum of is what is trained.
//!
//! Each step reads one text, finds each head's best window with the weights so far (multiple-instance
//! learning: an attack is somewhere in the text, harmless text is harmless everywhere) and takes one
//! step of `AdaGrad` on that window's features. Features are left out at random, so that no head leans on
//! a single word. Rare features are never learnt.

use crate::chance::Chance;
use ringfence_detect::canonical::canonical;
use ringfence_detect::shield::features::{BUCKETS, tokens};
use ringfence_detect::shield::heads::{HEADS, SENTENCE_HEADS, SENTENCE_TOKENS_MAX, WINDOWS, norm};

/// What a text is an example of, for each head: 1 yes, -1 no, 0 not to be learnt from.
pub type Marks = [i8; HEADS];

/// A text in features.
#[derive(Clone, Debug)]
pub struct Example {
    buckets: Vec<u32>,
    /// Where each token's buckets end.
    ends: Vec<u32>,
    /// The sentences, in tokens.
    sentences: Vec<(usize, usize)>,
    marks: Marks,
    weight: f32,
}

impl Example {
    /// Reads a text as the shield does.
    pub fn new(text: &str, marks: Marks, weight: f32) -> Self {
        let (mut buckets, mut ends) = (Vec::new(), Vec::new());
        let mut sentences: Vec<(usize, usize)> = Vec::new();
        tokens(&canonical(text).text, |token| {
            if ends.len() < TOKENS_MAX {
                let at = ends.len();
                match sentences.last_mut() {
                    Some(last) if !token.begins && at - last.0 < SENTENCE_TOKENS_MAX => {
                        last.1 = at + 1;
                    }
                    _ => sentences.push((at, at + 1)),
                }
                buckets.extend(token.letters.iter().map(|b| b | LETTERS));
                buckets.extend_from_slice(token.words);
                ends.push(u32::try_from(buckets.len()).unwrap_or(u32::MAX));
            }
        });
        Self {
            buckets,
            ends,
            sentences,
            marks,
            weight,
        }
    }

    fn token(&self, at: usize) -> &[u32] {
        let start = at
            .checked_sub(1)
            .and_then(|b| self.ends.get(b))
            .copied()
            .unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.buckets
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }
}

/// Marks a bucket of letters. Heads that look for an order in data do not learn from letters:
/// "construct" must not sound like "instruct" to them.
const LETTERS: u32 = 1 << 31;

/// The bucket without its mark.
fn bare(bucket: u32) -> usize {
    (bucket & !LETTERS) as usize
}

// LIMIT: tokens of a training text; what follows says nothing new.
const TOKENS_MAX: usize = 3000;

/// How to learn.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What random choices start from.
    pub seed: u64,
    /// Rounds over all examples.
    pub rounds: usize,
    /// Length of a step.
    pub rate: f32,
    /// Pull towards zero.
    pub decay: f32,
    /// Features left out of each step, in percent.
    pub dropout: u64,
    /// Texts in which a feature must stand.
    pub texts_min: u32,
    /// Weights that each head keeps after half of the rounds. The fewer there are, the less a word
    /// nobody has seen falls into a bucket that means something else.
    pub keep: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 20_261_120,
            rounds: 8,
            rate: 0.08,
            decay: 2e-5,
            dropout: 30,
            texts_min: 4,
            keep: 12_000,
        }
    }
}

type Row = [f32; HEADS];

/// Weights before they become octets.
#[derive(Clone, Debug)]
pub struct Weights {
    /// One row for each bucket.
    pub rows: Vec<Row>,
    /// One for each head.
    pub bias: Row,
}

struct Learner<'p> {
    plan: &'p Plan,
    weights: Weights,
    seen: Vec<Row>,
    seen_bias: Row,
    /// Which heads may learn a bucket, one bit each.
    known: Vec<u8>,
    chance: Chance,
}

/// Fits all heads together.
pub fn learn(examples: &[Example], plan: &Plan) -> Weights {
    let mut learner = Learner {
        plan,
        weights: Weights {
            rows: vec![[0.0; HEADS]; BUCKETS],
            bias: [-1.0; HEADS],
        },
        seen: vec![[1e-2; HEADS]; BUCKETS],
        seen_bias: [1.0; HEADS],
        known: known(examples, plan.texts_min),
        chance: Chance::new(plan.seed),
    };
    let balance = balance(examples);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    for round in 0..plan.rounds {
        if round == plan.rounds / 2 {
            learner.prune();
        }
        learner.chance.shuffle(&mut order);
        for index in &order {
            if let Some(example) = examples.get(*index) {
                learner.step(example, &balance, round == 0);
            }
        }
    }
    learner.weights
}

/// Which buckets stand in enough texts.
fn known(examples: &[Example], texts_min: u32) -> Vec<u8> {
    let mut count = vec![0_u32; BUCKETS];
    let mut last = vec![u32::MAX; BUCKETS];
    let mut heads = vec![0_u8; BUCKETS];
    for (example, id) in examples.iter().zip(0_u32..) {
        for bucket in &example.buckets {
            let at = bare(*bucket);
            if let Some(heads) = heads.get_mut(at) {
                *heads |= if bucket & LETTERS == 0 {
                    u8::MAX
                } else {
                    u8::MAX >> (HEADS - SENTENCE_HEADS)
                };
            }
            if let (Some(last), Some(count)) = (last.get_mut(at), count.get_mut(at))
                && *last != id
            {
                *last = id;
                *count += 1;
            }
        }
    }
    count
        .iter()
        .zip(heads)
        .map(|(c, heads)| if *c >= texts_min { heads } else { 0 })
        .collect()
}

/// What an attack weighs against a harmless text: the square root of how much rarer it is.
fn balance(examples: &[Example]) -> Row {
    std::array::from_fn(|head| {
        let sum = |mark: i8| -> f32 {
            examples
                .iter()
                .filter(|e| e.marks.get(head) == Some(&mark))
                .map(|e| e.weight)
                .sum()
        };
        (sum(-1) / sum(1).max(1.0)).sqrt().clamp(0.5, 8.0)
    })
}

/// One step of one head.
struct Step {
    /// On which tokens.
    window: std::ops::Range<usize>,
    /// Of the loss.
    slope: f32,
    /// What the window's sum is divided by.
    size: f32,
    /// Which features are left out.
    salt: u64,
}

impl Learner<'_> {
    /// Forgets all but the largest weights of each head, for good.
    fn prune(&mut self) {
        for head in 0..HEADS {
            let of = |row: &Row| row.get(head).map_or(0.0, |w| w.abs());
            let mut sizes: Vec<f32> = self.weights.rows.iter().map(of).collect();
            sizes.sort_by(|a, b| b.total_cmp(a));
            let least = sizes.get(self.plan.keep).copied().unwrap_or(0.0);
            for (row, known) in self.weights.rows.iter_mut().zip(&mut self.known) {
                if of(row) <= least {
                    *known &= !(1 << head);
                    if let Some(weight) = row.get_mut(head) {
                        *weight = 0.0;
                    }
                }
            }
        }
    }

    fn step(&mut self, example: &Example, balance: &Row, whole: bool) {
        let salt = self.chance.number();
        let sums = self.sums(example, salt);
        for head in 0..HEADS {
            let mark = example.marks.get(head).copied().unwrap_or(0);
            if mark == 0 {
                continue;
            }
            let (from, to) = if head >= SENTENCE_HEADS {
                best_sentence(&sums, &example.sentences, head)
            } else if whole && mark > 0 {
                (0, example.ends.len())
            } else {
                best_window(&sums, head)
            };
            let at = |i: usize| {
                sums.get(i)
                    .and_then(|row| row.get(head))
                    .copied()
                    .unwrap_or(0.0)
            };
            let size = norm((to - from).min(768));
            let margin =
                self.weights.bias.get(head).copied().unwrap_or(0.0) + (at(to) - at(from)) / size;
            let chance = 1.0 / (1.0 + (-margin).exp());
            let target = f32::from(u8::from(mark > 0));
            let class = if mark > 0 {
                balance.get(head).copied().unwrap_or(1.0)
            } else {
                1.0
            };
            let slope = (chance - target) * class * example.weight;
            if slope.abs() > 1e-3 {
                let step = Step {
                    window: from..to,
                    slope,
                    size,
                    salt,
                };
                self.update(example, head, &step);
            }
        }
    }

    /// Sums over the tokens so far, beginning with zero.
    fn sums(&self, example: &Example, salt: u64) -> Vec<Row> {
        let mut now = [0.0; HEADS];
        let mut sums = Vec::with_capacity(example.ends.len() + 1);
        sums.push(now);
        for token in 0..example.ends.len() {
            for bucket in example.token(token) {
                if let Some(row) = self
                    .weights
                    .rows
                    .get(bare(*bucket))
                    .filter(|_| self.keeps(*bucket, salt))
                {
                    for (sum, weight) in now.iter_mut().zip(row) {
                        *sum += weight;
                    }
                }
            }
            sums.push(now);
        }
        sums
    }

    fn keeps(&self, bucket: u32, salt: u64) -> bool {
        let mixed = (u64::from(bucket) ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        mixed % 100 >= self.plan.dropout
    }

    /// Takes one step on a window.
    fn update(&mut self, example: &Example, head: usize, step: &Step) {
        let (rate, decay) = (self.plan.rate, self.plan.decay);
        let advance = |weight: &mut f32, seen: &mut f32, gradient: f32| {
            *seen += gradient * gradient;
            *weight -= rate * gradient / seen.sqrt();
        };
        if let (Some(bias), Some(seen)) = (
            self.weights.bias.get_mut(head),
            self.seen_bias.get_mut(head),
        ) {
            advance(bias, seen, step.slope);
        }
        for token in step.window.clone() {
            for bucket in example.token(token) {
                let at = bare(*bucket);
                let learns = self.known.get(at).is_some_and(|k| k >> head & 1 == 1);
                let letters = bucket & LETTERS != 0 && head >= SENTENCE_HEADS;
                if !learns || letters || !self.keeps(*bucket, step.salt) {
                    continue;
                }
                if let (Some(row), Some(seen)) =
                    (self.weights.rows.get_mut(at), self.seen.get_mut(at))
                    && let (Some(weight), Some(seen)) = (row.get_mut(head), seen.get_mut(head))
                {
                    let gradient = step.slope / step.size + decay * *weight;
                    advance(weight, seen, gradient);
                }
            }
        }
    }
}

/// The best sentence of a head.
fn best_sentence(sums: &[Row], sentences: &[(usize, usize)], head: usize) -> (usize, usize) {
    let at = |i: usize| {
        sums.get(i)
            .and_then(|row| row.get(head))
            .copied()
            .unwrap_or(0.0)
    };
    let margin = |s: &(usize, usize)| (at(s.1) - at(s.0)) / norm(s.1 - s.0);
    sentences
        .iter()
        .max_by(|a, b| margin(a).total_cmp(&margin(b)))
        .copied()
        .unwrap_or((0, 0))
}

/// The best window of a head, by the shield's own rules.
fn best_window(sums: &[Row], head: usize) -> (usize, usize) {
    let count = sums.len() - 1;
    let at = |i: usize| {
        sums.get(i)
            .and_then(|row| row.get(head))
            .copied()
            .unwrap_or(0.0)
    };
    let mut best = (f32::NEG_INFINITY, (0, count));
    for size in WINDOWS {
        let size = size.min(count);
        let step = (size / 4).max(1);
        let mut ends: Vec<usize> = (1..=count / step)
            .map(|k| k * step)
            .filter(|end| *end >= size)
            .collect();
        ends.push(count);
        for end in ends {
            let margin = (at(end) - at(end - size)) / norm(size);
            if margin > best.0 {
                best = (margin, (end - size, end));
            }
        }
        if size == count {
            break;
        }
    }
    best.1
}
