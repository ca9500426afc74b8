//! What the gateway asks for: keys in memory and the hosted app.

use crate::app::App as Server;
use ringfence_core::ids::{KeyId, ProjectId};
use ringfence_core::ports::BoxFuture;
use ringfence_core::time::Timestamp;
use ringfence_gateway::{App, AppDirectory, KeyDirectory, KeyRecord, Lease};
use ringfence_store::keys::ApiKey;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock, Weak};

/// API keys in memory: asked for every request, written seldom.
#[derive(Default)]
pub struct KeyShelf {
    keys: RwLock<HashMap<KeyId, KeyRecord>>,
    uses: Mutex<HashMap<KeyId, Timestamp>>,
}

impl KeyShelf {
    /// A shelf with what the state database holds.
    pub fn of(rows: Vec<ApiKey>) -> Self {
        let shelf = Self::default();
        for row in rows {
            shelf.put(KeyRecord {
                id: row.id,
                project: row.project,
                mac: row.mac,
                requests_per_minute: row.requests_per_minute,
                expires: row.expires,
                revoked: row.revoked,
            });
        }
        shelf
    }

    /// Adds a key.
    pub fn put(&self, record: KeyRecord) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(record.id.clone(), record);
    }

    /// Ends a key; the next request with it is refused.
    pub fn revoke(&self, id: &KeyId, now: Timestamp) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = keys.get_mut(id) {
            record.revoked = Some(now);
        }
    }

    /// The uses since the last call, to be written down together.
    pub fn take_uses(&self) -> Vec<(KeyId, Timestamp)> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *uses).into_iter().collect()
    }
}

impl KeyDirectory for KeyShelf {
    fn lookup(&self, id: &KeyId) -> Option<KeyRecord> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    fn touch(&self, id: &KeyId, now: Timestamp) {
        self.uses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), now);
    }
}

/// The hosted app, through the server. Weak: the server holds the gateway that holds this.
#[derive(Default)]
pub struct HostedApp(RwLock<Weak<Server>>);

impl HostedApp {
    /// Names the server, once it exists.
    pub fn connect(&self, server: Weak<Server>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = server;
    }
}

impl AppDirectory for HostedApp {
    fn app<'a>(&'a self, project: &'a ProjectId) -> BoxFuture<'a, Option<App>> {
        let server = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        Box::pin(async move {
            let server = server.filter(|server| server.project == *project)?;
            if let Some(pool) = server.pool.get() {
                let (sandbox, port, lease) = pool.claim().await?;
                let lease: Lease = Box::new(lease);
                return Some(App {
                    sandbox,
                    port,
                    lease: Some(lease),
                });
            }
            Some(App {
                sandbox: server.sandbox()?,
                port: server.config.assistant.as_ref()?.port,
                lease: None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> KeyRecord {
        KeyRecord {
            id: id.parse().unwrap(),
            project: "p".parse().unwrap(),
            mac: [1; 32],
            requests_per_minute: 1,
            expires: None,
            revoked: None,
        }
    }

    #[test]
    fn a_revoked_key_is_seen_as_revoked_by_the_next_request() {
        let shelf = KeyShelf::default();
        shelf.put(record("a"));
        let id: KeyId = "a".parse().unwrap();
        assert_eq!(shelf.lookup(&id).unwrap().revoked, None);
        shelf.revoke(&id, Timestamp(5));
        assert_eq!(shelf.lookup(&id).unwrap().revoked, Some(Timestamp(5)));
    }

    #[test]
    fn uses_are_taken_once() {
        let shelf = KeyShelf::default();
        shelf.touch(&"a".parse().unwrap(), Timestamp(1));
        shelf.touch(&"a".parse().unwrap(), Timestamp(2));
        assert_eq!(shelf.take_uses(), [("a".parse().unwrap(), Timestamp(2))]);
        assert!(shelf.take_uses().is_empty());
    }
}
