//! Gets messages out of the outbox, at least once each.
//!
//! A message is marked as tried before it leaves and as sent after the receiver took it. A crash
//! between the two sends it again under the same idempotency key, so a receiver can tell. Channels
//! are served side by side: a receiver that hangs delays nobody else.

use crate::alerts::Alert;
use crate::error::RespondError;
use crate::{Respond, Webhook};
use ringfence_core::digest::hex;
use ringfence_core::error::Explained;
use ringfence_core::ports::BoxFuture;
use ringfence_core::time::{HOUR_MS, SECOND_MS, Timestamp};
use ringfence_crypto::hmac::HmacKey;
use ringfence_store::alerts::AlertRow;
use ringfence_store::lease::Backoff;
use ringfence_store::outbox::{self as rows, Attempt, Message};
use ringfence_store::{StoreError, Tx, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The channel of lines on the terminal.
pub const TERMINAL: &str = "terminal";
/// What idempotency keys begin with.
pub(crate) const MESSAGE_PREFIX: &str = "rf-";
/// LIMIT: attempts before a message is given up and shown as dead.
pub const ATTEMPTS_MAX: u32 = 8;
/// LIMIT: how long one attempt may take.
pub const ATTEMPT_MS_MAX: u64 = 10_000;
/// LIMIT: how long the wait between two attempts grows.
pub const BACKOFF_MS_MAX: i64 = HOUR_MS;
const BACKOFF: Backoff = Backoff {
    first_ms: 10 * SECOND_MS,
    ms_max: BACKOFF_MS_MAX,
};
/// How long a message is held for one attempt: the attempt itself and the noting of its outcome. A
/// dispatcher that dies delays its message by this long.
const LEASE_MS: i64 = 20 * SECOND_MS;
const _: () = assert!(LEASE_MS > ATTEMPT_MS_MAX.cast_signed());

/// The channel of a webhook.
pub(crate) fn webhook_channel(name: &str) -> String {
    format!("webhook:{name}")
}

/// Carries a message over the network. Implemented over the hardened client by who wires this.
pub trait Transport: Send + Sync {
    /// Posts a body; the HTTP status of the answer.
    fn post<'a>(
        &'a self,
        url: &'a str,
        headers: &'a [(String, String)],
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<u16, Explained>>;
}

/// Takes lines for the terminal; must not wait.
pub type Terminal = Arc<dyn Fn(&[String]) + Send + Sync>;

/// What a [`Dispatcher`] is made of.
pub struct DispatchParts {
    /// The outbox.
    pub respond: Respond,
    /// Each webhook with the key its messages are signed with.
    pub webhooks: Vec<(Webhook, HmacKey)>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The terminal.
    pub terminal: Terminal,
    /// How long one attempt may take, at most [`ATTEMPT_MS_MAX`].
    pub attempt_ms: u64,
}

/// What one run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Messages a receiver took.
    pub sent: u32,
    /// Messages to be tried again.
    pub failed: u32,
    /// Messages given up.
    pub dead: u32,
}

/// Sends what is due.
#[derive(Clone)]
pub struct Dispatcher {
    parts: Arc<DispatchParts>,
}

