//! Jobs: one worker at a time, nothing lost, nothing done by a worker that came too late.

use crate::fixtures::*;
use proptest::prelude::*;
use ringfence_core::time::Timestamp;
use ringfence_store::jobs::{self, BURIED_MAX, JOBS_OPEN_MAX, JobState, NewJob, PAYLOAD_BYTES_MAX};
use ringfence_store::lease::{Backoff, LEASE_MS_MAX, Lease};
use ringfence_store::outbox::{self, Attempt};
use ringfence_store::{Store, StoreError, alerts};
use std::collections::{BTreeMap, BTreeSet};

const LEASE_MS: i64 = 100;
const BACKOFF: Backoff = Backoff {
    first_ms: 10,
    ms_max: 40,
};

fn new(id: &str, due: i64, attempts_max: u32) -> NewJob {
    NewJob {
        id: id.to_owned(),
        project: project_id("desk"),
        kind: "rotate".to_owned(),
        payload: serde_json::json!({ "of": id }),
        due: Timestamp(due),
        attempts_max,
        created: Timestamp(0),
    }
}

fn add(store: &Store, job: NewJob) -> Outcome<bool> {
    store.write(move |tx| jobs::add(tx, &job))
}

fn claim(store: &Store, worker: &'static str, now: i64) -> Option<(jobs::Job, Lease)> {
    store
        .write(move |tx| jobs::claim_in_any_project(tx, "rotate", worker, Timestamp(now), LEASE_MS))
        .unwrap()
}

fn complete(store: &Store, lease: &Lease, now: i64) -> Outcome<()> {
    let lease = lease.clone();
    store.write(move |tx| jobs::complete(tx, &lease, Timestamp(now)))
}

fn fail(store: &Store, lease: &Lease, now: i64) -> Outcome<JobState> {
    let lease = lease.clone();
    store.write(move |tx| jobs::fail(tx, &lease, Timestamp(now), "no answer", BACKOFF))
}

fn state(store: &Store, id: &str) -> JobState {
    let found = store.read(|v| jobs::find(v, &project_id("desk"), id));
    found.unwrap().unwrap().state
}

fn stale(id: &str) -> StoreError {
    StoreError::Stale {
        what: "job",
        id: id.to_owned(),
    }
}

#[test]
fn a_worker_that_comes_too_late_is_refused() {
    let (_place, store) = store(&["desk"]);
    add(&store, new("j", 10, 5)).unwrap();
    assert_eq!(claim(&store, "a", 9), None, "before its moment");
    let (job, slow) = claim(&store, "a", 10).unwrap();
    assert_eq!((job.attempts, job.worker.as_deref()), (1, Some("a")));
    assert_eq!(claim(&store, "b", 109), None, "held");
    let (job, quick) = claim(&store, "b", 110).unwrap();
    assert_eq!((job.attempts, job.worker.as_deref()), (2, Some("b")));
    assert!(quick.token > slow.token);
    let late = slow.clone();
    let beat = store.write(move |tx| jobs::heartbeat(tx, &late, Timestamp(111), LEASE_MS));
    assert_eq!(beat, Err(stale("j")));
    assert_eq!(complete(&store, &slow, 112), Err(stale("j")));
    assert_eq!(fail(&store, &slow, 112), Err(stale("j")));
    assert_eq!(complete(&store, &quick, 113), Ok(()));
    assert_eq!(complete(&store, &quick, 114), Err(stale("j")), "only once");
    assert_eq!(state(&store, "j"), JobState::Done);
}

#[test]
fn a_heartbeat_keeps_the_job() {
    let (_place, store) = store(&["desk"]);
    add(&store, new("j", 0, 5)).unwrap();
    let (_, lease) = claim(&store, "a", 0).unwrap();
    let held = lease.clone();
    store
        .write(move |tx| jobs::heartbeat(tx, &held, Timestamp(90), LEASE_MS))
        .unwrap();
    assert_eq!(claim(&store, "b", 189), None);
    // Over, but nobody else has it yet.
    assert_eq!(complete(&store, &lease, 500), Ok(()));
}

