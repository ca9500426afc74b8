//! Every command that the documentation shows is a command that exists.

use ringfence_e2e::{Said, binary, workspace};
use std::process::Command;

/// Lines that start with `ringfence ` in indented or fenced blocks of a page.
fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join(page)).unwrap();
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let bare = line.trim_start().trim_start_matches("$ ");
        if (fenced || line.starts_with("    ")) && bare.starts_with("ringfence ") {
            found.push(bare.split(" #").next().unwrap_or(bare).trim().to_owned());
        }
    }
    found
}

#[test]
fn every_command_in_the_pages_is_known_with_all_its_flags() {
    let mut checked = 0;
    for page in [
        "README.md",
        "README.zh-CN.md",
        "ARCHITECTURE.md",
        "examples/helpdesk/README.md",
        "examples/leaky/README.md",
        "examples/README.md",
        "docs/configuration.md",
        "docs/exec-api.md",
        "docs/metrics.md",
        "CONTRIBUTING.md",
    ] {
        for line in commands(page) {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let before_dashes = words.iter().take_while(|w| **w != "--").copied();
            let output = Command::new(binary())
                .args(before_dashes)
                .arg("--help")
                .output()
                .unwrap();
            let said = Said::of(&output);
            assert_eq!(said.code, Some(0), "{page}: {line}\n{said:?}");
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked} commands were found");
}

#[test]
fn the_commands_that_need_nothing_work_as_shown() {
    for line in [
        vec!["check", "examples/helpdesk"],
        vec!["config", "explain"],
        vec!["doctor"],
        vec!["man"],
        vec!["completions", "bash"],
        vec!["advisories", "status"],
    ] {
        let output = Command::new(binary())
            .args(&line)
            .current_dir(workspace())
            .output()
            .unwrap();
        let said = Said::of(&output);
        // Without root `doctor` finds walls missing, and says so with 1.
        let fine = said.code == Some(0) || (line == ["doctor"] && said.code == Some(1));
        assert!(fine && !said.out.is_empty(), "{line:?}: {said:?}");
    }
}
