//! What a project, a caller or an attacker wrote is text on every page, never markup.

use crate::bench::{Bench, control};
use crate::console::Session;
use crate::fence::Inspection;
use ringfence_core::finding::{Finding, Fingerprint, Subject};
use ringfence_core::ids::RuleId;
use ringfence_core::leaf::LeafAction;
use ringfence_core::severity::{Confidence, Severity};
use ringfence_core::verdict::{Decision, Skip};
use serde_json::json;

/// Ways out of text, out of an attribute, out of a comment, and characters that turn what is read
/// around or drive a terminal.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)' autofocus='",
    "--><svg/onload=alert(1)>",
    "</td></table><iframe src=javascript:alert(1)>",
    "&lt;script&gt;alert(1)",
    "{{ csrf }}{% raw %}",
    "user\u{202e}gpj.exe\u{2066}\u{200f}",
    "\u{1b}[31m\u{0}\u{7}\u{9b}",
];

/// The tags and attributes that our own templates use.
const TAGS: &[&str] = &[
    "!doctype", "html", "head", "meta", "title", "link", "script", "body", "header", "a", "nav",
    "form", "input", "button", "main", "h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dt", "dd",
    "table", "thead", "tbody", "tr", "th", "td", "article", "strong", "em", "code", "span", "br",
    "label",
];
const ATTRIBUTES: &[&str] = &[
    "html",
    "lang",
    "charset",
    "name",
    "content",
    "rel",
    "href",
    "src",
    "defer",
    "class",
    "aria-label",
    "method",
    "action",
    "type",
    "value",
    "scope",
    "role",
    "for",
    "id",
    "autocomplete",
    "required",
    "autofocus",
];

/// Reads a page as a browser would, tag by tag, and refuses whatever we did not write ourselves.
fn assert_inert(path: &str, page: &str) {
    let mut rest = page;
    let mut scripts = 0;
    while let Some(start) = rest.find('<') {
        let inside = &rest[start + 1..];
        let end = tag_end(inside).unwrap_or_else(|| panic!("{path}: a tag without an end"));
        let tag = inside[..end].trim_start_matches('/').trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(TAGS.contains(&name), "{path}: <{tag}>");
        for (name, value) in attributes_of(attributes) {
            assert!(ATTRIBUTES.contains(&name), "{path}: {name} in <{tag}>");
            let inner = name != "href" || value.starts_with('/') || value == "data:,";
            assert!(inner, "{path}: {value} in <{tag}>");
        }
        scripts += usize::from(name == "script" && inside.starts_with("script"));
        rest = &inside[end + 1..];
    }
    assert!(scripts <= 1, "{path}: {scripts} scripts");
    let turned = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
    };
    assert_eq!(
        page.chars().find(turned),
        None,
        "{path}: a control character is shown"
    );
}

fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(i),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

fn attributes_of(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = &rest[end..];
        let mut value = "";
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let end = quoted.find('"').unwrap();
            value = &quoted[..end];
            rest = &quoted[end + 1..];
        }
        assert!(
            !rest.starts_with('='),
            "an attribute without quotes: {rest}"
        );
        found.push((name, value));
        rest = rest.trim_start();
    }
    found
}

fn finding(n: usize, text: &str) -> Finding {
    let subject = Subject::Source {
        path: format!("{text}/a.py"),
        line: Some(1),
        normalised: text.to_owned(),
        symbol: None,
        ordinal: u32::try_from(n).unwrap(),
    };
    let rule = RuleId::of("admit/test");
    Finding {
        fingerprint: Fingerprint::derive(&rule, &subject, ringfence_crypto::hash::sha256),
        rule,
        subject,
        title: format!("title {text}"),
        severity: Severity::Critical,
        cvss: None,
        confidence: Confidence::High,
        impact: format!("impact {text}"),
        fix: format!("fix {text}"),
        mitigation: format!("mitigation {text}"),
        evidence: format!("evidence {text}"),
        references: vec!["javascript:alert(1)".to_owned()],
        tags: Vec::new(),
        edit: None,
    }
}

