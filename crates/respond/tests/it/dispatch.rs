//! Messages leave at least once, under one key, and no receiver holds up another.

use crate::fixtures::*;
use ringfence_core::digest::unhex;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ports::{BoxFuture, Clock};
use ringfence_core::severity::Severity;
use ringfence_core::time::{DAY_MS, HOUR_MS};
use ringfence_crypto::hmac::HmacKey;
use ringfence_respond::dispatch::{
    ATTEMPT_MS_MAX, ATTEMPTS_MAX, BACKOFF_MS_MAX, Delivered, DispatchParts,
};
use ringfence_respond::{Dispatcher, Respond, RespondConfig, Transport, WEBHOOKS_MAX};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// RINGFENCE-TEST-FIXTURE: not a key of anything.
const KEY: [u8; 32] = [0x5a; 32];

#[derive(Clone, Debug)]
struct Posted {
    url: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Receivers by host: `dead` answers 503, `stuck` never answers, `gone` cannot be reached.
#[derive(Default)]
struct Network {
    posted: Mutex<Vec<Posted>>,
    arrived: Notify,
}

impl Network {
    fn to(&self, host: &str) -> Vec<Posted> {
        let url = format!("https://{host}.example/");
        self.posted
            .lock()
            .unwrap()
            .iter()
            .filter(|p| p.url == url)
            .cloned()
            .collect()
    }
}

impl Transport for Network {
    fn post<'a>(
        &'a self,
        url: &'a str,
        headers: &'a [(String, String)],
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<u16, Explained>> {
        Box::pin(async move {
            let headers = headers.iter().cloned().collect();
            self.posted.lock().unwrap().push(Posted {
                url: url.to_owned(),
                headers,
                body,
            });
            self.arrived.notify_one();
            match url {
                "https://dead.example/" => Ok(503),
                "https://gone.example/" => Err(Explained::new(
                    ErrorCode("net/refused"),
                    "connection refused",
                    "look",
                )),
                "https://stuck.example/" => std::future::pending().await,
                _ => Ok(204),
            }
        })
    }
}

struct Office {
    network: Arc<Network>,
    terminal: Arc<Mutex<Vec<String>>>,
    dispatcher: Dispatcher,
}

fn office(house: &House, hooks: &[&str]) -> Office {
    office_with(house, hooks, ATTEMPT_MS_MAX)
}

fn office_with(house: &House, hooks: &[&str], attempt_ms: u64) -> Office {
    let (network, terminal) = (
        Arc::new(Network::default()),
        Arc::new(Mutex::new(Vec::new())),
    );
    let written = Arc::clone(&terminal);
    let webhooks = config(hooks).webhooks;
    let dispatcher = Dispatcher::new(DispatchParts {
        respond: house.respond.clone(),
        webhooks: webhooks
            .into_iter()
            .map(|w| (w, HmacKey::from_bytes(&KEY).unwrap()))
            .collect(),
        transport: network.clone(),
        terminal: Arc::new(move |lines| written.lock().unwrap().extend_from_slice(lines)),
        attempt_ms,
    });
    Office {
        network,
        terminal,
        dispatcher,
    }
}

fn report(house: &House, target: &str, severity: Severity) {
    let cases = house.respond.cases();
    cases
        .open_from_incident(&desk(), &owner(), incident(target, severity))
        .unwrap();
}

#[tokio::test]
async fn a_page_leaves_at_once_signed_whole_and_once() {
    let house = House::new(&["ops"]);
    report(&house, "sandbox:s", Severity::Critical);
    let office = office(&house, &["ops"]);
    let run = office.dispatcher.run_due().await.unwrap();
    assert_eq!(
        run,
        Delivered {
            sent: 2,
            failed: 0,
            dead: 0
        }
    );
    assert_eq!(
        office.dispatcher.run_due().await.unwrap(),
        Delivered::default()
    );

    let posted = office.network.to("ops").remove(0);
    let body: Value = serde_json::from_slice(&posted.body).unwrap();
    assert_eq!(body["id"], posted.headers["idempotency-key"].as_str());
    let alert = &body["alerts"][0];
    for field in [
        "what",
        "scope",
        "evidence",
        "tier_reason",
        "mitigation",
        "fix",
        "owner",
        "due",
    ] {
        assert!(!alert[field].is_null() && alert[field] != "", "{field}");
    }
    let signature = &posted.headers["x-ringfence-signature"];
    let (t, v1) = signature
        .strip_prefix("t=")
        .unwrap()
        .split_once(",v1=")
        .unwrap();
    assert_eq!(t, (START.0 / 1_000).to_string());
    let verify = |text: Vec<u8>| {
        HmacKey::from_bytes(&KEY)
            .unwrap()
            .verify(&text, &unhex(v1).unwrap())
    };
    assert!(verify([t.as_bytes(), b".", &posted.body].concat()));
    assert!(!verify([t.as_bytes(), b".", &posted.body, b" "].concat()));
    assert!(
        !verify([b"1.", posted.body.as_slice()].concat()),
        "the time is signed too"
    );
    assert!(office.terminal.lock().unwrap()[0].starts_with("alert A-1 [now] the breaker froze"));
}

#[tokio::test]
async fn a_digest_leaves_at_the_end_of_its_day_with_every_member() {
    let house = House::new(&["ops"]);
    let office = office(&house, &["ops"]);
    report(&house, "sandbox:a", Severity::High);
    report(&house, "sandbox:b", Severity::High);
    assert_eq!(
        office.dispatcher.run_due().await.unwrap(),
        Delivered::default()
    );
    house.clock.pass_ms(DAY_MS / 2);
    report(&house, "sandbox:c", Severity::High);
    assert_eq!(office.dispatcher.run_due().await.unwrap().sent, 2);
    let members = |n: usize| -> usize {
        let body: Value = serde_json::from_slice(&office.network.to("ops")[n].body).unwrap();
        body["alerts"].as_array().unwrap().len()
    };
    assert_eq!(members(0), 2, "the third belongs to the next day");
    // The clock is set back into the day that was sent: its digest is settled, so the alert gets
    // a message of its own instead of being lost in one the receiver knows.
    house.clock.pass_ms(-HOUR_MS);
    report(&house, "sandbox:d", Severity::High);
    house.clock.pass_ms(2 * DAY_MS);
    office.dispatcher.run_due().await.unwrap();
    let posted = office.network.to("ops");
    assert_eq!(posted.len(), 3);
    let keys: std::collections::BTreeSet<_> = posted
        .iter()
        .map(|p| p.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_sending_sends_again_under_the_same_key() {
    let house = House::new(&["stuck"]);
    report(&house, "sandbox:s", Severity::Critical);
    let first = office(&house, &["stuck"]);
    let network = Arc::clone(&first.network);
    // The receiver has it, its answer has not come: here the process ends.
    tokio::select! {
        _ = first.dispatcher.run_due() => panic!("nobody answered"),
        () = network.arrived.notified() => {}
    }
    drop(first);
    let key = network.to("stuck")[0].headers["idempotency-key"].clone();

    let house = house.reopened(&["stuck"]);
    let mut second = office(&house, &["stuck"]);
    let network = Arc::new(Network::default());
    second.dispatcher = Dispatcher::new(DispatchParts {
        respond: house.respond.clone(),
        webhooks: vec![(
            ringfence_respond::Webhook {
                name: "stuck".to_owned(),
                url: "https://mended.example/".to_owned(),
            },
            HmacKey::from_bytes(&KEY).unwrap(),
        )],
        transport: network.clone(),
        terminal: Arc::new(|_| ()),
        attempt_ms: ATTEMPT_MS_MAX,
    });
    // The message is still held for the attempt that nobody will finish.
    second.dispatcher.run_due().await.unwrap();
    assert_eq!(network.to("mended").len(), 0);
    house.clock.pass_ms(20_000);
    second.dispatcher.run_due().await.unwrap();
    assert_eq!(network.to("mended")[0].headers["idempotency-key"], key);
}

#[tokio::test]
async fn dead_receivers_hold_up_nobody_and_end_as_dead_letters() {
    let hooks = ["dead", "gone", "ops"];
    let house = House::new(&hooks);
    let office = office(&house, &hooks);
    report(&house, "sandbox:a", Severity::Critical);
    report(&house, "sandbox:b", Severity::Critical);
    let run = office.dispatcher.run_due().await.unwrap();
    assert_eq!(
        run,
        Delivered {
            sent: 4,
            failed: 2,
            dead: 0
        }
    );
    assert_eq!(office.network.to("ops").len(), 2);
    assert_eq!(
        office.network.to("dead").len(),
        1,
        "a dead receiver is tried once in a run"
    );
    for _ in 0..2 * ATTEMPTS_MAX {
        house.clock.pass_ms(BACKOFF_MS_MAX);
        office.dispatcher.run_due().await.unwrap();
    }
    let dead = house.respond.dead_messages(&desk()).unwrap();
    assert_eq!(dead.len(), 4);
    assert!(dead.iter().all(|m| m.attempts == ATTEMPTS_MAX));
    let reasons: std::collections::BTreeSet<_> =
        dead.iter().filter_map(|m| m.last_error.clone()).collect();
    let expected = ["connection refused", "the receiver answered 503"].map(str::to_owned);
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(office.network.to("dead").len(), 2 * ATTEMPTS_MAX as usize);
    assert_eq!(office.network.to("ops").len(), 2);
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_its_time_and_no_more() {
    let house = House::new(&["stuck", "ops"]);
    report(&house, "sandbox:s", Severity::Critical);
    let office = office_with(&house, &["stuck", "ops"], 20);
    let limit = Duration::from_millis(ATTEMPT_MS_MAX);
    let run = tokio::time::timeout(limit, office.dispatcher.run_due())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        run,
        Delivered {
            sent: 2,
            failed: 1,
            dead: 0
        }
    );
    assert_eq!(office.network.to("ops").len(), 1);
    assert_eq!(
        house.respond.dead_messages(&desk()).unwrap(),
        vec![],
        "it will be tried again"
    );
}

#[tokio::test]
async fn the_same_thing_soon_again_is_quiet_and_later_is_not() {
    let house = House::new(&[]);
    let cases = house.respond.cases();
    let repeat = || {
        report(&house, "sandbox:s", Severity::Critical);
        let id = cases.list(&desk()).unwrap()[0].id.clone();
        cases
            .change(&desk(), &id, change(ringfence_respond::State::Rejected))
            .unwrap();
    };
    repeat();
    repeat();
    let alerts = house.respond.alerts(&desk()).unwrap();
    assert_eq!((alerts.len(), alerts[0].repeats), (1, 1));
    house.clock.pass_ms(HOUR_MS);
    repeat();
    assert_eq!(house.respond.alerts(&desk()).unwrap().len(), 2);
}

#[tokio::test]
async fn hostile_evidence_cannot_write_on_the_terminal() {
    let house = House::new(&[]);
    let mut hostile = incident("sandbox:s", Severity::Critical);
    hostile.evidence = "fine\r\u{1b}[2Jalert A-9 [now] all is well\nforged".to_owned();
    house
        .respond
        .cases()
        .open_from_incident(&desk(), &owner(), hostile)
        .unwrap();
    let office = office(&house, &[]);
    office.dispatcher.run_due().await.unwrap();
    let lines = office.terminal.lock().unwrap().clone();
    assert_eq!(lines.len(), 7);
    assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
}

#[test]
fn each_console_session_sees_an_alert_until_it_has_seen_it() {
    let house = House::new(&[]);
    report(&house, "sandbox:s", Severity::Medium);
    let unseen = |session: u8| {
        house
            .respond
            .unseen_alerts(&desk(), &[session; 32])
            .unwrap()
            .len()
    };
    assert_eq!((unseen(1), unseen(2)), (1, 1));
    house
        .respond
        .mark_alert_seen(&desk(), [1; 32], "A-1")
        .unwrap();
    assert_eq!((unseen(1), unseen(2)), (0, 1));
}

#[test]
fn webhooks_have_plain_distinct_names_and_are_limited() {
    let house = House::new(&[]);
    let store = || {
        let path = house.dir.path().join("db.sqlite");
        ringfence_store::Store::open(&path, ringfence_store::StoreOptions::default()).unwrap()
    };
    let clock: Arc<dyn Clock> = house.clock.clone();
    let accepts = |names: &[&str]| {
        let config: RespondConfig = config(names);
        Respond::new(store(), Arc::clone(&clock), &config).is_ok()
    };
    assert!(accepts(&["ops", "ops-2"]));
    assert!(!accepts(&["ops", "ops"]));
    assert!(!accepts(&[""]) && !accepts(&["a\r\nx-evil: 1"]));
    assert!(accepts(&["a".repeat(40).as_str()]) && !accepts(&["a".repeat(41).as_str()]));
    let names: Vec<String> = (0..=WEBHOOKS_MAX).map(|n| format!("h{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(accepts(&names[..WEBHOOKS_MAX]) && !accepts(&names));
}
