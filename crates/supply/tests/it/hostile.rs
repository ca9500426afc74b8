//! Input made to break a parser: it is refused or counted, and nothing panics.

use proptest::prelude::*;
use ringfence_core::error::Explain;
use ringfence_core::time::Timestamp;
use ringfence_supply::SupplyError;
use ringfence_supply::advisories::{
    Builder, ImportLimits, Index, RATIO_MAX, import_archive, import_zip,
};
use ringfence_supply::lock::{LockKind, parse, parse_as};
use std::io::{Cursor, Write as _};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const NOW: Timestamp = Timestamp(1_780_000_000_000);
const KINDS: [LockKind; 5] = [
    LockKind::Requirements,
    LockKind::Poetry,
    LockKind::Uv,
    LockKind::Npm,
    LockKind::Cargo,
];

fn flaw(id: &str, name: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"2026-05-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"npm","name":"{name}"}},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}}]}}]}}]}}"#
    )
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn import(bytes: Vec<u8>, limits: &mut ImportLimits) -> Result<Index, SupplyError> {
    let mut builder = Builder::new(NOW);
    import_archive(&mut builder, Cursor::new(bytes), "test.zip", limits)?;
    builder.finish()
}

fn what(result: Result<Index, SupplyError>) -> Option<&'static str> {
    match result {
        Err(SupplyError::Limit { what, .. }) => Some(what),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn an_archive_becomes_an_index_and_strange_entries_are_counted() {
    let one = flaw("X-1", "p");
    let bytes = archive(&[
        ("X-1.json", one.as_bytes()),
        ("README.md", b"hi"),
        ("X-2.json", b"{"),
    ]);
    let index = import(bytes.clone(), &mut ImportLimits::default()).unwrap();
    assert_eq!(
        (
            index.header().ecosystems[0].records,
            index.header().unreadable
        ),
        (1, 2)
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.zip");
    std::fs::write(&path, bytes).unwrap();
    let from_file = import_zip(std::slice::from_ref(&path), NOW).unwrap();
    assert_eq!(from_file.bytes(), index.bytes());
    assert!(matches!(
        import_zip(&[folder.path().join("no.zip")], NOW),
        Err(SupplyError::Io { .. })
    ));
}

#[test]
fn limits_hold_at_the_limit_and_refuse_one_above() {
    let (a, b) = (flaw("X-1", "p"), flaw("X-2", "p"));
    let bytes = archive(&[("1.json", a.as_bytes()), ("2.json", b.as_bytes())]);
    let length = a.len() as u64;
    let with = |change: fn(&mut ImportLimits, u64), value| {
        let mut limits = ImportLimits::default();
        change(&mut limits, value);
        what(import(bytes.clone(), &mut limits))
    };
    assert_eq!(with(|l, v| l.entries = v, 2), None);
    assert_eq!(with(|l, v| l.entries = v, 1), Some("number of entries"));
    assert_eq!(with(|l, v| l.record_bytes = v, length), None);
    assert_eq!(
        with(|l, v| l.record_bytes = v, length - 1),
        Some("size of a record in bytes")
    );
    assert_eq!(with(|l, v| l.total_bytes = v, 2 * length), None);
    assert_eq!(
        with(|l, v| l.total_bytes = v, 2 * length - 1),
        Some("size of all records in bytes")
    );
}

#[test]
fn a_bomb_is_refused_by_its_ratio_and_by_the_size_it_really_has() {
    let bomb = archive(&[("bomb.json", &vec![b' '; 4 << 20])]);
    assert!((bomb.len() as u64) < (4 << 20) / RATIO_MAX);
    let refused = what(import(bomb, &mut ImportLimits::default()));
    assert_eq!(refused, Some("compression ratio of a record"));

    // An archive that states a small size for a large record: the stated size is not believed.
    let mut lying = archive(&[("bomb.json", &vec![b' '; 4 << 20])]);
    let real = (4_u32 << 20).to_le_bytes();
    let places: Vec<usize> = (0..lying.len() - 4)
        .filter(|i| lying[*i..*i + 4] == real)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        lying[place..place + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    let mut limits = ImportLimits {
        record_bytes: 1 << 20,
        ..ImportLimits::default()
    };
    match import(lying, &mut limits) {
        Err(SupplyError::Limit { .. } | SupplyError::Archive { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(index) => assert_eq!(index.header().unreadable, 1),
    }
}

#[test]
fn a_cut_archive_is_an_error_with_a_next_step() {
    let mut bytes = archive(&[("1.json", flaw("X-1", "p").as_bytes())]);
    bytes.truncate(bytes.len() / 2);
    let error = import(bytes, &mut ImportLimits::default()).err().unwrap();
    assert_eq!(error.code().0, "admit/advisories-archive");
    assert!(error.place().is_some() && error.why().is_some() && error.help().is_some());
}

#[test]
fn deep_nesting_is_refused_by_every_format() {
    let deep = format!(
        "{{\"lockfileVersion\":3,\"packages\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(parse("package-lock.json", deep.as_bytes()).is_err());
    let deep = format!("package = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    for path in ["Cargo.lock", "poetry.lock", "uv.lock"] {
        assert!(parse(path, deep.as_bytes()).is_err());
    }
    let mut builder = Builder::new(NOW);
    builder.add("[".repeat(100_000).as_bytes());
    assert_eq!(builder.finish().unwrap().header().unreadable, 1);
}

#[test]
fn a_long_line_and_a_name_full_of_controls_are_only_odd() {
    let long = format!("a=={}\n", "1".repeat(1 << 20));
    assert_eq!(
        parse("requirements.txt", long.as_bytes())
            .unwrap()
            .components
            .len(),
        1
    );
    let odd =
        r#"{"lockfileVersion":3,"packages":{"node_modules/a\u0000\n\"{":{"version":"1\u0000"}}}"#;
    let file = parse("package-lock.json", odd.as_bytes()).unwrap();
    assert_eq!(file.components[0].name, "a\0\n\"{");
    assert!(
        file.components[0]
            .purl
            .bytes()
            .all(|b| b.is_ascii_graphic())
    );
}

proptest! {
    #[test]
    fn no_bytes_panic_a_lock_parser(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for kind in KINDS {
            parse_as(kind, "x", &bytes).map(|f| f.components.len()).unwrap_or_default();
        }
    }

    #[test]
    fn no_likely_text_panics_a_lock_parser(
        text in "([a-z]{1,3}|==|\\[\\[package\\]\\]|name = \"a\"|version = \"1\"|\\\\|\n|#| |-r|;|\\{|\\}|\"packages\":|\"lockfileVersion\":3|,|\"node_modules/a\":){0,40}"
    ) {
        for kind in KINDS {
            parse_as(kind, "x", text.as_bytes()).map(|f| f.components.len()).unwrap_or_default();
        }
    }

    #[test]
    fn a_cut_lock_file_never_panics(cut in 0_usize..400) {
        let json = r#"{"lockfileVersion":3,"packages":{"":{},"node_modules/a":{"version":"1.0.0"},"node_modules/a/node_modules/b":{"version":"2.0.0"}}}"#;
        let toml = "version = 3\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry\"\n";
        for (kind, text) in [(LockKind::Npm, json), (LockKind::Cargo, toml), (LockKind::Uv, toml)] {
            let part = text.get(..cut.min(text.len())).unwrap_or(text);
            let read = parse_as(kind, "x", part.as_bytes());
            if part.len() < text.len() && kind == LockKind::Npm {
                prop_assert!(read.is_err());
            }
        }
    }

    #[test]
    fn no_bytes_panic_the_index_the_archive_or_the_record_reader(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert!(Index::from_bytes(bytes.clone()).is_err());
        prop_assert!(import(bytes.clone(), &mut ImportLimits::default()).is_err());
        let mut builder = Builder::new(NOW);
        builder.add(&bytes);
        prop_assert_eq!(builder.finish().map(|i| i.header().unreadable).ok(), Some(1));
    }

    #[test]
    fn random_damage_to_a_valid_lock_file_never_panics_a_parser(
        acts in prop::collection::vec((any::<usize>(), 0..4_u8, any::<u8>(), 1..40_usize), 1..8)
    ) {
        const REQUIREMENTS: &str = "-r base.txt\na==1.0 ; python_version < \"3\" \\\n  --hash=sha256:00\nb[x]>=2\n";
        const TABLES: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n\n[[package]]\nname = \"b\"\nversion = \"2\"\nsource = { virtual = \".\" }\n";
        const NPM: &str = r#"{"lockfileVersion":2,"packages":{"":{},"node_modules/a":{"version":"1.0.0"}},"dependencies":{"a":{"version":"npm:c@1.0.0","dependencies":{"d":{"version":"2"}}}}}"#;
        for (kind, whole) in [
            (LockKind::Requirements, REQUIREMENTS),
            (LockKind::Cargo, TABLES),
            (LockKind::Poetry, TABLES),
            (LockKind::Uv, TABLES),
            (LockKind::Npm, NPM),
        ] {
            prop_assert!(parse_as(kind, "x", whole.as_bytes()).is_ok());
            let mut bytes = whole.as_bytes().to_vec();
            for (place, act, byte, length) in &acts {
                let at = place % (bytes.len() + 1);
                let end = (at + length).min(bytes.len());
                match act {
                    0 => bytes.insert(at, *byte),
                    1 => drop(bytes.drain(at..end)),
                    2 => {
                        let copy = bytes[at..end].to_vec();
                        bytes.splice(at..at, copy);
                    }
                    _ => bytes[at..end].fill(*byte),
                }
            }
            parse_as(kind, "x", &bytes).map(|f| f.components.len()).unwrap_or_default();
        }
    }
}
