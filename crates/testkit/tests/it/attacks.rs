//! What the double refuses because AWS does, each beside the same attack on what is not protected,
//! which succeeds. A double that let these pass would vouch for a client that fails in production.

use crate::world::{World, put, world};
use http::Method;
use ringfence_core::time::{DAY_MS, HOUR_MS};
use ringfence_net::s3::{Answer, Call, Lock, LockMode};
use ringfence_testkit::s3::Mode;

const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");

impl World {
    async fn locked(&self, key: &str, lock: Option<Lock>) -> String {
        self.bucket.put(put(key, "c", lock)).await.unwrap();
        self.double.objects().versions(key)[0].id.clone()
    }

    async fn delete(&self, key: &str, version: &str, bypass: bool) -> u16 {
        let mut call = Call::new("delete", Method::DELETE, key).query("versionId", version);
        if bypass {
            call = call.header(BYPASS.0, BYPASS.1);
        }
        self.bucket.call(&call).await.unwrap().status
    }

    async fn raw_put(&self, headers: &[(&'static str, &str)]) -> Answer {
        let mut call = Call::new("put", Method::PUT, "raw").body("c".into());
        for (name, value) in headers {
            call = call.header(name, value);
        }
        self.bucket.call(&call).await.unwrap()
    }
}

#[tokio::test]
async fn a_locked_version_cannot_be_deleted_and_an_unlocked_one_can() {
    let world = world().await;
    let open = world.locked("open", None).await;
    assert_eq!(world.delete("open", &open, false).await, 204);
    assert!(world.double.objects().versions("open").is_empty());
    for (key, mode) in [("g", LockMode::Governance), ("c", LockMode::Compliance)] {
        let version = world.locked(key, Some(world.lock(mode, 30))).await;
        assert_eq!(world.delete(key, &version, false).await, 403);
        let bypassed = world.delete(key, &version, true).await;
        let expected = if mode == LockMode::Governance {
            204
        } else {
            403
        };
        assert_eq!(bypassed, expected, "{key}");
    }
    world.clock.advance_ms(30 * DAY_MS);
    let version = world.double.objects().versions("c")[0].id.clone();
    assert_eq!(world.delete("c", &version, false).await, 204);
    world.double.end().await;
}

#[tokio::test]
async fn a_delete_marker_hides_a_locked_object_and_loses_nothing() {
    let world = world().await;
    let lock = world.lock(LockMode::Compliance, 1);
    let version = world.locked("k", Some(lock)).await;
    let call = Call::new("delete", Method::DELETE, "k");
    assert_eq!(world.bucket.call(&call).await.unwrap().status, 204);
    assert_eq!(world.bucket.get("k", 9).await, Ok(None));
    let held = world.bucket.retention("k", Some(&version)).await;
    assert_eq!(held, Ok(Some(lock)));
    world.double.end().await;
}

#[tokio::test]
async fn retention_is_extended_by_all_and_shortened_only_where_it_is_governance() {
    let world = world().await;
    let days = |mode, n| world.lock(mode, n);
    for mode in [LockMode::Governance, LockMode::Compliance] {
        let key = mode.as_str();
        world.locked(key, Some(days(mode, 30))).await;
        let longer = days(mode, 31);
        world.bucket.put_retention(key, None, longer).await.unwrap();
        assert_eq!(world.bucket.retention(key, None).await, Ok(Some(longer)));
        let shorter = world.bucket.put_retention(key, None, days(mode, 1)).await;
        assert!(shorter.is_err(), "{key}");
        assert_eq!(world.bucket.retention(key, None).await, Ok(Some(longer)));
    }
    let weaker = days(LockMode::Governance, 60);
    let refused = world.bucket.put_retention("COMPLIANCE", None, weaker).await;
    assert!(refused.is_err());
    let stricter = days(LockMode::Compliance, 60);
    world
        .bucket
        .put_retention("GOVERNANCE", None, stricter)
        .await
        .unwrap();
    world.double.end().await;
}

#[tokio::test]
async fn a_legal_hold_outlives_retention() {
    let world = world().await;
    let version = world
        .locked("k", Some(world.lock(LockMode::Governance, 1)))
        .await;
    let hold = |on: &'static str| {
        Call::new("hold", Method::PUT, "k")
            .query("legal-hold", "")
            .body(format!("<LegalHold><Status>{on}</Status></LegalHold>").into())
    };
    assert_eq!(world.bucket.call(&hold("ON")).await.unwrap().status, 200);
    world.clock.advance_ms(2 * DAY_MS);
    assert_eq!(world.delete("k", &version, true).await, 403);
    assert_eq!(world.bucket.call(&hold("OFF")).await.unwrap().status, 200);
    assert_eq!(world.delete("k", &version, false).await, 204);
    world.double.end().await;
}

#[tokio::test]
async fn a_bucket_can_lock_what_asks_for_no_lock() {
    let world = world().await;
    world.double.objects().default_retention = Some((Mode::Compliance, 7));
    let version = world.locked("k", None).await;
    let expected = world.lock(LockMode::Compliance, 7);
    assert_eq!(world.bucket.retention("k", None).await, Ok(Some(expected)));
    assert_eq!(world.delete("k", &version, true).await, 403);
    world.double.end().await;
}

#[tokio::test]
async fn headers_that_aws_refuses_are_refused() {
    let world = world().await;
    let sum = ringfence_crypto::base64_encode(&ringfence_crypto::hash::sha256(b"c"));
    let other = ringfence_crypto::base64_encode(&ringfence_crypto::hash::sha256(b"d"));
    let checksum = ("x-amz-checksum-sha256", sum.as_str());
    let mode = ("x-amz-object-lock-mode", "COMPLIANCE");
    let date = "x-amz-object-lock-retain-until-date";
    let cases: [(&[_], &str); 7] = [
        (&[("x-amz-checksum-sha256", other.as_str())], "BadDigest"),
        (&[mode, (date, "2027-01-01T00:00:00Z")], "InvalidRequest"),
        (&[checksum, mode], "InvalidArgument"),
        (
            &[checksum, (date, "2027-01-01T00:00:00Z")],
            "InvalidArgument",
        ),
        (
            &[checksum, mode, (date, "2026-11-20T12:00:00Z")],
            "InvalidArgument",
        ),
        (&[checksum, mode, (date, "soon")], "InvalidArgument"),
        (
            &[
                checksum,
                ("x-amz-object-lock-mode", "STRICT"),
                (date, "2027-01-01T00:00:00Z"),
            ],
            "InvalidArgument",
        ),
    ];
    for (headers, code) in cases {
        let answer = world.raw_put(headers).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, code),
            "{headers:?}"
        );
    }
    assert!(world.double.objects().versions("raw").is_empty());
    let right = world
        .raw_put(&[checksum, mode, (date, "2027-01-01T00:00:00Z")])
        .await;
    assert_eq!(right.status, 200);
    world.double.end().await;
}

#[tokio::test]
async fn stores_that_are_not_aws_can_be_imitated() {
    let world = world().await;
    world.double.faults().ignore_locks = true;
    let lock = world.lock(LockMode::Compliance, 30);
    let version = world.locked("ignored", Some(lock)).await;
    assert_eq!(world.bucket.retention("ignored", None).await, Ok(None));
    assert_eq!(world.delete("ignored", &version, false).await, 204);
    world.double.faults().ignore_locks = false;
    world.double.faults().shorten_locks_s = HOUR_MS / 1_000;
    world.locked("short", Some(lock)).await;
    let held = world
        .bucket
        .retention("short", None)
        .await
        .unwrap()
        .unwrap();
    assert!(!held.covers(&lock) && lock.covers(&held));
    world.double.end().await;
}
