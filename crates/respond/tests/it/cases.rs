//! Cases: opened once, counted after, moved only along the lifecycle, provable at every step.

use crate::fixtures::*;
use proptest::prelude::*;
use ringfence_core::error::Explain;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::severity::Severity;
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_respond::cases::{FINDINGS_MAX, TEXT_CHARS_MAX};
use ringfence_respond::{RespondError, State, Tier};

fn open_one(house: &House, tenths: Option<u8>, severity: Severity) -> ringfence_respond::Case {
    let cases = house.respond.cases();
    let opened = cases.open_from_findings(&desk(), &owner(), &[finding(1, tenths, severity)]);
    opened.unwrap().opened.remove(0)
}

fn is_appendable(leaf: &Leaf) -> bool {
    leaf.action == LeafAction::CaseChange && leaf.canonical().is_ok()
}

#[test]
fn a_finding_becomes_a_case_with_tier_due_date_alert_and_leaf() {
    let house = House::new(&[]);
    let cases = house.respond.cases();
    let found = [
        finding(1, Some(98), Severity::Critical),
        finding(2, None, Severity::Info),
    ];
    let opened = cases.open_from_findings(&desk(), &owner(), &found).unwrap();
    assert_eq!((opened.opened.len(), opened.informational), (1, 1));
    let case = &opened.opened[0];
    assert_eq!(
        (case.id.as_str(), case.state, case.facts.tier),
        ("C-1", State::Reported, Tier::Now)
    );
    assert_eq!(case.facts.tier_reason, "CVSS 9.8 is 9.0 or more");
    assert_eq!(case.facts.place, "model-1.py:1");
    assert_eq!(case.facts.due, START.plus_ms(DAY_MS));
    assert!(!case.is_overdue(START) && case.is_overdue(START.plus_ms(DAY_MS + 1)));
    assert!(opened.leaves.len() == 1 && is_appendable(&opened.leaves[0]));
    let alerts = house.respond.alerts(&desk()).unwrap();
    assert_eq!(alerts[0].alert.case, case.id);
    assert_eq!(alerts[0].alert.links, ["/cases/C-1", "CWE-502"]);
    assert_eq!(cases.list(&"other".parse().unwrap()).unwrap(), vec![]);
    assert!(matches!(
        cases.show(&"other".parse().unwrap(), &case.id),
        Err(RespondError::NoCase(_))
    ));
}

#[test]
fn tiers_change_exactly_at_nine_and_seven() {
    let expected = [
        (Some(90), Severity::Low, Tier::Now),
        (Some(89), Severity::Low, Tier::Daily),
        (Some(70), Severity::Low, Tier::Daily),
        (Some(69), Severity::Low, Tier::Monthly),
        (None, Severity::Critical, Tier::Now),
        (None, Severity::High, Tier::Daily),
        (None, Severity::Low, Tier::Monthly),
    ];
    for (tenths, severity, tier) in expected {
        let case = open_one(&House::new(&[]), tenths, severity);
        assert_eq!(case.facts.tier, tier, "{tenths:?} {severity}");
    }
}

#[test]
fn the_same_finding_is_counted_and_reopens_as_a_linked_case_only_after_closing() {
    let house = House::new(&[]);
    let cases = house.respond.cases();
    let found = [
        finding(1, Some(75), Severity::High),
        finding(1, Some(75), Severity::High),
    ];
    let scan = || cases.open_from_findings(&desk(), &owner(), &found).unwrap();
    let first = scan().opened.remove(0).id;
    let again = scan();
    assert_eq!(
        (again.opened.len(), again.seen_again),
        (0, vec![first.clone()])
    );
    let path = [
        State::Triaging,
        State::Affected,
        State::FixProposed,
        State::FixVerified,
        State::Closed,
    ];
    for state in path {
        let changed = cases.change(&desk(), &first, change(state)).unwrap();
        assert!(changed.case.state == state && is_appendable(&changed.leaf));
    }
    house.clock.pass_ms(DAY_MS);
    let back = scan().opened.remove(0);
    assert_eq!(back.facts.previous.as_ref(), Some(&first));
    assert_eq!(
        back.facts.due,
        START.plus_ms(8 * DAY_MS),
        "its time starts again"
    );
    let (old, history) = cases.show(&desk(), &first).unwrap();
    assert_eq!(
        (old.state, old.sightings, history.len()),
        (State::Closed, 2, 6)
    );
    assert_eq!(cases.open_count(&desk()).unwrap(), 1);
}

#[test]
fn a_rejected_finding_stays_rejected_but_a_rejected_incident_can_come_back() {
    let house = House::new(&[]);
    let cases = house.respond.cases();
    let case = open_one(&house, None, Severity::High);
    cases
        .change(&desk(), &case.id, change(State::Rejected))
        .unwrap();
    let found = [finding(1, None, Severity::High)];
    let again = cases.open_from_findings(&desk(), &owner(), &found).unwrap();
    assert_eq!(again.seen_again, vec![case.id]);

    let report =
        || cases.open_from_incident(&desk(), &owner(), incident("sandbox:s", Severity::High));
    let first = report().unwrap().opened.remove(0);
    cases
        .change(&desk(), &first.id, change(State::Rejected))
        .unwrap();
    assert_eq!(report().unwrap().opened[0].facts.previous, Some(first.id));
}

