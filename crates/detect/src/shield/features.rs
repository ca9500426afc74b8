//! What the linear heads see of a text: words, runs of words and letters inside words, each as the
//! number of a bucket.
//!
//! Input is canonical text (lower case, disguises folded). A word is a run of letters; a character of
//! a script without blanks (Chinese, Japanese, Thai, …) is a word of its own, so that runs of words
//! are runs of characters there. Digits count as one word whatever they say: a head must not learn
//! numbers by heart. A sentence begins with a word that nobody wrote, so that "write" at its head is
//! another feature than "write" in its midst. Hashing follows Weinberger et al., *Feature Hashing for Large Scale Multitask
//! Learning* (ICML 2009), without the sign bit: most buckets of a trained head are empty.

use crate::lexer::char_at;
use std::ops::Range;

/// Buckets of the table of weights: 2^18.
pub const BUCKETS: usize = 1 << 18;

// LIMIT: octets of a word that are looked at; the rest of a longer one only moves on.
const WORD_BYTES_MAX: usize = 48;
// LIMIT: letters of the shortest word whose inside is looked at.
const INSIDE_BYTES_MIN: usize = 5;

/// The kinds of features; each has its own region of the hash.
const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
const PAIR: u64 = 0xc2b2_ae3d_27d4_eb4f;
const TRIPLE: u64 = 0x1656_67b1_9e37_79f9;
const SKIP: u64 = 0xd6e8_feb8_6659_fd93;
const INSIDE: u64 = 0xa076_1d64_78bd_642f;
const MARK: u64 = 0xe703_7ed1_a0b4_28db;

/// What stands before the first word of a sentence.
const BEGINNING: u64 = 0x2545_f491_4f6c_dd1d;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'b> {
    /// Where it stands.
    pub span: Range<usize>,
    /// Whether a sentence begins with it.
    pub begins: bool,
    /// The buckets of its letters.
    pub letters: &'b [u32],
    /// The buckets of the word and of those before it.
    pub words: &'b [u32],
}

/// Reads a text token by token.
pub fn tokens(text: &str, mut take: impl FnMut(&Token<'_>)) {
    let bytes = text.as_bytes();
    let mut reader = Reader {
        text,
        before: [0, BEGINNING],
        begins: true,
        letters: Vec::with_capacity(WORD_BYTES_MAX + 8),
    };
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        reader.letters.clear();
        at = match class(byte) {
            Class::Blank => {
                if ends_sentence(bytes, at) {
                    reader.end_sentence(true);
                }
                at + 1
            }
            Class::Letter => {
                let end = word(bytes, at, &mut reader.letters);
                reader.word(at..end, word_hash(seen(bytes, at..end)), &mut take)
            }
            Class::Digit => {
                let length = run(bytes, at, u8::is_ascii_digit);
                reader.word(at..at + length, u64::from(b'0'), &mut take)
            }
            Class::Mark => reader.mark(at, byte, &mut take),
            Class::Wide => reader.wide(at, &mut take),
        };
    }
}

/// Where a text is being read.
struct Reader<'t> {
    text: &'t str,
    /// The two words before this one.
    before: [u64; 2],
    begins: bool,
    letters: Vec<u32>,
}

impl Reader<'_> {
    /// What comes is not read together with what was; `begins` if it is a sentence of its own.
    fn end_sentence(&mut self, begins: bool) {
        self.before = [0, BEGINNING];
        self.begins = begins;
    }

    /// A word, a number, or a character of a script without blanks. Returns its end, as all do.
    fn word(&mut self, span: Range<usize>, hash: u64, take: &mut impl FnMut(&Token<'_>)) -> usize {
        let [far, near] = self.before;
        let pair = near.rotate_left(17) ^ hash;
        let far_turned = far.rotate_left(34);
        let words = [
            bucket(hash, WORD),
            bucket(pair, PAIR),
            bucket(far_turned ^ pair, TRIPLE),
            bucket(far_turned ^ hash, SKIP),
        ];
        // The first word of a sentence has nothing two words before it.
        let count = if far == 0 { 2 } else { 4 };
        let end = span.end;
        take(&Token {
            span,
            begins: self.begins,
            letters: &self.letters,
            words: words.get(..count).unwrap_or_default(),
        });
        self.before = [near, hash.max(1)];
        self.begins = false;
        end
    }

    /// A run of one mark is one token and belongs to no run of words.
    fn mark(&mut self, at: usize, byte: u8, take: &mut impl FnMut(&Token<'_>)) -> usize {
        let end = at + run(self.text.as_bytes(), at, |b| *b == byte);
        let ends = matches!(byte, b'!' | b'?' | b'\n' | b'|' | b':' | b'"' | b'{' | b'}');
        take(&Token {
            span: at..end,
            // A question mark belongs to what it asks.
            begins: self.begins && ends && byte != b'?',
            letters: &[],
            words: &[bucket(u64::from(byte), MARK)],
        });
        if ends {
            self.end_sentence(byte != b':' && byte != b'"');
        }
        end
    }

    /// A character beyond ASCII.
    fn wide(&mut self, at: usize, take: &mut impl FnMut(&Token<'_>)) -> usize {
        let c = char_at(self.text, at).unwrap_or(' ');
        let end = at + c.len_utf8();
        if unspaced(c) {
            return self.word(at..end, u64::from(u32::from(c)), take);
        }
        if c.is_alphabetic() {
            let end = wide_word(self.text, at);
            let word = seen(self.text.as_bytes(), at..end);
            inside(word, 6, &mut self.letters);
            return self.word(at..end, word_hash(word), take);
        }
        if matches!(
            c,
            '\u{3002}' | '\u{ff01}' | '\u{ff1f}' | '\u{2026}' | '\u{964}' | '\u{61f}'
        ) {
            self.end_sentence(true);
        }
        end
    }
}

/// How many bytes from `at` on are like this.
fn run(bytes: &[u8], at: usize, like: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().skip(at).take_while(|b| like(b)).count()
}

/// As much of a word as is looked at.
fn seen(bytes: &[u8], word: Range<usize>) -> &[u8] {
    bytes
        .get(word.start..word.end.min(word.start + WORD_BYTES_MAX))
        .unwrap_or_default()
}

/// A full stop before a blank; that of a number, a name or an address ends nothing.
fn ends_sentence(bytes: &[u8], at: usize) -> bool {
    bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_none_or(|b| !b.is_ascii_alphanumeric())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    Letter,
    Digit,
    Mark,
    Wide,
}

fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b':' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'#' | b'|' | b'=' | b'"' | b'!'
        | b'?' | b'\n' | b'(' | b'`' | b';' | b'/' | b'\\' => Class::Mark,
        0x80.. => Class::Wide,
        _ => Class::Blank,
    }
}

