//! One signed request, tried again where that is safe.

use super::Bucket;
use super::answer;
use crate::body;
use crate::error::NetError;
use crate::sigv4::{self, ToSign};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use ringfence_core::digest::hex;
use ringfence_crypto::hash::sha256;
use std::time::Duration;

/// LIMIT: how often one request is sent.
pub const ATTEMPTS_MAX: u32 = 4;
/// Milliseconds before the second attempt; they double for each one after it.
const PAUSE_MS: u64 = 200;
/// LIMIT: octets of an answer nobody said a limit for: errors and acknowledgements.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// One operation on a bucket, before it is signed.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    operation: &'static str,
    method: Method,
    key: &'a str,
    query: Vec<(&'a str, &'a str)>,
    headers: Vec<(&'static str, &'a str)>,
    body: Bytes,
    answer_bytes_max: usize,
    repeatable: bool,
}

impl<'a> Call<'a> {
    /// A call; `operation` completes "refused to …", and an empty key means the bucket.
    pub fn new(operation: &'static str, method: Method, key: &'a str) -> Self {
        let repeatable = method == Method::GET || method == Method::HEAD;
        Self {
            operation,
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            answer_bytes_max: SMALL_BYTES_MAX,
            repeatable,
        }
    }

    /// With one more parameter, unencoded.
    #[must_use]
    pub fn query(mut self, name: &'a str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    /// With one more header, in lower case; all are signed.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Doing it twice is the same as doing it once.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// With a limit on the octets of a successful answer.
    #[must_use]
    pub fn expect_at_most(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }
}

/// What came back, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }

    /// The error code in the body, or `no-code`.
    pub fn code(&self) -> String {
        answer::error_code(&self.body).unwrap_or_else(|| "no-code".to_owned())
    }

    pub(super) fn refused(&self, call: &Call<'_>) -> NetError {
        NetError::StoreRefused {
            operation: call.operation,
            status: self.status,
            code: self.code(),
        }
    }

    /// Statuses that ask to be tried again (Amazon S3 user guide, "Retry behaviour"); 409 is the
    /// answer to a conditional write that met another one.
    fn asks_for_patience(&self) -> bool {
        matches!(self.status, 429 | 500 | 502 | 503 | 504)
            || (self.status == 409 && self.code() == "ConditionalRequestConflict")
    }
}

impl Bucket {
    /// Signs and sends a call. Any status is an answer; an error means that there was none.
    pub async fn call(&self, call: &Call<'_>) -> Result<Answer, NetError> {
        let attempts = if call.repeatable { ATTEMPTS_MAX } else { 1 };
        let mut pause_ms = PAUSE_MS;
        for _ in 1..attempts {
            match self.once(call).await {
                Ok(answer) if answer.asks_for_patience() => {}
                Err(NetError::Connect { .. } | NetError::Timeout { .. } | NetError::Broken) => {}
                settled => return settled,
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms *= 2;
        }
        self.once(call).await
    }

    async fn once(&self, call: &Call<'_>) -> Result<Answer, NetError> {
        let request = self.signed(call)?;
        let response = self
            .host
            .send(
                &self.place.endpoint,
                self.place.roots.as_ref(),
                request,
                self.place.limits,
            )
            .await?;
        let (head, body) = response.into_parts();
        let limit = if head.status.is_success() {
            call.answer_bytes_max
        } else {
            SMALL_BYTES_MAX
        };
        let body = body::collect(body, limit).await?;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    fn signed(&self, call: &Call<'_>) -> Result<Request<body::Body>, NetError> {
        if call.key.len() > super::KEY_BYTES_MAX {
            return Err(NetError::TooLong {
                limit: super::KEY_BYTES_MAX,
            });
        }
        let raw = match self.place.style {
            super::Style::Path => format!("/{}/{}", self.place.bucket, call.key),
            super::Style::VirtualHost => format!("/{}", call.key),
        };
        let path = sigv4::encode_path(&raw);
        let at = self.clock.now();
        let time = sigv4::amz_date(at);
        let host = self.host.authority();
        let payload = sha256(&call.body);
        let digest = hex(&payload);
        let mut headers = call.headers.clone();
        headers.push(("host", &host));
        headers.push(("x-amz-content-sha256", &digest));
        headers.push(("x-amz-date", &time));
        let token = self.place.credentials.session_token();
        if let Some(token) = token {
            headers.push(("x-amz-security-token", token.danger_expose()));
        }
        let to_sign = ToSign {
            method: call.method.as_str(),
            path: &path,
            query: &call.query,
            headers: &headers,
            payload,
        };
        let authorization =
            sigv4::authorization(&to_sign, &self.place.credentials, &self.scope, at)?;
        let query = sigv4::query_string(&call.query);
        let target = if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        };
        headers.retain(|(name, _)| *name != "host");
        headers.push(("authorization", &authorization));
        assemble(call, &target, &headers)
    }
}

/// The request as it is sent; `Host` is set by the connection.
fn assemble(
    call: &Call<'_>,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<Request<body::Body>, NetError> {
    let malformed = NetError::StoreConfig("a header or address cannot be written");
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(target)
        .body(body::full(call.body.clone()))
        .map_err(|_| malformed.clone())?;
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| malformed.clone())?;
        value.set_sensitive(matches!(*name, "authorization" | "x-amz-security-token"));
        request
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}
