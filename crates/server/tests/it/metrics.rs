//! `/metrics`: who may read it, and whether a strict reader of the text format takes it.

use crate::bench::{Bench, control};
use crate::console::{Session, page};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Family {
    kind: String,
    help: bool,
    samples: usize,
}

fn is_name(text: &str, more: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || more.contains(c))
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
}

/// Takes `{a="b",c="d"}` apart; values may hold escaped quotes.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a label has a quoted value");
        assert!(is_name(name, "") && !name.starts_with("__"), "{name}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a label value ends") {
                (i, '"') => break i,
                (_, '\\') => match chars.next().unwrap().1 {
                    'n' => value.push('\n'),
                    c @ ('"' | '\\') => value.push(c),
                    c => panic!("unknown escape {c}"),
                },
                (_, '\n') => panic!("a raw newline in a label"),
                (_, c) => value.push(c),
            }
        };
        assert!(
            found.insert(name.to_owned(), value).is_none(),
            "label {name} twice"
        );
        rest = &after[end + 1..];
        if let Some(next) = rest.strip_prefix(',') {
            assert!(!next.is_empty(), "a comma at the end");
            rest = next;
        } else {
            assert!(rest.is_empty(), "{rest}");
        }
    }
    found
}

/// Text exposition 0.0.4, more strictly than Prometheus: help and type once each and before the
/// samples, families in one piece, no series twice, histograms whole and cumulative.
fn parse(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut series = BTreeMap::new();
    let mut done = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        assert_eq!(line, line.trim(), "space around {line:?}");
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap());
            let value = words.next().unwrap_or_default();
            assert!(is_name(name, ":"), "{name}");
            if name != current {
                assert!(done.insert(name.to_owned()), "{name} comes in two pieces");
                name.clone_into(&mut current);
            }
            let family = families.entry(name.to_owned()).or_default();
            assert_eq!(family.samples, 0, "{what} of {name} after its samples");
            match what {
                "HELP" => {
                    assert!(!family.help && !value.is_empty(), "{line}");
                    family.help = true;
                }
                "TYPE" => {
                    assert!(family.kind.is_empty(), "{line}");
                    assert!(["counter", "gauge", "histogram"].contains(&value), "{line}");
                    value.clone_into(&mut family.kind);
                }
                other => panic!("{other}"),
            }
            continue;
        }
        let (id, value) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, given) = match id.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap())),
            None => (id, BTreeMap::new()),
        };
        assert!(is_name(name, ":"), "{line}");
        let family = families
            .get_mut(&current)
            .expect("a sample without a family");
        assert!(family.help && !family.kind.is_empty(), "{line}");
        let own = if family.kind == "histogram" {
            let suffix = name.strip_prefix(current.as_str()).unwrap();
            assert_eq!(suffix == "_bucket", given.contains_key("le"), "{line}");
            ["_bucket", "_sum", "_count"].contains(&suffix)
        } else {
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{line}");
            name == current
        };
        assert!(own, "{line} stands under {current}");
        family.samples += 1;
        let value: f64 = value.parse().expect("a number");
        assert!(family.kind == "gauge" || value >= 0.0, "{line}");
        assert!(
            series.insert(format!("{name}{given:?}"), value).is_none(),
            "{line} twice"
        );
    }
    series
}

#[tokio::test]
async fn every_line_is_taken_by_a_strict_reader() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let made = control(&app, "POST", "/v1/keys", "{\"name\":\"a\"}")
        .await
        .json();
    let key = made["key"].as_str().unwrap();
    let body = "{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"kettle?\"}]}";
    assert_eq!(
        bench
            .gateway(key, "POST", "/v1/chat/completions", body)
            .await
            .status,
        200
    );
    bench.gateway("wrong", "GET", "/v1/models", "").await;
    let reply = control(&app, "GET", "/metrics", "").await;
    let series = parse(&reply.body);
    let sum = |prefix: &str| {
        series
            .iter()
            .filter(|(k, _)| k.starts_with(prefix))
            .map(|(_, v)| v)
            .sum::<f64>()
    };
    assert!(series.len() > 20, "{}", reply.body);
    assert!(sum("ringfence_record_leaves") > 4.0, "{}", reply.body);
    assert!(sum("ringfence_run_requests_total") >= 1.0, "{}", reply.body);
    assert!(!reply.body.contains(key));
}

#[tokio::test]
async fn the_consoles_metrics_need_a_key_or_a_session() {
    let bench = Bench::new();
    let running = bench.running().await;
    let app = &running.app;
    let made = control(app, "POST", "/v1/keys", "{\"name\":\"a\"}")
        .await
        .json();
    let key = made["key"].as_str().unwrap();
    let with =
        async |name: &str, value: &str| page(app, "GET", "/metrics", &[(name, value)], "").await;

    for (name, value) in [
        ("accept", "*/*"),
        ("authorization", "Bearer "),
        ("authorization", key),
        ("authorization", "Bearer rf_0000_0000_0000"),
        ("cookie", "__Host-ringfence=AAAA"),
    ] {
        let reply = with(name, value).await;
        assert_eq!(reply.status, 401, "{name}: {value}");
        assert!(!reply.body.contains("ringfence_"));
    }
    let by_key = with("authorization", &format!("Bearer {key}")).await;
    assert_eq!(by_key.status, 200);
    assert_eq!(
        by_key.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    parse(&by_key.body);
    let session = Session::open(&running).await;
    assert_eq!(with("cookie", &session.cookie).await.status, 200);

    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    control(app, "DELETE", &path, "").await;
    assert_eq!(
        with("authorization", &format!("Bearer {key}")).await.status,
        401
    );
}
