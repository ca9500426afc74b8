//! What a rule says about every finding it makes, and how an observation becomes a finding.
//!
//! The words stand in one `static` beside each inspector; an [`Observation`] adds where and what
//! was seen. Fingerprints and ordinals are given out at the end, for a whole file at once.

use ringfence_core::finding::{Finding, Fingerprint, Subject};
use ringfence_core::ids::RuleId;
use ringfence_core::severity::{Confidence, Cvss, Severity};
use ringfence_crypto::hash::sha256;
use std::collections::BTreeMap;

/// LIMIT: characters of evidence kept in one finding.
pub const EVIDENCE_CHARS_MAX: usize = 200;

/// The fixed words of one rule.
#[derive(Debug)]
pub struct Rule {
    /// `admit/kebab-name`.
    pub id: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// CVSS 3.1 vector and its base score in tenths; agrees with `severity`.
    pub cvss: Option<(&'static str, u8)>,
    /// What an attacker gains.
    pub impact: &'static str,
    /// What to change.
    pub fix: &'static str,
    /// What to do until then.
    pub mitigation: &'static str,
    /// Where to read more.
    pub references: &'static [&'static str],
    /// CWE, OWASP LLM, MITRE ATLAS.
    pub tags: &'static [&'static str],
}

/// Something an inspector saw, before it has a fingerprint.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The words.
    pub rule: &'static Rule,
    /// The rule's id, when one inspector speaks for many rules (secrets of many providers).
    pub rule_id: Option<RuleId>,
    /// Where; its ordinal is given out by [`settle`].
    pub subject: Subject,
    /// One line, more exact than the rule's.
    pub title: String,
    /// How bad this one is.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// What was seen; printable, short, without secrets.
    pub evidence: String,
    /// A more exact fix and mitigation than the rule's.
    pub advice: Option<(String, String)>,
}

impl Observation {
    /// An observation with the rule's own title and severity and high confidence.
    pub fn new(rule: &'static Rule, subject: Subject, evidence: &str) -> Self {
        Self {
            rule,
            rule_id: None,
            subject,
            title: rule.title.to_owned(),
            severity: rule.severity,
            confidence: Confidence::High,
            evidence: printable(evidence),
            advice: None,
        }
    }

    /// The same with a more exact title.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = printable(&title.into());
        self
    }

    /// The same with another confidence.
    #[must_use]
    pub fn sure(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    /// The same with another severity; the rule's score then no longer applies.
    #[must_use]
    pub fn rated(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    fn id(&self) -> RuleId {
        self.rule_id
            .clone()
            .unwrap_or_else(|| RuleId::of(self.rule.id))
    }
}

/// Escapes control and invisible formatting characters, so that a file name or a string inside a
/// model cannot paint on a terminal or turn the reading direction around, and cuts the rest.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == EVIDENCE_CHARS_MAX {
            out.push('…');
            break;
        }
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || hidden {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Gives out ordinals and fingerprints, in the order of the observations, and drops repetitions
/// that no fingerprint could tell apart (the same global used twice in one member).
pub fn settle(observations: Vec<Observation>) -> Vec<Finding> {
    let mut seen: BTreeMap<Vec<String>, u32> = BTreeMap::new();
    let mut findings = Vec::new();
    for mut observation in observations {
        let rule = observation.id();
        let mut key = observation.subject.identity();
        key.push(rule.as_str().to_owned());
        let count = seen.entry(key).or_insert(0);
        match &mut observation.subject {
            Subject::Source { ordinal, .. } => *ordinal = *count,
            _ if *count > 0 => continue,
            _ => {}
        }
        *count += 1;
        findings.push(finish(observation, rule));
    }
    findings
}

fn finish(observation: Observation, id: RuleId) -> Finding {
    let rule = observation.rule;
    let fixed = (rule.fix.to_owned(), rule.mitigation.to_owned());
    let (fix, mitigation) = observation.advice.unwrap_or(fixed);
    let scored = rule.cvss.filter(|_| observation.severity == rule.severity);
    Finding {
        fingerprint: Fingerprint::derive(&id, &observation.subject, sha256),
        rule: id,
        subject: observation.subject,
        title: observation.title,
        severity: observation.severity,
        cvss: scored.map(|(vector, tenths)| Cvss {
            vector: vector.to_owned(),
            tenths,
        }),
        confidence: observation.confidence,
        impact: rule.impact.to_owned(),
        fix,
        mitigation,
        evidence: observation.evidence,
        references: rule.references.iter().map(|r| (*r).to_owned()).collect(),
        tags: rule.tags.iter().map(|t| (*t).to_owned()).collect(),
        edit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static RULE: Rule = Rule {
        id: "admit/test",
        title: "t",
        severity: Severity::High,
        cvss: Some(("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:L", 73)),
        impact: "i",
        fix: "f",
        mitigation: "m",
        references: &[],
        tags: &[],
    };

    fn seen(line: u32, text: &str) -> Observation {
        let subject = Subject::Source {
            path: "a".into(),
            line: Some(line),
            normalised: text.into(),
            symbol: None,
            ordinal: 0,
        };
        Observation::new(&RULE, subject, text)
    }

    #[test]
    fn equal_texts_are_told_apart_by_ordinal_and_keep_their_fingerprints_when_lines_move() {
        let before = settle(vec![seen(1, "x"), seen(5, "x"), seen(9, "y")]);
        let after = settle(vec![seen(11, "x"), seen(15, "x"), seen(19, "y")]);
        let prints = |f: &[Finding]| f.iter().map(|f| f.fingerprint.clone()).collect::<Vec<_>>();
        assert_eq!(prints(&before), prints(&after));
        assert_ne!(before[0].fingerprint, before[1].fingerprint);
    }

    #[test]
    fn repeated_model_findings_are_one() {
        let subject = Subject::Model {
            path: "m".into(),
            member: String::new(),
            detail: "d".into(),
            offset: Some(1),
        };
        let one = Observation::new(&RULE, subject, "e");
        assert_eq!(settle(vec![one.clone(), one]).len(), 1);
    }

    #[test]
    fn a_changed_severity_drops_the_score() {
        let found = settle(vec![seen(1, "x").rated(Severity::Low)]);
        assert!(found[0].cvss.is_none());
        assert!(settle(vec![seen(1, "x")])[0].cvss.is_some());
    }

    #[test]
    fn evidence_cannot_paint_and_is_cut_at_the_limit() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert!(!printable("x\u{202e}y").contains('\u{202e}'));
        let limit = "a".repeat(EVIDENCE_CHARS_MAX);
        assert_eq!(printable(&limit), limit);
        assert!(printable(&format!("{limit}a")).ends_with('…'));
    }
}