impl Dispatcher {
    /// A dispatcher over these parts.
    pub fn new(parts: DispatchParts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Sends every message whose moment has come, each channel on its own. Returns when all of
    /// them were tried; no attempt takes longer than [`ATTEMPT_MS_MAX`].
    pub async fn run_due(&self) -> Result<Delivered, RespondError> {
        let now = self.now();
        let due = self.read(move |v| rows::due_in_any_project(v, now)).await?;
        let mut channels: BTreeMap<String, Vec<Message>> = BTreeMap::new();
        for message in due {
            channels
                .entry(message.channel.clone())
                .or_default()
                .push(message);
        }
        let mut tasks = JoinSet::new();
        for messages in channels.into_values() {
            let this = self.clone();
            tasks.spawn(async move { this.serve(messages).await });
        }
        let mut all = Delivered::default();
        let mut failure = None;
        while let Some(ended) = tasks.join_next().await {
            match ended.unwrap_or(Err(RespondError::Cancelled)) {
                Ok(some) => {
                    all.sent += some.sent;
                    all.failed += some.failed;
                    all.dead += some.dead;
                }
                // The other channels go on; the first failure is reported at the end.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(all), Err)
    }

    fn now(&self) -> Timestamp {
        self.parts.respond.clock.now()
    }

    /// The messages of one channel, one after the other. After a failure the rest of the channel
    /// waits for the next run: a dead receiver costs one timeout, not one for each message.
    async fn serve(&self, messages: Vec<Message>) -> Result<Delivered, RespondError> {
        let mut delivered = Delivered::default();
        for message in messages {
            let key = message.idempotency_key.clone();
            let begun = self.now();
            let lease = self
                .write(move |tx| rows::begin_attempt(tx, &key, begun, LEASE_MS))
                .await?;
            // Another server sends it.
            let Some(lease) = lease else { continue };
            let carried = message.clone();
            let alerts = self.read(move |v| rows::carried_by(v, &carried)).await?;
            let limit_ms = self.parts.attempt_ms.min(ATTEMPT_MS_MAX);
            let limit = Duration::from_millis(limit_ms);
            let result = tokio::time::timeout(limit, self.send(&message, alerts))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {limit_ms} ms")));
            let now = self.now();
            let attempt = verdict(result, message.attempts.saturating_add(1), now);
            match attempt {
                Attempt::Sent => delivered.sent += 1,
                Attempt::Retry { .. } => delivered.failed += 1,
                Attempt::GiveUp { .. } => delivered.dead += 1,
            }
            let stop = attempt != Attempt::Sent;
            self.write(move |tx| rows::finish_attempt(tx, &lease, &attempt, now))
                .await?;
            if stop {
                break;
            }
        }
        Ok(delivered)
    }

    async fn send(&self, message: &Message, carried: Vec<AlertRow>) -> Result<(), String> {
        let repeats: Vec<u64> = carried.iter().map(|row| row.repeats).collect();
        let alerts = carried
            .into_iter()
            .map(Alert::of_row)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| e.to_string())?;
        if message.channel == TERMINAL {
            (self.parts.terminal)(&lines(&alerts));
            return Ok(());
        }
        let webhook = self
            .parts
            .webhooks
            .iter()
            .find(|(webhook, _)| webhook_channel(&webhook.name) == message.channel);
        let (webhook, key) = webhook.ok_or("the channel is no longer configured")?;
        let body = serde_json::to_vec(&serde_json::json!({
            "id": message.idempotency_key,
            "project": message.project,
            "tier": message.tier,
            "alerts": alerts,
            "repeats": repeats,
        }))
        .map_err(|e| e.to_string())?;
        let headers = headers(message, key, self.now(), &body);
        match self
            .parts
            .transport
            .post(&webhook.url, &headers, body)
            .await
        {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(format!("the receiver answered {status}")),
            Err(error) => Err(error.what),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RespondError> {
        let store = self.parts.respond.store.clone();
        let done = tokio::task::spawn_blocking(move || store.read(work)).await;
        Ok(done.map_err(|_| RespondError::Cancelled)??)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RespondError> {
        let store = self.parts.respond.store.clone();
        let done = tokio::task::spawn_blocking(move || store.write(work)).await;
        Ok(done.map_err(|_| RespondError::Cancelled)??)
    }
}

/// What to note about an attempt, the `tried`-th of its message.
fn verdict(result: Result<(), String>, tried: u32, now: Timestamp) -> Attempt {
    match result {
        Ok(()) => Attempt::Sent,
        Err(error) if tried >= ATTEMPTS_MAX => Attempt::GiveUp { error },
        Err(error) => Attempt::Retry {
            next: now.plus_ms(BACKOFF.after(tried)),
            error,
        },
    }
}

/// The receiver checks the HMAC over `<t>.<body>` and refuses an old `t`, so that a message that
/// was overheard cannot be played again.
fn headers(message: &Message, key: &HmacKey, now: Timestamp, body: &[u8]) -> Vec<(String, String)> {
    let t = now.0.div_euclid(SECOND_MS);
    let mut signed = format!("{t}.").into_bytes();
    signed.extend_from_slice(body);
    let signature = format!("t={t},v1={}", hex(&key.sign(&signed)));
    [
        ("content-type", "application/json".to_owned()),
        ("idempotency-key", message.idempotency_key.clone()),
        ("x-ringfence-signature", signature),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The lines of alerts for a terminal. Control characters are replaced: evidence is written by
/// whoever wrote the hosted code, and could otherwise move the cursor and forge lines.
fn lines(alerts: &[Alert]) -> Vec<String> {
    let mut lines = Vec::new();
    for alert in alerts {
        lines.push(format!(
            "alert {} [{}] {}",
            alert.id, alert.tier, alert.what
        ));
        lines.push(format!("  scope: {}", alert.scope));
        lines.push(format!("  seen: {}", alert.evidence));
        lines.push(format!("  why {}: {}", alert.tier, alert.tier_reason));
        lines.push(format!("  until fixed: {}", alert.mitigation));
        lines.push(format!("  fix: {}", alert.fix));
        lines.push(format!(
            "  {} by {}, case {}",
            alert.owner, alert.due, alert.case
        ));
    }
    let clean = |line: String| {
        line.chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect::<String>()
    };
    lines.into_iter().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_ends_with_giving_up() {
        let now = Timestamp(0);
        let next = |tried| match verdict(Err("no".into()), tried, now) {
            Attempt::Retry { next, .. } => Some(next.0 / SECOND_MS),
            Attempt::Sent | Attempt::GiveUp { .. } => None,
        };
        let waits: Vec<_> = (1..=ATTEMPTS_MAX).map(next).collect();
        let expected = [
            Some(10),
            Some(20),
            Some(40),
            Some(80),
            Some(160),
            Some(320),
            Some(640),
            None,
        ];
        assert_eq!(waits, expected);
        assert_eq!(verdict(Ok(()), ATTEMPTS_MAX, now), Attempt::Sent);
    }
}
