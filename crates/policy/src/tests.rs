//! What the gate promises, and that the attacks work where the promise is not kept.

use crate::rego;
use crate::{
    FINDINGS_MAX, Gate, GateConfig, GateFinding, GateInput, IncompleteRule, PolicyError,
    REASONS_MAX, StaleRule,
};
use proptest::prelude::*;
use regorus::{Engine, Value};
use ringfence_core::error::Explain;
use ringfence_core::severity::Severity;
use ringfence_core::time::Timestamp;
use ringfence_core::verdict::{Coverage, DataAge, Decision, Skip};

const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

fn finding(severity: Severity, waived: bool) -> GateFinding {
    GateFinding {
        rule: "admit/test".into(),
        severity,
        fingerprint: "00".repeat(16),
        path: "a.py".into(),
        waived,
    }
}

fn input(findings: Vec<GateFinding>) -> GateInput {
    GateInput {
        findings,
        coverage: Coverage::default(),
        now: Timestamp(0),
    }
}

fn with(name: &str, body: &str) -> GateConfig {
    let text = format!("package ringfence.gate\nimport rego.v1\n{body}");
    GateConfig {
        extra_rego: vec![(name.to_owned(), text)],
        ..GateConfig::default()
    }
}

fn decide(config: &GateConfig, input: &GateInput) -> Decision {
    Gate::compile(config).unwrap().evaluate(input).decision
}

#[test]
fn the_threshold_denies_from_its_own_severity_up() {
    for (i, deny_at) in SEVERITIES.into_iter().enumerate() {
        let config = GateConfig {
            deny_at,
            ..GateConfig::default()
        };
        for (j, severity) in SEVERITIES.into_iter().enumerate() {
            let expected = if j >= i {
                Decision::Deny
            } else {
                Decision::Allow
            };
            let input = input(vec![finding(severity, false)]);
            assert_eq!(
                decide(&config, &input),
                expected,
                "{severity} against {deny_at}"
            );
        }
    }
}

#[test]
fn a_waived_finding_does_not_deny_and_the_reason_names_rule_and_path() {
    let gate = Gate::compile(&GateConfig::default()).unwrap();
    assert_eq!(
        gate.evaluate(&input(vec![finding(Severity::Critical, true)]))
            .decision,
        Decision::Allow
    );
    let denied = gate.evaluate(&input(vec![finding(Severity::Critical, false)]));
    assert_eq!(denied.reasons, ["admit/test (critical) in a.py"]);
}

#[test]
fn skips_and_stale_data_are_incomplete_or_deny_by_configuration() {
    let mut skipped = input(vec![]);
    skipped.coverage.skips.push(Skip {
        path: "x".into(),
        reason: "too-large".into(),
        bytes: 1,
    });
    let mut stale = input(vec![]);
    stale.coverage.data_age.push(DataAge {
        name: "advisories:PyPI".into(),
        days: 31,
        stale: false,
    });
    let mut unknown = input(vec![]);
    unknown.coverage.data_age.push(DataAge {
        name: "advisories:npm".into(),
        days: 0,
        stale: true,
    });
    let mut fresh = input(vec![]);
    fresh.coverage.data_age.push(DataAge {
        name: "advisories:npm".into(),
        days: 30,
        stale: false,
    });

    let warn = GateConfig::default();
    let deny_stale = GateConfig {
        stale: StaleRule::Deny,
        ..GateConfig::default()
    };
    let deny_both = GateConfig {
        incomplete: IncompleteRule::Deny,
        ..GateConfig::default()
    };
    for (config, on_skip, on_stale) in [
        (&warn, Decision::Incomplete, Decision::Incomplete),
        (&deny_stale, Decision::Incomplete, Decision::Deny),
        (&deny_both, Decision::Deny, Decision::Deny),
    ] {
        assert_eq!(decide(config, &skipped), on_skip);
        assert_eq!(decide(config, &stale), on_stale);
        assert_eq!(decide(config, &unknown), on_stale);
        assert_eq!(decide(config, &fresh), Decision::Allow);
    }
    let reasons = Gate::compile(&warn).unwrap().evaluate(&stale).reasons;
    assert!(
        reasons[0].contains("advisories:PyPI is 31 days old"),
        "{reasons:?}"
    );
}

