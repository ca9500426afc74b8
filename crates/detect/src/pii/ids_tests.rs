//! The check digits against numbers that python-stdnum judged, and the words that are needed.

use super::run::fit;
use super::table::{NUMBERS, Needs};
use super::*;
use ringfence_core::detection::{Hit, Label};
use std::collections::BTreeSet;

const JUDGED: &str = include_str!("../../tests/data/ids.txt");

fn scan(text: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    PersonNumbers::new().expect("tables").scan(text, &mut hits);
    hits
}

fn judged() -> impl Iterator<Item = (&'static str, bool, &'static str)> {
    JUDGED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut parts = line.split('\t');
            let mut next = || parts.next().expect("three columns");
            (next(), next() == "+", next())
        })
}

#[test]
fn every_check_agrees_with_the_judge() {
    let mut wrong = Vec::new();
    let mut rules = BTreeSet::new();
    for (rule, valid, text) in judged() {
        let number = NUMBERS.iter().find(|n| n.rule == rule).expect(rule);
        rules.insert(rule);
        let ours = number.shapes.iter().any(|shape| {
            fit(shape, text.as_bytes())
                .is_some_and(|f| f.length == text.len() && (number.check)(f.plain()))
        });
        if ours != valid {
            wrong.push((rule, valid, text));
        }
    }
    assert_eq!(wrong, []);
    assert!(rules.len() >= 50, "{} rules are judged", rules.len());
}

#[test]
fn a_valid_number_beside_its_word_is_found_whole() {
    for (_, _, text) in judged().filter(|(_, valid, _)| *valid) {
        let sentence = format!("National ID, tax or patient number: {text}.");
        let hits = scan(&sentence);
        assert!(
            hits.iter()
                .any(|h| sentence.get(h.span.clone()) == Some(text)),
            "{text}: {hits:?}"
        );
    }
}

#[test]
fn what_needs_a_word_is_nothing_without_it() {
    for (rule, _, text) in judged().filter(|(_, valid, _)| *valid) {
        let number = NUMBERS.iter().find(|n| n.rule == rule).expect(rule);
        if number.needs == Needs::Word {
            let hits = scan(&format!("batch {text} done"));
            assert!(
                hits.iter().all(|h| h.rule.as_str() != rule),
                "{rule} {text} {hits:?}"
            );
        }
    }
}

#[test]
fn numbers_of_many_kinds_are_found_in_prose() {
    for (text, label, value) in [
        ("my SSN is 536-90-4399.", Label::NationalId, "536-90-4399"),
        (
            "social security number 536904399",
            Label::NationalId,
            "536904399",
        ),
        (
            "\u{8eab}\u{4efd}\u{8bc1}11010519491231002X\u{3002}",
            Label::NationalId,
            "11010519491231002X",
        ),
        (
            "My driver's license number is M943688896309",
            Label::DriverLicence,
            "M943688896309",
        ),
        (
            "passport no. C01X00T47 or passport A12345678",
            Label::Passport,
            "A12345678",
        ),
        ("NHS number 943 476 5919", Label::Medical, "943 476 5919"),
        (
            "CNPJ 11.222.333/0001-81",
            Label::TaxId,
            "11.222.333/0001-81",
        ),
        ("PAN ABCPE1234F", Label::TaxId, "ABCPE1234F"),
        ("NI: AB 12 34 56 C", Label::NationalId, "AB 12 34 56 C"),
        ("HKID A123456(3)", Label::NationalId, "A123456(3"),
    ] {
        assert!(
            scan(text)
                .iter()
                .any(|h| h.label == label && text.get(h.span.clone()) == Some(value)),
            "{text}: {:?}",
            scan(text)
        );
    }
}

#[test]
fn plain_numbers_and_code_are_no_numbers_of_people() {
    for text in [
        "the total is 123456789 bytes",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "x = 100200300400",
        "123e4567-e89b-12d3-a456-426614174000",
        "he paid 123456789 for it",
        "v1.2.3-4567",
        "$536-90-4399",
        "000-12-3456",
        "part 536-90-43991",
    ] {
        assert_eq!(scan(text), [], "{text}");
    }
}

#[test]
fn nothing_new_is_found_after_redaction() {
    let detectors = detectors().expect("detectors");
    for text in [
        "tel 4111-1111-1111-1111-123-45-6789",
        "id [REDACTED:card] 536904399",
        "order ann@example.com call 415 555 2671",
    ] {
        let once = crate::redact::redact(text, &detectors).0;
        assert_eq!(crate::redact::redact(&once, &detectors).0, once);
    }
}
