//! A project never sees a row of another, whatever was written in whatever order.

use crate::fixtures::*;
use proptest::prelude::*;
use ringfence_core::ids::ProjectId;
use ringfence_core::time::Timestamp;
use ringfence_store::outbox::MessageState;
use ringfence_store::{
    Tx, View, admissions, alerts, cases, events, keys, outbox, settings, waivers,
};

const NAMES: [&str; 3] = ["ann-desk", "bob-desk", "host"];

#[derive(Clone, Copy, Debug)]
enum Write {
    Key,
    Case,
    Waiver,
    Alert,
    Admission,
    Setting,
    Event,
}

fn writes() -> impl Strategy<Value = Vec<(usize, Write)>> {
    let kind = prop::sample::select(vec![
        Write::Key,
        Write::Case,
        Write::Waiver,
        Write::Alert,
        Write::Admission,
        Write::Setting,
        Write::Event,
    ]);
    prop::collection::vec((0..NAMES.len(), kind), 1..40)
}

fn apply(tx: &Tx<'_>, name: &str, n: usize, write: Write) -> Outcome<()> {
    match write {
        Write::Key => keys::add(tx, &key(name, &format!("k{n}"))),
        Write::Case => cases::append(tx, &case_event(name, &format!("C-{n}"), 1, "reported")),
        Write::Waiver => waivers::add(tx, &waiver(name, &format!("w{n}"), 9_000)),
        Write::Alert => {
            let (alert, message) = (
                alert(name, &format!("a{n}")),
                message(name, &format!("m{n}")),
            );
            alerts::add(tx, &alert)?;
            outbox::enqueue(tx, &alert, &message).map(|_| ())
        }
        Write::Admission => admissions::add(tx, &admission(name, 1)),
        Write::Setting => settings::put(tx, &project_id(name), &format!("s{n}"), &[1]),
        Write::Event => events::add(tx, &[event(name, n as u64)]),
    }
}

/// The project of every row that one project can list.
fn seen_by(v: &View<'_>, id: &ProjectId) -> Outcome<Vec<ProjectId>> {
    let mut seen = Vec::new();
    seen.extend(keys::list(v, id)?.into_iter().map(|r| r.project));
    seen.extend(cases::list(v, id)?.into_iter().map(|r| r.project));
    seen.extend(
        cases::in_state(v, id, "reported")?
            .into_iter()
            .map(|r| r.project),
    );
    seen.extend(waivers::list(v, id)?.into_iter().map(|r| r.project));
    seen.extend(
        waivers::in_force(v, id, Timestamp(2_000))?
            .into_iter()
            .map(|r| r.project),
    );
    seen.extend(alerts::list(v, id)?.into_iter().map(|r| r.project));
    seen.extend(
        alerts::unseen(v, id, &[0; 32])?
            .into_iter()
            .map(|r| r.project),
    );
    for state in [
        MessageState::Pending,
        MessageState::Sent,
        MessageState::Dead,
    ] {
        seen.extend(
            outbox::messages(v, id, state)?
                .into_iter()
                .map(|r| r.project),
        );
    }
    seen.extend(admissions::list(v, id)?.into_iter().map(|r| r.project));
    seen.extend(admissions::latest(v, id)?.into_iter().map(|r| r.project));
    seen.extend(events::recent(v, id, 100)?.into_iter().map(|r| r.project));
    Ok(seen)
}

/// Whether a project can reach the row number `n` of another by its id.
fn reaches(v: &View<'_>, id: &ProjectId, n: usize) -> Outcome<bool> {
    let case = format!("C-{n}").parse().unwrap();
    Ok(
        keys::find(v, id, &format!("k{n}").parse().unwrap())?.is_some()
            || cases::find(v, id, &case)?.is_some()
            || !cases::events(v, id, &case)?.is_empty()
            || cases::latest_about(v, id, &format!("fp-C-{n}"))?.is_some()
            || alerts::recent_about(v, id, &format!("fp-a{n}"), Timestamp(0))?.is_some()
            || settings::find(v, id, &format!("s{n}"))?.is_some(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_foreign_project_is_never_visible(script in writes()) {
        let (_dir, store) = store(&NAMES);
        let steps = script.clone();
        store.write(move |tx| -> Outcome<()> {
            steps.iter().enumerate().try_for_each(|(n, (who, w))| apply(tx, NAMES[*who], n, *w))
        }).unwrap();
        for name in NAMES {
            let id = project_id(name);
            let seen = store.read(|v| seen_by(v, &id)).unwrap();
            prop_assert!(seen.iter().all(|p| p == &id), "{name} sees {seen:?}");
        }
        for (n, (who, _)) in script.iter().enumerate() {
            for (other, name) in NAMES.iter().enumerate() {
                if other != *who {
                    let id = project_id(name);
                    prop_assert!(!store.read(|v| reaches(v, &id, n)).unwrap());
                }
            }
        }
    }
}

#[test]
fn a_foreign_project_changes_nothing_either() {
    let (_dir, store) = store(&NAMES);
    store
        .write(|tx| -> Outcome<()> {
            keys::add(tx, &key("ann-desk", "k1"))?;
            alerts::add(tx, &alert("ann-desk", "a1"))
        })
        .unwrap();
    let bob = project_id("bob-desk");
    let id = key("ann-desk", "k1").id;
    let (by, key_id) = (bob.clone(), id.clone());
    let revoked = store.write(move |tx| keys::revoke(tx, &by, &key_id, Timestamp(1)));
    assert!(revoked.is_err());
    store
        .write(move |tx| -> Outcome<()> {
            alerts::count_repeat(tx, &bob, "a1")?;
            alerts::mark_seen(tx, &bob, &[1; 32], "a1")?;
            let joined = outbox::enqueue(tx, &alert("ann-desk", "a1"), &message("bob-desk", "m"))?;
            assert!(
                !joined,
                "a message never carries an alert of another project"
            );
            Ok(())
        })
        .unwrap();
    let ann = project_id("ann-desk");
    assert_eq!(
        store.read(|v| keys::list(v, &ann)).unwrap()[0].revoked,
        None
    );
    let unseen = store.read(|v| alerts::unseen(v, &ann, &[1; 32])).unwrap();
    assert_eq!((unseen.len(), unseen[0].repeats), (1, 0));
    let due = store
        .read(|v| outbox::due_in_any_project(v, Timestamp(9_000)))
        .unwrap();
    let carried = store.read(|v| outbox::carried_by(v, &due[0])).unwrap();
    assert_eq!(carried, vec![]);
}
