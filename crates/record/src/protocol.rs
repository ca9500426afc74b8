//! What the server and the recorder say to each other: length-framed JSON with ids, so that many
//! requests can be under way at once.
//!
//! There is no request to read a key. What is sealed names its purpose, from a closed list.

use crate::error::RecordError;
use crate::log::LogState;
use crate::proof::Proof;
use ringfence_core::digest::{Digest, hex, unhex};
use ringfence_core::error::Explained;
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::Leaf;
use ringfence_core::limits::ROLE_MESSAGE_BYTES_MAX;
use ringfence_core::ports::Receipt;
use ringfence_core::secret::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// LIMIT: octets of a value that the recorder seals.
pub const SEALED_BYTES_MAX: usize = 64 * 1024;

/// What a sealed value is for. A value sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Purpose {
    /// Keys the stored hashes of API keys.
    GatewayPepper,
    /// Keys the digests of user texts in leaves.
    TextDigestKey,
    /// Signs what webhooks receive.
    WebhookKey,
    /// The private keys of the local authority and its certificates.
    TlsKey,
    /// Signs console sessions.
    SessionKey,
    /// Opens an upstream that wants a credential.
    UpstreamCredential,
}

impl Purpose {
    /// The name, as in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GatewayPepper => "gateway-pepper",
            Self::TextDigestKey => "text-digest-key",
            Self::WebhookKey => "webhook-key",
            Self::TlsKey => "tls-key",
            Self::SessionKey => "session-key",
            Self::UpstreamCredential => "upstream-credential",
        }
    }

    /// What is authenticated beside the value.
    pub(crate) fn aad(self) -> String {
        format!("ringfence/seal/v0/{}", self.as_str())
    }
}

/// Octets that must not be seen, as hex on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Hidden(pub(crate) Secret<Vec<u8>>);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Secret::new(hex(self.0.danger_expose()));
        serializer.serialize_str(text.danger_expose())
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::new(String::deserialize(deserializer)?);
        let bytes = unhex(text.danger_expose());
        // The error names no part of the value.
        bytes
            .map(|b| Self(Secret::new(b)))
            .ok_or_else(|| serde::de::Error::custom("not hex"))
    }
}

/// What the server asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    Append {
        leaf: Box<Leaf>,
    },
    Settle {
        sequence: u64,
        leaf: Box<Leaf>,
    },
    Drop {
        sequence: u64,
    },
    Reserve {},
    Release {
        first: u64,
        count: u32,
    },
    Seal {
        purpose: Purpose,
        value: Hidden,
    },
    Unseal {
        purpose: Purpose,
        sealed: Hidden,
    },
    State {},
    Read {
        from: u64,
        count: u32,
    },
    Prove {
        index: u64,
    },
    Checkpoint {},
    Extend {
        olds: Vec<u64>,
    },
    Cosign {
        text: String,
        lines: String,
        vkeys: Vec<String>,
    },
    /// The subject's name is as personal as the payload.
    Keep {
        subject: Hidden,
        content: Hidden,
    },
    Kept {
        digest: Digest,
    },
    Erase {
        subject: Hidden,
        project: ProjectId,
        actor: String,
    },
}

/// What the recorder answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    Receipt {
        receipt: Receipt,
    },
    Block {
        first: u64,
        count: u32,
    },
    Bytes {
        bytes: Hidden,
    },
    State {
        state: LogState,
    },
    Leaves {
        leaves: Vec<(u64, Leaf)>,
    },
    Proof {
        proof: Proof,
    },
    Checkpoint {
        note: String,
    },
    Extension {
        note: String,
        proofs: Vec<Vec<Digest>>,
    },
    Published {
        yes: bool,
    },
    Kept {
        digest: Digest,
        subject: Digest,
    },
    Erased {
        subject: Digest,
        id: String,
        left: u64,
    },
    Nothing {},
    Refused {
        error: Explained,
    },
}

/// A message with the number that joins question and answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numbered<T> {
    pub(crate) id: u64,
    pub(crate) body: T,
}

