//! Signing in to the console: a one-time token, then a session cookie.
//!
//! The token is 256 random bits, printed once at start-up and worth one sign-in. The cookie is
//! `__Host-` (HTTPS, this host, every path), `HttpOnly` and SameSite=Strict; only its SHA-256 is kept.
//! Every form carries a CSRF token that is an HMAC of the session under a key of this process.

use ringfence_core::error::Explained;
use ringfence_core::ids::ProjectId;
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use ringfence_core::time::{HOUR_MS, MINUTE_MS, Timestamp};
use ringfence_crypto::hash::sha256;
use ringfence_crypto::hmac::HmacKey;
use ringfence_store::{Store, sessions};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The cookie's name.
pub const COOKIE: &str = "__Host-ringfence";
/// How long a session lives.
pub const SESSION_MS: i64 = 12 * HOUR_MS;
const TOKEN_BYTES: usize = 32;

/// LIMIT: wrong tokens within a minute that are recorded; further ones leave no trace in the log, so
/// that nobody can make it grow.
pub const WRONG_TOKENS_MAX: usize = 10;

/// Who may sign in, and who has.
pub struct Door {
    project: ProjectId,
    token_mac: Mutex<Option<[u8; 32]>>,
    wrong: Mutex<VecDeque<Timestamp>>,
    key: HmacKey,
}

/// A signed-in person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub user: String,
    /// What every form must carry.
    pub csrf: String,
}

impl Door {
    /// A door that opens for nobody until a token is issued.
    pub fn new(project: ProjectId, entropy: &dyn Entropy) -> Result<Self, Explained> {
        let key = HmacKey::generate(entropy).map_err(|e| Explained::of(&e))?;
        Ok(Self {
            project,
            token_mac: Mutex::new(None),
            wrong: Mutex::default(),
            key,
        })
    }

    /// Makes a new one-time token; an older unused one is void.
    pub fn issue(&self, entropy: &dyn Entropy) -> Result<Secret<String>, Explained> {
        let token =
            ringfence_crypto::random::token(entropy, TOKEN_BYTES).map_err(|e| Explained::of(&e))?;
        *self
            .token_mac
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(self.key.sign(token.as_bytes()));
        Ok(Secret::new(token))
    }

    /// Whether one more wrong token would be recorded now.
    pub fn records_wrong(&self, now: Timestamp) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.retain(|t| now.since_ms(*t) < MINUTE_MS);
        wrong.len() < WRONG_TOKENS_MAX
    }

    fn note_wrong(&self, now: Timestamp) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() < WRONG_TOKENS_MAX {
            wrong.push_back(now);
        }
    }

    /// Spends the token and opens a session; none if the token is not the one that was issued.
    pub fn sign_in(
        &self,
        store: &Store,
        entropy: &dyn Entropy,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Secret<String>>, Explained> {
        {
            let mut held = self
                .token_mac
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let right = held.is_some_and(|mac| self.key.verify(token.trim().as_bytes(), &mac));
            if !right {
                self.note_wrong(now);
                return Ok(None);
            }
            *held = None;
        }
        let cookie =
            ringfence_crypto::random::token(entropy, TOKEN_BYTES).map_err(|e| Explained::of(&e))?;
        let session = sessions::Session {
            token_hash: sha256(cookie.as_bytes()),
            project: self.project.clone(),
            user: "admin".to_owned(),
            role: "admin".to_owned(),
            created: now,
            expires: now.plus_ms(SESSION_MS),
        };
        store
            .write(move |tx| sessions::add(tx, &session))
            .map_err(|e: ringfence_store::StoreError| Explained::of(&e))?;
        Ok(Some(Secret::new(cookie)))
    }

    /// Who a cookie belongs to, if it is alive.
    pub fn who(
        &self,
        store: &Store,
        cookie: &str,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, Explained> {
        let hash = sha256(cookie.as_bytes());
        let session = store
            .read(|view| sessions::of_token(view, &hash, now))
            .map_err(|e: ringfence_store::StoreError| Explained::of(&e))?;
        Ok(session
            .filter(|s| s.project == self.project)
            .map(|s| SignedIn {
                user: s.user,
                csrf: self.csrf(&hash),
            }))
    }

    /// Ends a session.
    pub fn sign_out(&self, store: &Store, cookie: &str) -> Result<(), Explained> {
        let hash = sha256(cookie.as_bytes());
        store
            .write(move |tx| sessions::end(tx, &hash))
            .map_err(|e: ringfence_store::StoreError| Explained::of(&e))
    }

    /// Whether a form carries the token of its session. Constant time.
    pub fn form_is_ours(&self, cookie: &str, csrf: &str) -> bool {
        let hash = sha256(cookie.as_bytes());
        ringfence_core::digest::unhex(csrf).is_some_and(|mac| self.key.verify(&hash, &mac))
    }

    fn csrf(&self, session: &[u8; 32]) -> String {
        ringfence_core::digest::hex(&self.key.sign(session))
    }
}

/// The session cookie among the request's cookies.
pub fn cookie_of(headers: &http::HeaderMap) -> Option<&str> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// The header that sets the cookie.
pub fn set_cookie(cookie: &Secret<String>) -> String {
    let seconds = SESSION_MS / 1000;
    let value = cookie.danger_expose();
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}")
}

