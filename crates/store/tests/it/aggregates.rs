//! Each aggregate reads back what was written, keeps its limits and its rules.

use crate::fixtures::*;
use crate::under_test::UNPROTECT_HISTORY;
use ringfence_core::digest::Digest;
use ringfence_core::time::Timestamp;
use ringfence_store::admissions::ADMISSIONS_KEPT;
use ringfence_store::cases::CASE_EVENTS_MAX;
use ringfence_store::events::EVENTS_KEPT;
use ringfence_store::outbox::{Attempt, MessageState};
use ringfence_store::projects::Stage;
use ringfence_store::sessions::{SESSIONS_MAX, Session};
use ringfence_store::settings::SETTING_BYTES_MAX;
use ringfence_store::{
    StoreError, View, admissions, alerts, cases, counters, events, keys, outbox, projects,
    sessions, settings, waivers,
};

#[test]
fn a_project_keeps_its_stage_when_it_is_registered_again() {
    let (_dir, store) = store(&["desk"]);
    let digest = Digest([9; 32]);
    let id = project_id("desk");
    store
        .write(move |tx| -> Outcome<()> {
            projects::advance(tx, &project_id("desk"), Stage::Admitted, Some(digest))?;
            projects::advance(tx, &project_id("desk"), Stage::Running, None)?;
            projects::register(tx, &project("desk"))
        })
        .unwrap();
    let found = store.read(|v| projects::find(v, &id)).unwrap().unwrap();
    assert_eq!(
        (found.stage, found.admitted),
        (Stage::Running, Some(digest))
    );
    let missing = store.write(|tx| projects::advance(tx, &project_id("no"), Stage::Denied, None));
    assert!(matches!(
        missing,
        Err(StoreError::Missing {
            what: "project",
            ..
        })
    ));
}

#[test]
fn the_oldest_admissions_make_room() {
    let (_dir, store) = store(&["desk"]);
    store
        .write(|tx| -> Outcome<()> {
            (0..=u8::try_from(ADMISSIONS_KEPT).unwrap())
                .try_for_each(|n| admissions::add(tx, &admission("desk", n)))
        })
        .unwrap();
    let id = project_id("desk");
    let list = store.read(|v| admissions::list(v, &id)).unwrap();
    assert_eq!(list.len(), ADMISSIONS_KEPT);
    assert_eq!(list.last().unwrap(), &admission("desk", 1));
    let latest = store.read(|v| admissions::latest(v, &id)).unwrap();
    assert_eq!(latest.as_ref(), list.first());
}

#[test]
fn a_revoked_key_stays_revoked_at_its_first_moment() {
    let (_dir, store) = store(&["desk"]);
    let id = key("desk", "k1").id;
    let by = id.clone();
    store
        .write(move |tx| -> Outcome<()> {
            keys::add(tx, &key("desk", "k1"))?;
            keys::revoke(tx, &project_id("desk"), &by, Timestamp(50))?;
            keys::revoke(tx, &project_id("desk"), &by, Timestamp(90))?;
            keys::touch(
                tx,
                &[(by.clone(), Timestamp(70)), (by.clone(), Timestamp(60))],
            )
        })
        .unwrap();
    let found = store
        .read(|v| keys::find_in_any_project(v, &id))
        .unwrap()
        .unwrap();
    assert_eq!(found.revoked, Some(Timestamp(50)));
    assert_eq!(found.last_used, Some(Timestamp(70)));
    assert!(
        !format!("{found:?}").contains("mac"),
        "the hash is not for logs"
    );
    let twice = store.write(|tx| keys::add(tx, &key("desk", "k1")));
    assert!(matches!(twice, Err(StoreError::Constraint { .. })));
}

#[test]
fn a_case_is_the_fold_of_its_events_and_history_cannot_be_rewritten() {
    let (place, store) = store(&["desk"]);
    store
        .write(|tx| -> Outcome<()> {
            cases::append(tx, &case_event("desk", "C-1", 1, "reported"))?;
            cases::append(tx, &case_event("desk", "C-1", 2, "triaging"))?;
            cases::count_sighting(
                tx,
                &project_id("desk"),
                &"C-1".parse().unwrap(),
                Timestamp(8),
            )
        })
        .unwrap();
    let id = project_id("desk");
    let row = store
        .read(|v| cases::latest_about(v, &id, "fp-C-1"))
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.state.as_str(), row.events, row.sightings),
        ("triaging", 2, 2)
    );
    assert_eq!(row.opened, Timestamp(3_001));
    assert_eq!(
        store.read(|v| cases::in_state(v, &id, "reported")).unwrap(),
        vec![]
    );
    let late = store.write(|tx| cases::append(tx, &case_event("desk", "C-1", 2, "affected")));
    assert!(
        matches!(late, Err(StoreError::Constraint { .. })),
        "an older state decided"
    );

    let rewrite = "UPDATE case_events SET state = 'closed'";
    assert!(place.raw(rewrite).is_err());
    assert!(place.raw("DELETE FROM case_events").is_err());
    place.raw(UNPROTECT_HISTORY).unwrap();
    place
        .raw("DELETE FROM case_events")
        .expect("without the control it works");
    let events = |v: &View<'_>| cases::events(v, &id, &"C-1".parse().unwrap());
    assert_eq!(store.read(events).unwrap(), vec![]);
}

