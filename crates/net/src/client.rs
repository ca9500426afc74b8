//! The client of upstreams: it connects to the one address it was made with and nowhere else.
//!
//! It follows no redirect, decodes no content encoding and reads no proxy settings. Nothing in a
//! request can change where it goes: only method, path, headers and body are taken from it.
//!
//! INVARIANT: the connection is driven by the response body. Dropping the body, or the future of
//! [`Client::send`], closes the socket, so a client that goes away takes its upstream call along.

use crate::body::{Body, BodyLimits, Limited};
use crate::error::NetError;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// LIMIT: octets of a response's status line and headers.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 32 * 1024;
/// LIMIT: headers of a response.
pub const RESPONSE_HEADERS_MAX: usize = 100;
/// LIMIT: octets of one response altogether, streamed or not.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// LIMIT: milliseconds to connect.
pub const CONNECT_MS_MAX: u64 = 2_000;
/// LIMIT: milliseconds until the headers of the response; a model may load first.
pub const HEAD_MS_MAX: u64 = 120_000;
/// LIMIT: milliseconds between two parts of a response.
pub const IDLE_MS_MAX: u64 = 60_000;

/// How long an upstream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Milliseconds to connect.
    pub connect_ms: u64,
    /// Milliseconds until the headers of the response.
    pub head_ms: u64,
    /// Milliseconds between two parts of the response.
    pub idle_ms: u64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_ms: CONNECT_MS_MAX,
            head_ms: HEAD_MS_MAX,
            idle_ms: IDLE_MS_MAX,
        }
    }
}

/// `http://host:port`, nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    authority: String,
}

impl Address {
    /// The address of a socket.
    pub fn of(address: SocketAddr) -> Self {
        Self {
            authority: address.to_string(),
        }
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Address {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let wrong = || NetError::Address(text.chars().take(200).collect());
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let plain = uri.scheme_str() == Some("http")
            && uri.path() == "/"
            && uri.query().is_none()
            && !authority.as_str().contains('@')
            && !authority.host().is_empty();
        let port = authority.port_u16().unwrap_or(80);
        if !plain || port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            authority: format!("{}:{port}", authority.host()),
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// A client of one address.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    limits: ClientLimits,
}

impl Client {
    /// A client of this address.
    pub fn new(address: Address, limits: ClientLimits) -> Self {
        Self { address, limits }
    }

    /// Where it connects.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one request over a fresh connection and resolves when the headers of the response
    /// are there.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, NetError> {
        let limit_ms = self.limits.connect_ms;
        let connect = TcpStream::connect(self.address.authority());
        let stream = tokio::time::timeout(Duration::from_millis(limit_ms), connect)
            .await
            .map_err(|_| NetError::Timeout {
                what: "connecting to the upstream",
                limit_ms,
            })?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|e| NetError::Connect {
                address: self.address.to_string(),
                reason: e.to_string(),
            })?;
        let host = HeaderValue::from_str(self.address.authority())
            .map_err(|_| NetError::Address(self.address.to_string()))?;
        request.headers_mut().insert(HOST, host);
        send_over(stream, request, self.limits).await
    }
}

/// Sends one request over a connected socket, such as one that a sandbox handed out.
pub async fn send_over_fd(
    socket: OwnedFd,
    mut request: Request<Body>,
    limits: ClientLimits,
) -> Result<Response<Body>, NetError> {
    let adopt = || {
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    };
    let stream = adopt().map_err(|e: std::io::Error| NetError::Connect {
        address: "the sandbox".to_owned(),
        reason: e.to_string(),
    })?;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("localhost"));
    send_over(stream, request, limits).await
}

/// Sends one request over the Unix socket of another process of this machine.
pub async fn send_over_unix(
    path: &Path,
    mut request: Request<Body>,
    limits: ClientLimits,
) -> Result<Response<Body>, NetError> {
    let stream = within(limits.connect_ms, UnixStream::connect(path))
        .await
        .map_err(|reason| NetError::Connect {
            address: path.display().to_string(),
            reason,
        })?;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("localhost"));
    send_over(stream, request, limits).await
}