/// A service whose every stored text is hostile.
async fn soiled(bench: &Bench) -> Session {
    bench
        .fence
        .inspect_with(Inspection::Altered(Box::new(|report| {
            report.verdict.decision = Decision::Allow;
            report.findings = HOSTILE
                .iter()
                .enumerate()
                .map(|(n, t)| finding(n, t))
                .collect();
            report.verdict.reasons = HOSTILE.iter().map(|t| (*t).to_owned()).collect();
            for text in HOSTILE {
                report.verdict.coverage.skips.push(Skip {
                    path: (*text).to_owned(),
                    reason: (*text).to_owned(),
                    bytes: 1,
                });
            }
        })));
    *bench.fence.evidence.lock().unwrap() = HOSTILE.join(" ");
    let running = bench.running().await;
    for text in HOSTILE {
        let leaf = running
            .app
            .leaf(text, LeafAction::CaseChange, *text)
            .with("note", *text);
        running.app.record(leaf).await.unwrap();
        let key = json!({"name": text, "reason": text}).to_string();
        assert_eq!(
            control(&running.app, "POST", "/v1/keys", &key).await.status,
            200
        );
    }
    Session::open(&running).await
}

#[test]
fn the_reader_of_these_tests_sees_an_attack() {
    for attack in [
        "<p><script>alert(1)</script><script>",
        "<p onclick=\"x\">",
        "<a href=\"javascript:x\">",
        "<p class=x>",
        "<iframe src=\"/\">",
        "<p>\u{202e}",
        "<p",
    ] {
        let seen = std::panic::catch_unwind(|| assert_inert("test", attack));
        assert!(seen.is_err(), "{attack}");
    }
    assert_inert("test", "<p class=\"a\">&lt;b&gt;</p><br>");
}

#[tokio::test]
async fn stored_text_is_text_on_every_page() {
    let bench = Bench::new();
    let session = soiled(&bench).await;
    let cases = session.get("/cases").await.body;
    let links = cases.split("href=\"/cases/").skip(1);
    let mut paths: Vec<String> = links
        .map(|rest| format!("/cases/{}", rest.split('"').next().unwrap()))
        .collect();
    assert_eq!(paths.len(), HOSTILE.len(), "each finding is a case");
    for path in ["/", "/verdict", "/cases", "/alerts", "/leaves"] {
        paths.push(path.to_owned());
    }
    for path in paths {
        let page = session.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_inert(&path, &page.body);
    }
    assert!(
        session.get("/verdict").await.body.contains("alert(1)"),
        "the attack is not on the page"
    );
    assert!(session.get("/leaves").await.body.contains("alert(1)"));
    assert!(session.get("/alerts").await.body.contains("alert(1)"));
}

#[tokio::test]
async fn what_pops_up_is_json_and_nothing_that_turns_text_around() {
    let bench = Bench::new();
    let session = soiled(&bench).await;
    let reply = session.get("/alerts/unseen").await;
    assert_eq!(reply.header("content-type"), "application/json");
    for alert in reply.json().as_array().unwrap() {
        let what = alert["what"].as_str().unwrap();
        assert!(
            !what.contains('\u{202e}') && !what.contains('\u{1b}'),
            "{what:?}"
        );
    }
}

#[tokio::test]
async fn a_hostile_path_in_the_address_is_not_shown() {
    let bench = Bench::new();
    let session = Session::open(&bench.running().await).await;
    for path in [
        "/cases/%3Cscript%3E",
        "/%3Cscript%3Ealert(1)",
        "/cases/%22onload=",
        "/verdict?x=%3Cscript%3E",
    ] {
        let reply = session.get(path).await;
        assert!(
            !reply.body.contains("<script>")
                && !reply.body.contains("alert(1)")
                && !reply.body.contains("onload"),
            "{path}: {}",
            reply.body
        );
    }
}