#[test]
fn failures_wait_longer_each_time_and_end_as_a_dead_letter_that_can_be_revived() {
    let (_place, store) = store(&["desk"]);
    add(&store, new("j", 0, 3)).unwrap();
    let (_, first) = claim(&store, "a", 0).unwrap();
    assert_eq!(fail(&store, &first, 5), Ok(JobState::Waiting));
    assert_eq!(claim(&store, "a", 14), None);
    let (_, second) = claim(&store, "a", 15).unwrap();
    assert_eq!(fail(&store, &second, 20), Ok(JobState::Waiting));
    assert_eq!(claim(&store, "a", 39), None);
    let (_, third) = claim(&store, "a", 40).unwrap();
    assert_eq!(fail(&store, &third, 41), Ok(JobState::Dead));
    assert_eq!(claim(&store, "a", 1_000_000), None);
    let desk = project_id("desk");
    let dead = store
        .read(|v| jobs::list(v, &desk, JobState::Dead))
        .unwrap();
    assert_eq!(dead[0].last_error.as_deref(), Some("no answer"));
    let forgotten = store.write(|tx| jobs::forget_done_before(tx, Timestamp(i64::MAX)));
    assert_eq!(forgotten, Ok(0), "dead letters stay");
    store
        .write(|tx| jobs::revive(tx, &project_id("desk"), "j", Timestamp(50)))
        .unwrap();
    let (job, lease) = claim(&store, "a", 50).unwrap();
    assert_eq!(job.attempts, 1);
    complete(&store, &lease, 60).unwrap();
    assert_eq!(add(&store, new("j", 0, 3)), Ok(false), "the id is taken");
    let forgotten = store.write(|tx| jobs::forget_done_before(tx, Timestamp(61)));
    assert_eq!(forgotten, Ok(1));
    assert_eq!(add(&store, new("j", 0, 3)), Ok(true));
}

#[test]
fn a_job_that_kills_its_workers_ends_as_a_dead_letter() {
    let (_place, store) = store(&["desk"]);
    add(&store, new("j", 0, 2)).unwrap();
    assert!(claim(&store, "a", 0).is_some());
    assert!(claim(&store, "b", 100).is_some());
    assert_eq!(claim(&store, "c", 200), None);
    assert_eq!(state(&store, "j"), JobState::Dead);
}

#[test]
fn limits_hold_at_the_limit_and_one_beyond() {
    let (_place, store) = store(&["desk"]);
    let open = JOBS_OPEN_MAX;
    store
        .write(move |tx| -> Outcome<()> {
            // One of them at the limit of what a job may be about, quotes included.
            let mut full = new("full", 0, 1);
            full.payload = "x".repeat(PAYLOAD_BYTES_MAX - 2).into();
            assert!(jobs::add(tx, &full)?);
            (1..open).try_for_each(|n| jobs::add(tx, &new(&format!("j{n}"), 0, 1)).map(drop))
        })
        .unwrap();
    let beyond = add(&store, new("beyond", 0, 1));
    assert!(matches!(beyond, Err(StoreError::Limit { .. })));
    let (_, lease) = claim(&store, "a", 0).unwrap();
    complete(&store, &lease, 1).unwrap();
    let mut large = new("large", 0, 1);
    large.payload = "x".repeat(PAYLOAD_BYTES_MAX - 1).into();
    assert!(matches!(add(&store, large), Err(StoreError::Limit { .. })));
    assert_eq!(add(&store, new("beyond", 0, 1)), Ok(true));

    // Of many that were never answered, one claim buries so many and no more.
    let claimed = store.write(|tx| -> Outcome<u32> {
        let mut claimed = 0;
        let lease = LEASE_MS_MAX + 1;
        while let Some((job, _)) =
            jobs::claim_in_any_project(tx, "rotate", "a", Timestamp(10), lease)?
        {
            assert_eq!(job.next, Timestamp(10 + LEASE_MS_MAX));
            claimed += 1;
            if claimed > 250 {
                break;
            }
        }
        Ok(claimed)
    });
    assert_eq!(claimed, Ok(251));
    let later = 10 + LEASE_MS_MAX;
    let desk = project_id("desk");
    // Unclaimed ones stand before them, so the rest is claimed first.
    let dead = || {
        let list = store.read(|v| jobs::list(v, &desk, JobState::Dead));
        list.unwrap().len()
    };
    store
        .write(move |tx| -> Outcome<()> {
            for _ in 251..open {
                jobs::claim_in_any_project(tx, "rotate", "a", Timestamp(10), LEASE_MS_MAX)?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!((claim(&store, "b", later), dead()), (None, BURIED_MAX));
    assert_eq!((claim(&store, "b", later), dead()), (None, 2 * BURIED_MAX));
}

#[test]
fn a_dispatcher_that_comes_too_late_is_refused() {
    let (_place, store) = store(&["desk"]);
    store
        .write(|tx| -> Outcome<bool> {
            alerts::add(tx, &alert("desk", "a1"))?;
            outbox::enqueue(tx, &alert("desk", "a1"), &message("desk", "m1"))
        })
        .unwrap();
    let begin =
        |now| store.write(move |tx| outbox::begin_attempt(tx, "m1", Timestamp(now), LEASE_MS));
    let slow = begin(5_000).unwrap().unwrap();
    assert_eq!(begin(5_099), Ok(None), "held");
    let quick = begin(5_100).unwrap().unwrap();
    let finish = |lease: &Lease| {
        let lease = lease.clone();
        store.write(move |tx| outbox::finish_attempt(tx, &lease, &Attempt::Sent, Timestamp(5_110)))
    };
    assert!(matches!(finish(&slow), Err(StoreError::Stale { .. })));
    assert_eq!(finish(&quick), Ok(()));
    assert_eq!(begin(9_000), Ok(None), "sent");
}

#[test]
fn workers_that_race_never_hold_the_same_job() {
    let (place, first) = store(&["desk"]);
    let second = place.open();
    for n in 0..40 {
        add(&first, new(&format!("j{n}"), 0, 1)).unwrap();
    }
    let work = |store: &Store| {
        let mut mine = Vec::new();
        while let Some((job, lease)) = claim(store, "w", 0) {
            complete(store, &lease, 1).unwrap();
            mine.push(job.id);
        }
        mine
    };
    let all: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = [&first, &second, &first, &second]
            .into_iter()
            .map(|store| scope.spawn(move || work(store)))
            .collect();
        let done = workers.into_iter().map(|w| w.join().unwrap());
        done.flatten().collect()
    });
    assert_eq!(all.len(), 40);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 40);
}

