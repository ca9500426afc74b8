//! Clock, chance and a service that answers with what it was sent.

use http::{Request, Response};
use ringfence_core::error::Explained;
use ringfence_core::ports::{Clock, Entropy};
use ringfence_core::time::Timestamp;
use ringfence_net::body::{self, Body};
use ringfence_net::listen::{Listener, Origin, ServeLimits, serve};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct At(pub(crate) i64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
}

pub(crate) struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        buffer.fill(7);
        Ok(())
    }
}

/// A listener in the background; ends when it is told to.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(tls: Option<Arc<ServerConfig>>, limits: ServeLimits) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_address().unwrap();
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, tls, limits, echo, stopped));
        Self {
            address,
            stop,
            tasks,
        }
    }

    /// Resolves when no connection is left.
    pub(crate) async fn end(self) {
        self.stop.send(true).unwrap();
        self.tasks.join_all().await;
    }

    /// Sends octets as they are and reads until the other side closes.
    pub(crate) async fn raw(&self, octets: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses may close before it has read all.
        let _sent = stream.write_all(octets).await.is_ok();
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer).await.is_ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn echo(request: Request<Body>, origin: Origin) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/never" {
        std::future::pending::<()>().await;
    }
    match body::collect(request.into_body(), 1 << 20).await {
        Ok(content) => {
            let from = matches!(origin, Origin::Unix);
            let said = String::from_utf8_lossy(&content).into_owned();
            Response::new(body::full(format!("{path} {from} {said}")))
        }
        Err(error) => {
            let mut response = Response::new(body::full(error.to_string()));
            *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
    }
}
