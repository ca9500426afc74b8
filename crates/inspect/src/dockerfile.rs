//! Dockerfiles that run their program as root or build it with the host's rights.
//!
//! Instruction by instruction, with continuation lines, comments and here-documents; only the last
//! stage counts, because only it runs. A user name in a variable is not resolved: it is a skip.

use crate::file::{FileInspector, FileView, Inspection};
use crate::rule::{Observation, Rule};
use crate::source::{Language, at, folded};
use ringfence_core::severity::{Confidence, Severity};

const REFERENCES: &[&str] = &[
    "https://docs.docker.com/build/building/best-practices/#user",
    "https://cwe.mitre.org/data/definitions/250.html",
];

/// The last stage says `USER root`.
pub static RULE_ROOT: Rule = Rule {
    id: "admit/dockerfile-root",
    title: "The image runs its program as root",
    severity: Severity::High,
    cvss: Some(("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 78)),
    impact: "A flaw in the program gives its attacker root in the container: every file of the \
        image, every mounted volume, and one kernel or runtime bug less to the host.",
    fix: "Create a user (RUN useradd --uid 10001 app) and end the last stage with USER 10001.",
    mitigation: "Start the container with --user 10001 --cap-drop ALL \
        --security-opt no-new-privileges.",
    references: REFERENCES,
    tags: &["CWE-250", "LLM06"],
};

/// The last stage names no user.
pub static RULE_NO_USER: Rule = Rule {
    id: "admit/dockerfile-no-user",
    title: "The image names no user, so it runs as the base image's user, usually root",
    severity: Severity::Medium,
    cvss: None,
    impact: RULE_ROOT.impact,
    fix: RULE_ROOT.fix,
    mitigation: RULE_ROOT.mitigation,
    references: REFERENCES,
    tags: &["CWE-250", "LLM06"],
};

/// `RUN --security=insecure`.
pub static RULE_INSECURE: Rule = Rule {
    id: "admit/dockerfile-insecure-run",
    title: "A build step runs without the sandbox of the builder",
    severity: Severity::High,
    cvss: Some(("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 88)),
    impact: "Anything the step downloads or executes holds all privileges on the build host.",
    fix: "Remove --security=insecure from the RUN instruction.",
    mitigation: "Build on a machine that holds nothing else.",
    references: REFERENCES,
    tags: &["CWE-250", "CWE-266"],
};

/// Finds root users and privileged steps in Dockerfiles.
#[derive(Debug)]
pub struct Dockerfile;

/// One instruction with its arguments, continuation lines joined.
struct Instruction {
    line: u32,
    word: String,
    arguments: String,
}

impl FileInspector for Dockerfile {
    fn id(&self) -> &'static str {
        "dockerfile"
    }

    fn description(&self) -> &'static str {
        "reports Dockerfiles whose last stage runs as root and build steps without sandbox"
    }

    fn wants(&self, file: &FileView<'_>) -> bool {
        Language::of(file.name(), &file.extension()) == Some(Language::Dockerfile)
    }

    fn inspect(&self, file: &FileView<'_>) -> Inspection {
        let Some(text) = file.text() else {
            let mut inspection = Inspection::default();
            inspection.skip(file.path, "not-text", file.bytes.len() as u64);
            return inspection;
        };
        let mut inspection = Inspection::understood(file.bytes.len());
        let instructions = instructions(text);
        for i in &instructions {
            if i.word == "RUN" && i.arguments.contains("--security=insecure") {
                see(&mut inspection, file, &RULE_INSECURE, i);
            }
        }
        let Some(last) = instructions.iter().rposition(|i| i.word == "FROM") else {
            if !is_source(&file.extension()) {
                inspection.skip(file.path, "dockerfile-without-from", 0);
            }
            return inspection;
        };
        let stage = instructions.get(last..).unwrap_or_default();
        match stage.iter().rev().find(|i| i.word == "USER") {
            Some(user) if is_root(&user.arguments) => {
                see(&mut inspection, file, &RULE_ROOT, user);
            }
            Some(user) if user.arguments.contains('$') => {
                inspection.skip(file.path, "dockerfile-variable-user", 0);
            }
            Some(_) => {}
            None => {
                if let Some(from) = stage.first() {
                    see(&mut inspection, file, &RULE_NO_USER, from);
                }
            }
        }
        inspection
    }
}

/// `dockerfile.rs` is a program about Dockerfiles; `Dockerfile.py`, with a `FROM`, is one.
fn is_source(extension: &str) -> bool {
    const SOURCE: [&str; 19] = [
        "c", "cc", "cpp", "cs", "go", "h", "html", "java", "js", "json", "lua", "md", "php", "py",
        "rb", "rs", "rst", "ts", "yaml",
    ];
    SOURCE.contains(&extension)
}

fn see(out: &mut Inspection, file: &FileView<'_>, rule: &'static Rule, i: &Instruction) {
    let text = match rule.id {
        "admit/dockerfile-insecure-run" => "RUN --security=insecure".to_owned(),
        _ => folded(&format!("{} {}", i.word, i.arguments)),
    };
    let subject = at(file.path, i.line, text.clone(), None);
    let sure = match rule.id {
        "admit/dockerfile-no-user" => Confidence::Medium,
        _ => Confidence::High,
    };
    out.observe(Observation::new(rule, subject, &text).sure(sure));
}

/// `root`, `0`, with or without a group, also as a number with leading zeros.
pub(crate) fn is_root(user: &str) -> bool {
    let user = user.trim().trim_matches(['"', '\'']);
    let name = user.split(':').next().unwrap_or(user).trim();
    name == "root" || (!name.is_empty() && name.bytes().all(|b| b == b'0'))
}

fn instructions(text: &str) -> Vec<Instruction> {
    let mut out: Vec<Instruction> = Vec::new();
    let mut open = false;
    let mut until: Option<String> = None;
    for (line, raw) in (1_u32..).zip(text.lines()) {
        let trimmed = raw.trim();
        if let Some(end) = &until {
            if trimmed == end {
                until = None;
            }
            continue;
        }
        // Comments and empty lines inside a continued instruction do not end it.
        if trimmed.starts_with('#') || (trimmed.is_empty() && open) {
            continue;
        }
        let continued = trimmed.ends_with('\\');
        let body = trimmed.trim_end_matches('\\').trim();
        match out.last_mut().filter(|_| open) {
            Some(last) => {
                last.arguments.push(' ');
                last.arguments.push_str(body);
            }
            None => {
                let (word, arguments) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
                let word = word.to_ascii_uppercase();
                out.push(Instruction {
                    line,
                    word,
                    arguments: arguments.trim().to_owned(),
                });
            }
        }
        open = continued;
        if !open {
            until = out.last().and_then(here_document);
        }
    }
    out
}

/// The delimiter of a here-document that `RUN` or `COPY` opens.
fn here_document(instruction: &Instruction) -> Option<String> {
    if !matches!(instruction.word.as_str(), "RUN" | "COPY") {
        return None;
    }
    let (_, after) = instruction.arguments.split_once("<<")?;
    let name = after
        .trim_start_matches('-')
        .trim_start_matches(['"', '\'']);
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    name.get(..end).filter(|n| !n.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Vec<(&'static str, Option<u32>)>, Vec<String>) {
        crate::cases::seen_in(&Dockerfile, "Dockerfile", text)
    }

    #[test]
    fn only_the_last_stage_and_its_last_user_count() {
        let text = "FROM a AS b\nUSER root\nFROM c\nUSER 0\nUSER app\n";
        assert_eq!(check(text).0, []);
        let text = "FROM a\nUSER app\nUSER 0:0\n";
        assert_eq!(check(text).0, [("admit/dockerfile-root", Some(3))]);
        assert_eq!(
            check("FROM a\nCMD x").0,
            [("admit/dockerfile-no-user", Some(1))]
        );
    }

    #[test]
    fn comments_continuations_and_here_documents_are_no_instructions() {
        let text =
            "FROM a\nRUN x \\\n# USER root\n USER root\nRUN <<EOF\nUSER root\nEOF\nuser app\n";
        assert_eq!(check(text).0, []);
    }

    #[test]
    fn insecure_steps_are_found_and_variables_are_skips() {
        let (found, skips) = check("FROM a\nRUN --security=insecure x\nUSER $ME");
        assert_eq!(found, [("admit/dockerfile-insecure-run", Some(2))]);
        assert_eq!(skips, ["dockerfile-variable-user"]);
    }

    #[test]
    fn zeros_and_names_are_root() {
        for user in ["root", "0", "00", "root:root", "\"0\"", "0:1000"] {
            assert!(is_root(user), "{user}");
        }
        for user in ["app", "1000", "rooty", "", "10"] {
            assert!(!is_root(user), "{user}");
        }
    }

    #[test]
    fn a_program_about_dockerfiles_is_none_and_a_dockerfile_without_from_is_a_skip() {
        let looked = |path: &str, text: &str| {
            let file = FileView {
                path,
                bytes: text.as_bytes(),
            };
            let seen = Dockerfile.inspect(&file);
            (seen.observations.len(), seen.skips.len())
        };
        assert_eq!(looked("src/dockerfile.rs", "fn main() {}"), (0, 0));
        assert_eq!(looked("Dockerfile.py", "FROM a\nUSER root\n"), (1, 0));
        assert_eq!(looked("Dockerfile.gpu", "RUN x\n"), (0, 1));
        assert_eq!(looked("Dockerfile", "RUN x\n"), (0, 1));
    }
}
