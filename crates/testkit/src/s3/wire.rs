//! Requests and answers of the S3 interface, as far as the double speaks it.

use super::objects::{LockRequest, Mode, Refusal, Retention, Version, whole_seconds};
use super::{State, held, signature};
use bytes::Bytes;
use http::{Method, Request, Response};
use ringfence_core::ports::Clock as _;
use ringfence_core::time::{SECOND_MS, Timestamp};
use ringfence_crypto::base64_encode;
use ringfence_crypto::hash::sha256;
use ringfence_net::body::{self, Body};
use std::collections::BTreeMap;

/// LIMIT: octets of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys on one page unless the client asks for fewer.
const PAGE_KEYS: usize = 1_000;

/// A request, taken apart.
struct Asked<'a> {
    state: &'a State,
    request: &'a Request<()>,
    key: String,
    query: BTreeMap<String, String>,
    body: Bytes,
    now: Timestamp,
}

type Reply = Result<Response<Body>, Refusal>;

pub(super) async fn handle(state: &State, request: Request<Body>) -> Response<Body> {
    let (head, content) = request.into_parts();
    let request = Request::from_parts(head, ());
    let Ok(body) = body::collect(content, BODY_BYTES_MAX).await else {
        return error(400, "IncompleteBody");
    };
    let outcome = signature::verify(state, &request, &body)
        .and_then(|()| take_apart(state, &request, body))
        .and_then(|asked| asked.dispatch());
    outcome.unwrap_or_else(|(status, code)| error(status, code))
}

pub(super) fn error(status: u16, code: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>test double</Message></Error>"
    );
    let mut response = Response::new(body::full(text));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn xml(text: &str) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}");
    Response::new(body::full(text))
}

fn take_apart<'a>(
    state: &'a State,
    request: &'a Request<()>,
    body: Bytes,
) -> Result<Asked<'a>, Refusal> {
    let text = |t: &str| String::from_utf8(signature::decode(t)?).map_err(|_| (400, "InvalidURI"));
    let path = text(request.uri().path())?;
    let bucket = &state.identity.bucket;
    let host = request.headers().get("host").and_then(|h| h.to_str().ok());
    let virtual_host = host.is_some_and(|h| h.starts_with(&format!("{bucket}.")));
    let key = if virtual_host {
        path.strip_prefix('/')
    } else {
        path.strip_prefix(&format!("/{bucket}/"))
    };
    let key = key.ok_or((404, "NoSuchBucket"))?.to_owned();
    let mut query = BTreeMap::new();
    for pair in request
        .uri()
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|p| !p.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.insert(text(name)?, text(value)?);
    }
    Ok(Asked {
        state,
        request,
        key,
        query,
        body,
        now: state.clock.now(),
    })
}