/// The header that removes the cookie.
pub fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_crypto::random::SystemEntropy;
    use ringfence_store::StoreOptions;

    fn door() -> (tempfile::TempDir, Store, Door) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), StoreOptions::default()).unwrap();
        let door = Door::new("p".parse().unwrap(), &SystemEntropy).unwrap();
        (dir, store, door)
    }

    #[test]
    fn a_token_opens_once_and_never_again() {
        let (_dir, store, door) = door();
        let token = door.issue(&SystemEntropy).unwrap();
        let sign_in = |t: &str| {
            door.sign_in(&store, &SystemEntropy, t, Timestamp(0))
                .unwrap()
                .is_some()
        };
        assert!(!sign_in("wrong"));
        assert!(sign_in(token.danger_expose()));
        assert!(!sign_in(token.danger_expose()));
    }

    #[test]
    fn wrong_tokens_are_recorded_up_to_the_limit_and_the_right_one_always_opens() {
        let (_dir, store, door) = door();
        for n in 0..WRONG_TOKENS_MAX {
            assert!(door.records_wrong(Timestamp(0)), "{n}");
            assert!(
                door.sign_in(&store, &SystemEntropy, "no", Timestamp(0))
                    .unwrap()
                    .is_none()
            );
        }
        assert!(!door.records_wrong(Timestamp(MINUTE_MS - 1)));
        let token = door.issue(&SystemEntropy).unwrap();
        let right = token.danger_expose();
        assert!(
            door.sign_in(&store, &SystemEntropy, right, Timestamp(1))
                .unwrap()
                .is_some()
        );
        assert!(door.records_wrong(Timestamp(MINUTE_MS)));
    }

    #[test]
    fn a_session_ends_with_its_time_and_with_sign_out() {
        let (_dir, store, door) = door();
        let token = door.issue(&SystemEntropy).unwrap();
        let cookie = door
            .sign_in(&store, &SystemEntropy, token.danger_expose(), Timestamp(0))
            .unwrap()
            .unwrap();
        let who = |at: i64| {
            door.who(&store, cookie.danger_expose(), Timestamp(at))
                .unwrap()
        };
        assert!(who(SESSION_MS - 1).is_some());
        assert!(who(SESSION_MS).is_none());
        door.sign_out(&store, cookie.danger_expose()).unwrap();
        assert!(who(1).is_none());
    }

    #[test]
    fn a_form_of_another_session_is_not_ours() {
        let (_dir, store, door) = door();
        let token = door.issue(&SystemEntropy).unwrap();
        let cookie = door
            .sign_in(&store, &SystemEntropy, token.danger_expose(), Timestamp(0))
            .unwrap()
            .unwrap();
        let csrf = door
            .who(&store, cookie.danger_expose(), Timestamp(1))
            .unwrap()
            .unwrap()
            .csrf;
        assert!(door.form_is_ours(cookie.danger_expose(), &csrf));
        assert!(!door.form_is_ours("another", &csrf));
        assert!(!door.form_is_ours(cookie.danger_expose(), ""));
    }
}
