//! What the shipped weights must still find; how well they do is `cargo xtask eval pii`.

use super::*;

fn found(text: &str) -> Vec<(Label, &str)> {
    let mut hits = Vec::new();
    Names::new().expect("model").scan(text, &mut hits);
    hits.into_iter()
        .map(|h| {
            (
                h.label,
                text.get(h.span).expect("whole characters of the text"),
            )
        })
        .collect()
}

#[test]
fn names_in_plain_sentences_are_found() {
    for (text, label, value) in [
        (
            "My name is Angela Bravo and I need help.",
            Label::Person,
            "Angela Bravo",
        ),
        (
            "Please call Dr. Hartmann tomorrow.",
            Label::Person,
            "Hartmann",
        ),
        ("She moved from Lisbon last year.", Label::Place, "Lisbon"),
        (
            "We are travelling to Norway in June.",
            Label::Place,
            "Norway",
        ),
        (
            "He works for Northwind Technologies Inc. now.",
            Label::Organisation,
            "Northwind Technologies Inc",
        ),
        (
            "Send it to 12 Baker Street, London please.",
            Label::Address,
            "12 Baker Street",
        ),
    ] {
        let all = found(text);
        assert!(
            all.iter().any(|(l, v)| *l == label && v.contains(value)),
            "{text}: {all:?}"
        );
    }
}

#[test]
fn plain_prose_and_code_hold_no_names() {
    for text in [
        "the quick brown fox jumps over the lazy dog",
        "Please reset my password and send the invoice again.",
        "fn main() { let value = map.get(\"key\").unwrap_or_default(); }",
        "How do I install the package on Monday?",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_chunk_border_loses_no_text_and_memory_stays_small() {
    let text = "Angela Bravo wrote to us. ".repeat(CHUNK_TOKENS / 3);
    let all = found(&text);
    let people = all.iter().filter(|(l, _)| *l == Label::Person).count();
    assert!(people >= CHUNK_TOKENS / 3 - 2, "{people}");
}

#[test]
fn hostile_text_is_read_without_harm() {
    for unit in [
        "A",
        "\u{301}",
        "'",
        "-",
        "1",
        "\u{2019}s",
        "\n",
        ".",
        "\u{ff21}",
    ] {
        let text = unit.repeat(20_000);
        let all = found(&text);
        let octets: usize = all.iter().map(|(_, value)| value.len()).sum();
        assert!(octets <= text.len(), "{unit:?}: hits overlap");
        assert!(all.iter().all(|(_, value)| !value.is_empty()), "{unit:?}");
    }
}
