//! The configuration: the files of this repository, and every key with a typing error.

use proptest::prelude::*;
use ringfence_core::error::Explain as _;
use ringfence_server::config::{Config, ConfigError, explain, parse};
use std::path::{Path, PathBuf};

/// Sets every optional table, so that its keys are known.
const WHOLE: &str = "[project]\nname = \"a\"\n\
    [assistant]\ncommand = [\"x\"]\nport = 1\n";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

#[test]
fn every_example_of_the_repository_parses() {
    let root = repository();
    let mut files = vec![root.join("ringfence.toml")];
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.push(path.join("ringfence.toml"));
        }
    }
    assert!(files.len() >= 3);
    for file in files {
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let name = file.display().to_string();
        let config = parse(&name, &text).unwrap_or_else(|e| panic!("{name}: {e} {:?}", e.help()));
        let place = file.parent().unwrap();
        let folder = place.join(&config.project.directory);
        assert!(folder.is_dir(), "{name} hosts {}", folder.display());
        for document in &config.project.documents {
            assert!(
                place.join(document).exists(),
                "{name} names {document}, which is not there"
            );
        }
    }
}

/// Every key that can be written, as (tables, name).
fn keys() -> Vec<(Vec<String>, String)> {
    let config: Config = parse("f", WHOLE).unwrap();
    let mut found: Vec<(Vec<String>, String)> = explain(&config, WHOLE)
        .into_iter()
        .map(|e| {
            let mut parts: Vec<String> = e.key.split('.').map(str::to_owned).collect();
            let name = parts.pop().unwrap();
            (parts, name)
        })
        .collect();
    let mut extra = |tables: &[&str], name: &str| {
        found.push((
            tables.iter().map(|t| (*t).to_owned()).collect(),
            name.to_owned(),
        ));
    };
    extra(&["[model]"], "name");
    extra(&["[model]"], "upstream");
    extra(&["alert", "[webhooks]"], "name");
    extra(&["alert", "[webhooks]"], "url");
    extra(&["assistant"], "env");
    extra(&["gate"], "extra_rego");
    for table in [
        "project",
        "assistant",
        "sandbox",
        "model",
        "gateway",
        "guard",
        "gate",
        "watch",
        "alert",
        "console",
    ] {
        extra(&[], table);
    }
    found
}

/// A file in which only this key stands, under its tables.
fn file(tables: &[String], name: &str) -> String {
    let header = if tables.iter().any(|t| t.starts_with('[')) {
        let path: Vec<&str> = tables.iter().map(|t| t.trim_matches(['[', ']'])).collect();
        format!("[[{}]]\n", path.join("."))
    } else if tables.is_empty() {
        String::new()
    } else {
        format!("[{}]\n", tables.join("."))
    };
    format!("{header}{name} = 1\n")
}

/// Typing errors of one letter that people make.
fn typos(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let middle = name.len() / 2;
    let mut doubled = name.to_owned();
    doubled.insert(middle, name.as_bytes()[middle].into());
    found.push(doubled);
    let mut replaced = name.to_owned();
    replaced.replace_range(middle..=middle, "q");
    found.push(replaced);
    found.push(name[..name.len() - 1].to_owned());
    found
}

#[test]
fn every_key_with_a_typing_error_is_refused_and_named() {
    let all = keys();
    assert!(all.len() > 40, "explain lists only {}", all.len());
    for (tables, name) in all {
        for typo in typos(&name) {
            let text = file(&tables, &typo);
            let error = parse("f", &text).unwrap_err();
            let ConfigError::UnknownKey {
                key, nearest, line, ..
            } = &error
            else {
                panic!("{tables:?} {typo}: {error:?}")
            };
            assert_eq!(key, &typo);
            assert_eq!(nearest.as_deref(), Some(name.as_str()), "{tables:?} {typo}");
            assert_eq!(*line, text.lines().count(), "{text}");
        }
    }
}

#[test]
fn a_key_written_twice_is_refused() {
    for text in [
        "[project]\nname = \"a\"\nname = \"b\"\n",
        "[project]\nname = \"a\"\n[gateway]\ntls = true\n[gateway]\ntls = false\n",
    ] {
        let error = parse("f", text).unwrap_err();
        assert_eq!(error.code().0, "config/invalid", "{text}");
    }
}

#[test]
fn values_that_would_weaken_or_break_the_fence_are_refused() {
    let bad = [
        "[sandbox]\nmemory = \"-1\"\n",
        "[sandbox]\nmemory = \"512MB\"\n",
        "[sandbox]\nmemory = 512\n",
        "[sandbox]\nprocesses = -1\n",
        "[assistant]\ncommand = []\nport = 1\n",
        "[assistant]\ncommand = [\"\"]\nport = 1\n",
        "[assistant]\ncommand = [\"x\"]\nport = 65536\n",
        "[[model]]\nname = \"m\"\nupstream = \"https://example.com\"\n",
        "[[model]]\nname = \"m\"\nupstream = \"file:///etc/passwd\"\n",
        "[gateway]\nlisten = \"localhost:1\"\n",
        "[gateway]\nlisten = \"0.0.0.0:1\"\ntls = false\n",
        "[gateway]\nlisten = \"[::]:1\"\ntls = false\n",
        "[guard]\nshield = \"off\"\n",
        "[gate]\ndeny_at = \"never\"\n",
        "[gate]\nstale = \"ignore\"\n",
        "[console]\nlisten = 8444\n",
    ];
    for more in bad {
        let text = format!("[project]\nname = \"a\"\n{more}");
        let error = parse("f", &text).map(|_| ()).unwrap_err();
        assert!(error.help().is_some(), "{more}");
        assert!(
            ["config/invalid", "config/refused"].contains(&error.code().0),
            "{more}: {error}"
        );
    }
    for project in [
        "name = \"host\"",
        "name = \"A\"",
        "name = \"\"",
        "name = \"a/b\"",
        "name = \"a\"\ndirectory = \"..\"",
        "name = \"a\"\ndirectory = \"/etc\"",
        "name = \"a\"\ndirectory = \"x/../../y\"",
        "name = \"a\"\ndirectory = \"\"",
        "name = \"a\"\ndocuments = [\"../other\"]",
        "name = \"a\"\ndocuments = [\"/etc\"]",
    ] {
        assert!(
            parse("f", &format!("[project]\n{project}\n")).is_err(),
            "{project}"
        );
    }
}

#[test]
fn what_explain_says_reads_back_as_the_same_configuration() {
    let config = parse("f", WHOLE).unwrap();
    let text = toml::to_string(&config).unwrap();
    let again = parse("f", &text).unwrap();
    let values = |c: &Config| {
        explain(c, "")
            .into_iter()
            .map(|e| (e.key, e.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&config), values(&again));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_but_never_a_crash(text in "\\PC{0,200}") {
        let _read = parse("f", &text).is_ok();
    }

    #[test]
    fn a_file_cut_anywhere_is_read_or_refused_with_its_place(cut in 0_usize..400) {
        let text = std::fs::read_to_string(repository().join("ringfence.toml")).unwrap();
        let cut = text.char_indices().map(|(i, _)| i).take_while(|i| *i <= cut).last().unwrap_or(0);
        if let Err(error) = parse("f", &text[..cut]) {
            prop_assert!(error.place().is_some_and(|p| p.starts_with('f')));
        }
    }
}
