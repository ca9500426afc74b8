//! The client of `net` against the double: what is stored, what comes back, what is tried again.

use crate::world::{place, put, world, world_of};
use ringfence_core::secret::Secret;
use ringfence_net::NetError;
use ringfence_net::s3::{Bucket, LockMode, PutOutcome, Style};
use ringfence_net::sigv4::Credentials;
use ringfence_testkit::s3::Identity;
use std::sync::Arc;

fn code(error: &NetError) -> &str {
    match error {
        NetError::StoreRefused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_object_is_stored_locked_and_read_back() {
    let world = world().await;
    let lock = world.lock(LockMode::Compliance, 30);
    let key = "logs/tile/entries/x001/000 + ü$&=";
    let outcome = world.bucket.put(put(key, "content", Some(lock))).await;
    let Ok(PutOutcome::Stored(Some(version))) = outcome else {
        panic!("{outcome:?}");
    };
    let read = world.bucket.get(key, 100).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"content"[..]));
    let head = world.bucket.head(key).await.unwrap().unwrap();
    assert_eq!((head.length, head.version), (7, Some(version.clone())));
    assert_eq!(
        head.sha256,
        Some(ringfence_crypto::hash::sha256(b"content"))
    );
    for version in [None, Some(version.as_str())] {
        let held = world.bucket.retention(key, version).await;
        assert_eq!(held, Ok(Some(lock)));
    }
    world.double.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_none_and_what_is_there_is_not_replaced() {
    let world = world().await;
    assert_eq!(world.bucket.get("absent", 9).await, Ok(None));
    assert_eq!(world.bucket.head("absent").await, Ok(None));
    world.bucket.put(put("k", "first", None)).await.unwrap();
    assert_eq!(world.bucket.retention("k", None).await, Ok(None));
    let again = world.bucket.put(put("k", "second", None)).await;
    assert_eq!(again, Ok(PutOutcome::Exists));
    assert_eq!(world.bucket.get("k", 9).await.unwrap().unwrap(), "first");
    let too_long = world.bucket.get("k", 4).await;
    assert_eq!(too_long, Err(NetError::TooLong { limit: 4 }));
    world.double.end().await;
}

#[tokio::test]
async fn a_bucket_without_object_lock_refuses_a_lock_and_reports_none() {
    let world = world_of(Identity::default(), false).await;
    let lock = world.lock(LockMode::Governance, 1);
    let refused = world.bucket.put(put("k", "c", Some(lock))).await;
    assert_eq!(code(&refused.unwrap_err()), "InvalidRequest");
    world.bucket.put(put("k", "c", None)).await.unwrap();
    assert_eq!(world.bucket.retention("k", None).await, Ok(None));
    world.double.end().await;
}

#[tokio::test]
async fn a_list_comes_in_pages_and_only_with_its_prefix() {
    let world = world().await;
    for key in ["a/1", "a/2", "b/1"] {
        world.bucket.put(put(key, "c", None)).await.unwrap();
    }
    let page = world.bucket.list("a/", None).await.unwrap();
    assert_eq!(page.keys, [("a/1".to_owned(), 1), ("a/2".to_owned(), 1)]);
    assert_eq!(page.next, None);
    let rest = world.bucket.list("", Some("a/1")).await.unwrap();
    assert_eq!(rest.keys.len(), 2);
    world.double.end().await;
}

#[tokio::test]
async fn temporary_credentials_carry_their_token() {
    let identity = Identity {
        session_token: Some("a+session/token==".to_owned()),
        ..Identity::default()
    };
    let world = world_of(identity.clone(), true).await;
    world.bucket.put(put("k", "c", None)).await.unwrap();
    let bare = Identity {
        session_token: None,
        ..identity
    };
    let clock: Arc<_> = world.clock.clone();
    let without = Bucket::new(place(&world.double, &bare), clock).unwrap();
    let refused = without.get("k", 9).await.unwrap_err();
    assert_eq!(code(&refused), "InvalidToken");
    world.double.end().await;
}

#[tokio::test]
async fn names_in_front_of_the_host_are_signed_as_they_are_sent() {
    let world = world().await;
    let identity = Identity::default();
    let mut there = place(&world.double, &identity);
    there.style = Style::VirtualHost;
    let clock: Arc<_> = world.clock.clone();
    assert!(matches!(
        Bucket::new(there.clone(), clock.clone()),
        Err(NetError::StoreConfig(_))
    ));
    let port = world.double.address.port();
    there.endpoint = format!("http://localhost:{port}").parse().unwrap();
    let bucket = Bucket::new(there, clock).unwrap();
    bucket.put(put("k", "c", None)).await.unwrap();
    assert_eq!(bucket.get("k", 9).await.unwrap().unwrap(), "c");
    world.double.end().await;
}

#[tokio::test]
async fn a_wrong_secret_region_or_clock_is_named() {
    let world = world().await;
    let right = place(&world.double, &Identity::default());
    let clock: Arc<_> = world.clock.clone();
    let ask = |place| {
        let bucket = Bucket::new(place, clock.clone()).unwrap();
        async move { bucket.get("k", 9).await.unwrap_err() }
    };
    let mut wrong = right.clone();
    let secret = Secret::new("another-secret-of-forty-characters-here.".to_owned());
    wrong.credentials = Credentials::new("AKIDTESTKIT", secret, None).unwrap();
    assert_eq!(code(&ask(wrong).await), "SignatureDoesNotMatch");
    let mut wrong = right.clone();
    wrong.region = "us-east-1".to_owned();
    assert_eq!(code(&ask(wrong).await), "AuthorizationHeaderMalformed");
    let late = Arc::new(ringfence_testkit::clock::SetClock::at(
        ringfence_core::time::Timestamp(0),
    ));
    let bucket = Bucket::new(right, late).unwrap();
    let refused = bucket.get("k", 9).await.unwrap_err();
    assert_eq!(code(&refused), "RequestTimeTooSkewed");
    world.double.end().await;
}

#[tokio::test]
async fn a_safe_request_is_tried_again_and_no_more_often_than_its_limit() {
    let world = world().await;
    world.double.faults().lose_requests = 1;
    world.double.faults().slow_downs = 1;
    world.double.faults().lose_answers = 1;
    // The third attempt is stored although its answer is lost; the fourth finds its own work.
    let outcome = world.bucket.put(put("k", "c", None)).await;
    assert_eq!(outcome, Ok(PutOutcome::Exists));
    let statuses: Vec<u16> = world.double.take_seen().iter().map(|s| s.status).collect();
    assert_eq!(statuses, [0, 503, 0, 412]);
    world.double.faults().slow_downs = 4;
    let refused = world.bucket.get("k", 9).await.unwrap_err();
    assert_eq!(code(&refused), "SlowDown");
    world.double.faults().slow_downs = 3;
    assert_eq!(world.bucket.get("k", 9).await.unwrap().unwrap(), "c");
    world.double.end().await;
}

#[tokio::test]
async fn a_write_that_could_happen_twice_is_sent_once() {
    let world = world().await;
    world.double.faults().lose_answers = 1;
    let mut again = put("checkpoint", "c", None);
    again.only_new = false;
    let outcome = world.bucket.put(again).await;
    assert_eq!(outcome, Err(NetError::Broken));
    assert_eq!(world.double.objects().versions("checkpoint").len(), 1);
    assert_eq!(world.double.take_seen().len(), 1);
    world.double.end().await;
}
