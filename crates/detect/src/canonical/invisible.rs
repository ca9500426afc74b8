//! Characters that nobody sees and a model reads: which they are, when they are honest, and what
//! they say.
//!
//! Emoji, flags, Persian, Indic and right-to-left text use some of them honestly; a run of them, or one inside a
//! Latin word, is not honest.

use super::HiddenText;
use std::ops::Range;

/// What an invisible character is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not invisible.
    Visible,
    /// U+E0000 to U+E007F: ASCII that no font draws.
    Tag,
    /// Selects a glyph; 256 of them make a byte.
    Variation,
    /// Reorders what is shown.
    Bidi,
    /// No width.
    ZeroWidth,
    /// Means what a private font says.
    Private,
}

/// Sorts a character.
pub(super) fn kind(c: char) -> Kind {
    match c {
        '\u{e0000}'..='\u{e007f}' => Kind::Tag,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180f}' => {
            Kind::Variation
        }
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Kind::Bidi,
        '\u{200b}'..='\u{200f}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' => Kind::ZeroWidth,
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => Kind::Private,
        '\u{80}'..='\u{9f}' if c != '\u{85}' => Kind::ZeroWidth,
        _ => Kind::Visible,
    }
}

// LIMIT: zero-width characters in a row that honest text may have (a joiner and a mark).
const ZERO_WIDTH_RUN_MAX: usize = 2;
// LIMIT: variation selectors in a row that honest text may have.
const VARIATION_RUN_MAX: usize = 1;
// LIMIT: Latin words parted by a zero-width character that honest text may have (soft hyphens are
// not counted).
const SPLIT_WORDS_MAX: usize = 2;
// LIMIT: bits that make a hidden text worth decoding: three characters.
const BITS_MIN: usize = 24;
// LIMIT: letters of a flag of a region: three to six, and the end tag.
const FLAG_TAGS_MAX: usize = 7;

/// Collects runs of invisible characters while a text is read.
pub(super) struct Hidden<'t> {
    text: &'t str,
    run: Option<(Kind, Range<usize>)>,
    found: Vec<(&'static str, Range<usize>)>,
    texts: Vec<HiddenText>,
    split_words: Vec<Range<usize>>,
    bits: String,
    bits_span: Range<usize>,
}

impl<'t> Hidden<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            run: None,
            found: Vec::new(),
            texts: Vec::new(),
            split_words: Vec::new(),
            bits: String::new(),
            bits_span: 0..0,
        }
    }

    /// Takes an invisible character; they come in order.
    pub(super) fn see(&mut self, c: char, at: usize) {
        let (kind, end) = (kind(c), at + c.len_utf8());
        if let Some((of, run)) = &mut self.run
            && *of == kind
            && run.end == at
        {
            run.end = end;
            return;
        }
        self.close();
        self.run = Some((kind, at..end));
    }

    fn close(&mut self) {
        let Some((kind, span)) = self.run.take() else {
            return;
        };
        let run = self.text.get(span.clone()).unwrap_or_default();
        let length = run.chars().count();
        match kind {
            Kind::Tag if !self.is_flag(run, length, span.start) => {
                self.found.push(("shield/smuggling-tags", span.clone()));
                let text = run
                    .chars()
                    .filter_map(|c| char::from_u32(c as u32 - 0xe0000))
                    .filter(|c| matches!(c, ' '..='~' | '\n'))
                    .collect();
                self.texts.push(HiddenText { text, span });
            }
            Kind::Variation if length > VARIATION_RUN_MAX => {
                self.found
                    .push(("shield/smuggling-variation-selectors", span.clone()));
                let bytes: Vec<u8> = run.chars().filter_map(selector_byte).collect();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.texts.push(HiddenText { text, span });
            }
            Kind::Bidi => self.bidi(run, span),
            Kind::ZeroWidth => self.zero_width(run, length, span),
            Kind::Tag | Kind::Variation | Kind::Private | Kind::Visible => {}
        }
    }

    /// The flags of England, Scotland, Wales and other regions are spelt with tags.
    fn is_flag(&self, run: &str, length: usize, at: usize) -> bool {
        self.text
            .get(..at)
            .is_some_and(|before| before.ends_with('\u{1f3f4}'))
            && length <= FLAG_TAGS_MAX
            && run.ends_with('\u{e007f}')
    }

    fn bidi(&mut self, run: &str, span: Range<usize>) {
        let overrides = run.contains(['\u{202d}', '\u{202e}']);
        // Right-to-left text isolates and embeds honestly.
        let right_to_left = || {
            let near = crate::lexer::floor_boundary(self.text, span.start.saturating_sub(256));
            let far = crate::lexer::floor_boundary(self.text, span.end + 256);
            self.text
                .get(near..far)
                .is_some_and(|t| t.chars().any(|c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')))
        };
        if overrides || !right_to_left() {
            self.found.push(("shield/smuggling-bidi", span));
        }
    }

    fn zero_width(&mut self, run: &str, length: usize, span: Range<usize>) {
        if self.bits.is_empty() {
            self.bits_span.start = span.start;
        }
        for c in run.chars() {
            match c {
                '\u{200b}' => self.bits.push('0'),
                '\u{200c}' => self.bits.push('1'),
                _ => continue,
            }
            self.bits_span.end = span.end;
        }
        let before = crate::lexer::byte_before(self.text, span.start);
        let after = self.text.as_bytes().get(span.end);
        let inside_word = before.is_some_and(|b| b.is_ascii_alphabetic())
            && after.is_some_and(u8::is_ascii_alphabetic);
        if length > ZERO_WIDTH_RUN_MAX {
            self.found.push(("shield/smuggling-zero-width", span));
        } else if inside_word && !run.contains('\u{ad}') {
            self.split_words.push(span);
        }
    }

    /// The hits with their rules, and the hidden texts.
    pub(super) fn finish(mut self) -> (Vec<(&'static str, Range<usize>)>, Vec<HiddenText>) {
        self.close();
        if self.split_words.len() > SPLIT_WORDS_MAX {
            let spans = std::mem::take(&mut self.split_words);
            self.found.extend(
                spans
                    .into_iter()
                    .map(|span| ("shield/smuggling-zero-width", span)),
            );
        }
        if self.bits.len() >= BITS_MIN {
            let bytes: Vec<u8> = self
                .bits
                .as_bytes()
                .chunks_exact(8)
                .map(|bits| {
                    bits.iter()
                        .fold(0_u8, |byte, bit| (byte << 1) | u8::from(*bit == b'1'))
                })
                .collect();
            let span = self.bits_span.clone();
            let inverse: Vec<u8> = bytes.iter().map(|b| !b).collect();
            for bytes in [bytes, inverse] {
                self.texts
                    .extend(String::from_utf8(bytes).ok().map(|text| HiddenText {
                        text,
                        span: span.clone(),
                    }));
            }
        }
        self.found.sort_by_key(|(_, span)| span.start);
        (self.found, self.texts)
    }
}

/// The byte that a variation selector stands for: 0 to 15, then 16 to 255.
fn selector_byte(c: char) -> Option<u8> {
    match c {
        '\u{fe00}'..='\u{fe0f}' => u8::try_from(c as u32 - 0xfe00).ok(),
        '\u{e0100}'..='\u{e01ef}' => u8::try_from(c as u32 - 0xe0100 + 16).ok(),
        _ => None,
    }
}
