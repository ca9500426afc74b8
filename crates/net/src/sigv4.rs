//! AWS Signature Version 4: the one signer of the house.
//!
//! It turns method, path, query, headers and the digest of the body into the value of the
//! `Authorization` header, and does no input or output. It follows "Create a signed AWS API
//! request" (AWS IAM user guide) and, for object storage, "Signature calculations for the
//! Authorization header" (Amazon S3 API reference): S3 encodes a path once, every other service
//! encodes it again.
//!
//! INVARIANT: what is signed is what is sent. The path is given percent-encoded, as it goes onto
//! the wire, and the query is encoded here for both, see [`query_string`].

use crate::error::NetError;
use ringfence_core::digest::hex;
use ringfence_core::secret::Secret;
use ringfence_core::time::Timestamp;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::hmac::HmacKey;

/// LIMIT: octets of an access key, a secret key or a session token.
pub const CREDENTIAL_BYTES_MAX: usize = 4096;
/// LIMIT: the least octets of a secret key. AWS gives 40; what is shorter than this is a word that
/// somebody chose, and a signature that travels is all that guessing it takes.
pub const SECRET_BYTES_MIN: usize = 28;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs. The secret parts are overwritten when dropped and shown by no `Debug`.
#[derive(Clone, Debug)]
pub struct Credentials {
    access_key: String,
    secret_key: Secret<String>,
    session_token: Option<Secret<String>>,
}

impl Credentials {
    /// Credentials whose parts are printable ASCII of sane length.
    pub fn new(
        access_key: impl Into<String>,
        secret_key: Secret<String>,
        session_token: Option<Secret<String>>,
    ) -> Result<Self, NetError> {
        let access_key = access_key.into();
        let plain = |text: &str| {
            (1..=CREDENTIAL_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !plain(&access_key) || access_key.contains('/') {
            return Err(NetError::Credentials("the access key is not one"));
        }
        if !plain(secret_key.danger_expose()) {
            return Err(NetError::Credentials("the secret key is not one"));
        }
        if secret_key.danger_expose().len() < SECRET_BYTES_MIN {
            return Err(NetError::Credentials(
                "the secret key is shorter than 28 characters",
            ));
        }
        if session_token
            .as_ref()
            .is_some_and(|t| !plain(t.danger_expose()))
        {
            return Err(NetError::Credentials("the session token is not one"));
        }
        Ok(Self {
            access_key,
            secret_key,
            session_token,
        })
    }

    /// Public half of the pair.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The value of `x-amz-security-token`, if these are temporary credentials.
    pub fn session_token(&self) -> Option<&Secret<String>> {
        self.session_token.as_ref()
    }
}

/// How the path of a request enters its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEncoding {
    /// As it is sent: object storage.
    Once,
    /// Each segment percent-encoded again: every other service.
    Twice,
}

/// Where a signature counts.
#[derive(Clone, Debug)]
pub struct Scope {
    /// For example `eu-central-1`.
    pub region: String,
    /// For example `s3`.
    pub service: String,
    /// What that service does with paths.
    pub path: PathEncoding,
}

/// One request, as it will be sent.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Percent-encoded, absolute, without query.
    pub path: &'a str,
    /// Names and values before encoding, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// All headers to sign; `host` and `x-amz-date` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body.
    pub payload: [u8; 32],
}

/// `x-amz-date`: `20130524T000000Z`.
pub fn amz_date(at: Timestamp) -> String {
    at.to_string()
        .chars()
        .take("2013-05-24T00:00:00".len())
        .filter(|c| !matches!(c, '-' | ':'))
        .chain(std::iter::once('Z'))
        .collect()
}

/// Percent-encodes all but the unreserved characters of RFC 3986, with capital hex digits.
pub fn encode(text: &str) -> String {
    encode_but(text, false)
}

/// Percent-encodes a path, whose slashes stay.
pub fn encode_path(text: &str) -> String {
    encode_but(text, true)
}

fn encode_but(text: &str, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if slash => out.push('/'),
            _ => {
                out.push('%');
                out.push_str(&hex(&[byte]).to_ascii_uppercase());
            }
        }
    }
    out
}

/// The query as it is signed and sent: encoded, then sorted by name and value.
pub fn query_string(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

/// Lower-case names in order, equal names joined by commas, runs of spaces made one.
fn canonical_headers(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut canonical: Vec<(String, String)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        match canonical.iter_mut().find(|(n, _)| *n == name) {
            Some((_, held)) => {
                held.push(',');
                held.push_str(&value);
            }
            None => canonical.push((name, value)),
        }
    }
    canonical.sort();
    canonical
}

fn signed_names(headers: &[(String, String)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(n, _)| n.as_str()).collect();
    names.join(";")
}

/// Step 1: the one spelling of a request.
pub fn canonical_request(request: &ToSign<'_>, path: PathEncoding) -> String {
    let path = match path {
        PathEncoding::Once => request.path.to_owned(),
        PathEncoding::Twice => encode_path(request.path),
    };
    let headers = canonical_headers(request.headers);
    let mut text = format!(
        "{}\n{path}\n{}\n",
        request.method,
        query_string(request.query)
    );
    for (name, value) in &headers {
        text.push_str(name);
        text.push(':');
        text.push_str(value);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&signed_names(&headers));
    text.push('\n');
    text.push_str(&hex(&request.payload));
    text
}

/// Steps 1 to 4: the value of `Authorization`.
pub fn authorization(
    request: &ToSign<'_>,
    credentials: &Credentials,
    scope: &Scope,
    at: Timestamp,
) -> Result<String, NetError> {
    let time = amz_date(at);
    let (day, _) = time.split_at_checked(8).ok_or(NetError::Credentials(
        "the clock shows a time that cannot be written",
    ))?;
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let canonical = canonical_request(request, scope.path);
    let digest = hex(&sha256(canonical.as_bytes()));
    let to_sign = format!("{ALGORITHM}\n{time}\n{place}\n{digest}");
    let start = Secret::new(format!("AWS4{}", credentials.secret_key.danger_expose()));
    let mut key = Secret::new(start.danger_expose().as_bytes().to_vec());
    for part in [day, &scope.region, &scope.service, "aws4_request"] {
        key = Secret::new(code(&key, part)?.to_vec());
    }
    let signature = hex(&code(&key, &to_sign)?);
    let names = signed_names(&canonical_headers(request.headers));
    let who = &credentials.access_key;
    Ok(format!(
        "{ALGORITHM} Credential={who}/{place}, SignedHeaders={names}, Signature={signature}"
    ))
}

fn code(key: &Secret<Vec<u8>>, message: &str) -> Result<[u8; 32], NetError> {
    let key = HmacKey::from_bytes(key.danger_expose())
        .map_err(|_| NetError::Credentials("the secret key is too short to sign with"))?;
    Ok(key.sign(message.as_bytes()))
}

#[cfg(test)]
mod tests;