#[test]
fn a_step_needs_a_reason_and_a_fix_needs_evidence() {
    let house = House::new(&[]);
    let cases = house.respond.cases();
    let id = open_one(&house, None, Severity::High).id;
    let mut blank = change(State::Triaging);
    blank.reason = " ".to_owned();
    let refused = cases.change(&desk(), &id, blank).unwrap_err();
    assert_eq!(refused.code().0, "respond/missing-field");
    for state in [State::Triaging, State::Affected, State::FixProposed] {
        cases.change(&desk(), &id, change(state)).unwrap();
    }
    let mut unproved = change(State::FixVerified);
    unproved.evidence = None;
    assert!(cases.change(&desk(), &id, unproved).is_err());
    let mut long = change(State::FixVerified);
    long.evidence = Some("x".repeat(TEXT_CHARS_MAX + 1));
    assert!(matches!(
        cases.change(&desk(), &id, long.clone()),
        Err(RespondError::TooLong {
            limit: TEXT_CHARS_MAX,
            ..
        })
    ));
    long.evidence = Some("x".repeat(TEXT_CHARS_MAX));
    assert!(cases.change(&desk(), &id, long).is_ok());
    let waived = cases
        .change(&desk(), &id, change(State::Waived))
        .unwrap_err();
    assert_eq!(
        waived.code().0,
        "respond/missing-field",
        "only a waiver waives"
    );
}

#[test]
fn a_hundred_trips_are_one_case_and_one_alert_in_every_tier() {
    for (severity, tier) in [
        (Severity::Critical, Tier::Now),
        (Severity::High, Tier::Daily),
        (Severity::Medium, Tier::Monthly),
    ] {
        let house = House::new(&["ops"]);
        let cases = house.respond.cases();
        for _ in 0..100 {
            cases
                .open_from_incident(&desk(), &owner(), incident("sandbox:s", severity))
                .unwrap();
        }
        let list = cases.list(&desk()).unwrap();
        assert_eq!(
            (list.len(), list[0].sightings, list[0].facts.tier),
            (1, 100, tier)
        );
        assert_eq!(house.respond.alerts(&desk()).unwrap().len(), 1);
    }
}

#[test]
fn the_most_urgent_findings_become_cases_when_there_are_too_many() {
    let house = House::new(&[]);
    let count = u32::try_from(FINDINGS_MAX).unwrap();
    let mut found: Vec<_> = (0..count)
        .map(|n| finding(n, Some(10), Severity::Low))
        .collect();
    found.push(finding(count, Some(95), Severity::Critical));
    let opened = house
        .respond
        .cases()
        .open_from_findings(&desk(), &owner(), &found)
        .unwrap();
    assert_eq!(
        (opened.opened.len(), opened.beyond_limit),
        (FINDINGS_MAX, 1)
    );
    assert_eq!(opened.opened[0].facts.tier, Tier::Now);
}

#[test]
fn a_rule_without_advice_still_makes_a_whole_alert_and_an_empty_alert_is_refused() {
    let house = House::new(&[]);
    let mut bare = finding(1, None, Severity::High);
    for field in [
        &mut bare.mitigation,
        &mut bare.fix,
        &mut bare.impact,
        &mut bare.evidence,
    ] {
        field.clear();
    }
    house
        .respond
        .cases()
        .open_from_findings(&desk(), &owner(), &[bare])
        .unwrap();
    let whole = house.respond.alerts(&desk()).unwrap().remove(0).alert;
    assert!(whole.clone().checked().is_ok());
    let blanks: [fn(&mut ringfence_respond::Alert); 8] = [
        |a| a.what.clear(),
        |a| a.scope.clear(),
        |a| a.evidence = "  ".to_owned(),
        |a| a.tier_reason.clear(),
        |a| a.mitigation.clear(),
        |a| a.fix.clear(),
        |a| a.fingerprint.clear(),
        |a| a.links.clear(),
    ];
    for blank in blanks {
        let mut alert = whole.clone();
        blank(&mut alert);
        assert!(matches!(
            alert.checked(),
            Err(RespondError::Missing {
                what: "an alert",
                ..
            })
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever steps are asked for: only drawn ones are taken, a refused one leaves no trace, and
    /// the stored state is the fold of the accepted ones.
    #[test]
    fn illegal_steps_are_refused_and_leave_no_trace(
        asked in prop::collection::vec(prop::sample::select(State::ALL.to_vec()), 1..25),
    ) {
        let house = House::new(&[]);
        let cases = house.respond.cases();
        let id = open_one(&house, None, Severity::High).id;
        let (mut state, mut accepted) = (State::Reported, 1);
        for to in asked {
            let legal = state.next().contains(&to) && to != State::Waived;
            match cases.change(&desk(), &id, change(to)) {
                Ok(changed) => {
                    prop_assert!(legal, "{state} to {to}");
                    prop_assert!(is_appendable(&changed.leaf));
                    (state, accepted) = (to, accepted + 1);
                }
                Err(error) => {
                    prop_assert!(!legal, "{error}");
                    prop_assert!(error.help().is_some());
                }
            }
            let (case, history) = cases.show(&desk(), &id).unwrap();
            prop_assert_eq!((case.state, history.len()), (state, accepted));
        }
    }
}

#[test]
fn a_case_opened_before_time_began_is_still_due() {
    let house = House::new(&[]);
    house.clock.set(Timestamp(-DAY_MS));
    let case = open_one(&house, None, Severity::High);
    assert_eq!(case.facts.due, Timestamp(6 * DAY_MS));
}
