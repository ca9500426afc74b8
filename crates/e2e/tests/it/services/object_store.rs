//! The object-store client against moto, an imitation of AWS that nobody here wrote.
//!
//! moto 5.2.5 is faithful in: PUT with lock, versions, deletion of a locked version (403, for
//! COMPLIANCE in spite of bypass), `If-None-Match` (412), reading, heads and lists. What it gets wrong,
//! so that only the double in `testkit` can be asked: it looks at no signature and no checksum,
//! answers `GET ?retention` with an empty 200, and takes a shorter COMPLIANCE retention.

use ringfence_core::ports::Clock;
use ringfence_core::secret::Secret;
use ringfence_core::time::DAY_MS;
use ringfence_e2e::{free_port, python};
use ringfence_net::NetError;
use ringfence_net::client::ClientLimits;
use ringfence_net::s3::{Bucket, Call, Lock, LockMode, Place, Put, PutOutcome, Style};
use ringfence_net::sigv4::Credentials;
use ringfence_sys::clock::SystemClock;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

struct Moto {
    child: Child,
    port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

impl Moto {
    fn start() -> Self {
        let port = free_port();
        let child = Command::new(python())
            .args([
                "-m",
                "moto.server",
                "-H",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn bucket(&self) -> Bucket {
        let secret = Secret::new("a-secret-of-forty-characters-for-a-test.".to_owned());
        let place = Place {
            endpoint: format!("http://127.0.0.1:{}", self.port).parse().unwrap(),
            region: "us-east-1".to_owned(),
            bucket: "audit-logs".to_owned(),
            style: Style::Path,
            credentials: Credentials::new("AKIDMOTO", secret, None).unwrap(),
            roots: None,
            limits: ClientLimits::default(),
        };
        Bucket::new(place, Arc::new(SystemClock)).unwrap()
    }
}

/// Makes the bucket. moto takes seconds to start; the client's own attempts are not enough.
async fn make(bucket: &Bucket) {
    let call = Call::new("make a bucket", http::Method::PUT, "")
        .header("x-amz-bucket-object-lock-enabled", "true")
        .repeatable();
    for _ in 0..20 {
        match bucket.call(&call).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                return;
            }
            Err(NetError::Connect { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("moto did not start");
}

#[tokio::test]
async fn a_locked_object_is_stored_and_kept_by_moto() {
    let moto = Moto::start();
    let bucket = moto.bucket();
    make(&bucket).await;
    for mode in [LockMode::Governance, LockMode::Compliance] {
        let until = SystemClock.now().plus_ms(DAY_MS);
        let put = |content: &'static str, lock| Put {
            key: mode.as_str(),
            content: content.into(),
            lock,
            only_new: true,
        };
        let stored = bucket.put(put("first", Some(Lock::new(mode, until)))).await;
        let Ok(PutOutcome::Stored(Some(version))) = stored else {
            panic!("{stored:?}");
        };
        assert_eq!(
            bucket.put(put("second", None)).await,
            Ok(PutOutcome::Exists)
        );
        let read = bucket.get(mode.as_str(), 100).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"first"[..]));
        let head = bucket.head(mode.as_str()).await.unwrap().unwrap();
        assert_eq!((head.length, head.version.as_deref()), (5, Some(&*version)));
        let delete = Call::new("delete", http::Method::DELETE, mode.as_str());
        let delete = delete.query("versionId", &version);
        assert_eq!(bucket.call(&delete).await.unwrap().status, 403);
        let bypass = delete.header("x-amz-bypass-governance-retention", "true");
        let expected = if mode == LockMode::Governance {
            204
        } else {
            403
        };
        assert_eq!(bucket.call(&bypass).await.unwrap().status, expected);
    }
    // The same deletion of an object without lock succeeds.
    let put = Put {
        key: "open",
        content: "x".into(),
        lock: None,
        only_new: true,
    };
    let Ok(PutOutcome::Stored(Some(version))) = bucket.put(put).await else {
        panic!("not stored");
    };
    let delete = Call::new("delete", http::Method::DELETE, "open").query("versionId", &version);
    assert_eq!(bucket.call(&delete).await.unwrap().status, 204);
    let listed = bucket.list("", None).await.unwrap();
    assert_eq!(listed.keys, [("COMPLIANCE".to_owned(), 5)]);
}

#[tokio::test]
async fn what_moto_cannot_read_back_is_an_error_and_no_success() {
    let moto = Moto::start();
    let bucket = moto.bucket();
    make(&bucket).await;
    let lock = Lock::new(LockMode::Compliance, SystemClock.now().plus_ms(DAY_MS));
    let put = Put {
        key: "k",
        content: "x".into(),
        lock: Some(lock),
        only_new: true,
    };
    bucket.put(put).await.unwrap();
    let refused = bucket.retention("k", None).await;
    assert!(
        matches!(refused, Err(NetError::StoreAnswer(_))),
        "moto has learnt it, so export against it as well: {refused:?}"
    );
}