/// What a naive gate does: ask for the verdict, and refuse only if it is "deny".
fn naive_admits(text: &str, document: &str) -> bool {
    let mut engine = Engine::new();
    engine.add_policy("p".into(), text.into()).unwrap();
    engine.set_input(Value::from_json_str(document).unwrap());
    let answer = engine
        .eval_rule("data.ringfence.gate.verdict".into())
        .unwrap_or(Value::Undefined);
    answer != Value::from("deny")
}

#[test]
fn a_typo_that_leaves_the_verdict_undefined_denies() {
    let config = GateConfig::default();
    let bad = input(vec![finding(Severity::Critical, false)]);
    let document = bad.document(&config).to_string();
    // One letter wrong in the field: no branch of the verdict holds.
    let typo = "package ringfence.gate\nimport rego.v1\n\
        deny contains f.rule if some f in input.findings\nincomplete contains 1 if false\n\
        verdict := \"deny\" if count(input.fidnings) > 0\n\
        verdict := \"allow\" if count(input.fidnings) == 0\n";
    // One letter wrong in the rule: it does not exist.
    let renamed = rego::compile(&config).replace("verdict :=", "verdct :=");
    for text in [typo.to_owned(), renamed] {
        assert!(
            naive_admits(&text, &document),
            "the attack must work where undefined is a pass"
        );
        let decision = Gate::of_text(&config, text, 2_000).unwrap().evaluate(&bad);
        assert_eq!(decision.decision, Decision::Deny);
        assert!(
            decision.reasons[0].starts_with("the policy could not be evaluated"),
            "{decision:?}"
        );
    }
    assert!(!naive_admits(&rego::compile(&config), &document));
}

#[test]
fn a_policy_file_adds_a_denial() {
    let config = with(
        "p",
        "deny contains \"no low\" if { some f in input.findings; f.severity == \"low\" }",
    );
    let gate = Gate::compile(&config).unwrap();
    let decision = gate.evaluate(&input(vec![finding(Severity::Low, false)]));
    assert_eq!(decision.decision, Decision::Deny);
    assert_eq!(decision.reasons, ["no low"]);
    assert_eq!(gate.evaluate(&input(vec![])).decision, Decision::Allow);
    assert_eq!(
        decide(
            &GateConfig::default(),
            &input(vec![finding(Severity::Low, false)])
        ),
        Decision::Allow
    );
}

#[test]
fn a_policy_file_never_removes_a_denial() {
    let bad = input(vec![finding(Severity::Critical, false)]);
    // Refused when compiled: it defines what belongs to the gate.
    for rule in rego::RESERVED {
        let config = with(
            "p",
            &format!("deny contains \"x\" if false\n{rule} := \"allow\""),
        );
        let refused = Gate::compile(&config).err().unwrap();
        assert_eq!(
            refused,
            PolicyError::Reserved {
                module: "p".into(),
                rule
            }
        );
    }
    // Accepted, and without effect on what the table denies.
    let harmless = [
        "deny contains \"x\" if false",
        "deny contains \"x\" if { some f in input.findings; f.waived; f.rule == \"y\" }",
        "helper := 1\ndeny contains \"x\" if helper == 2",
        "incomplete contains \"x\" if false\ndeny contains \"x\" if false",
    ];
    for body in harmless {
        assert_eq!(decide(&with("p", body), &bad), Decision::Deny, "{body}");
    }
    // Conflicts show when evaluated, and deny even what the table would allow.
    let conflict = with(
        "p",
        "deny contains x if { x := 1 / 0 }\nv := 1\nv := 2\ndeny contains \"v\" if v == 3",
    );
    assert_eq!(decide(&conflict, &input(vec![])), Decision::Deny);
}

