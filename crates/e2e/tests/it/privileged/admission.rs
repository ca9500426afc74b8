//! ADMIT through the binary: what denies, what a waiver changes, exit codes, machine formats.

use super::ringfence;
use ringfence_e2e::{Host, Said, binary, workspace};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is planted in examples/leaky: the rule and where it must be seen.
pub(super) const PLANTED: [(&str, &str); 4] = [
    ("secret/aws-access-key", "assistant.py:24"),
    ("admit/bind-all-interfaces", "assistant.py:92"),
    ("admit/pickle-dangerous-global", "model.pkl"),
    ("admit/vulnerable-dependency", "requirements.txt:2"),
];

/// A host whose project has the faults of examples/leaky.
fn leaky_host() -> Host {
    let host = Host::prepare("");
    plant(&host.project());
    host
}

fn plant(project: &Path) {
    let example = workspace().join("examples/leaky");
    for name in ["assistant.py", "model.pkl", "requirements.txt"] {
        fs::copy(example.join(name), project.join(name)).unwrap();
    }
}

fn rules(report: &Value) -> BTreeSet<String> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|f| f["rule"].as_str().unwrap().to_owned())
        .collect()
}

fn waive_all(host: &Host) {
    for (rule, _) in PLANTED {
        host.run(&[
            "waive",
            rule,
            "--until",
            "30d",
            "--reason",
            "a test of waivers",
        ])
        .ok();
    }
}

#[test]
fn a_denied_project_starts_once_every_finding_is_waived() {
    let host = Host::up("");
    waive_all(&host);
    host.run(&["down"]).ok();
    plant(&host.project());
    let project = host.project();
    let said = host.run(&["up", "-d", project.to_str().unwrap()]).ok();
    assert!(
        said.out.contains("verdict: ") && !said.out.contains("verdict: deny"),
        "{said:?}"
    );
    let leaves = host.leaves();
    let waived = leaves
        .iter()
        .filter(|l| l["action"] == "waiver.create")
        .count();
    assert_eq!(waived, PLANTED.len(), "a waiver without a leaf");
}

