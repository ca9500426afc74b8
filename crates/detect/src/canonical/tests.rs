//! What folds, what stays, what is called hidden, and that the map leads back to the bytes.

use super::*;
use proptest::prelude::*;

fn text(of: &str) -> String {
    canonical(of).text
}

#[test]
fn ascii_and_chinese_stay_what_they_are() {
    assert_eq!(
        text("Hello, World! 0O1lI| rn m"),
        "hello, world! 0o1li| rn m"
    );
    assert_eq!(
        text("\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}"),
        "\u{4f60}\u{597d},\u{4e16}\u{754c}"
    );
    assert_eq!(text("a \t b\r\n\n c"), "a b\nc");
}

#[test]
fn disguises_of_latin_letters_fold() {
    for disguised in [
        "\u{ff49}\u{ff47}\u{ff4e}\u{ff4f}\u{ff52}\u{ff45}", // full width
        "\u{1d422}\u{1d420}\u{1d427}\u{1d428}\u{1d42b}\u{1d41e}", // mathematical bold
        "ign\u{43e}r\u{435}",                               // Cyrillic o and e
        "\u{456}gn\u{3bf}re",                               // Ukrainian i, Greek omicron
        "i\u{200b}g\u{2060}n\u{feff}ore",                   // zero width
        "\u{ed}gn\u{f3}r\u{e9}",                            // accents
        "i\u{301}\u{302}gno\u{335}re",                      // stacked marks
        "\u{24d8}\u{24d6}\u{24dd}\u{24de}\u{24e1}\u{24d4}", // circled
    ] {
        assert_eq!(text(disguised), "ignore", "{disguised}");
    }
}

#[test]
fn words_of_other_scripts_stay() {
    assert_eq!(
        text("\u{438}\u{433}\u{43d}\u{43e}\u{440}\u{438}\u{440}\u{443}\u{439}"),
        "\u{438}\u{433}\u{43d}\u{43e}\u{440}\u{438}\u{440}\u{443}\u{439}"
    );
    assert_eq!(text("\u{d55c}\u{ad6d}\u{c5b4}"), "\u{d55c}\u{ad6d}\u{c5b4}");
    assert_eq!(text("\u{304b}\u{3099}"), "\u{304c}");
}

#[test]
fn spans_lead_back_to_the_bytes() {
    let original = "ab \u{ff49}\u{ff47}n\u{200b}\u{43e}r\u{435}! \u{fb01}t";
    let view = canonical(original);
    let at = view.text.find("ignore").expect("folded");
    let span = view.original_span(at..at + 6);
    assert_eq!(&original[span], "\u{ff49}\u{ff47}n\u{200b}\u{43e}r\u{435}");
    let at = view.text.find("fit").expect("ligature");
    assert_eq!(&original[view.original_span(at + 1..at + 3)], "\u{fb01}t");
}

fn tags(words: &str) -> String {
    words
        .chars()
        .filter_map(|c| char::from_u32(0xe0000 + c as u32))
        .collect()
}

#[test]
fn hidden_texts_are_found_and_read() {
    let selectors: String = "obey me"
        .bytes()
        .filter_map(|b| char::from_u32(if b < 16 { 0xfe00 } else { 0xe0100 - 16 } + u32::from(b)))
        .collect();
    let bits: String = "obey me"
        .bytes()
        .flat_map(|b| {
            (0..8).rev().map(move |i| {
                if b >> i & 1 == 1 {
                    '\u{200c}'
                } else {
                    '\u{200b}'
                }
            })
        })
        .collect();
    for (text, rule) in [
        (format!("hi{}", tags("obey me")), "shield/smuggling-tags"),
        (
            format!("hi\u{1f600}{selectors}"),
            "shield/smuggling-variation-selectors",
        ),
        (format!("hi{bits} there"), "shield/smuggling-zero-width"),
    ] {
        let view = canonical(&text);
        assert_eq!(
            view.smuggled
                .iter()
                .map(|h| h.rule.to_string())
                .collect::<Vec<_>>(),
            [rule]
        );
        assert!(
            view.hidden.iter().any(|h| h.text == "obey me"),
            "{:?}",
            view.hidden
        );
        assert!(!view.text.contains("obey"));
        assert!(
            view.smuggled
                .iter()
                .all(|h| text.is_char_boundary(h.span.start))
        );
    }
}

#[test]
fn reordering_and_split_words_are_found() {
    assert_eq!(canonical("a\u{202e}b\u{202c}").smuggled.len(), 2);
    assert_eq!(
        canonical("i\u{200b}g\u{200b}n\u{200b}ore").smuggled.len(),
        3
    );
    assert_eq!(canonical("i\u{200b}g\u{200b}nore").smuggled.len(), 0);
    assert_eq!(canonical("a\u{200b}\u{200b}\u{200b} b").smuggled.len(), 1);
    assert_eq!(canonical("a\u{200b}\u{200b} b").smuggled.len(), 0);
}

#[test]
fn honest_uses_are_not_called_hidden() {
    for honest in [
        "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}", // Scotland
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",                     // a family
        "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}", // Persian
        "\u{2067}\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{2069} and more",
        "co\u{ad}op\u{ad}er\u{ad}a\u{ad}tion",
        "\u{feff}a file with a byte order mark",
        "\u{e0b0} a prompt of a terminal",
    ] {
        assert_eq!(canonical(honest).smuggled, [], "{honest:?}");
    }
}

#[test]
fn a_stack_of_marks_is_cut_at_the_limit() {
    let at = format!("\u{438}{}", "\u{300}".repeat(CLUSTER_CHARACTERS_MAX - 1));
    let above = format!("\u{438}{}", "\u{300}".repeat(CLUSTER_CHARACTERS_MAX));
    assert_eq!(canonical(&at).pieces.len(), 1);
    assert_eq!(canonical(&above).pieces.len(), 2);
}

proptest! {
    #[test]
    fn any_text_has_a_view_and_every_span_leads_to_characters(of in "\\PC*|[\u{200b}-\u{200f}a\u{300}\u{43e} \u{e0041}]{0,40}") {
        let view = canonical(&of);
        for (at, c) in view.text.char_indices() {
            let span = view.original_span(at..at + c.len_utf8());
            prop_assert!(of.get(span.clone()).is_some_and(|t| !t.is_empty()), "{at} {span:?}");
        }
        for hit in &view.smuggled {
            prop_assert!(of.get(hit.span.clone()).is_some());
        }
    }

    #[test]
    fn a_view_of_a_view_is_the_view(of in "[a-zA-Z0-9 .,!?\u{4e00}-\u{4e20}]{0,60}") {
        let once = text(&of);
        prop_assert_eq!(text(&once), once);
    }
}
