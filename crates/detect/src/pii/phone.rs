//! Telephone numbers: the international form of E.164, and the national forms that are written
//! with separators. A bare run of digits is a phone number only for Chinese mobiles, and only
//! beside a word or script that says so; everything else bare is an identifier, a price or a date.

use super::context::{Words, before, ends_with_marker, marked};
use super::dialling;
use super::digits::{FULL_WIDTH_LEAD, digit, digit_before, too_short};
use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next, byte_before, char_at};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: E.164: 15 digits.
const DIGITS_MAX: usize = 15;
const DIGITS_MIN: usize = 8;
/// Digits of the shortest number that a word vouches for.
const LOOSE_DIGITS_MIN: usize = 6;
// LIMIT: characters of a candidate, separators and the plus sign included.
const CHARACTERS_MAX: usize = 40;
// LIMIT: each of up to three bytes, then an extension and a word.
const MATCH_BYTES_MAX: usize = CHARACTERS_MAX * 3 + EXTENSION_BYTES_MAX + AFTER_BYTES;
// LIMIT: bytes before a number in which a word may vouch for it.
const CONTEXT_BYTES: usize = 48;

/// Words that vouch for a number, then words that speak against it.
const WORDS: [&[&str]; 2] = [
    &[
        "phone",
        "telephone",
        "tel",
        "mobile",
        "cell",
        "cellphone",
        "call",
        "calls",
        "fax",
        "whatsapp",
        "sms",
        "text me",
        "text",
        "dial",
        "ring",
        "contact",
        "reach",
        "hotline",
        "helpline",
        "landline",
        "answering",
        "voicemail",
        "telefon",
        "telefono",
        "teléfono",
        "telefone",
        "téléphone",
        "telephone",
        "handy",
        "mobil",
        "movil",
        "móvil",
        "celular",
        "cellulare",
        "rufnummer",
        "numero de",
        "número de",
        "telefoonnummer",
        "puhelin",
        "gsm",
        "desk",
        "office",
        "registered",
        "电话",
        "手机",
        "號碼",
        "号码",
        "联系",
        "致电",
        "拨打",
        "打给",
        "热线",
        "座机",
        "传真",
        "短信",
        "電話",
        "携帯",
        "전화",
        "휴대폰",
        "телефон",
        "тел",
        "звон",
        "मोबाइल",
        "फ़ोन",
        "هاتف",
        "טלפון",
    ],
    &[
        "order", "invoice", "订单", "单号", "编号", "流水", "快递", "运单", "serial", "isbn",
        "card", "account",
    ],
];
const FOR: u64 = 1;
const AGAINST: u64 = 2;
/// Words behind a number, as in the foot of a letter.
const WORDS_AFTER: [&str; 9] = [
    "office", "fax", "mobile", "home", "work", "cell", "desk", "tel", "phone",
];
// LIMIT: bytes behind a number in which such a word may stand, itself included.
const AFTER_BYTES: usize = 12;
// LIMIT: bytes of an extension: " extension 123456" and what shows its end.
const EXTENSION_BYTES_MAX: usize = 20;

/// A group of digits, the separator in front of it and the offset after it.
#[derive(Clone, Copy, Debug)]
struct Group {
    separator: Option<char>,
    digits: usize,
    end: usize,
}

/// What stands at a candidate.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts about one run"
)]
#[derive(Debug, Default)]
struct Number {
    plus: bool,
    parenthesis: bool,
    digits: Vec<u8>,
    groups: Vec<Group>,
    /// The run reached the end of the text seen so far.
    open: bool,
    /// The character after the run glues it to a word.
    glued: bool,
    /// Where an extension after the run ends.
    extension: Option<usize>,
}

/// An extension at the start of `rest`: "x123", " ext. 12", "#4".
enum Extension {
    None,
    /// So many bytes.
    Bytes(usize),
    /// The text ends too early to say.
    Open,
}

impl Extension {
    fn read(rest: &[u8]) -> Self {
        let gap = usize::from(rest.first() == Some(&b' '));
        let rest_of = |at: usize| rest.get(at..).unwrap_or_default();
        let words: [&[u8]; 5] = [b"extension", b"ext.", b"ext", b"x", b"#"];
        let head = rest_of(gap);
        let begins = |word: &[u8]| {
            let common = head.len().min(word.len());
            head.get(..common)
                .is_some_and(|h| h.eq_ignore_ascii_case(word.get(..common).unwrap_or_default()))
        };
        let Some(word) = words.into_iter().find(|word| begins(word)) else {
            return Self::None;
        };
        if head.len() < word.len() {
            return Self::Open;
        }
        let mut at = gap + word.len();
        at += usize::from(rest_of(at).first() == Some(&b' '));
        let digits = rest_of(at)
            .iter()
            .take(7)
            .take_while(|b| b.is_ascii_digit())
            .count();
        match rest_of(at).get(digits) {
            None if digits < 7 => Self::Open,
            Some(b) if b.is_ascii_alphanumeric() => Self::None,
            _ if (1..=6).contains(&digits) => Self::Bytes(at + digits),
            _ => Self::None,
        }
    }
}

