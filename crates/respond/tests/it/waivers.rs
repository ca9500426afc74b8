//! Waivers: always with an end, and without effect from that moment on.

use crate::fixtures::*;
use proptest::prelude::*;
use ringfence_core::error::Explain;
use ringfence_core::ids::RuleId;
use ringfence_core::leaf::LeafAction;
use ringfence_core::severity::Severity;
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_respond::waivers::{DAYS_MAX, DAYS_NOW_MAX, Waiver, covered_until};
use ringfence_respond::{RespondError, State, Tier};

#[test]
fn a_waiver_needs_a_reason_an_owner_and_an_end_in_reach() {
    let house = House::new(&[]);
    let waivers = house.respond.waivers();
    let code = |new| waivers.create(new).map(|_| ()).map_err(|e| e.code().0);
    assert_eq!(code(waiver(START)), Err("respond/waiver-past"));
    assert_eq!(
        code(waiver(START.plus_ms(DAYS_MAX * DAY_MS + 1))),
        Err("respond/waiver-too-far")
    );
    assert_eq!(code(waiver(START.plus_ms(DAYS_MAX * DAY_MS))), Ok(()));
    let blank = |change: fn(&mut ringfence_respond::waivers::NewWaiver)| {
        let mut new = waiver(START.plus_ms(DAY_MS));
        change(&mut new);
        code(new)
    };
    assert_eq!(
        blank(|w| w.reason = " ".to_owned()),
        Err("respond/missing-field")
    );
    assert_eq!(blank(|w| w.owner.clear()), Err("respond/missing-field"));
    assert_eq!(
        waivers.list(&desk()).unwrap().len(),
        1,
        "what is refused is not kept"
    );
}

#[test]
fn what_pages_is_waived_for_thirty_days_at_most() {
    let house = House::new(&[]);
    let found = [finding(1, Some(90), Severity::Critical)];
    house
        .respond
        .cases()
        .open_from_findings(&desk(), &owner(), &found)
        .unwrap();
    let create = |ms| house.respond.waivers().create(waiver(START.plus_ms(ms)));
    let refused = create(DAYS_NOW_MAX * DAY_MS + 1);
    assert!(matches!(
        refused,
        Err(RespondError::TooFar {
            days: DAYS_NOW_MAX,
            ..
        })
    ));
    assert!(create(DAYS_NOW_MAX * DAY_MS).is_ok());
}

#[test]
fn a_waiver_waives_its_cases_and_its_end_brings_them_back_with_an_alert() {
    let house = House::new(&[]);
    let (cases, waivers) = (house.respond.cases(), house.respond.waivers());
    let scan = |n| {
        let found = [finding(n, Some(75), Severity::High)];
        cases.open_from_findings(&desk(), &owner(), &found).unwrap()
    };
    scan(1);
    let end = START.plus_ms(10 * DAY_MS);
    let made = waivers.create(waiver(end)).unwrap();
    let actions: Vec<_> = made.leaves.iter().map(|l| l.action).collect();
    assert_eq!(actions, [LeafAction::WaiverCreate, LeafAction::CaseChange]);
    assert!(made.leaves.iter().all(|l| l.canonical().is_ok()));

    let late = scan(2);
    assert_eq!(
        (late.opened[0].state, late.opened[0].waived_until),
        (State::Waived, Some(end))
    );
    let alerts = || house.respond.alerts(&desk()).unwrap().len();
    assert_eq!(alerts(), 1, "a waived finding is quiet");

    house.clock.set(Timestamp(end.0 - 1));
    assert_eq!(waivers.expire(&desk()).unwrap(), vec![]);
    house.clock.set(end);
    assert_eq!(waivers.in_force(&desk()).unwrap(), vec![]);
    assert_eq!(waivers.expire(&desk()).unwrap().len(), 2);
    assert!(
        cases
            .list(&desk())
            .unwrap()
            .iter()
            .all(|c| c.state == State::Affected)
    );
    assert_eq!(alerts(), 3);
    assert_eq!(waivers.expire(&desk()).unwrap(), vec![], "once");
}

#[test]
fn a_waiver_of_one_finding_leaves_the_others() {
    let house = House::new(&[]);
    let found = [
        finding(1, None, Severity::High),
        finding(2, None, Severity::High),
    ];
    let opened = house
        .respond
        .cases()
        .open_from_findings(&desk(), &owner(), &found)
        .unwrap();
    let mut one = waiver(START.plus_ms(DAY_MS));
    one.fingerprint = Some(opened.opened[0].fingerprint.clone());
    house.respond.waivers().create(one).unwrap();
    let states: Vec<_> = opened
        .opened
        .iter()
        .map(|c| house.respond.cases().show(&desk(), &c.id).unwrap().0.state)
        .collect();
    assert_eq!(states, [State::Waived, State::Reported]);
}

fn any_waiver() -> impl Strategy<Value = Waiver> {
    (0..1_000 * DAY_MS, 1..=DAYS_MAX * DAY_MS).prop_map(|(created, length)| Waiver {
        id: "W-1".to_owned(),
        project: desk(),
        rule: RuleId::of("admit/pickle"),
        fingerprint: None,
        until: Timestamp(created + length),
        reason: "r".to_owned(),
        owner: "o".to_owned(),
        created: Timestamp(created),
    })
}

proptest! {
    /// However the clock jumps, back or forth, at every moment: a finding is covered only between
    /// the making and the end of the waiver, and what pages never longer than thirty days.
    #[test]
    fn a_finding_counts_at_every_moment_outside_its_waiver(
        waiver in any_waiver(),
        jumps in prop::collection::vec(-100 * DAY_MS..1_200 * DAY_MS, 1..20),
        tier in prop::sample::select(vec![Tier::Now, Tier::Daily, Tier::Monthly]),
    ) {
        let edges = [waiver.created.0 - 1, waiver.created.0, waiver.until.0 - 1, waiver.until.0];
        for at in jumps.into_iter().chain(edges).map(Timestamp) {
            let covered = covered_until(&waiver, &waiver.rule, "any", tier, at);
            if at < waiver.created || at >= waiver.until {
                prop_assert_eq!(covered, None);
            }
            if let Some(end) = covered {
                prop_assert!(at < end && end <= waiver.until);
                let days = if tier == Tier::Now { DAYS_NOW_MAX } else { DAYS_MAX };
                prop_assert!(at.since_ms(waiver.created) < days * DAY_MS);
            }
            let other = RuleId::of("admit/secret");
            prop_assert_eq!(covered_until(&waiver, &other, "any", tier, at), None);
        }
    }
}