#[test]
fn a_case_takes_events_up_to_its_limit() {
    let (_dir, store) = store(&["desk"]);
    let last = u32::try_from(CASE_EVENTS_MAX).unwrap();
    store
        .write(move |tx| -> Outcome<()> {
            (1..=last).try_for_each(|n| cases::append(tx, &case_event("desk", "C-1", n, "s")))
        })
        .unwrap();
    let over = store.write(move |tx| cases::append(tx, &case_event("desk", "C-1", last + 1, "s")));
    assert!(matches!(over, Err(StoreError::Limit { .. })));
}

#[test]
fn a_waiver_holds_from_its_making_to_its_end_and_never_without_reason() {
    let (_dir, store) = store(&["desk"]);
    store
        .write(|tx| waivers::add(tx, &waiver("desk", "w1", 2_000)))
        .unwrap();
    let id = project_id("desk");
    let count = |at| {
        store
            .read(|v| waivers::in_force(v, &id, Timestamp(at)))
            .unwrap()
            .len()
    };
    assert_eq!(
        [count(999), count(1_000), count(1_999), count(2_000)],
        [0, 1, 1, 0]
    );
    let mut blank = waiver("desk", "w2", 2_000);
    blank.reason = "  ".to_owned();
    let refused = store.write(move |tx| waivers::add(tx, &blank));
    assert!(matches!(refused, Err(StoreError::Constraint { .. })));
    let backwards = store.write(|tx| waivers::add(tx, &waiver("desk", "w3", 1_000)));
    assert!(matches!(backwards, Err(StoreError::Constraint { .. })));
}

#[test]
fn a_message_takes_alerts_until_its_first_attempt_and_keeps_its_key() {
    let (_dir, store) = store(&["desk"]);
    let put = |id: &'static str| {
        store.write(move |tx| -> Outcome<bool> {
            alerts::add(tx, &alert("desk", id))?;
            outbox::enqueue(tx, &alert("desk", id), &message("desk", "m1"))
        })
    };
    assert_eq!((put("a1"), put("a2")), (Ok(true), Ok(true)));
    let begin = |at| {
        let lease = store.write(move |tx| outbox::begin_attempt(tx, "m1", Timestamp(at), 500));
        lease.unwrap().expect("nobody else has it")
    };
    let lease = begin(5_000);
    assert_eq!(put("a3"), Ok(false), "what was tried is settled");
    let now = Timestamp(6_000);
    let due = store.read(|v| outbox::due_in_any_project(v, now)).unwrap();
    assert_eq!((due.len(), due[0].attempts), (1, 1));
    let carried = store.read(|v| outbox::carried_by(v, &due[0])).unwrap();
    assert_eq!(
        carried.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(),
        ["a1", "a2"]
    );

    let retry = Attempt::Retry {
        next: Timestamp(7_000),
        error: "refused".into(),
    };
    store
        .write(move |tx| outbox::finish_attempt(tx, &lease, &retry, now))
        .unwrap();
    assert_eq!(
        store.read(|v| outbox::due_in_any_project(v, now)).unwrap(),
        vec![]
    );
    let later = store
        .read(|v| outbox::due_in_any_project(v, Timestamp(7_000)))
        .unwrap();
    assert_eq!(later[0].idempotency_key, "m1");
    let lease = begin(7_000);
    let end = Attempt::GiveUp {
        error: "refused".into(),
    };
    store
        .write(move |tx| outbox::finish_attempt(tx, &lease, &end, now))
        .unwrap();
    let id = project_id("desk");
    let dead = store
        .read(|v| outbox::messages(v, &id, MessageState::Dead))
        .unwrap();
    assert_eq!(dead[0].last_error.as_deref(), Some("refused"));
}