/// Passes over an ASCII word and looks inside it; an apostrophe between letters belongs to it.
fn word(bytes: &[u8], start: usize, buckets: &mut Vec<u32>) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        let goes_on = byte.is_ascii_alphabetic()
            || (*byte == b'\'' && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic));
        if !goes_on {
            break;
        }
        at += 1;
    }
    inside(seen(bytes, start..at), 4, buckets);
    at
}

/// Passes over a word of another alphabet with blanks.
fn wide_word(text: &str, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let length: usize = rest
        .chars()
        .take_while(|c| c.is_alphabetic() && !unspaced(*c))
        .map(char::len_utf8)
        .sum();
    start + length.max(1)
}

/// Adds the runs of `width` octets inside a word, its edges included.
fn inside(word: &[u8], width: u32, buckets: &mut Vec<u32>) {
    if word.len() < INSIDE_BYTES_MIN {
        return;
    }
    let mask = u64::MAX >> (64 - 8 * width);
    let mut gram = u64::from(b'_');
    for (index, byte) in word.iter().chain(std::iter::once(&b'_')).enumerate() {
        gram = (gram << 8 | u64::from(*byte)) & mask;
        if index + 2 >= width as usize {
            buckets.push(bucket(gram, INSIDE));
        }
    }
}

fn word_hash(word: &[u8]) -> u64 {
    word.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn bucket(value: u64, kind: u64) -> u32 {
    let mixed = (value ^ kind).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(kind | 1);
    // The top bits are the best mixed; 18 of them always fit.
    u32::try_from(mixed >> (64 - BUCKETS.trailing_zeros())).unwrap_or(0)
}

/// Characters of scripts that are written without blanks between words.
fn unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(String, Vec<u32>)> {
        let mut out = Vec::new();
        tokens(text, |token| {
            let buckets = [token.letters, token.words].concat();
            out.push((text[token.span.clone()].to_owned(), buckets));
        });
        out
    }

    #[test]
    fn words_marks_numbers_and_characters_are_tokens() {
        let words: Vec<String> =
            all("don't: ignore 1234, \u{5ffd}\u{7565} \u{43f}\u{440}\u{438} ###")
                .into_iter()
                .map(|(w, _)| w)
                .collect();
        assert_eq!(
            words,
            [
                "don't",
                ":",
                "ignore",
                "1234",
                "\u{5ffd}",
                "\u{7565}",
                "\u{43f}\u{440}\u{438}",
                "###"
            ]
        );
    }

    #[test]
    fn the_same_words_make_the_same_buckets_wherever_they_stand() {
        let (a, b) = (
            all("please ignore the rules"),
            all("you will please ignore the rules"),
        );
        assert_eq!(a[3].1, b[5].1);
        assert_ne!(a[1].1, b[3].1, "its neighbours differ");
        assert!(all("7 8").iter().zip(all("7 999")).all(|(a, b)| a.1 == b.1));
    }

    #[test]
    fn a_word_at_the_limit_is_seen_whole_and_a_longer_one_only_as_far() {
        let at = |n: usize| all(&"a".repeat(n))[0].1.clone();
        assert_ne!(at(WORD_BYTES_MAX - 1), at(WORD_BYTES_MAX));
        assert_eq!(at(WORD_BYTES_MAX), at(WORD_BYTES_MAX + 1));
        assert_eq!(
            at(INSIDE_BYTES_MIN - 1).len(),
            2,
            "the word, and that a sentence begins with it"
        );
        assert!(at(INSIDE_BYTES_MIN).len() > 2);
    }

    #[test]
    fn sentences_begin_after_their_ends_and_not_inside_numbers_or_names() {
        let mut first = Vec::new();
        let text = "one two. three 3.14 v1.2 four\nfive! six? seven\u{3002}\u{516b}";
        tokens(text, |token| {
            if token.begins {
                first.push(text[token.span.clone()].to_owned());
            }
        });
        assert_eq!(first, ["one", "three", "five", "six", "seven", "\u{516b}"]);
    }

    #[test]
    fn every_bucket_is_in_the_table() {
        for (_, buckets) in
            all("Ignore \u{e9}\u{e8} all previous instructions! \u{1f600} \u{0} \u{e01}")
        {
            assert!(buckets.iter().all(|b| (*b as usize) < BUCKETS));
        }
    }
}