impl Number {
    fn read(text: &str, at: usize) -> Self {
        let mut number = Self {
            open: true,
            ..Self::default()
        };
        let mut offset = at;
        let mut separator: Option<char> = None;
        let mut last_digit = false;
        for (index, c) in text.get(at..).unwrap_or_default().chars().enumerate() {
            offset += c.len_utf8();
            if index >= CHARACTERS_MAX {
                number.open = false;
                break;
            }
            if let Some(value) = digit(c) {
                number.digits.push(value);
                match number.groups.last_mut() {
                    Some(group) if last_digit => {
                        group.digits += 1;
                        group.end = offset;
                    }
                    _ => number.groups.push(Group {
                        separator,
                        digits: 1,
                        end: offset,
                    }),
                }
                separator = None;
                last_digit = true;
                continue;
            }
            let lead = index == 0 && matches!(c, '+' | '(');
            // "+1 (415) 555" and "(0)20": brackets may stand beside a space.
            let fits = match c {
                ' ' | '-' | '.' | '/' | '\u{a0}' | '\u{2011}' => {
                    separator.is_none() || separator == Some(')')
                }
                '(' => matches!(separator, None | Some(' ' | '-')) && !number.parenthesis,
                ')' => number.parenthesis && last_digit,
                _ => false,
            };
            if !lead && (!fits || (number.digits.is_empty() && c != '(')) {
                number.open = false;
                number.glued =
                    last_digit && (c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '%' | '['));
                // The separator before an extension was read as one inside the number.
                let tail = number.groups.last().map_or(offset, |group| group.end);
                match Extension::read(text.as_bytes().get(tail..).unwrap_or_default()) {
                    Extension::None => {}
                    Extension::Open => number.open = true,
                    Extension::Bytes(bytes) => {
                        number.extension = Some(tail + bytes);
                        number.glued = false;
                    }
                }
                break;
            }
            number.plus |= lead && c == '+';
            number.parenthesis |= c == '(';
            separator = if lead && c == '+' { None } else { Some(c) };
            last_digit = false;
        }
        number
    }

    /// Lengths of the first groups.
    fn shape(&self) -> Vec<usize> {
        self.groups.iter().map(|g| g.digits).collect()
    }

    fn separators_are(&self, groups: usize, allowed: &[char]) -> bool {
        self.groups
            .iter()
            .take(groups)
            .skip(1)
            .all(|g| g.separator.is_some_and(|s| allowed.contains(&s)))
    }

    /// Whether a further group hangs on with something tighter than a space: a longer identifier.
    fn hangs_on(&self, groups: usize) -> bool {
        match self.groups.get(groups) {
            Some(next) => !matches!(next.separator, Some(' ' | '(' | '\u{a0}')),
            None => self.glued,
        }
    }

    fn end_of(&self, groups: usize) -> Option<usize> {
        let last = groups.checked_sub(1).and_then(|i| self.groups.get(i))?;
        let extension = self.extension.filter(|_| groups == self.groups.len());
        Some(extension.unwrap_or(last.end))
    }

    /// E.164: the most groups that stay within the digits allowed.
    fn international(&self, skip_zeros: usize) -> Option<usize> {
        let (fewest, most) = dialling::lengths(self.digits.get(skip_zeros..)?)?;
        let (fewest, most) = (fewest.max(DIGITS_MIN), most.min(DIGITS_MAX));
        let mut total = 0;
        let mut best = None;
        for (index, group) in self.groups.iter().enumerate() {
            total += group.digits;
            let significant = total.saturating_sub(skip_zeros);
            if significant > most {
                break;
            }
            if significant >= fewest {
                best = Some(index + 1);
            }
        }
        // A lone group that runs past the limit or into letters is not a number anybody dials.
        best.filter(|&groups| groups < self.groups.len() || !self.glued)
    }

    /// 1[3-9]x xxxx xxxx, with or without separators, with or without 86 in front.
    fn chinese_mobile(&self) -> Option<(usize, bool)> {
        let offset =
            usize::from(self.digits.starts_with(&[8, 6]) && self.shape().first() == Some(&2));
        let digits = self.digits.get(offset * 2..)?;
        let plausible = matches!(digits, [1, 3..=9, ..]);
        let shape = self.shape();
        let (groups, separated) = match shape.get(offset..)? {
            [11, ..] => (offset + 1, offset > 0),
            [3, 4, 4, ..] => (offset + 3, true),
            _ => return None,
        };
        let fits = plausible && self.separators_are(groups, &['-', ' ', '\u{a0}']);
        (fits && !self.hangs_on(groups)).then_some((groups, separated))
    }

    /// North American: 3-3-4, perhaps after a 1.
    fn north_american(&self) -> Option<(usize, bool)> {
        let shape = self.shape();
        let (skip, groups) = match *shape.as_slice() {
            [1, 3, 3, 4, ..] if self.digits.first() == Some(&1) => (1, 4),
            [3, 3, 4, ..] => (0, 3),
            [3, 7, ..] if self.parenthesis => (0, 2),
            _ => return None,
        };
        let area = self.digits.get(skip..skip + 3)?;
        let exchange = self.digits.get(skip + 3)?;
        let plausible = matches!(area, [2..=9, ..]) && *exchange >= 2;
        let tight = self.parenthesis || self.separators_are(groups, &['-', '.']);
        (plausible && !self.hangs_on(groups)).then_some((groups, tight))
    }

    /// A trunk zero, an area code and separators: most of Europe and Asia.
    fn trunk_zero(&self) -> Option<(usize, bool)> {
        if !matches!(self.digits.as_slice(), [0, 1..=9, ..]) || self.looks_like_date() {
            return None;
        }
        let mut total = 0;
        let mut best = None;
        for (index, group) in self.groups.iter().enumerate() {
            total += group.digits;
            if total > 12 || (index > 0 && group.digits < 2) {
                break;
            }
            if index > 0 && total >= 9 {
                best = Some(index + 1);
            }
        }
        let groups = best?;
        let tight = self.separators_are(groups, &['-', '/', ')', '('])
            && self.shape().get(1).is_some_and(|d| *d >= 4);
        let fits = self.separators_are(groups, &['-', ' ', '/', ')', '(', '\u{a0}', '\u{2011}']);
        (fits && !self.hangs_on(groups)).then_some((groups, tight))
    }

    /// Any grouping of 6 to 15 digits; only a word beside it makes it a number to dial.
    fn loose(&self) -> Option<usize> {
        let mut total = 0;
        let mut best = None;
        for (index, group) in self.groups.iter().enumerate() {
            total += group.digits;
            if total > DIGITS_MAX || group.digits > 11 || (group.digits < 2 && index > 0) {
                break;
            }
            // Six digits in one or two groups are a code, a price or the number of a house.
            if total >= 7 || (index > 1 && total >= 6) {
                best = Some(index + 1);
            }
        }
        let is_date = |groups: usize| groups <= 3 && self.looks_like_date();
        best.filter(|groups| !is_date(*groups) && !self.hangs_on(*groups))
    }

    fn looks_like_date(&self) -> bool {
        matches!(self.shape().as_slice(), [2, 2, 4 | 2, ..] | [4, 2, 2, ..])
            && self.separators_are(3, &['-', '/', '.'])
    }
}

