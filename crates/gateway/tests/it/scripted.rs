//! An upstream that does exactly what it is told, octet by octet, on a real socket.

use ringfence_net::client::Address;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What it does after it has read a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends these octets as one write.
    Send(Vec<u8>),
    /// Sends nothing more and waits until the other side goes away.
    Hang,
}

pub(crate) struct Scripted {
    pub(crate) address: Address,
    log: Arc<Log>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<String>>,
    gone: Notify,
}

impl Scripted {
    pub(crate) async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::of(listener.local_addr().unwrap());
        let log = Arc::new(Log::default());
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&log);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, script.clone(), Arc::clone(&kept)));
            }
        });
        Self {
            address,
            log,
            _tasks: tasks,
        }
    }

    /// A plain JSON answer.
    pub(crate) async fn answering(json: &str) -> Self {
        Self::start(vec![Act::Send(plain(200, "application/json", json))]).await
    }

    /// A streamed answer, one write for each piece.
    pub(crate) async fn streaming(kind: &str, pieces: &[&[u8]]) -> Self {
        let mut script = vec![Act::Send(head(kind).into_bytes())];
        script.extend(pieces.iter().map(|p| Act::Send(p.to_vec())));
        Self::start(script).await
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.requests.lock().unwrap().clone()
    }

    /// Resolves when the other side of a hanging connection has gone away.
    pub(crate) async fn cancelled(&self) {
        self.log.gone.notified().await;
    }
}

pub(crate) fn head(kind: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n")
}

pub(crate) fn plain(status: u16, kind: &str, content: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{content}",
        content.len()
    )
    .into_bytes()
}

async fn serve(mut stream: TcpStream, script: Vec<Act>, log: Arc<Log>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !complete(&request) {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    log.requests
        .lock()
        .unwrap()
        .push(String::from_utf8_lossy(&request).into_owned());
    for act in script {
        match act {
            Act::Send(octets) => {
                if stream.write_all(&octets).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
            }
            Act::Hang => {
                while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
                log.gone.notify_one();
                return;
            }
        }
    }
    // The end of the answer; what the other side still says is read, so that no reset is sent.
    if stream.shutdown().await.is_ok() {
        while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
    }
    log.gone.notify_one();
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, v)| v.trim().parse::<usize>().unwrap());
    let start = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    request.len() - start >= length
}
