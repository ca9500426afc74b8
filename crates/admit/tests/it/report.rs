//! The report: serialised, waived, as SARIF, and the same every time.

use crate::tree::{NOW, Tree};
use proptest::prelude::*;
use ringfence_admit::sarif::sarif;
use ringfence_admit::{ActiveWaiver, AdmitError, ScanOptions, ScanReport, scan};
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_core::verdict::Decision;
use std::path::Path;

const BIND: &[u8] = b"def main():\n    run(host='0.0.0.0')\n";

fn waiver(until: Timestamp, fingerprint: Option<String>) -> ScanOptions {
    let rule = "admit/bind-all-interfaces".to_owned();
    let waivers = vec![ActiveWaiver {
        rule,
        fingerprint,
        until,
        until_urgent: until,
    }];
    ScanOptions {
        waivers,
        ..ScanOptions::at(NOW)
    }
}

#[test]
fn a_report_survives_the_way_to_another_process() {
    let report = Tree::new(&[("a.py", BIND), ("b.bin", b"\xff\xfe\0")]).check();
    let text = serde_json::to_string(&report).expect("JSON");
    let back: ScanReport = serde_json::from_str(&text).expect("a report");
    assert_eq!(back, report);
}

#[test]
fn what_would_page_somebody_is_waived_until_its_own_earlier_end() {
    // A pickle that calls posix.system: critical. Protocol 2, GLOBAL, TUPLE1, REDUCE, STOP.
    let pickle = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.";
    let tree = Tree::new(&[("model.pkl", pickle)]);
    let waived = |until_urgent: i64| {
        let waivers = vec![ActiveWaiver {
            rule: "admit/pickle-dangerous-global".to_owned(),
            fingerprint: None,
            until: NOW.plus_ms(60 * DAY_MS),
            until_urgent: NOW.plus_ms(until_urgent),
        }];
        tree.scan(&ScanOptions {
            waivers,
            ..ScanOptions::at(NOW)
        })
        .verdict
        .decision
    };
    assert_eq!(waived(1), Decision::Allow);
    assert_eq!(waived(0), Decision::Deny);
}

#[test]
fn a_waiver_holds_until_its_moment_and_not_at_it() {
    let tree = Tree::new(&[("a.py", BIND)]);
    assert_eq!(tree.check().verdict.decision, Decision::Deny);
    let waived = tree.scan(&waiver(NOW.plus_ms(1), None));
    assert_eq!(waived.verdict.decision, Decision::Allow);
    assert_eq!(waived.waived.len(), 1);
    assert_eq!(
        tree.scan(&waiver(NOW, None)).verdict.decision,
        Decision::Deny
    );
    let mine = waived.findings[0].fingerprint.as_str().to_owned();
    let this = tree.scan(&waiver(NOW.plus_ms(DAY_MS), Some(mine)));
    assert_eq!(this.verdict.decision, Decision::Allow);
    let other = tree.scan(&waiver(NOW.plus_ms(DAY_MS), Some("0".repeat(32))));
    assert_eq!(other.verdict.decision, Decision::Deny);
}

#[test]
fn fingerprints_outlive_lines_added_above() {
    let before = Tree::new(&[("a.py", BIND)]).check();
    let moved = [b"# new\n\n".as_slice(), BIND].concat();
    let after = Tree::new(&[("a.py", &moved)]).check();
    assert_eq!(
        before.findings[0].fingerprint,
        after.findings[0].fingerprint
    );
    assert_ne!(
        before.findings[0].subject.line(),
        after.findings[0].subject.line()
    );
    assert_ne!(before.project_digest, after.project_digest);
}

#[test]
fn sarif_has_rules_fingerprints_and_skips() {
    let report = Tree::new(&[("a b.py", BIND), ("m.gguf", b"GGUF\x03\0")])
        .scan(&waiver(NOW.plus_ms(1), None));
    let log = sarif(&report);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "admit/bind-all-interfaces");
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], result["ruleId"]);
    assert_eq!(result["ruleIndex"], 0);
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b.py");
    assert_eq!(place["region"]["startLine"], 2);
    assert_eq!(result["suppressions"][0]["kind"], "external");
    let print = result["partialFingerprints"]["ringfence/v1"]
        .as_str()
        .expect("a fingerprint");
    assert_eq!(print, report.findings[0].fingerprint.as_str());
    let skipped = &run["invocations"][0]["toolExecutionNotifications"][0];
    assert_eq!(
        skipped["descriptor"]["id"],
        "admit/skip/model-format-not-understood"
    );
}

#[test]
fn what_a_project_needs_is_concluded_and_compared() {
    let report = Tree::new(&[(
        "a.py",
        b"get('https://api.example.org/')\nos.system('git pull')\n",
    )])
    .check();
    assert_eq!(report.manifest.hosts, ["api.example.org"]);
    assert_eq!(report.manifest.exec, ["git"]);
    assert_eq!(report.undeclared_hosts(), ["api.example.org"]);
}

#[test]
fn what_stops_a_scan_says_so_with_a_next_step() {
    use ringfence_core::error::Explain;
    let error = scan(
        Path::new("/nonexistent"),
        &ScanOptions::at(NOW),
        &mut |_| {},
    );
    let error = error.expect_err("no such directory");
    assert!(matches!(error, AdmitError::Root { .. }));
    assert_eq!(error.code().0, "admit/root-unreadable");
    assert!(error.help().is_some() && error.place().is_some());
    let missing = Some("/nonexistent/index".into());
    let options = ScanOptions {
        advisories: missing,
        ..ScanOptions::at(NOW)
    };
    let error = scan(Path::new("/"), &options, &mut |_| {}).expect_err("no index");
    assert!(matches!(error, AdmitError::Advisories(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_tree_gives_the_same_report_and_every_octet_is_accounted_for(
        files in prop::collection::btree_map("[a-c]{1,2}\\.(py|pkl|txt|bin)", prop::collection::vec(any::<u8>(), 0..200), 0..6)
    ) {
        let listed: Vec<(&str, &[u8])> =
            files.iter().map(|(p, b)| (p.as_str(), b.as_slice())).collect();
        let backwards: Vec<(&str, &[u8])> = listed.iter().rev().copied().collect();
        let (one, two) = (Tree::new(&listed).check(), Tree::new(&backwards).check());
        prop_assert_eq!(&one, &two);
        let seen: u64 = files.values().map(|b| b.len() as u64).sum();
        let coverage = &one.verdict.coverage;
        prop_assert_eq!(coverage.bytes_seen, seen);
        prop_assert!(coverage.bytes_understood <= seen);
        prop_assert!(coverage.bytes_understood + coverage.bytes_skipped() >= seen);
    }
}