/// Sends one request over TLS to an address of this machine, trusting one authority and no other.
/// The name that is verified is the address itself.
pub async fn send_over_tls(
    address: SocketAddr,
    authority_pem: &str,
    mut request: Request<Body>,
    limits: ClientLimits,
) -> Result<Response<Body>, NetError> {
    let failed = |reason: String| NetError::Connect {
        address: address.to_string(),
        reason,
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        let certificate = certificate.map_err(|e| failed(e.to_string()))?;
        roots.add(certificate).map_err(|e| failed(e.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| failed(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = within(limits.connect_ms, TcpStream::connect(address))
        .await
        .map_err(failed)?;
    let name = ServerName::IpAddress(address.ip().into());
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = within(limits.connect_ms, handshake).await.map_err(failed)?;
    let host = HeaderValue::from_str(&address.to_string()).map_err(|e| failed(e.to_string()))?;
    request.headers_mut().insert(HOST, host);
    send_over(stream, request, limits).await
}

/// Waits for a connection or a handshake, and says in words why it failed.
pub(crate) async fn within<T>(
    limit_ms: u64,
    step: impl Future<Output = std::io::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(Duration::from_millis(limit_ms), step).await {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(_) => Err(format!("it took longer than {limit_ms} ms")),
    }
}

/// Sends one request over any connected stream, which is closed with the body of the response. The
/// `Host` header and the form of the target are the caller's.
pub async fn send_over<T>(
    stream: T,
    mut request: Request<Body>,
    limits: ClientLimits,
) -> Result<Response<Body>, NetError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) = Builder::new()
        .max_headers(RESPONSE_HEADERS_MAX)
        .max_header_size(RESPONSE_HEADER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| NetError::Broken)?;
    let mut driver = Driver {
        connection: Some(Box::pin(connection)),
    };
    let head = async {
        let mut answer = std::pin::pin!(sender.send_request(request));
        std::future::poll_fn(|cx| {
            driver.poll(cx);
            answer.as_mut().poll(cx)
        })
        .await
    };
    let response = tokio::time::timeout(Duration::from_millis(limits.head_ms), head)
        .await
        .map_err(|_| NetError::Timeout {
            what: "the first answer of the upstream",
            limit_ms: limits.head_ms,
        })?
        .map_err(|_| NetError::Broken)?;
    let limits = BodyLimits {
        bytes_max: RESPONSE_BYTES_MAX,
        idle_ms: limits.idle_ms,
    };
    Ok(response.map(|body| Limited::new(Driven { driver, body }, limits).boxed_unsync()))
}

/// A connection that is driven by whoever polls it, instead of by a task of its own.
struct Driver<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    connection: Option<Held<T>>,
}

type Held<T> = Pin<Box<Connection<TokioIo<T>, Body>>>;

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Driver<T> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            // What went wrong, if anything, also reaches the request or the body.
            self.connection = None;
        }
    }
}

struct Driven<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    driver: Driver<T>,
    body: Incoming,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> HttpBody for Driven<T> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.driver.poll(cx);
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            return polled;
        }
        // Asking for the body may have allowed the connection to read on.
        self.driver.poll(cx);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_scheme_host_and_port_only() {
        for (text, authority) in [
            ("http://127.0.0.1:11434", "127.0.0.1:11434"),
            ("http://127.0.0.1:11434/", "127.0.0.1:11434"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://engine.example", "engine.example:80"),
        ] {
            assert_eq!(
                text.parse::<Address>().map(|a| a.authority),
                Ok(authority.to_owned())
            );
        }
        for text in [
            "https://127.0.0.1:1",
            "127.0.0.1:1",
            "http://a@b:1",
            "http://a:1/v1",
            "http://a:1?x",
            "http://a:0",
            "http://",
            "file:///etc/passwd",
            "",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
