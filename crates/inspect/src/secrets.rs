//! Keys and passwords in files.
//!
//! The rules and their checks live in the detect crate, which the gateway uses too. Text is read
//! as UTF-8; other octets are read too, with what is not text replaced, because keys are also
//! left in compiled files and databases.
//!
//! INVARIANT: a secret leaves this file only redacted, or as the first octets of its digest.

use crate::file::{FileInspector, FileView, Inspection};
use crate::rule::{Observation, Rule};
use crate::source::{Language, at, in_documentation, in_tests, lines, symbol};
use ringfence_core::digest::hex;
use ringfence_core::severity::{Confidence, Severity};
use ringfence_crypto::hash::sha256;
use ringfence_detect::secrets::{SecretHit, Secrets};
use std::sync::OnceLock;

/// A key of a provider, or text that looks like one.
pub static RULE_SECRET: Rule = Rule {
    id: "admit/secret",
    title: "A secret is written in this file",
    severity: Severity::High,
    cvss: Some(("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 75)),
    impact: "Everyone who can read the file, its copies and its history can use the key: at the \
        provider's cost, and with all that it opens.",
    fix: "Revoke the key at its provider, make a new one, and hand it to the program through the \
        environment or a secret store. Removing the line is not enough: the old key stays in \
        every copy.",
    mitigation: "Restrict the key at its provider to the least it needs, and watch its use.",
    references: &[
        "https://cwe.mitre.org/data/definitions/798.html",
        "https://genai.owasp.org/llmrisk/llm022025-sensitive-information-disclosure/",
    ],
    tags: &["CWE-798", "LLM02", "AML.T0055"],
};

/// Octets of a digest that stand for a secret: enough to tell two apart, too few to search for
/// the secret of a weak rule with confidence.
const DIGEST_BYTES: usize = 6;

/// Finds keys in files.
#[derive(Debug)]
pub struct SecretFiles;

fn rules() -> Option<&'static Secrets> {
    static RULES: OnceLock<Option<Secrets>> = OnceLock::new();
    RULES.get_or_init(|| Secrets::new().ok()).as_ref()
}

impl FileInspector for SecretFiles {
    fn id(&self) -> &'static str {
        "secrets"
    }

    fn description(&self) -> &'static str {
        "reports keys of known providers and texts as random as keys"
    }

    fn wants(&self, file: &FileView<'_>) -> bool {
        !file.bytes.is_empty()
    }

    fn inspect(&self, file: &FileView<'_>) -> Inspection {
        let Some(text) = file.text() else {
            // Searched, but not understood: a key in another encoding would be missed.
            let mut inspection = Inspection::default();
            scan(file, &String::from_utf8_lossy(file.bytes), &mut inspection);
            return inspection;
        };
        let mut inspection = Inspection::understood(file.bytes.len());
        scan(file, text, &mut inspection);
        inspection
    }
}

fn scan(file: &FileView<'_>, text: &str, out: &mut Inspection) {
    let Some(rules) = rules() else {
        // Broken rules must not look like a clean file.
        out.bytes_understood = 0;
        out.skip(file.path, "secret-rules-broken", file.bytes.len() as u64);
        return;
    };
    let hits = rules.scan(text);
    if hits.is_empty() {
        return;
    }
    let language = Language::of(file.name(), &file.extension());
    let all = language.map(|l| lines(text, l));
    for hit in hits {
        let index = usize::try_from(hit.line)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let enclosing = language
            .zip(all.as_deref())
            .and_then(|(l, all)| symbol(all, index, l));
        out.observe(observation(file, text, &hit, enclosing));
        if out.full() {
            break;
        }
    }
}

fn observation(
    file: &FileView<'_>,
    text: &str,
    hit: &SecretHit,
    enclosing: Option<String>,
) -> Observation {
    let secret = text.get(hit.span.clone()).unwrap_or_default();
    let digest = sha256(secret.as_bytes());
    let normalised = format!(
        "sha256:{}",
        hex(digest.get(..DIGEST_BYTES).unwrap_or_default())
    );
    let subject = at(file.path, hit.line, normalised, enclosing);
    // A key with the form of its provider's is as bad in a test as anywhere; a value that only its
    // name makes a secret is in tests and documentation mostly made up.
    let aside = in_tests(file.path) || in_documentation(file.path);
    let severity = match hit.confidence {
        Confidence::Low if aside => Severity::Low,
        _ => hit.severity,
    };
    let mut seen = Observation::new(&RULE_SECRET, subject, &hit.redacted)
        .titled(format!(
            "{}: {} ({})",
            RULE_SECRET.title, hit.title, hit.provider
        ))
        .rated(severity)
        .sure(hit.confidence);
    seen.advice = Some((hit.fix.clone(), hit.mitigation.clone()));
    seen.rule_id = Some(hit.rule.clone());
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::OBSERVATIONS_MAX;
    use ringfence_detect::secrets::fixture::expand;

    fn rated(path: &str, template: &str) -> Vec<Severity> {
        let text = expand(template);
        let file = FileView {
            path,
            bytes: text.as_bytes(),
        };
        let seen = SecretFiles.inspect(&file).observations;
        seen.into_iter().map(|o| o.severity).collect()
    }

    #[test]
    fn only_values_without_a_form_are_rated_lower_in_tests_and_documentation() {
        let assigned = "password = \"\u{ab}alnum:24\u{bb}\"\n";
        let formed = "key = \"ghp_\u{ab}alnum:36\u{bb}\"\n";
        assert_eq!(rated("src/app.py", assigned), [Severity::Medium]);
        assert_eq!(rated("tests/app.py", assigned), [Severity::Low]);
        assert_eq!(rated("docs/use.md", assigned), [Severity::Low]);
        assert_eq!(rated("tests/app.py", formed), rated("src/app.py", formed));
    }

    #[test]
    fn a_file_full_of_keys_is_not_looked_at_for_ever() {
        // Each key asks for the name that encloses it, thousands of lines above.
        let head = "class A:\n".to_owned() + &"    x = 1\n".repeat(500);
        let line = expand("    password = \"\u{ab}alnum:24\u{bb}\"\n");
        for (count, skips) in [(OBSERVATIONS_MAX, 0), (OBSERVATIONS_MAX + 1, 1), (4_000, 1)] {
            let text = head.clone() + &line.repeat(count);
            let file = FileView {
                path: "app.py",
                bytes: text.as_bytes(),
            };
            let seen = SecretFiles.inspect(&file);
            assert_eq!(seen.observations.len(), OBSERVATIONS_MAX);
            assert_eq!(seen.skips.len(), skips, "{count}");
        }
    }
}
