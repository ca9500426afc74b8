//! Building, saving, opening and asking an index, on records written for these tests.

use proptest::prelude::*;
use ringfence_core::severity::Severity;
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_supply::advisories::{Builder, Index, Kind, Lookup, Match, SeveritySource};
use ringfence_supply::{Component, Ecosystem, SupplyError};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_780_000_000_000);

fn build(records: &[Value]) -> Index {
    let mut builder = Builder::new(NOW);
    for record in records {
        builder.add(record.to_string().as_bytes());
    }
    builder.finish().unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
fn record(id: &str, aliases: &[&str], ecosystem: &str, name: &str, events: Value) -> Value {
    json!({
        "id": id, "aliases": aliases, "modified": "2026-05-01T00:00:00Z",
        "affected": [{
            "package": {"ecosystem": ecosystem, "name": name},
            "ranges": [{"type": "ECOSYSTEM", "events": events}, {"type": "GIT", "events": [{"introduced": "0"}]}]
        }]
    })
}

fn before(fixed: &str) -> Value {
    json!([{"introduced": "0"}, {"fixed": fixed}])
}

fn ask(index: &Index, ecosystem: Ecosystem, name: &str, version: &str) -> Vec<Match> {
    match index.match_component(&Component::new(ecosystem, name, version, 1)) {
        Lookup::Known(matches) => matches,
        other => panic!("{other:?}"),
    }
}

fn groups(index: &Index, name: &str, version: &str) -> Vec<String> {
    ask(index, Ecosystem::PyPi, name, version)
        .into_iter()
        .map(|m| m.group)
        .collect()
}

#[test]
fn a_match_carries_names_score_range_fix_and_date() {
    let mut flaw = record(
        "GHSA-2345-6789-cfgh",
        &["CVE-2026-0001", "PYSEC-2026-1"],
        "PyPI",
        "Some_Package",
        before("2.0"),
    );
    flaw["severity"] = json!([
        {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
        {"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}
    ]);
    let index = build(&[flaw]);
    let found = ask(&index, Ecosystem::PyPi, "some.package", "1.5");
    let [found] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(found.group, "CVE-2026-0001");
    assert_eq!(found.aliases, ["GHSA-2345-6789-cfgh", "PYSEC-2026-1"]);
    assert_eq!(
        (found.severity, found.severity_source),
        (Severity::Critical, SeveritySource::Cvss)
    );
    assert_eq!(found.cvss.as_ref().map(|c| c.tenths), Some(98));
    assert_eq!(
        (found.range.as_str(), found.fixed.as_deref()),
        ("<2.0", Some("2.0"))
    );
    assert_eq!(found.index_date, Timestamp::parse("2026-05-01").ok());
    assert!(ask(&index, Ecosystem::PyPi, "some-package", "2.0").is_empty());
    assert!(ask(&index, Ecosystem::PyPi, "another", "1.5").is_empty());
}

#[test]
fn an_ecosystem_without_data_is_said_and_is_not_a_clean_answer() {
    let index = build(&[record("A-1", &[], "PyPI", "p", before("1"))]);
    let component = Component::new(Ecosystem::Npm, "p", "0.1.0", 1);
    assert_eq!(index.match_component(&component), Lookup::NoData);
    // The same name elsewhere is another package.
    let both = build(&[
        record("A-1", &[], "PyPI", "p", before("1")),
        record("A-2", &[], "npm", "other", before("1.0.0")),
    ]);
    assert_eq!(both.match_component(&component), Lookup::Known(vec![]));
}

#[test]
fn records_of_one_flaw_are_one_finding_and_no_withdrawn_record_hides_it() {
    let one = record(
        "PYSEC-2026-1",
        &["CVE-2026-0001"],
        "PyPI",
        "p",
        before("1.5"),
    );
    let two = record(
        "GHSA-2345-6789-cfgh",
        &["CVE-2026-0001"],
        "PyPI",
        "p",
        before("2.0"),
    );
    let index = build(&[one.clone(), two.clone()]);
    let found = ask(&index, Ecosystem::PyPi, "p", "1.0");
    assert_eq!(found.len(), 1);
    // 1.5 is the end of one record's range, and still inside the other's.
    assert_eq!(found[0].fixed.as_deref(), Some("2.0"));
    assert_eq!(groups(&index, "p", "1.7"), ["CVE-2026-0001"]);

    // Withdrawn: the alias record is gone, the live ones stay.
    let mut withdrawn = record("CVE-2026-0001", &["PYSEC-2026-1"], "PyPI", "p", before("9"));
    withdrawn["withdrawn"] = json!("2026-05-02T00:00:00Z");
    let index = build(&[one, two, withdrawn.clone()]);
    assert_eq!(groups(&index, "p", "1.0"), ["CVE-2026-0001"]);
    assert!(groups(&index, "p", "8").is_empty());
    assert_eq!(index.header().ecosystems[0].withdrawn, 1);

    // Withdrawn: it does not join two flaws into one either.
    withdrawn["aliases"] = json!(["X-1", "X-2"]);
    let a = record("X-1", &[], "PyPI", "q", before("2"));
    let b = record("X-2", &[], "PyPI", "q", before("2"));
    assert_eq!(groups(&build(&[a, b, withdrawn]), "q", "1"), ["X-1", "X-2"]);
}

#[test]
fn aliases_of_aliases_are_one_group() {
    let a = record("X-1", &["Y-1"], "PyPI", "p", before("2"));
    let b = record("X-2", &["Y-1", "CVE-2026-0007"], "PyPI", "p", before("3"));
    let found = ask(&build(&[a, b]), Ecosystem::PyPi, "p", "1");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].group, "CVE-2026-0007");
    assert_eq!(found[0].aliases, ["X-1", "X-2", "Y-1"]);
}

#[test]
fn severity_falls_back_to_words_to_the_kind_and_never_to_harmless() {
    let mut stated = record("X-1", &[], "PyPI", "stated", before("2"));
    stated["database_specific"] = json!({"severity": "MODERATE"});
    let malicious = record(
        "MAL-2026-1",
        &[],
        "PyPI",
        "evil",
        json!([{"introduced": "0"}]),
    );
    let unknown = record("X-2", &[], "PyPI", "unknown", before("2"));
    let mut broken = record("X-3", &[], "PyPI", "broken", before("2"));
    broken["severity"] = json!([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}]);
    let mut old = record("X-4", &[], "PyPI", "old", json!([{"introduced": "0"}]));
    old["affected"][0]["database_specific"] = json!({"informational": "unmaintained"});
    let index = build(&[stated, malicious, unknown, broken, old]);
    for (name, severity, source, kind) in [
        (
            "stated",
            Severity::Medium,
            SeveritySource::Stated,
            Kind::Vulnerability,
        ),
        (
            "evil",
            Severity::Critical,
            SeveritySource::Kind,
            Kind::Malicious,
        ),
        (
            "unknown",
            Severity::High,
            SeveritySource::Unknown,
            Kind::Vulnerability,
        ),
        (
            "broken",
            Severity::High,
            SeveritySource::Unknown,
            Kind::Vulnerability,
        ),
        (
            "old",
            Severity::Low,
            SeveritySource::Kind,
            Kind::Unmaintained,
        ),
    ] {
        let found = ask(&index, Ecosystem::PyPi, name, "1");
        assert_eq!(
            (found[0].severity, found[0].severity_source, found[0].kind),
            (severity, source, kind),
            "{name}"
        );
    }
    assert_eq!(
        ask(&index, Ecosystem::PyPi, "evil", "1")[0].range,
        "every version"
    );
}