/// Appends a message with its length.
pub(crate) fn write<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let json = serde_json::to_vec(message).map_err(|_| RecordError::Protocol("not writable"))?;
    if json.len() > ROLE_MESSAGE_BYTES_MAX {
        let limit = ROLE_MESSAGE_BYTES_MAX as u64;
        return Err(RecordError::TooMany {
            what: "octets of a message",
            limit,
        });
    }
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&json);
    Ok(())
}

/// Reads one message; `None` when the other side closed between messages.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, RecordError> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(_) => return Err(RecordError::Unreachable),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > ROLE_MESSAGE_BYTES_MAX {
        return Err(RecordError::Protocol("longer than a message may be"));
    }
    let mut json = vec![0; length];
    stream
        .read_exact(&mut json)
        .await
        .map_err(|_| RecordError::Unreachable)?;
    let message = serde_json::from_slice(&json);
    let json = Secret::new(json);
    drop(json);
    message
        .map(Some)
        .map_err(|_| RecordError::Protocol("not a message of this version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(bytes: &[u8]) -> Result<Option<Numbered<Ask>>, RecordError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read(&mut &bytes[..]))
    }

    fn framed(length: usize) -> Vec<u8> {
        let mut json = br#"{"id":1,"body":{"do":"state"}}"#.to_vec();
        json.resize(length, b' ');
        [
            u32::try_from(length).unwrap().to_be_bytes().as_slice(),
            &json,
        ]
        .concat()
    }

    #[test]
    fn messages_read_back_and_an_end_between_them_is_no_error() {
        let mut out = Vec::new();
        let ask = Ask::Seal {
            purpose: Purpose::WebhookKey,
            value: Hidden(Secret::new(vec![0, 255, 7])),
        };
        write(&Numbered { id: 9, body: ask }, &mut out).unwrap();
        let read = exchange(&out).unwrap().unwrap();
        assert_eq!(read.id, 9);
        let Ask::Seal {
            purpose: Purpose::WebhookKey,
            value,
        } = read.body
        else {
            panic!("other")
        };
        assert_eq!(value.0.danger_expose(), &[0, 255, 7]);
        assert!(exchange(&[]).unwrap().is_none());
        assert!(exchange(&out[..out.len() - 1]).is_err());
    }

    #[test]
    fn a_message_is_read_at_the_size_limit_and_refused_one_above() {
        assert!(exchange(&framed(ROLE_MESSAGE_BYTES_MAX)).is_ok());
        assert!(exchange(&framed(ROLE_MESSAGE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn unknown_requests_purposes_and_fields_are_refused() {
        for body in [
            r#"{"do":"read_key"}"#,
            r#"{"do":"state","x":1}"#,
            r#"{"do":"seal","purpose":"anything","value":"00"}"#,
            r#"{"do":"seal","purpose":"tls-key","value":"0g"}"#,
        ] {
            let json = format!(r#"{{"id":1,"body":{body}}}"#);
            let length = u32::try_from(json.len()).unwrap().to_be_bytes();
            assert!(
                exchange(&[&length, json.as_bytes()].concat()).is_err(),
                "{body}"
            );
        }
    }

    #[test]
    fn a_value_to_seal_shows_neither_in_debug_nor_in_errors() {
        let ask = Ask::Seal {
            purpose: Purpose::TlsKey,
            value: Hidden(Secret::new(b"RINGFENCE-TEST-FIXTURE".to_vec())),
        };
        let shown = format!("{ask:?}");
        assert!(
            !shown.contains("FIXTURE") && !shown.contains(&hex(b"FIXTURE")),
            "{shown}"
        );
    }

    #[test]
    fn purposes_have_one_name_on_the_wire_and_in_what_is_authenticated() {
        for purpose in [
            Purpose::GatewayPepper,
            Purpose::TextDigestKey,
            Purpose::WebhookKey,
            Purpose::TlsKey,
            Purpose::SessionKey,
            Purpose::UpstreamCredential,
        ] {
            let wire = serde_json::to_string(&purpose).unwrap();
            assert_eq!(wire, format!("\"{}\"", purpose.as_str()));
            assert!(purpose.aad().ends_with(purpose.as_str()));
        }
    }
}
