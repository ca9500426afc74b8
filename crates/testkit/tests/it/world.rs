//! A double with its client.

use ringfence_core::ports::Clock;
use ringfence_core::secret::Secret;
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_net::client::ClientLimits;
use ringfence_net::s3::{Bucket, Lock, LockMode, Place, Put, Style};
use ringfence_net::sigv4::Credentials;
use ringfence_testkit::clock::SetClock;
use ringfence_testkit::s3::{Identity, S3Double};
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) double: S3Double,
    pub(crate) bucket: Bucket,
    pub(crate) clock: Arc<SetClock>,
}

/// The client's idea of where the double is and who asks.
pub(crate) fn place(double: &S3Double, identity: &Identity) -> Place {
    let token = identity.session_token.clone().map(Secret::new);
    let secret = Secret::new(identity.secret_key.clone());
    Place {
        endpoint: format!("http://{}", double.address).parse().unwrap(),
        region: identity.region.clone(),
        bucket: identity.bucket.clone(),
        style: Style::Path,
        credentials: Credentials::new(&identity.access_key, secret, token).unwrap(),
        roots: None,
        limits: ClientLimits {
            connect_ms: 20_000,
            head_ms: 20_000,
            idle_ms: 20_000,
        },
    }
}

pub(crate) async fn world_of(identity: Identity, object_lock: bool) -> World {
    let now = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
    let clock = Arc::new(SetClock::at(now));
    let double = S3Double::start(identity.clone(), object_lock, Arc::clone(&clock))
        .await
        .unwrap();
    let ours: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let bucket = Bucket::new(place(&double, &identity), ours).unwrap();
    World {
        double,
        bucket,
        clock,
    }
}

pub(crate) async fn world() -> World {
    world_of(Identity::default(), true).await
}

impl World {
    /// A lock of so many days from now.
    pub(crate) fn lock(&self, mode: LockMode, days: i64) -> Lock {
        Lock::new(mode, self.clock.now().plus_ms(days * DAY_MS))
    }
}

pub(crate) fn put<'a>(key: &'a str, content: &'static str, lock: Option<Lock>) -> Put<'a> {
    Put {
        key,
        content: content.into(),
        lock,
        only_new: true,
    }
}
