//! Serving HTTP/1.1 over TCP, TLS, Unix sockets and adopted sockets, with a limit on each thing a
//! client can make us hold: connections, header octets, headers, time to send them, time between
//! two octets of a body, octets of a body, and time without reading what we write.
//!
//! INVARIANT: every connection is a task of the listener's `JoinSet`; when [`serve`] returns, none
//! is left.

use crate::body::{Body, BodyLimits, Limited};
use crate::error::NetError;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ringfence_core::limits::REQUEST_BYTES_MAX;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

/// LIMIT: connections of one listener at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// LIMIT: octets of a request line with all headers.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// LIMIT: headers of a request.
pub const HEADERS_MAX: usize = 64;
/// LIMIT: milliseconds to send the headers, and between two requests of a connection.
pub const HEADER_MS_MAX: u64 = 15_000;
/// LIMIT: milliseconds between two parts of a request body.
pub const BODY_IDLE_MS_MAX: u64 = 15_000;
/// LIMIT: milliseconds in which a client reads nothing of what we write.
pub const WRITE_STALL_MS_MAX: u64 = 60_000;
/// LIMIT: milliseconds that open requests get when the listener ends.
pub const DRAIN_MS_MAX: u64 = 5_000;
/// How long accepting rests after the system refused a connection, as when files ran out.
const ACCEPT_REST_MS: u64 = 50;

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
content-length: 67\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
{\"error\":{\"code\":\"run/connections-full\",\"message\":\"try again\"    }}";

/// What a client may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Milliseconds to send the headers, and between two requests.
    pub header_ms: u64,
    /// What a request body may cost.
    pub body: BodyLimits,
    /// Milliseconds in which a client reads nothing.
    pub write_stall_ms: u64,
    /// Milliseconds that open requests get when the listener ends.
    pub drain_ms: u64,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            header_ms: HEADER_MS_MAX,
            body: BodyLimits {
                bytes_max: REQUEST_BYTES_MAX,
                idle_ms: BODY_IDLE_MS_MAX,
            },
            write_stall_ms: WRITE_STALL_MS_MAX,
            drain_ms: DRAIN_MS_MAX,
        }
    }
}

/// Who connected, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A process of this machine, over a Unix socket.
    Unix,
}

/// A listening socket.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A connected stream of any kind.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Listener {
    /// Binds a TCP address.
    pub async fn bind(address: SocketAddr) -> Result<Self, NetError> {
        TcpListener::bind(address)
            .await
            .map(Self::Tcp)
            .map_err(|e| match e.kind() {
                io::ErrorKind::AddrInUse => NetError::PortTaken(address),
                _ => NetError::Bind {
                    address: address.to_string(),
                    reason: e.to_string(),
                },
            })
    }

    /// Binds a Unix socket. The caller removes a stale one, since only it knows who owns the
    /// directory.
    pub fn bind_unix(path: &Path) -> Result<Self, NetError> {
        UnixListener::bind(path)
            .map(Self::Unix)
            .map_err(|e| NetError::Bind {
                address: path.display().to_string(),
                reason: e.to_string(),
            })
    }

    /// Takes over a listening TCP socket, such as a sandbox's door bound in another namespace.
    pub fn adopt_tcp(socket: OwnedFd) -> Result<Self, NetError> {
        let adopt = || {
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Self::Tcp)
        };
        adopt().map_err(|e: io::Error| adoption(&e))
    }

    /// Takes over a listening Unix socket.
    pub fn adopt_unix(socket: OwnedFd) -> Result<Self, NetError> {
        let adopt = || {
            let listener = std::os::unix::net::UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener).map(Self::Unix)
        };
        adopt().map_err(|e: io::Error| adoption(&e))
    }

    /// The TCP address, if it has one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Io>, Origin)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A connection that is already gone again fails here; that shows when it is read.
                let _without_delay = stream.set_nodelay(true).is_ok();
                Ok((Box::new(stream), Origin::Tcp(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Origin::Unix))
            }
        }
    }
}

fn adoption(error: &io::Error) -> NetError {
    NetError::Bind {
        address: "an adopted socket".to_owned(),
        reason: error.to_string(),
    }
}

/// Serves until `shutdown` becomes true or its sender is gone, then lets open requests end.
pub async fn serve<S, F>(
    listener: Listener,
    tls: Option<Arc<ServerConfig>>,
    limits: ServeLimits,
    service: S,
    shutdown: watch::Receiver<bool>,
) where
    S: Fn(Request<Body>, Origin) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let mut stop = shutdown.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ended(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, origin) = match accepted {
            Ok(accepted) => accepted,
            // The client gave up first, which it may do as often as it likes.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(ACCEPT_REST_MS)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            if tls.is_none() {
                refuse_full(stream).await;
            }
            continue;
        };
        let (tls, service, stop) = (tls.clone(), service.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, origin, tls, limits, service, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    let drain = Duration::from_millis(limits.drain_ms.saturating_mul(2));
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn ended(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _gone = stop.wait_for(|ended| *ended).await.is_err();
}

async fn refuse_full(mut stream: Box<dyn Io>) {
    // One attempt without waiting: who floods us does not get to make us wait.
    std::future::poll_fn(|cx| {
        let _written = Pin::new(&mut stream).poll_write(cx, FULL);
        Poll::Ready(())
    })
    .await;
}

async fn connection<S, F>(
    stream: Box<dyn Io>,
    origin: Origin,
    tls: Option<Arc<ServerConfig>>,
    limits: ServeLimits,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Body>, Origin) -> F + Send + Sync,
    F: Future<Output = Response<Body>> + Send,
{
    let header_time = Duration::from_millis(limits.header_ms);
    let stream: Box<dyn Io> = match tls {
        Some(config) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(header_time, handshake).await {
                Ok(Ok(stream)) => Box::new(stream),
                _ => return,
            }
        }
        None => stream,
    };
    let stream = WriteStall::new(stream, Duration::from_millis(limits.write_stall_ms));
    let service = service_fn(|request: Request<Incoming>| {
        let request = request.map(|body| Limited::new(body, limits.body).boxed_unsync());
        let answer = service(request, origin);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_time)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        _ended = connection.as_mut() => {}
        () = ended(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let drain = Duration::from_millis(limits.drain_ms);
            let _ended = tokio::time::timeout(drain, connection).await.is_ok();
        }
    }
}

/// Ends a connection whose peer stopped reading.
struct WriteStall<T> {
    inner: T,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<T> WriteStall<T> {
    fn new(inner: T, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            timer: Box::pin(tokio::time::sleep(limit)),
            waiting: false,
        }
    }

    fn watch<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        if !self.waiting {
            self.waiting = true;
            let deadline = Instant::now() + self.limit;
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteStall<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteStall<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_refusal_announces_its_real_length() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
