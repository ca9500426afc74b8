//! TLS that passes through: the hello is read, judged, and only then sent on.

use super::budget::Budget;
use super::refusal::Refusal;
use super::{Checks, Egress};
use ringfence_core::ports::Clock;
use ringfence_net::hello::Flight;
use ringfence_net::host::{Authority, HostName};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// LIMIT: milliseconds for a hello to be complete.
const HELLO_MS_MAX: u64 = 10_000;
/// LIMIT: milliseconds in which nothing moves in either direction.
const IDLE_MS_MAX: u64 = 300_000;
/// Octets that are moved at once.
const PIECE_BYTES: usize = 64 * 1024;
const PORT_TLS: u16 = 443;

/// What one connection has spent, and why it was ended if it was.
#[derive(Clone)]
pub(super) struct Meter {
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<Metering>>,
}

struct Metering {
    moved: Instant,
    refusal: Option<Refusal>,
}

impl Meter {
    fn new(budget: Arc<Budget>, clock: Arc<dyn Clock>) -> Self {
        let state = Metering {
            moved: Instant::now(),
            refusal: None,
        };
        Self {
            budget,
            clock,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Metering) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        self.with(|state| state.moved = Instant::now());
        self.budget
            .spend(self.clock.monotonic_ns(), bytes)
            .map_err(|refusal| self.end(refusal))
    }

    /// Octets that may still be sent, at least one.
    fn room(&self) -> io::Result<usize> {
        match self.budget.room(self.clock.monotonic_ns()) {
            0 => Err(self.end(Refusal::BytesSpent)),
            room => Ok(room),
        }
    }

    /// Keeps why, and makes the error that ends the connection.
    fn end(&self, refusal: Refusal) -> io::Error {
        self.with(|state| state.refusal = Some(refusal.clone()));
        io::Error::other(refusal)
    }

    /// Why the connection was ended, if a control ended it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.with(|state| state.refusal.clone())
    }

    /// Resolves when nothing has moved for so long.
    async fn idle(&self, limit: Duration) {
        loop {
            let until = self.with(|state| state.moved) + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A stream to the outside whose octets are counted in both directions.
pub(super) struct Metered<T> {
    inner: T,
    meter: Meter,
}

impl<T> Metered<T> {
    pub(super) fn new(inner: T, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        Poll::Ready(self.meter.spend(buffer.filled().len() - before))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Looked up before it is written: what is over the limit does not leave.
        let room = self.meter.room()?;
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.meter.spend(written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What a client says, read on for further hellos.
struct Heard<T> {
    inner: T,
    flight: Flight,
    name: HostName,
    checks: Checks,
    meter: Meter,
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if self.checks == Checks::Off {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let refusal = match this.flight.push(new) {
            Ok(Some(name)) if name != this.name => Refusal::NameMismatch,
            Ok(_) => return Poll::Ready(Ok(())),
            Err(error) => error.into(),
        };
        // What was read now completes a hello that is not let through: it goes no further.
        buffer.set_filled(before);
        Poll::Ready(Err(this.meter.end(refusal)))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Egress {
    pub(super) fn meter(&self) -> Meter {
        Meter::new(Arc::clone(&self.budget), Arc::clone(&self.parts.clock))
    }

    /// A program that knows no proxy and connected to an address at the port of TLS.
    pub(super) async fn direct(&self, stream: TcpStream) {
        let mut host = None;
        let outcome = async {
            let name = self.meant(&stream)?;
            let to = Authority {
                host: name.clone(),
                port: PORT_TLS,
            };
            host = Some(name);
            let upstream = self.connect(&to).await?;
            self.tunnel(stream, upstream, &to).await
        }
        .await;
        if let Err(refusal) = outcome {
            self.tell(&refusal, host.as_ref(), Some(PORT_TLS));
        }
    }

    /// Reads the client's hello and, if it is for this host, moves octets until one side is done.
    pub(super) async fn tunnel<T>(
        &self,
        mut client: T,
        upstream: TcpStream,
        to: &Authority,
    ) -> Result<(), Refusal>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut flight = Flight::default();
        let hello = self.hello(&mut client, &mut flight, to);
        let limit = Duration::from_millis(HELLO_MS_MAX);
        let hello = tokio::time::timeout(limit, hello).await;
        let hello = hello.map_err(|_| Refusal::Idle)??;
        if hello.is_empty() {
            return Ok(());
        }
        let meter = self.meter();
        let mut upstream = Metered::new(upstream, meter.clone());
        let mut client = Heard {
            inner: client,
            flight,
            name: to.host.clone(),
            checks: self.checks,
            meter: meter.clone(),
        };
        let moving = async {
            upstream.write_all(&hello).await?;
            let size = PIECE_BYTES;
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, size, size).await
        };
        tokio::select! {
            // How the two end their conversation is their business, unless a control ended it.
            _ended = moving => meter.refusal().map_or(Ok(()), Err),
            () = meter.idle(Duration::from_millis(IDLE_MS_MAX)) => Err(Refusal::Idle),
        }
    }

    /// All that the client sent up to the end of its hello; nothing if it sent nothing.
    async fn hello<T: AsyncRead + Unpin>(
        &self,
        client: &mut T,
        flight: &mut Flight,
        to: &Authority,
    ) -> Result<Vec<u8>, Refusal> {
        let mut said = Vec::new();
        let mut piece = vec![0; 4096];
        loop {
            let length = client.read(&mut piece).await.unwrap_or(0);
            let new = piece.get(..length).unwrap_or_default();
            if new.is_empty() {
                return Ok(Vec::new());
            }
            said.extend_from_slice(new);
            if self.checks == Checks::Off {
                return Ok(said);
            }
            match flight.push(new)? {
                Some(name) if name == to.host => return Ok(said),
                Some(_) => return Err(Refusal::NameMismatch),
                None => {}
            }
        }
    }
}