#[test]
fn an_alert_pops_up_once_in_each_session() {
    let (_dir, store) = store(&["desk"]);
    let (id, one, two) = (project_id("desk"), [1; 32], [2; 32]);
    store
        .write(move |tx| -> Outcome<()> {
            alerts::add(tx, &alert("desk", "a1"))?;
            alerts::count_repeat(tx, &project_id("desk"), "a1")?;
            alerts::mark_seen(tx, &project_id("desk"), &one, "a1")?;
            alerts::mark_seen(tx, &project_id("desk"), &one, "a1")
        })
        .unwrap();
    assert_eq!(
        store.read(|v| alerts::unseen(v, &id, &one)).unwrap(),
        vec![]
    );
    let unseen = store.read(|v| alerts::unseen(v, &id, &two)).unwrap();
    assert_eq!((unseen.len(), unseen[0].repeats), (1, 1));
    let since = |t| {
        store
            .read(|v| alerts::recent_about(v, &id, "fp-a1", Timestamp(t)))
            .unwrap()
    };
    assert!(since(4_999).is_some() && since(5_000).is_none());
}

#[test]
fn sessions_end_and_make_room() {
    let (_dir, store) = store(&[]);
    let session = |n: u16, expires: i64| {
        let mut token_hash = [0; 32];
        token_hash[..2].copy_from_slice(&n.to_be_bytes());
        Session {
            token_hash,
            project: project_id("host"),
            user: "ann".to_owned(),
            role: "admin".to_owned(),
            created: Timestamp(10),
            expires: Timestamp(expires),
        }
    };
    let last = u16::try_from(SESSIONS_MAX).unwrap();
    store
        .write(move |tx| -> Outcome<()> {
            (0..=last).try_for_each(|n| sessions::add(tx, &session(n, 1_000 + i64::from(n))))
        })
        .unwrap();
    let find = |n: u16, at| {
        let hash = session(n, 0).token_hash;
        store
            .read(|v| sessions::of_token(v, &hash, Timestamp(at)))
            .unwrap()
    };
    assert_eq!(find(0, 20), None, "the first to end made room");
    assert!(find(1, 20).is_some() && find(last, 20).is_some());
    assert_eq!(
        (find(1, 1_001), find(1, 9)),
        (None, None),
        "outside its life"
    );
    let hash = session(5, 0).token_hash;
    store.write(move |tx| sessions::end(tx, &hash)).unwrap();
    assert_eq!(find(5, 20), None);
}

#[test]
fn settings_are_replaced_and_bounded() {
    let (_dir, store) = store(&[]);
    let put = |value: Vec<u8>| {
        store.write(move |tx| settings::put(tx, &project_id("host"), "pepper", &value))
    };
    put(vec![1]).unwrap();
    put(vec![2; SETTING_BYTES_MAX]).unwrap();
    assert!(matches!(
        put(vec![2; SETTING_BYTES_MAX + 1]),
        Err(StoreError::Limit { .. })
    ));
    let host = project_id("host");
    let found = store.read(|v| settings::find(v, &host, "pepper")).unwrap();
    assert_eq!(found.map(|v| v.len()), Some(SETTING_BYTES_MAX));
}

#[test]
fn events_are_a_ring_for_each_project() {
    let (_dir, store) = store(&[]);
    let count = EVENTS_KEPT as u64;
    store
        .write(move |tx| -> Outcome<()> {
            events::add(tx, &[event("quiet", 0)])?;
            events::add(
                tx,
                &(0..=count).map(|n| event("loud", n)).collect::<Vec<_>>(),
            )
        })
        .unwrap();
    let (loud, quiet) = (project_id("loud"), project_id("quiet"));
    let kept = store
        .read(|v| events::recent(v, &loud, usize::MAX))
        .unwrap();
    assert_eq!(
        (kept.len(), kept[0].seq, kept[EVENTS_KEPT - 1].seq),
        (EVENTS_KEPT, count, 1)
    );
    assert_eq!(
        store.read(|v| events::recent(v, &quiet, 9)).unwrap().len(),
        1
    );
}

#[test]
fn counters_count_from_one_and_take_back_what_was_not_kept() {
    let (_dir, store) = store(&[]);
    let next = || store.write(|tx| counters::next(tx, "case"));
    assert_eq!((next(), next()), (Ok(1), Ok(2)));
    let lost: Outcome<()> = store.write(|tx| {
        counters::next(tx, "case")?;
        Err(StoreError::Stopped)
    });
    assert!(lost.is_err());
    assert_eq!(next(), Ok(3));
}
