//! What `ringfence.toml` says about the log: `[record]`.

use crate::error::RecordError;
use crate::witness::Policy;
use crate::worm::WormConfig;
use ringfence_crypto::note::NoteKey;
use serde::{Deserialize, Serialize};

/// LIMIT: witnesses that one log asks.
pub const WITNESSES_MAX: usize = 16;

/// Who else sees the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Witnesses to ask, at most [`WITNESSES_MAX`]. With none the log is not tamper-evident against
    /// root of this machine.
    pub witness: Vec<WitnessConfig>,
    /// How many of them must have cosigned; all of them when not said.
    pub quorum: Option<usize>,
    /// Start only when so many cosigned; otherwise a witness that cannot be reached is an alert.
    pub strict: bool,
    /// Where copies go that cannot be taken back. Done by `ringfence log worm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worm: Option<Box<WormConfig>>,
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// `http://address:port`, to which `/add-checkpoint` is added.
    pub url: String,
    /// Its verifier key of type 0x04 or 0x06, as `ringfence witness` prints it.
    pub vkey: String,
}

impl RecordConfig {
    /// The keys in order, and how many of them are enough.
    pub fn policy(&self) -> Result<(Vec<NoteKey>, Policy), RecordError> {
        if self.witness.len() > WITNESSES_MAX {
            return Err(RecordError::TooMany {
                what: "witnesses",
                limit: WITNESSES_MAX as u64,
            });
        }
        let keys = self
            .witness
            .iter()
            .map(|w| Ok(w.vkey.parse::<NoteKey>()?))
            .collect::<Result<Vec<_>, RecordError>>()?;
        let threshold = self.quorum.unwrap_or(keys.len());
        if threshold == 0 && (!keys.is_empty() || self.strict) {
            return Err(RecordError::Policy {
                line: 0,
                reason: "a quorum of none of the witnesses asks for nothing",
            });
        }
        let policy = Policy::threshold(keys.clone(), threshold)?;
        Ok((keys, policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_crypto::sign::{Algorithm, SigningKey};

    fn config(count: usize, quorum: Option<usize>, strict: bool) -> RecordConfig {
        let witness = |n: usize| {
            let seed = [u8::try_from(n).unwrap(); 32];
            let key = SigningKey::from_seed(Algorithm::Ed25519, &seed).unwrap();
            let vkey = NoteKey::witness("w", key.verifying_key()).unwrap();
            WitnessConfig {
                url: "http://127.0.0.1:1".to_owned(),
                vkey: vkey.to_string(),
            }
        };
        RecordConfig {
            witness: (0..count).map(witness).collect(),
            quorum,
            strict,
            worm: None,
        }
    }

    #[test]
    fn a_quorum_is_all_of_them_or_what_is_said_and_never_nothing() {
        for (count, quorum, strict, good) in [
            (0, None, false, true),
            (0, None, true, false),
            (0, Some(1), false, false),
            (2, None, true, true),
            (2, Some(1), false, true),
            (2, Some(0), false, false),
            (2, Some(3), false, false),
            (WITNESSES_MAX, None, false, true),
            (WITNESSES_MAX + 1, None, false, false),
        ] {
            let config = config(count, quorum, strict);
            assert_eq!(config.policy().is_ok(), good, "{count} {quorum:?} {strict}");
        }
    }

    #[test]
    fn the_key_of_a_log_is_no_witness() {
        let key = SigningKey::from_seed(Algorithm::Ed25519, &[1; 32]).unwrap();
        let mut config = config(1, None, false);
        config.witness[0].vkey = NoteKey::new("w", key.verifying_key()).unwrap().to_string();
        assert!(config.policy().is_err());
    }
}