/// One step of a history of workers.
#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Claim,
    /// The n-th lease that was ever given out, counted from the newest.
    Complete(usize),
    Fail(usize),
    Beat(usize),
    Pass(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4_u8).prop_map(Step::Add),
        Just(Step::Claim),
        Just(Step::Claim),
        (0..3_usize).prop_map(Step::Complete),
        (0..3_usize).prop_map(Step::Fail),
        (0..3_usize).prop_map(Step::Beat),
        (1..130_i64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

/// What a job must be, kept beside the store in the simplest way.
#[derive(Clone, Debug)]
struct Model {
    state: JobState,
    next: i64,
    attempts: u32,
    token: Option<u64>,
}

const ATTEMPTS: u32 = 2;

fn model_claim(model: &mut BTreeMap<String, Model>, now: i64) -> Option<String> {
    loop {
        let open = |m: &Model| matches!(m.state, JobState::Waiting | JobState::Held);
        let id = model
            .iter()
            .filter(|(_, m)| open(m) && m.next <= now)
            .min_by_key(|(id, m)| (m.next, (*id).clone()))
            .map(|(id, _)| id.clone())?;
        let job = model.get_mut(&id)?;
        if job.attempts == ATTEMPTS {
            job.state = JobState::Dead;
            job.token = None;
            continue;
        }
        job.attempts += 1;
        job.state = JobState::Held;
        job.next = now + LEASE_MS;
        return Some(id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_workers_is_that_of_the_model(script in steps()) {
        let (_place, store) = store(&["desk"]);
        let mut model: BTreeMap<String, Model> = BTreeMap::new();
        let mut leases: Vec<Lease> = Vec::new();
        let mut now = 0;
        for step in script {
            let old = |n: usize| leases.len().checked_sub(n + 1).map(|i| leases[i].clone());
            match step {
                Step::Pass(ms) => now += ms,
                Step::Add(n) => {
                    let id = format!("j{n}");
                    let added = add(&store, new(&id, now, ATTEMPTS)).unwrap();
                    prop_assert_eq!(added, !model.contains_key(&id));
                    let fresh = Model { state: JobState::Waiting, next: now, attempts: 0, token: None };
                    model.entry(id).or_insert(fresh);
                }
                Step::Claim => {
                    let claimed = claim(&store, "w", now);
                    let expected = model_claim(&mut model, now);
                    prop_assert_eq!(claimed.as_ref().map(|(job, _)| &job.id), expected.as_ref());
                    if let Some((job, lease)) = claimed {
                        prop_assert!(leases.iter().all(|l| l.token < lease.token));
                        model.get_mut(&job.id).unwrap().token = Some(lease.token);
                        leases.push(lease);
                    }
                }
                Step::Complete(n) | Step::Fail(n) | Step::Beat(n) => {
                    let Some(lease) = old(n) else { continue };
                    let job = model.get_mut(&lease.id).unwrap();
                    let good = job.token == Some(lease.token);
                    let answer = match step {
                        Step::Complete(_) => complete(&store, &lease, now),
                        Step::Fail(_) => fail(&store, &lease, now).map(drop),
                        _ => {
                            let held = lease.clone();
                            store.write(move |tx| jobs::heartbeat(tx, &held, Timestamp(now), LEASE_MS))
                        }
                    };
                    prop_assert_eq!(answer, if good { Ok(()) } else { Err(stale(&lease.id)) });
                    if good {
                        match step {
                            Step::Complete(_) => (job.state, job.token) = (JobState::Done, None),
                            Step::Beat(_) => job.next = now + LEASE_MS,
                            _ if job.attempts == ATTEMPTS => {
                                (job.state, job.token) = (JobState::Dead, None);
                            }
                            _ => {
                                (job.state, job.token) = (JobState::Waiting, None);
                                job.next = now + BACKOFF.after(job.attempts);
                            }
                        }
                    }
                }
            }
        }
        for (id, job) in &model {
            prop_assert_eq!(state(&store, id), job.state, "{}", id);
        }
    }
}