#[test]
fn one_finding_that_is_not_waived_still_denies() {
    let host = Host::up("");
    for (rule, _) in PLANTED.iter().skip(1) {
        host.run(&["waive", rule, "--until", "30d", "--reason", "all but one"])
            .ok();
    }
    host.run(&["down"]).ok();
    plant(&host.project());
    let project = host.project();
    let said = host.run(&["up", "-d", project.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(host.processes(), [], "something of a denied project runs");
}

#[test]
fn the_waiver_that_a_refusal_suggests_can_be_made_while_nothing_runs() {
    let host = leaky_host();
    let project = host.project();
    let up = ["up", "--check-only", project.to_str().unwrap()];
    let said = host.run(&up);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.contains("help: ") && said.out.contains("ringfence waive "),
        "{said:?}"
    );
    waive_all(&host);
    let said = host.run(&up);
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
}

#[test]
fn a_waiver_without_an_end_or_a_reason_is_refused() {
    let host = Host::up("");
    for arguments in [
        &["waive", "admit/secret", "--reason", "no end"][..],
        &["waive", "admit/secret", "--until", "30d"],
        &["waive", "admit/secret", "--until", "30d", "--reason", ""],
        &[
            "waive",
            "admit/secret",
            "--until",
            "2020-01-01",
            "--reason",
            "in the past",
        ],
        &[
            "waive",
            "not a rule",
            "--until",
            "30d",
            "--reason",
            "no such rule",
        ],
    ] {
        let said = host.run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(said.err.contains("error"), "{arguments:?}: {said:?}");
    }
    assert!(
        host.leaves().iter().all(|l| l["action"] != "waiver.create"),
        "a waiver was made"
    );
}

#[test]
fn check_tells_pass_findings_and_incomplete_apart_by_its_exit_code() {
    let examples = workspace().join("examples");
    assert_eq!(ringfence(&examples, &["check", "helpdesk"]).code, Some(0));
    assert_eq!(ringfence(&examples, &["check", "leaky"]).code, Some(1));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("broken.pkl"), b"\x80\x04\x95\xff\x00").unwrap();
    let said = ringfence(dir.path(), &["check", "."]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.out.contains("broken.pkl") && said.out.contains("incomplete"),
        "{said:?}"
    );
    let said = ringfence(dir.path(), &["check", "missing"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.err.contains("error[admit/path]") && said.err.contains("help: "),
        "{said:?}"
    );
}

#[test]
fn check_denies_from_the_severity_on_that_it_is_told() {
    let leaky = workspace().join("examples/leaky");
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        leaky.join("requirements.txt"),
        dir.path().join("requirements.txt"),
    )
    .unwrap();
    let denied = ringfence(dir.path(), &["check", ".", "--deny-at", "high"]);
    assert_eq!(denied.code, Some(1), "{denied:?}");
    let passed = ringfence(dir.path(), &["check", ".", "--deny-at", "critical"]);
    assert!(matches!(passed.code, Some(0 | 3)), "{passed:?}");
    assert!(
        passed.out.contains("admit/vulnerable-dependency"),
        "a finding was hidden: {passed:?}"
    );
    let refused = ringfence(dir.path(), &["check", ".", "--deny-at", "sometimes"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[test]
fn check_speaks_json_and_sarif() {
    let examples = workspace().join("examples");
    let said = ringfence(&examples, &["check", "leaky", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let report = said.json();
    let planted: BTreeSet<String> = PLANTED.iter().map(|(rule, _)| (*rule).to_owned()).collect();
    assert_eq!(rules(&report), planted);
    assert_eq!(report["verdict"]["decision"], "deny");

    let said = ringfence(&examples, &["check", "leaky", "--sarif"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let sarif = said.json();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(
        sarif["$schema"]
            .as_str()
            .unwrap()
            .contains("sarif-schema-2.1.0")
    );
    let run = &sarif["runs"][0];
    let declared = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(
        (declared.len(), results.len()),
        (PLANTED.len(), PLANTED.len()),
        "{sarif}"
    );
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(declared[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["artifactLocation"]["uri"].is_string(), "{result}");
        let region = &place["region"];
        assert!(
            region["startLine"].is_u64() || region["byteOffset"].is_u64(),
            "{result}"
        );
        assert!(
            !result["message"]["text"].as_str().unwrap().is_empty(),
            "{result}"
        );
    }
    let both = ringfence(&examples, &["check", "leaky", "--sarif", "--json"]);
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[test]
fn up_check_only_decides_and_starts_nothing() {
    for (host, expected) in [(Host::prepare(""), 0), (leaky_host(), 1)] {
        let project = host.project();
        let said = host.run(&["up", "--check-only", project.to_str().unwrap()]);
        assert_eq!(said.code, Some(expected), "{said:?}");
        assert!(said.out.contains("coverage: "), "{said:?}");
        assert_eq!(host.processes(), []);
    }
}

#[test]
fn hostile_trees_are_walked_to_the_end_and_every_gap_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // One line of a gigabyte that takes no room on disk.
    fs::File::create(path("line.py"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    std::os::unix::fs::symlink(".", path("loop")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", path("outside")).unwrap();
    fs::create_dir(path("deep")).unwrap();
    let mut deep = path("deep");
    for _ in 0..300 {
        deep = deep.join("d");
        fs::create_dir(&deep).unwrap();
    }
    assert!(
        Command::new("mkfifo")
            .arg(path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    fs::write(path("truncated.pkl"), b"\x80\x04\x95").unwrap();
    fs::write(path("package-lock.json"), "{\"a\":1,\"a\":2}").unwrap();
    let said = ringfence(dir.path(), &["check", ".", "--json"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let report = said.json();
    let skips = report["verdict"]["coverage"]["skips"].as_array().unwrap();
    let named: Vec<&str> = skips.iter().map(|s| s["path"].as_str().unwrap()).collect();
    // The link to the folder itself hides nothing, so it is no gap; that the walk ended is the test.
    for name in [
        "line.py",
        "outside",
        "pipe",
        "truncated.pkl",
        "package-lock.json",
    ] {
        assert!(named.contains(&name), "{name} is not among {skips:?}");
    }
    assert!(
        named.iter().any(|n| n.starts_with("deep/d")),
        "the depth has no limit: {skips:?}"
    );
}

#[test]
fn a_folder_that_vanishes_during_the_walk_is_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..400 {
        let folder = dir.path().join(format!("{n:03}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("text.py"), vec![b'x'; 20_000]).unwrap();
    }
    let check = Command::new(binary())
        .args(["check", "--json"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Removed from the end, which the walk reaches last.
    for n in (0..400).rev() {
        fs::remove_dir_all(dir.path().join(format!("{n:03}"))).unwrap();
    }
    let said = Said::of(&check.wait_with_output().unwrap());
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
    assert!(!said.err.contains("panicked"), "{said:?}");
    said.json();
}