#[test]
fn a_policy_file_that_could_never_deny_is_refused() {
    let error = |config: &GateConfig| Gate::compile(config).err().unwrap();
    let misspelt = with("p", "denny contains \"x\" if true");
    assert_eq!(
        error(&misspelt),
        PolicyError::NoDenial { module: "p".into() }
    );
    let elsewhere = GateConfig {
        extra_rego: vec![(
            "p".into(),
            "package mine\ndeny contains \"x\" if true".into(),
        )],
        ..GateConfig::default()
    };
    assert_eq!(
        error(&elsewhere),
        PolicyError::Package {
            module: "p".into(),
            package: "mine".into()
        }
    );
    let unknown = with(
        "p",
        "deny contains \"x\" if input.fidnings[_].rule == \"a\"",
    );
    assert!(matches!(
        error(&unknown),
        PolicyError::UnknownInput { line: 3, .. }
    ));
    let broken = with("p", "deny contains");
    assert!(matches!(error(&broken), PolicyError::Rego { .. }));
    let mut twice = with("p", "deny contains \"x\" if true");
    twice.extra_rego.push(twice.extra_rego[0].clone());
    assert!(matches!(error(&twice), PolicyError::Modules { .. }));
    for e in [
        error(&misspelt),
        error(&elsewhere),
        error(&unknown),
        error(&broken),
        error(&twice),
    ] {
        assert!(
            e.code().0.starts_with("admit/policy-") && e.help().is_some() && e.place().is_some()
        );
    }
}

#[test]
fn a_policy_that_does_not_end_denies_in_time() {
    let n = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]";
    let loops: Vec<String> = ('a'..='l').map(|v| format!("some {v} in n")).collect();
    let loops = loops.join("; ");
    let body = format!("deny contains \"x\" if {{ n := {n}; count([1 | {loops}; a > b]) < 0 }}");
    let config = with("p", &body);
    let gate = Gate::of_text(&config, rego::compile(&config), 50).unwrap();
    let decision = gate.evaluate(&input(vec![]));
    assert_eq!(decision.decision, Decision::Deny);
    assert!(decision.reasons[0].contains("time"), "{decision:?}");
}

#[test]
fn policy_files_are_counted_up_to_the_limit() {
    let text = "package ringfence.gate\nimport rego.v1\ndeny contains \"no\" if not input.coverage.complete\n";
    let many = |count: usize| GateConfig {
        extra_rego: (0..count)
            .map(|n| (format!("{n}.rego"), text.to_owned()))
            .collect(),
        ..GateConfig::default()
    };
    let refused = Gate::compile(&many(64)).err().map(|e| e.to_string());
    assert_eq!(refused, None);
    let refused = Gate::compile(&many(65)).err().unwrap().to_string();
    assert!(refused.contains("64"), "{refused}");
}

#[test]
fn too_many_findings_deny_and_reasons_are_bounded() {
    let gate = Gate::compile(&GateConfig::default()).unwrap();
    let over = gate.evaluate(&input(vec![
        finding(Severity::Info, true);
        FINDINGS_MAX + 1
    ]));
    assert_eq!(over.decision, Decision::Deny);
    assert!(
        over.reasons[0].contains("more than 50000"),
        "{:?}",
        over.reasons
    );

    let many = |count: usize| {
        let findings = (0..count)
            .map(|i| GateFinding {
                path: format!("{i}.py"),
                ..finding(Severity::High, false)
            })
            .collect();
        gate.evaluate(&input(findings)).reasons.len()
    };
    assert_eq!(many(REASONS_MAX), REASONS_MAX);
    assert_eq!(many(REASONS_MAX + 1), REASONS_MAX + 1); // the last one counts the rest
    assert_eq!(many(REASONS_MAX + 50), REASONS_MAX + 1);
}

