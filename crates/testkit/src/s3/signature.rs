//! Verifies Signature Version 4, written straight down from the specification and sharing no code
//! with the signer in `net`: a mistake there must not find its twin here.

use super::objects::Refusal;
use super::{Identity, State};
use http::Request;
use ringfence_core::digest::hex;
use ringfence_core::ports::Clock as _;
use ringfence_core::time::{MINUTE_MS, Timestamp};
use ringfence_crypto::hash::sha256;
use ringfence_crypto::hmac::HmacKey;

/// How far the clocks of client and store may be apart.
const SKEW_MS_MAX: i64 = 15 * MINUTE_MS;

const MALFORMED: Refusal = (400, "AuthorizationHeaderMalformed");

/// Checks a request against its body; an error is what AWS answers.
pub(super) fn verify<B>(state: &State, request: &Request<B>, body: &[u8]) -> Result<(), Refusal> {
    let identity = &state.identity;
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let authorization = header("authorization").ok_or((403, "AccessDenied"))?;
    let rest = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or(MALFORMED)?;
    let mut parts = rest.split(',').map(str::trim);
    let mut part = |name: &str| {
        parts
            .next()
            .and_then(|p| p.strip_prefix(name))
            .ok_or(MALFORMED)
    };
    let (credential, signed, signature) = (
        part("Credential=")?,
        part("SignedHeaders=")?,
        part("Signature=")?,
    );
    let mut place = credential.split('/');
    if place.next() != Some(&identity.access_key) {
        return Err((403, "InvalidAccessKeyId"));
    }
    let time = header("x-amz-date").ok_or((403, "AccessDenied"))?;
    let day = time.get(..8).ok_or(MALFORMED)?;
    let scope: Vec<&str> = place.collect();
    if scope != [day, &identity.region, "s3", "aws4_request"] {
        return Err(MALFORMED);
    }
    if read_time(time).is_none_or(|t| t.since_ms(state.clock.now()).abs() > SKEW_MS_MAX) {
        return Err((403, "RequestTimeTooSkewed"));
    }
    if identity.session_token.as_deref() != header("x-amz-security-token") {
        return Err((400, "InvalidToken"));
    }
    if header("x-amz-content-sha256") != Some(&hex(&sha256(body))) {
        return Err((400, "XAmzContentSHA256Mismatch"));
    }
    let names: Vec<&str> = signed.split(';').collect();
    covers(request, &names)?;
    let canonical = canonical(request, &names, signed)?;
    if signature == expected(identity, time, &scope, &canonical)? {
        Ok(())
    } else {
        Err((403, "SignatureDoesNotMatch"))
    }
}

/// `host` and every `x-amz-` header must be signed, and the names must be in order.
fn covers<B>(request: &Request<B>, names: &[&str]) -> Result<(), Refusal> {
    let amz = request.headers().keys().map(http::HeaderName::as_str);
    let needed = amz.filter(|n| n.starts_with("x-amz-") || *n == "host");
    let unsigned = needed.into_iter().any(|n| !names.contains(&n));
    let host = names.contains(&"host");
    if unsigned || !host || !names.is_sorted() {
        return Err((403, "AccessDenied"));
    }
    Ok(())
}

/// Takes the request line apart as it came over the wire. A path that is encoded otherwise than the
/// specification has it is encoded again from its octets, so that it cannot match.
fn canonical<B>(request: &Request<B>, names: &[&str], signed: &str) -> Result<String, Refusal> {
    let path = recode(request.uri().path(), true)?;
    let mut query = Vec::new();
    for pair in request
        .uri()
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|p| !p.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push(format!(
            "{}={}",
            recode(name, false)?,
            recode(value, false)?
        ));
    }
    query.sort();
    let mut text = format!("{}\n{path}\n{}\n", request.method(), query.join("&"));
    for name in names {
        let mut values = request.headers().get_all(*name).iter();
        let Some(value) = values.next().and_then(|v| v.to_str().ok()) else {
            return Err((403, "SignatureDoesNotMatch"));
        };
        if values.next().is_some() {
            return Err(MALFORMED);
        }
        let words: Vec<&str> = value.split(' ').filter(|w| !w.is_empty()).collect();
        text = format!("{text}{name}:{}\n", words.join(" "));
    }
    let payload = request
        .headers()
        .get("x-amz-content-sha256")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    Ok(format!("{text}\n{signed}\n{payload}"))
}

/// Undoes percent-encoding and does it as the specification has it.
pub(super) fn recode(text: &str, slash: bool) -> Result<String, Refusal> {
    let mut out = String::new();
    for octet in decode(text)? {
        let c = char::from(octet);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || (slash && c == '/') {
            out.push(c);
        } else {
            out = format!("{out}%{octet:02X}");
        }
    }
    Ok(out)
}

/// The octets of a percent-encoded text.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err((400, "InvalidURI"));
        };
        octets.push(u8::try_from(high * 16 + low).unwrap_or(0));
    }
    Ok(octets)
}

fn expected(
    identity: &Identity,
    time: &str,
    scope: &[&str],
    canonical: &str,
) -> Result<String, Refusal> {
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{}\n{}",
        scope.join("/"),
        hex(&sha256(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{}", identity.secret_key).into_bytes();
    for word in scope.iter().copied().chain([to_sign.as_str()]) {
        let hmac = HmacKey::from_bytes(&key).map_err(|_| (500, "InternalError"))?;
        key = hmac.sign(word.as_bytes()).to_vec();
    }
    Ok(hex(&key))
}

/// `20130524T000000Z`.
fn read_time(text: &str) -> Option<Timestamp> {
    let (day, clock) = text.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8 || clock.len() != 6 || !text.is_ascii() {
        return None;
    }
    let of = |t: &str, from: usize, to: usize| t.get(from..to).map(str::to_owned);
    let date = [of(day, 0, 4)?, of(day, 4, 6)?, of(day, 6, 8)?].join("-");
    let hour = [of(clock, 0, 2)?, of(clock, 2, 4)?, of(clock, 4, 6)?].join(":");
    Timestamp::parse(&format!("{date}T{hour}Z")).ok()
}
