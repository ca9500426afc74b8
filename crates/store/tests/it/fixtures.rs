//! Rows to test with.

use crate::under_test::Place;
use ringfence_core::digest::Digest;
use ringfence_core::event::{Event, EventVerdict, Layer, Target};
use ringfence_core::ids::{ProjectId, RuleId};
use ringfence_core::time::Timestamp;
use ringfence_core::verdict::{Coverage, Decision, Verdict};
use ringfence_store::admissions::Admission;
use ringfence_store::alerts::AlertRow;
use ringfence_store::cases::CaseEvent;
use ringfence_store::keys::ApiKey;
use ringfence_store::outbox::{Message, MessageState};
use ringfence_store::projects::{Project, Stage};
use ringfence_store::waivers::WaiverRow;
use ringfence_store::{Store, StoreError, projects};

/// Every write of the suite has the store's own error.
pub(crate) type Outcome<T> = Result<T, StoreError>;

pub(crate) fn project_id(name: &str) -> ProjectId {
    name.parse().unwrap()
}

/// A store with these projects in it, and the place that keeps it alive.
pub(crate) fn store(names: &[&str]) -> (Place, Store) {
    let place = Place::new();
    let store = place.open();
    for name in names {
        let new = project(name);
        store.write(move |tx| projects::register(tx, &new)).unwrap();
    }
    (place, store)
}

pub(crate) fn project(name: &str) -> Project {
    Project {
        id: project_id(name),
        owner: "ann".parse().unwrap(),
        dir: format!("/srv/{name}"),
        stage: Stage::Registered,
        admitted: None,
        created: Timestamp(1_000),
    }
}

pub(crate) fn key(project: &str, id: &str) -> ApiKey {
    ApiKey {
        id: id.parse().unwrap(),
        project: project_id(project),
        mac: [7; 32],
        name: "laptop".to_owned(),
        requests_per_minute: 60,
        created: Timestamp(2_000),
        expires: Some(Timestamp(9_000)),
        revoked: None,
        last_used: None,
    }
}

pub(crate) fn case_event(project: &str, case: &str, sequence: u32, state: &str) -> CaseEvent {
    CaseEvent {
        project: project_id(project),
        case: case.parse().unwrap(),
        sequence,
        time: Timestamp(3_000 + i64::from(sequence)),
        actor: "service".to_owned(),
        kind: if sequence == 1 { "opened" } else { "changed" }.to_owned(),
        state: state.to_owned(),
        fingerprint: (sequence == 1).then(|| format!("fp-{case}")),
        body: serde_json::json!({ "title": case }),
    }
}

pub(crate) fn waiver(project: &str, id: &str, until: i64) -> WaiverRow {
    WaiverRow {
        id: id.to_owned(),
        project: project_id(project),
        rule: RuleId::of("admit/secret"),
        fingerprint: None,
        until: Timestamp(until),
        reason: "the vendor mends it in March".to_owned(),
        owner: "ann".to_owned(),
        created: Timestamp(1_000),
    }
}

pub(crate) fn alert(project: &str, id: &str) -> AlertRow {
    AlertRow {
        id: id.to_owned(),
        project: project_id(project),
        fingerprint: format!("fp-{id}"),
        case: None,
        tier: "now".to_owned(),
        created: Timestamp(5_000),
        repeats: 0,
        body: serde_json::json!({ "what": id }),
    }
}

pub(crate) fn message(project: &str, key: &str) -> Message {
    Message {
        idempotency_key: key.to_owned(),
        project: project_id(project),
        channel: "webhook:ops".to_owned(),
        tier: "now".to_owned(),
        due: Timestamp(5_000),
        next: Timestamp(5_000),
        attempts: 0,
        state: MessageState::Pending,
        last_error: None,
    }
}

pub(crate) fn admission(project: &str, mark: u8) -> Admission {
    let coverage = Coverage {
        bytes_seen: 10,
        bytes_understood: 10,
        ..Coverage::default()
    };
    Admission {
        project: project_id(project),
        time: Timestamp(i64::from(mark)),
        digest: Digest([mark; 32]),
        verdict: Verdict {
            decision: Decision::Allow,
            reasons: vec!["clean".into()],
            coverage,
        },
        report: serde_json::json!({ "mark": mark }),
    }
}

pub(crate) fn event(project: &str, seq: u64) -> Event {
    Event {
        v: 0,
        id: format!("e-{seq}"),
        time: Timestamp(1),
        boot: "b".to_owned(),
        seq,
        project: project_id(project),
        target: Target::Host,
        kind: "run.sandbox.refused".to_owned(),
        layer: Layer::Control,
        rule: None,
        verdict: EventVerdict::Denied,
        parent: None,
        trace: None,
        detail: std::collections::BTreeMap::new(),
    }
}