/// The recogniser of telephone numbers.
#[derive(Clone, Debug)]
pub struct Phones {
    words: Words,
}

enum Verdict {
    Phone(usize, u32),
    Not,
    Unknown,
}

impl Phones {
    /// Builds the table of context words.
    pub fn new() -> Result<Self, DetectError> {
        Ok(Self {
            words: Words::new("detect/phone", &WORDS)?,
        })
    }

    /// A word before `at` speaks for a number there, and none against it. A marker stands for
    /// something that was cut out, perhaps with a word against: near one, nothing vouches.
    fn vouched(&self, text: &str, at: usize) -> bool {
        let lists = self.words.lists_in(before(text, at, CONTEXT_BYTES));
        lists & AGAINST == 0 && lists & FOR != 0 && !marked(text, at, CONTEXT_BYTES)
    }

    /// Bare digits and groups that only a word makes a number: before them, or right behind.
    fn loose(&self, text: &str, at: usize, number: &Number, end: End) -> Verdict {
        let fits = number.loose().and_then(|groups| number.end_of(groups));
        let Some(stop) = fits else {
            return Verdict::Not;
        };
        if self.vouched(text, at) {
            return Verdict::Phone(stop, 600);
        }
        let behind = text.as_bytes().get(stop..).unwrap_or_default();
        let behind = behind.get(..AFTER_BYTES).unwrap_or(behind);
        let gap = behind
            .iter()
            .take(3)
            .take_while(|b| b" -(,/\\".contains(b))
            .count();
        let word = behind.get(gap..).unwrap_or_default();
        let reads = |w: &&str| {
            let common = word.len().min(w.len());
            word.get(..common).is_some_and(|h| {
                h.eq_ignore_ascii_case(w.as_bytes().get(..common).unwrap_or_default())
            })
        };
        match WORDS_AFTER.iter().find(|w| reads(w)) {
            Some(w) if word.len() >= w.len() => Verdict::Phone(stop, 600),
            Some(_) if end == End::Open && behind.len() < AFTER_BYTES => Verdict::Unknown,
            _ => Verdict::Not,
        }
    }

