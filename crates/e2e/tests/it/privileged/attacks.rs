//! The attack suite on this host, and the page that it keeps.

use super::ringfence;
use ringfence_e2e::workspace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Rows that must hold, of about two hundred.
const HELD_MIN: usize = 60;

fn rows() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let said = ringfence(folder.path(), &["run", "--attack-suite", "--json"]);
    assert!(matches!(said.code, Some(0 | 1 | 3)), "{said:?}");
    said.json()
}

#[test]
fn no_attack_breaks_out_and_every_one_would_without_its_walls() {
    let before = leftovers();
    let report = rows();
    let rows = report["rows"].as_array().unwrap();
    let with = |verdict: &str| -> Vec<&Value> {
        rows.iter().filter(|r| r["outcome"] == verdict).collect()
    };
    assert!(with("broken").is_empty(), "{:#?}", with("broken"));
    assert!(with("void").is_empty(), "{:#?}", with("void"));
    assert!(with("skipped").is_empty(), "{:#?}", with("skipped"));
    assert!(
        with("held").len() >= HELD_MIN,
        "{} held",
        with("held").len()
    );
    let attacks: BTreeSet<&str> = with("held")
        .iter()
        .map(|r| r["attack"].as_str().unwrap())
        .collect();
    assert!(attacks.len() >= HELD_MIN, "{} attacks held", attacks.len());
    for language in ["native", "python"] {
        let held = with("held")
            .iter()
            .filter(|r| r["language"] == language)
            .count();
        assert!(held >= HELD_MIN, "{held} in {language}");
    }
    page(rows);
    assert_eq!(leftovers(), before, "the suite left something behind");
}

#[test]
fn one_attack_can_be_asked_for_and_an_unknown_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let said = ringfence(
        folder.path(),
        &["run", "--attack-suite", "--only", "mount-tmpfs"],
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out.matches("mount-tmpfs").count(), 2, "{said:?}");
    assert!(said.out.contains("2 held, 0 BROKEN, 0 void"), "{said:?}");
    let said = ringfence(
        folder.path(),
        &["run", "--attack-suite", "--only", "no-such"],
    );
    assert!(
        said.code == Some(2) && said.err.contains("run/no-such-attack"),
        "{said:?}"
    );
}

#[test]
fn an_attack_program_refuses_to_run_on_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let first = std::fs::read_link("/proc/self/ns/pid").unwrap();
    if first.to_string_lossy() != "pid:[4026531836]" {
        println!("SKIPPED: this host is itself a container");
        return;
    }
    let facts = format!(r#"{{"victim":"{}"}}"#, std::process::id());
    let said = ringfence(folder.path(), &["role", "attack", "kill-host", &facts]);
    assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{said:?}");
}

/// Folders and control groups of suites.
fn leftovers() -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("ringfence-attack-"))
        .collect();
    let groups = ringfence_e2e::process::groups("attack-*");
    found.extend(groups.into_iter().map(|g| g.display().to_string()));
    found
}

/// Compares docs/attacks.md with the suite, or writes it where `INSTA_UPDATE=always`.
fn page(rows: &[Value]) {
    let path = workspace().join("docs/attacks.md");
    let text = render(rows);
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let page = std::fs::read_to_string(&path).unwrap();
    for (there, wanted) in page.lines().zip(text.lines()) {
        assert_eq!(there, wanted, "{}", path.display());
    }
    assert_eq!(
        page.lines().count(),
        text.lines().count(),
        "{}",
        path.display()
    );
}

fn render(rows: &[Value]) -> String {
    let mut attacks: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        let name = row["attack"].as_str().unwrap();
        if !attacks.contains(&name) {
            attacks.push(name);
        }
        of.entry(name).or_default().push(row);
    }
    let mut text = String::from(
        "# Attacks\n\nWhat `ringfence run --attack-suite` tries, in the order of its table. The page is \
         compared with the\nsuite by the privileged tests; `INSTA_UPDATE=always` renews it.\n\nEvery \
         attack runs as uid 0 inside, once with all walls and once without those of its row, where \
         it\nmust succeed. The host judges by the effect, see `crates/sandbox/src/attack/effect.rs`. \
         The last\ncolumn is what the host hears of the attack by itself; nearly all refusals are \
         silent.\n\n| attack | tries | in | held by | event |\n|---|---|---|---|---|\n",
    );
    for name in attacks {
        let rows = &of[name];
        let words = |key: &str| -> Vec<&str> {
            rows[0][key]
                .as_array()
                .unwrap()
                .iter()
                .map(|w| w.as_str().unwrap())
                .collect()
        };
        let languages: Vec<&str> = rows
            .iter()
            .map(|r| r["language"].as_str().unwrap())
            .collect();
        let events: BTreeSet<&str> = rows.iter().filter_map(|r| r["event"].as_str()).collect();
        let events: Vec<&str> = events.into_iter().collect();
        let event = if events.is_empty() {
            "silent".to_owned()
        } else {
            events.join("; ")
        };
        writeln!(
            text,
            "| {name} | {} | {} | {} | {event} |",
            rows[0]["tries"].as_str().unwrap(),
            languages.join(", "),
            words("weakened").join(", "),
        )
        .unwrap();
    }
    text
}
