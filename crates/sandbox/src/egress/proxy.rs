//! Plain HTTP: `CONNECT`, requests with an absolute address, and requests of programs that know no
//! proxy.
//!
//! A request is read whole by a strict parser and written anew, so that what one side takes for the
//! end of a request is what the other takes for it. Only the method, the path, the body and headers
//! that concern both ends go on.

use super::refusal::Refusal;
use super::tunnel::Metered;
use super::{Checks, Egress};
use http::header::{CONNECTION, HOST, HeaderName};
use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_core::error::Explain as _;
use ringfence_net::body::{Body, BodyLimits, Limited, boxed, empty, full};
use ringfence_net::client::{ClientLimits, RESPONSE_BYTES_MAX, send_over};
use ringfence_net::host::{Authority, HostName};
use ringfence_net::listen::{HEADER_BYTES_MAX, HEADER_MS_MAX, HEADERS_MAX};
use serde_json::json;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// LIMIT: milliseconds without one more octet of a body.
const IDLE_MS_MAX: u64 = 60_000;
const PORT_HTTP: u16 = 80;

/// Headers that concern one connection and not the request (RFC 9110, section 7.6.1), and those that
/// were meant for the proxy.
const OF_ONE_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A tunnel that was agreed on and begins when the agreement has been sent.
struct Agreed {
    upgrade: hyper::upgrade::OnUpgrade,
    upstream: TcpStream,
    to: Authority,
}

/// How requests come.
enum Manner {
    /// To a proxy, with the whole address.
    Proxied,
    /// To an address that stands for this host.
    Direct(HostName),
}

impl Egress {
    /// A client of the proxy.
    pub(super) async fn proxy(&self, stream: TcpStream) {
        self.requests(stream, Manner::Proxied).await;
    }

    /// A program that meant to reach a web server itself.
    pub(super) async fn web(&self, stream: TcpStream) {
        match self.meant(&stream) {
            Ok(name) => self.requests(stream, Manner::Direct(name)).await,
            Err(refusal) => self.tell(&refusal, None, Some(PORT_HTTP)),
        }
    }

    /// The host behind the address that a program connected to.
    pub(super) fn meant(&self, stream: &TcpStream) -> Result<HostName, Refusal> {
        let address = stream.local_addr().map_err(|_| Refusal::Malformed)?;
        self.names.name_of(address.ip()).ok_or(Refusal::Address)
    }

    async fn requests(&self, stream: TcpStream, manner: Manner) {
        let agreed = Mutex::new(None);
        let service = service_fn(|request: Request<Incoming>| {
            let answer = self.request(request, &manner, &agreed);
            async move { Ok::<_, Infallible>(Box::pin(answer).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(HEADER_MS_MAX))
            .max_headers(HEADERS_MAX)
            .max_header_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // How a client ends its connection is its own business.
        let _ended = connection.await.is_ok();
        let agreed = agreed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(Agreed {
            upgrade,
            upstream,
            to,
        }) = agreed
            && let Ok(client) = upgrade.await
            && let Err(refusal) = self.tunnel(TokioIo::new(client), upstream, &to).await
        {
            self.tell(&refusal, Some(&to.host), Some(to.port));
        }
    }

    async fn request(
        &self,
        mut request: Request<Incoming>,
        manner: &Manner,
        agreed: &Mutex<Option<Agreed>>,
    ) -> Response<Body> {
        let to = match target(&request, manner, self.checks) {
            Ok(to) => to,
            Err(refusal) => return self.refuse(&refusal, None),
        };
        let upstream = match self.connect(&to).await {
            Ok(upstream) => upstream,
            Err(refusal) => return self.refuse(&refusal, Some(&to)),
        };
        if request.method() == Method::CONNECT {
            let upgrade = hyper::upgrade::on(&mut request);
            let tunnel = Agreed {
                upgrade,
                upstream,
                to,
            };
            *agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
            return Response::new(empty());
        }
        match self.forward(request, upstream).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(&refusal, Some(&to)),
        }
    }

    /// Writes the request anew and hands back the response.
    async fn forward(
        &self,
        request: Request<Incoming>,
        upstream: TcpStream,
    ) -> Result<Response<Body>, Refusal> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        parts.version = http::Version::HTTP_11;
        strip(&mut parts.headers);
        let limits = BodyLimits {
            bytes_max: RESPONSE_BYTES_MAX,
            idle_ms: IDLE_MS_MAX,
        };
        let request = Request::from_parts(parts, boxed(Limited::new(body, limits)));
        let spent = self.meter();
        let metered = Metered::new(upstream, spent.clone());
        let answered = send_over(metered, request, ClientLimits::default()).await;
        let mut response = answered.map_err(|_| spent.refusal().unwrap_or(Refusal::Unreachable))?;
        strip(response.headers_mut());
        Ok(response)
    }

    fn refuse(&self, refusal: &Refusal, to: Option<&Authority>) -> Response<Body> {
        self.tell(refusal, to.map(|t| &t.host), to.map(|t| t.port));
        let error = json!({
            "code": refusal.code().0,
            "what": refusal.to_string(),
            "help": refusal.help(),
        });
        let mut response = Response::new(full(json!({ "error": error }).to_string()));
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        headers.insert(CONNECTION, http::HeaderValue::from_static("close"));
        response
    }
}

/// Takes away what concerns one connection, also what `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| name != HOST)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
}

/// Which host a request is for: what the address says, what the `Host` header says and, for a
/// program that knows no proxy, what it connected to are one host.
fn target(
    request: &Request<Incoming>,
    manner: &Manner,
    checks: Checks,
) -> Result<Authority, Refusal> {
    let uri = request.uri();
    let connect = request.method() == Method::CONNECT;
    let written = uri.authority().map(http::uri::Authority::as_str);
    let to = match (manner, connect, uri.scheme_str(), written) {
        (Manner::Proxied, true, _, Some(written)) => {
            // The port is never left out in CONNECT (RFC 9110, section 9.3.6).
            let to = Authority::parse(written, 0)?;
            return in_agreement(host_header(request, to.port)?, to, Need::IfThere, checks);
        }
        (Manner::Proxied, false, Some("http"), Some(written)) => {
            Authority::parse(written, PORT_HTTP)?
        }
        (Manner::Direct(name), false, Some("http") | None, written) => {
            let meant = Authority {
                host: name.clone(),
                port: PORT_HTTP,
            };
            match written
                .map(|w| Authority::parse(w, PORT_HTTP))
                .transpose()?
            {
                Some(other) if other != meant && checks == Checks::All => {
                    return Err(Refusal::HostMismatch);
                }
                _ => meant,
            }
        }
        _ => return Err(Refusal::Malformed),
    };
    in_agreement(host_header(request, to.port)?, to, Need::Always, checks)
}

/// Whether a `Host` header has to be there: old clients send none with `CONNECT`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Always,
    IfThere,
}

fn in_agreement(
    header: Option<Authority>,
    to: Authority,
    need: Need,
    checks: Checks,
) -> Result<Authority, Refusal> {
    let agree = match header {
        Some(header) => header == to,
        None => need == Need::IfThere,
    };
    if agree || checks == Checks::Off {
        Ok(to)
    } else {
        Err(Refusal::HostMismatch)
    }
}

/// The one `Host` header; two are refused.
fn host_header(request: &Request<Incoming>, port: u16) -> Result<Option<Authority>, Refusal> {
    let mut values = request.headers().get_all(HOST).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::HostMismatch);
    }
    let text = first.to_str().map_err(|_| Refusal::Malformed)?;
    Ok(Some(Authority::parse(text, port)?))
}