    fn decide(&self, text: &str, at: usize, end: End) -> Verdict {
        if too_short(text, at, CHARACTERS_MAX, LOOSE_DIGITS_MIN, b" -./()+") {
            return Verdict::Not;
        }
        let number = Number::read(text, at);
        if number.open && end == End::Open {
            return Verdict::Unknown;
        }
        let zeros = if number.plus {
            Some(0)
        } else {
            (number.digits.starts_with(&[0, 0])).then_some(2)
        };
        if let Some(zeros) = zeros {
            let tight = number.plus || self.vouched(text, at);
            return match number
                .international(zeros)
                .and_then(|groups| number.end_of(groups))
            {
                Some(stop) if tight => Verdict::Phone(stop, 1000),
                _ => Verdict::Not,
            };
        }
        if let Some((groups, separated)) = number.chinese_mobile() {
            let context = before(text, at, CONTEXT_BYTES);
            let beside_chinese = context.chars().next_back().is_some_and(|c| !c.is_ascii())
                && self.words.lists_in(context) & AGAINST == 0
                && !marked(text, at, CONTEXT_BYTES);
            if let Some(stop) = number.end_of(groups)
                && (separated || beside_chinese || self.vouched(text, at))
            {
                return Verdict::Phone(stop, 900);
            }
        }
        for form in [number.north_american(), number.trunk_zero()]
            .into_iter()
            .flatten()
        {
            if let (groups, tight) = form
                && let Some(stop) = number.end_of(groups)
                && (tight || self.vouched(text, at))
            {
                return Verdict::Phone(stop, 800);
            }
        }
        self.loose(text, at, &number, end)
    }
}

/// Whether a number may begin at `at`, seen from what stands before it.
fn may_begin(text: &str, at: usize) -> bool {
    !digit_before(text, at)
        && !ends_with_marker(text, at)
        && !byte_before(text, at)
            .is_some_and(|b| b.is_ascii_alphanumeric() || b"._-/#$+%@&".contains(&b))
        && !text
            .get(..at)
            .is_some_and(|t| t.ends_with(['\u{20ac}', '\u{a3}', '\u{a5}', '\u{ffe5}']))
}

/// The next place where a number could begin: a digit, a plus or a bracket.
fn next_start(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    // One pass: looking for each kind by itself would read a text of plus signs over and over.
    while let Some(found) = text
        .as_bytes()
        .get(at..)?
        .iter()
        .position(|b| b.is_ascii_digit() || matches!(*b, b'+' | b'(' | FULL_WIDTH_LEAD))
    {
        at += found;
        if char_at(text, at).is_some_and(|c| matches!(c, '+' | '(') || digit(c).is_some()) {
            return Some(at);
        }
        at += 1;
    }
    None
}

impl Lexer for Phones {
    fn left_context(&self) -> usize {
        CONTEXT_BYTES + 4
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let mut at = from;
        while let Some(start) = next_start(text, at) {
            if may_begin(text, start) {
                match self.decide(text, start, end) {
                    Verdict::Phone(stop, score) => {
                        return Next::Hit(Found {
                            rule: RuleId::of("detect/phone"),
                            label: Label::Phone,
                            span: start..stop,
                            score,
                        });
                    }
                    Verdict::Unknown => return Next::ClearTo(start),
                    Verdict::Not => {}
                }
            }
            at = start + char_at(text, start).map_or(1, char::len_utf8);
        }
        Next::ClearTo(text.len())
    }
}

super::detector!(Phones, "detect/phone", Label::Phone, MATCH_BYTES_MAX);