#[test]
fn a_listed_version_counts_beside_the_ranges() {
    let mut flaw = record(
        "X-1",
        &[],
        "PyPI",
        "p",
        json!([{"introduced": "2.0"}, {"fixed": "2.1"}]),
    );
    flaw["affected"][0]["versions"] = json!(["2.0", "2.0.1", "1.0", "weird-build"]);
    let index = build(&[flaw]);
    // Only what the range does not already say is kept: 1.0 and the version without an order.
    assert_eq!(index.header().ecosystems[0].spans, 3);
    assert_eq!(groups(&index, "p", "1.0.0"), ["X-1"]);
    assert_eq!(groups(&index, "p", "2.0.5"), ["X-1"]);
    assert!(groups(&index, "p", "1.1").is_empty());
}

#[test]
fn a_version_without_an_order_is_said_and_still_found_when_it_is_listed() {
    let mut flaw = record("X-1", &[], "PyPI", "p", before("2.0"));
    flaw["affected"][0]["versions"] = json!(["weird-build"]);
    let index = build(&[flaw]);
    let lookup = |version| index.match_component(&Component::new(Ecosystem::PyPi, "p", version, 1));
    assert_eq!(
        lookup("other-build"),
        Lookup::NotOrdered {
            advisories: 1,
            matches: vec![]
        }
    );
    assert_eq!(lookup("weird-build").matches().len(), 1);
}

#[test]
fn a_local_build_of_the_last_affected_version_is_matched() {
    let events = json!([{"introduced": "0"}, {"last_affected": "2.0.0"}]);
    let index = build(&[record("X-1", &[], "PyPI", "torch", events)]);
    assert_eq!(groups(&index, "torch", "2.0.0+cpu"), ["X-1"]);
    assert!(groups(&index, "torch", "2.0.1+cpu").is_empty());
}

#[test]
fn what_is_left_out_is_counted() {
    let mut broken = record(
        "X-2",
        &[],
        "PyPI",
        "p",
        json!([{"introduced": "not a version"}]),
    );
    broken["affected"][0]["versions"] = json!([]);
    let mut builder = Builder::new(NOW);
    builder.add(b"{\"id\": 7}");
    builder.add(b"not json");
    builder.add(b"{\"id\": \"X\", \"id\": \"Y\"}");
    builder.add(
        record("X-1", &[], "Maven", "a:b", before("1"))
            .to_string()
            .as_bytes(),
    );
    builder.add(broken.to_string().as_bytes());
    for fixed in ["1.0", "2.0"] {
        builder.add(
            record("X-3", &[], "PyPI", "p", before(fixed))
                .to_string()
                .as_bytes(),
        );
    }
    let index = builder.finish().unwrap();
    let header = index.header();
    assert_eq!(
        (header.unreadable, header.foreign, header.duplicates),
        (3, 1, 1)
    );
    let python = &header.ecosystems[0];
    assert_eq!(
        (python.records, python.unusable, python.packages),
        (1, 2, 1)
    );
    // Of two records with one id the later holds.
    assert_eq!(groups(&index, "p", "1.5"), ["X-3"]);
}