#[test]
fn the_table_is_read_strictly_and_every_change_shows_in_the_digest() {
    let config: GateConfig = toml::from_str("deny_at = \"medium\"\nstale = \"deny\"").unwrap();
    assert_eq!(
        (config.deny_at, config.stale),
        (Severity::Medium, StaleRule::Deny)
    );
    assert_eq!(config.advisories_age_days_max, 30);
    assert!(toml::from_str::<GateConfig>("deny_att = \"low\"").is_err());
    assert!(toml::from_str::<GateConfig>("deny_at = \"severe\"").is_err());

    let digest = |c: &GateConfig| Gate::compile(c).unwrap().digest_input();
    let mut seen = std::collections::BTreeSet::new();
    for deny_at in SEVERITIES {
        assert!(seen.insert(digest(&GateConfig {
            deny_at,
            ..GateConfig::default()
        })));
    }
    assert!(seen.insert(digest(&GateConfig {
        advisories_age_days_max: 7,
        ..GateConfig::default()
    })));
    assert!(seen.insert(digest(&with("p", "deny contains \"x\" if false"))));
    assert!(seen.insert(digest(&with("q", "deny contains \"x\" if false"))));
}

#[test]
fn the_default_policy_in_the_repository_is_the_compiled_default() {
    let shown = include_str!("../../../policies/default/gate.rego");
    assert_eq!(rego::compile(&GateConfig::default()), shown);
}

#[test]
fn the_example_policies_compile_and_deny_what_they_say() {
    let text = include_str!("../../../policies/examples/no-waived-secrets.rego");
    let config = GateConfig {
        extra_rego: vec![("no-waived-secrets.rego".into(), text.into())],
        ..GateConfig::default()
    };
    let secret = GateFinding {
        rule: "admit/secret-aws".into(),
        ..finding(Severity::High, true)
    };
    assert_eq!(
        decide(&config, &input(vec![secret.clone()])),
        Decision::Deny
    );
    assert_eq!(
        decide(&GateConfig::default(), &input(vec![secret])),
        Decision::Allow
    );
    assert_eq!(
        decide(&config, &input(vec![finding(Severity::High, true)])),
        Decision::Allow
    );
}

fn any_finding() -> impl Strategy<Value = GateFinding> {
    (0..5_usize, any::<bool>(), "[a-z/]{1,12}", "[a-z./]{1,12}").prop_map(
        |(s, waived, rule, path)| GateFinding {
            rule,
            path,
            ..finding(SEVERITIES[s], waived)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn adding_a_finding_never_turns_a_denial_into_anything_else(
        findings in prop::collection::vec(any_finding(), 0..8),
        extra in any_finding(),
        threshold in 0..5_usize,
    ) {
        let config = GateConfig { deny_at: SEVERITIES[threshold], ..GateConfig::default() };
        let gate = Gate::compile(&config).unwrap();
        let before = gate.evaluate(&input(findings.clone())).decision;
        let after = gate.evaluate(&input([findings, vec![extra]].concat())).decision;
        prop_assert!(before != Decision::Deny || after == Decision::Deny);
    }

    #[test]
    fn no_text_of_a_finding_changes_the_decision(rule in ".*", path in ".*") {
        let gate = Gate::compile(&GateConfig::default()).unwrap();
        let hostile = GateFinding { rule, path, ..finding(Severity::High, false) };
        prop_assert_eq!(gate.evaluate(&input(vec![hostile])).decision, Decision::Deny);
    }

    #[test]
    fn no_policy_text_panics(text in "[a-z:= {}\\[\\]\"`#\\\\.\n|]{0,80}") {
        let config = with("p", &text);
        if let Ok(gate) = Gate::compile(&config) {
            gate.evaluate(&input(vec![]));
        }
    }
}
