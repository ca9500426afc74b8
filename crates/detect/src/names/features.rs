//! What the tagger sees of a word: itself, its ends, its form, its lists, its neighbours and the
//! tags already given. Features are numbers; equal ones fall on equal weights.

use super::lists::{Flags, Lists, STREET, TITLE, word_hash};
use super::model::Tag;
use super::token::{Kind, Token};

/// A word with everything that is computed once.
#[derive(Clone, Copy, Debug)]
struct Word {
    hash: u64,
    /// The last two, three and four octets, and the first three, of the word in lower case.
    ends: [u64; 4],
    form: u8,
    flags: Flags,
    kind: Kind,
}

/// What stands before the first and behind the last word.
const OUTSIDE: Word = Word {
    hash: 1,
    ends: [0; 4],
    form: 15,
    flags: 0,
    kind: Kind::Line,
};

/// The words of a piece of text.
#[derive(Debug)]
pub struct Sentence {
    words: Vec<Word>,
    /// No word begins with a capital: the text says nothing by its case.
    lower: bool,
}

/// Capitals, digits and length of a word in four bits.
fn form(word: &str, kind: Kind) -> u8 {
    match kind {
        Kind::Line => return 14,
        Kind::Mark => return 13,
        Kind::Number => {
            let pure = word.bytes().all(|b| b.is_ascii_digit());
            let length = u8::try_from(word.len().min(6)).unwrap_or(6);
            return if pure { 5 + length } else { 12 };
        }
        Kind::Word => {}
    }
    let mut letters = word.chars();
    let first_upper = letters.next().is_some_and(char::is_uppercase);
    let rest_upper = letters.clone().any(char::is_uppercase);
    let rest_lower = letters.any(char::is_lowercase);
    match (first_upper, rest_upper, rest_lower) {
        (true, false, false) => 0,
        (true, true, false) => 1,
        (true, false, true) => 2,
        (true, true, true) => 3,
        (false, false, _) => 4,
        (false, true, _) => 5,
    }
}

fn describe(text: &str, token: Token, lists: &Lists) -> Word {
    let word = text.get(token.start..token.end).unwrap_or_default();
    let hash = word_hash(word);
    let flags = if token.kind == Kind::Word {
        lists.flags(hash)
    } else {
        0
    };
    let mut lower = [0_u8; 8];
    let bytes = word.as_bytes();
    let tail = bytes
        .get(bytes.len().saturating_sub(4)..)
        .unwrap_or_default();
    for (to, b) in lower.iter_mut().zip(tail.iter().rev()) {
        *to = b.to_ascii_lowercase();
    }
    let pack = |n: usize| {
        lower
            .iter()
            .take(n)
            .fold(n as u64, |h, b| h << 8 | u64::from(*b))
    };
    let head = bytes
        .iter()
        .take(3)
        .fold(7, |h, b| h << 8 | u64::from(b.to_ascii_lowercase()));
    Word {
        hash,
        ends: [pack(2), pack(3), pack(4), head],
        form: form(word, token.kind),
        flags,
        kind: token.kind,
    }
}

/// Whether the tagger is asked at all. A plain word in lower case that is in no list and follows
/// no name is none: that is most of a text, and what makes this fast.
pub fn is_open(sentence: &Sentence, at: usize, previous: Tag) -> bool {
    let Some(word) = sentence.words.get(at) else {
        return false;
    };
    match word.kind {
        Kind::Mark | Kind::Line => previous != Tag::Other,
        Kind::Number => true,
        Kind::Word => word.form != 4 || word.flags != 0 || previous != Tag::Other,
    }
}

impl Sentence {
    /// Describes every token once.
    pub fn new(text: &str, tokens: &[Token], lists: &Lists) -> Self {
        let words: Vec<Word> = tokens
            .iter()
            .map(|token| describe(text, *token, lists))
            .collect();
        let lower = words.iter().all(|w| w.form > 3 || w.kind != Kind::Word);
        Self { words, lower }
    }

    /// Takes a word out of its lists, as if it were unknown: for training.
    pub fn forget(&mut self, at: usize) {
        if let Some(word) = self.words.get_mut(at) {
            word.flags = 0;
        }
    }

    fn word(&self, at: usize, offset: isize) -> &Word {
        at.checked_add_signed(offset)
            .and_then(|i| self.words.get(i))
            .unwrap_or(&OUTSIDE)
    }

    /// Appends the features of the word at `at`, given the two tags before it.
    pub fn features(&self, at: usize, previous: Tag, before: Tag, out: &mut Vec<u32>) {
        let (w, p, n) = (self.word(at, 0), self.word(at, -1), self.word(at, 1));
        let (pp, nn) = (self.word(at, -2), self.word(at, 2));
        let (t1, t2) = (previous as u64, before as u64);
        let (form, flags) = (u64::from(w.form), u64::from(w.flags));
        let lower = u64::from(self.lower);
        let first = u64::from(p.kind == Kind::Line || p.form == 13);
        let mut number = 0_u64;
        let mut add = |a: u64, b: u64| {
            number += 1;
            out.push(mix(number, a, b));
        };
        add(w.hash, 0);
        add(w.hash, form);
        for end in w.ends {
            add(end, u64::from(w.form < 4));
        }
        add(form, lower << 1 | first);
        add(flags, form);
        add(flags, lower << 8 | u64::from(n.flags));
        add(flags, 1 << 8 | u64::from(p.flags));
        add(u64::from(p.flags), u64::from(n.flags));
        add(p.hash, 0);
        add(n.hash, 0);
        add(p.hash, form << 8 | flags);
        add(n.hash, form << 8 | flags);
        add(pp.hash, p.hash);
        add(n.hash, nn.hash);
        add(pp.hash, form);
        add(nn.hash, form);
        add(u64::from(p.form), form << 4 | u64::from(n.form));
        add(u64::from(n.form), form << 4 | u64::from(nn.form));
        add(t1, form);
        add(t1 << 3 | t2, form);
        add(t1, w.hash);
        add(t1, p.hash);
        add(t1, n.hash);
        add(t1, flags);
        add(t1, w.ends[1]);
        add(
            t1 << 8 | u64::from(p.flags & (TITLE | STREET)),
            form << 8 | flags,
        );
        add(t1 << 3 | t2, u64::from(p.form) << 4 | u64::from(n.form));
    }
}

/// One number from a template and its two values.
fn mix(number: u64, a: u64, b: u64) -> u32 {
    let mut h =
        (a ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 32;
    h = (h ^ b).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    u32::try_from(h >> 32).unwrap_or(0)
}