#[test]
fn ages_are_whole_days_and_a_forged_date_makes_nothing_younger() {
    let aged = |modified: &str| {
        let mut flaw = record("X-1", &[], "PyPI", "p", before("1"));
        flaw["modified"] = json!(modified);
        build(&[flaw])
    };
    let index = aged("2026-05-01T00:00:00Z");
    let made = Timestamp::parse("2026-05-01").unwrap();
    let age = |index: &Index, now: Timestamp| index.ages(now, 30).remove(0);
    assert_eq!(age(&index, made).name, "advisories:PyPI");
    assert_eq!(
        (age(&index, made).days, age(&index, made).stale),
        (0, false)
    );
    let at = age(&index, made.plus_ms(31 * DAY_MS - 1));
    assert_eq!((at.days, at.stale), (30, false));
    let above = age(&index, made.plus_ms(31 * DAY_MS));
    assert_eq!((above.days, above.stale), (31, true));
    // A clock that is set back by more than a day proves nothing.
    assert!(age(&index, made.plus_ms(-2 * DAY_MS)).stale);
    for forged in [
        "9999-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "",
        "tomorrow",
    ] {
        assert!(age(&aged(forged), NOW).stale, "{forged}");
    }
}

#[test]
fn an_index_is_the_same_after_saving_and_for_the_same_records_in_any_order() {
    let a = record("X-1", &["CVE-2026-0001"], "PyPI", "p", before("1"));
    let b = record("X-2", &[], "npm", "@s/q", before("1.0.0"));
    let index = build(&[a.clone(), b.clone()]);
    assert_eq!(index.bytes(), build(&[b, a]).bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.idx");
    index.save(&path).unwrap();
    let loaded = Index::load(&path).unwrap();
    assert_eq!(
        (loaded.bytes(), loaded.header()),
        (index.bytes(), index.header())
    );
    assert_eq!(
        ask(&loaded, Ecosystem::Npm, "@s/q", "0.1.0")[0].group,
        "X-2"
    );
    assert!(matches!(
        Index::load(&folder.path().join("none")),
        Err(SupplyError::Io { .. })
    ));
    let noted = loaded.with_note("from here").unwrap();
    assert_eq!(noted.header().note, "from here");
    assert_eq!(ask(&noted, Ecosystem::Npm, "@s/q", "0.1.0")[0].group, "X-2");
}

#[test]
fn the_embedded_index_opens_and_knows_old_flaws_of_every_ecosystem() {
    let index = Index::embedded().unwrap();
    for (ecosystem, name, version, id) in [
        (Ecosystem::CratesIo, "time", "0.1.42", "CVE-2020-26235"),
        (Ecosystem::PyPi, "pyyaml", "5.1", "CVE-2019-20477"),
        (Ecosystem::Npm, "bassmaster", "1.5.1", "CVE-2014-7205"),
    ] {
        let found = ask(&index, ecosystem, name, version);
        assert!(found.iter().any(|m| m.group == id), "{name}: {found:?}");
    }
    assert!(ask(&index, Ecosystem::CratesIo, "time", "99.0.0").is_empty());
    let header = index.header();
    assert_eq!(header.ecosystems.len(), 3);
    assert!(header.note.contains("CC BY 4.0"));
    // The limit of a committed file.
    assert!(index.bytes().len() <= 480 * 1024);
}

proptest! {
    #[test]
    fn a_damaged_index_is_an_error_and_never_an_answer(at in 0_usize..600, flip in 1_u8..=255) {
        let index = build(&[
            record("X-1", &["CVE-2026-0001"], "PyPI", "p", before("1")),
            record("X-2", &[], "npm", "q", before("1.0.0")),
        ]);
        let mut bytes = index.bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(Index::from_bytes(bytes.clone()).is_err());
        bytes.truncate(at);
        prop_assert!(Index::from_bytes(bytes).is_err());
    }

    #[test]
    fn every_interval_is_matched_inside_and_only_inside(
        from in (0_u32..20, 0_u32..20), length in 1_u32..20, asked in (0_u32..40, 0_u32..40),
    ) {
        let (low, high) = (from, (from.0, from.1 + length));
        let text = |(a, b): (u32, u32)| format!("{a}.{b}.0");
        let events = json!([{"introduced": text(low)}, {"fixed": text(high)}]);
        let index = build(&[record("X-1", &[], "npm", "p", events)]);
        let hit = !ask(&index, Ecosystem::Npm, "p", &text(asked)).is_empty();
        prop_assert_eq!(hit, low <= asked && asked < high);
    }
}