impl Asked<'_> {
    fn dispatch(&self) -> Reply {
        let sub = ["retention", "legal-hold", "uploads", "acl", "tagging"]
            .into_iter()
            .find(|name| self.query.contains_key(*name));
        match (self.request.method(), sub) {
            (&Method::GET, None) if self.key.is_empty() => self.list(),
            (&Method::PUT, None) if !self.key.is_empty() => self.put(),
            (&Method::GET | &Method::HEAD, None) => self.read(),
            (&Method::DELETE, None) => self.delete(),
            (&Method::GET, Some("retention")) => self.retention(),
            (&Method::PUT, Some("retention")) => self.retain(),
            (&Method::PUT, Some("legal-hold")) => self.hold(),
            _ => Err((501, "NotImplemented")),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
    }

    fn version(&self) -> Option<&str> {
        self.query.get("versionId").map(String::as_str)
    }

    fn bypass(&self) -> bool {
        self.header("x-amz-bypass-governance-retention") == Some("true")
    }

    /// Compares the checksum if one was sent. MD5 is refused rather than believed.
    fn checksum(&self) -> Result<Option<String>, Refusal> {
        if self.header("content-md5").is_some() {
            return Err((501, "NotImplemented"));
        }
        let Some(sent) = self.header("x-amz-checksum-sha256") else {
            return Ok(None);
        };
        if sent == base64_encode(&sha256(&self.body)) {
            Ok(Some(sent.to_owned()))
        } else {
            Err((400, "BadDigest"))
        }
    }

    /// The lock that headers ask for. Mode without date, date without mode, a date in the past and a
    /// lock without checksum are what AWS refuses.
    fn lock(&self, checksum: bool) -> Result<LockRequest, Refusal> {
        let mode = self.header("x-amz-object-lock-mode");
        let until = self.header("x-amz-object-lock-retain-until-date");
        let legal_hold = self.header("x-amz-object-lock-legal-hold") == Some("ON");
        let retention = match (mode, until) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let mode = Mode::parse(mode).ok_or((400, "InvalidArgument"))?;
                let until = Timestamp::parse(until).map_err(|_| (400, "InvalidArgument"))?;
                if until <= self.now {
                    return Err((400, "InvalidArgument"));
                }
                Some(Retention {
                    mode,
                    until: whole_seconds(until),
                })
            }
            _ => return Err((400, "InvalidArgument")),
        };
        if (retention.is_some() || legal_hold) && !checksum {
            return Err((400, "InvalidRequest"));
        }
        Ok(LockRequest {
            retention,
            legal_hold,
        })
    }

    fn put(&self) -> Reply {
        let checksum = self.checksum()?;
        let mut lock = self.lock(checksum.is_some())?;
        let faults = held(&self.state.faults).clone();
        if faults.ignore_locks {
            lock = LockRequest::default();
        }
        if let Some(retention) = &mut lock.retention {
            retention.until = retention.until.plus_ms(-faults.shorten_locks_s * SECOND_MS);
        }
        let only_new = match self.header("if-none-match") {
            None => false,
            Some("*") => true,
            Some(_) => return Err((501, "NotImplemented")),
        };
        let id = held(&self.state.objects).put(
            &self.key,
            self.body.clone(),
            checksum,
            lock,
            (only_new, self.now),
        )?;
        let mut response = Response::new(body::empty());
        put_header(&mut response, "x-amz-version-id", &id);
        Ok(response)
    }

    fn read(&self) -> Reply {
        let objects = held(&self.state.objects);
        let version: &Version = objects.find(&self.key, self.version())?;
        let Some(content) = &version.content else {
            return Err((405, "MethodNotAllowed"));
        };
        let head = self.request.method() == Method::HEAD;
        let mut response = Response::new(if head {
            body::empty()
        } else {
            body::full(content.clone())
        });
        put_header(&mut response, "content-length", &content.len().to_string());
        put_header(&mut response, "x-amz-version-id", &version.id);
        if let Some(checksum) = &version.checksum
            && self.header("x-amz-checksum-mode") == Some("ENABLED")
        {
            put_header(&mut response, "x-amz-checksum-sha256", checksum);
        }
        Ok(response)
    }

    fn delete(&self) -> Reply {
        let when = (self.bypass(), self.now);
        held(&self.state.objects).delete(&self.key, self.version(), when)?;
        let mut response = Response::new(body::empty());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        Ok(response)
    }

    fn retention(&self) -> Reply {
        let objects = held(&self.state.objects);
        if !objects.has_object_lock() {
            return Err((400, "InvalidRequest"));
        }
        let version = objects.find(&self.key, self.version())?;
        let retention = version
            .retention
            .ok_or((404, "NoSuchObjectLockConfiguration"))?;
        Ok(xml(&format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{}</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            retention.mode.as_str(),
            retention.until
        )))
    }

    fn retain(&self) -> Reply {
        if self.checksum()?.is_none() {
            return Err((400, "InvalidRequest"));
        }
        let text = std::str::from_utf8(&self.body).map_err(|_| (400, "MalformedXML"))?;
        let between = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split_once(&format!("</{name}>"))
                .map(|(value, _)| value)
        };
        let mode = between("Mode").and_then(Mode::parse);
        let until = between("RetainUntilDate").and_then(|t| Timestamp::parse(t).ok());
        let (Some(mode), Some(until)) = (mode, until) else {
            return Err((400, "MalformedXML"));
        };
        if held(&self.state.faults).ignore_locks {
            return Ok(Response::new(body::empty()));
        }
        let wanted = Retention {
            mode,
            until: whole_seconds(until),
        };
        let when = (self.bypass(), self.now);
        held(&self.state.objects).retain(&self.key, self.version(), wanted, when)?;
        Ok(Response::new(body::empty()))
    }

    fn hold(&self) -> Reply {
        let text = std::str::from_utf8(&self.body).map_err(|_| (400, "MalformedXML"))?;
        let on = if text.contains("<Status>ON</Status>") {
            true
        } else if text.contains("<Status>OFF</Status>") {
            false
        } else {
            return Err((400, "MalformedXML"));
        };
        held(&self.state.objects).hold(&self.key, self.version(), on)?;
        Ok(Response::new(body::empty()))
    }

    fn list(&self) -> Reply {
        if self.query.get("list-type").map(String::as_str) != Some("2") {
            return Err((501, "NotImplemented"));
        }
        let prefix = self.query.get("prefix").map_or("", String::as_str);
        let after = self
            .query
            .get("continuation-token")
            .map_or("", String::as_str);
        let most = match self.query.get("max-keys") {
            None => PAGE_KEYS,
            Some(text) => text.parse().map_err(|_| (400, "InvalidArgument"))?,
        };
        let keys = held(&self.state.objects).keys();
        let mut rest = keys
            .into_iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let page: Vec<_> = rest.by_ref().take(most.min(PAGE_KEYS)).collect();
        let truncated = rest.next().is_some();
        let entry = |(key, length): &(String, u64)| {
            let key = escaped(key);
            format!("<Contents><Key>{key}</Key><Size>{length}</Size></Contents>")
        };
        let entries: Vec<String> = page.iter().map(entry).collect();
        let next = match page.last() {
            Some((last, _)) if truncated => {
                let token = escaped(last);
                format!("<NextContinuationToken>{token}</NextContinuationToken>")
            }
            _ => String::new(),
        };
        Ok(xml(&format!(
            "<ListBucketResult>{}<IsTruncated>{truncated}</IsTruncated>{next}</ListBucketResult>",
            entries.concat()
        )))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn put_header(response: &mut Response<Body>, name: &'static str, value: &str) {
    if let Ok(value) = http::HeaderValue::from_str(value) {
        response
            .headers_mut()
            .insert(http::HeaderName::from_static(name), value);
    }
}
