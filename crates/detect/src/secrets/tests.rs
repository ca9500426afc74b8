//! Each card proves itself; the engine proves its own edges. RINGFENCE-TEST-FIXTURE: every
//! key-like text here is made by `fixture::expand` or joined from parts.

use super::fixture::expand;
use super::*;
use std::collections::BTreeSet;

fn secrets() -> Secrets {
    Secrets::new().expect("rules")
}

#[test]
fn every_card_matches_what_it_must_and_nothing_it_must_not() {
    let secrets = secrets();
    let mut wrong = Vec::new();
    for card in secrets.cards() {
        for text in &card.tests.must_match {
            let text = expand(text);
            if !secrets.scan(&text).iter().any(|hit| hit.rule == card.id) {
                wrong.push(format!(
                    "{} misses {text}: {:?}",
                    card.id,
                    secrets.scan(&text)
                ));
            }
        }
        for text in &card.tests.must_not_match {
            let text = expand(text);
            if secrets.scan(&text).iter().any(|hit| hit.rule == card.id) {
                wrong.push(format!("{} matches {text}", card.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ids_are_unique_and_at_least_25_providers_are_known() {
    let secrets = secrets();
    let ids: BTreeSet<_> = secrets.cards().map(|c| c.id.clone()).collect();
    assert_eq!(ids.len(), secrets.cards().count());
    assert!(!ids.iter().any(|id| id.to_string().contains("bad-rule-id")));
    let providers: BTreeSet<_> = secrets
        .engine
        .rules
        .iter()
        .map(|r| r.provider.clone())
        .collect();
    assert!(providers.len() >= 25, "{}", providers.len());
}

#[test]
fn stream_rules_find_what_batch_rules_find() {
    let stream = SecretDetector::new().expect("rules");
    for rule in &stream.engine.rules {
        for text in &rule.card.tests.must_match {
            let mut hits = Vec::new();
            stream.scan(&expand(text), &mut hits);
            assert!(
                hits.iter().any(|h| h.rule == rule.card.id),
                "{} {text}",
                rule.card.id
            );
        }
    }
}

#[test]
fn line_span_and_redaction_are_those_of_the_secret() {
    let key = expand("ghp_\u{ab}alnum:36\u{bb}");
    let text = format!("# \u{4e2d}\u{6587}\nname = 1\ntoken: {key}\n{key}");
    let hits = secrets().scan(&text);
    assert_eq!(hits.iter().map(|h| h.line).collect::<Vec<_>>(), [3, 4]);
    for hit in &hits {
        assert_eq!(text.get(hit.span.clone()), Some(key.as_str()));
        assert_eq!(hit.redacted, "ghp_\u{2026} (40 characters)");
        assert!(!hit.redacted.contains(&key[4..12]));
    }
}

#[test]
fn a_valid_check_raises_the_confidence() {
    let body = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5";
    let check = value::base62_check(body.as_bytes());
    let good = format!("npm_{body}{}", String::from_utf8_lossy(&check));
    let bad = format!("npm_{body}000000");
    let secrets = secrets();
    assert_eq!(
        secrets.scan(&good).first().map(|h| h.confidence),
        Some(Confidence::High)
    );
    assert_eq!(
        secrets.scan(&bad).first().map(|h| h.confidence),
        Some(Confidence::Medium)
    );
}

fn pem(body: &str, tail: &str) -> String {
    format!("x -----BEGIN {} KEY-----\n{body}\n{tail} y.", "RSA PRIVATE")
}

#[test]
fn a_private_key_block_is_covered_whole_and_also_when_it_breaks_off() {
    let body = expand("\u{ab}b64:64\u{bb}\n\u{ab}b64:64\u{bb}");
    let text = pem(&body, "-----END RSA PRIVATE KEY-----");
    let hits = secrets().scan(&text);
    assert_eq!(hits.len(), 1);
    let left = format!(
        "{}{}",
        &text[..hits[0].span.start],
        &text[hits[0].span.end..]
    );
    assert_eq!(left, "x  y.");
    let cut = secrets().scan(&text[..120]);
    assert_eq!(cut.iter().map(|h| h.span.end).collect::<Vec<_>>(), [120]);
}

#[test]
fn talk_about_private_keys_and_public_keys_are_not_keys() {
    let secrets = secrets();
    assert!(
        secrets
            .scan("Files start with -----BEGIN PRIVATE KEY----- and then base64.")
            .is_empty()
    );
    let public = pem(&expand("\u{ab}b64:80\u{bb}"), "").replace("RSA PRIVATE", "PUBLIC");
    assert!(secrets.scan(&public).is_empty());
    assert!(secrets.scan("-----BEGIN ").is_empty());
}

#[test]
fn an_escaped_private_key_in_json_is_found() {
    let text = pem(
        &expand("\u{ab}b64:64\u{bb}\u{ab}b64:64\u{bb}"),
        "-----END RSA PRIVATE KEY-----",
    );
    assert_eq!(secrets().scan(&text.replace('\n', "\\n")).len(), 1);
}

#[test]
fn ordinary_code_holds_no_secret() {
    let secrets = secrets();
    for text in [
        "let token = lexer.next_token()?;",
        "password = os.environ[\"PASSWORD\"]",
        "password: \"<your password>\"",
        "api_key = \"${API_KEY}\"",
        "see https://user:password@example.com/ for the form",
        "integrity sha512-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "id 123e4567-e89b-12d3-a456-426614174000",
        "sk-SK is the locale of Slovakia",
        "the key-value store and the key-signature",
        "pip install hf_transfer npm_lifecycle",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    ] {
        assert_eq!(secrets.scan(text), [], "{text}");
    }
}

#[test]
fn a_secret_after_a_megabyte_of_text_is_found() {
    let key = expand("AKIA\u{ab}upper:16\u{bb}");
    let text = format!("{}{key}", "lorem ipsum dolor ".repeat(60_000));
    assert_eq!(secrets().scan(&text).len(), 1);
}

#[test]
fn a_rule_that_could_match_any_length_is_refused() {
    let error = crate::pattern::Pattern::new("x", "a+", crate::pattern::Alphabet::Ascii);
    assert!(matches!(error, Err(DetectError::Rule { .. })));
}
