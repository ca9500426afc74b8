//! What a door says while no server stands behind it.
//!
//! The answer is constant and nothing is read, so a hosted program cannot make the supervisor parse
//! anything. The connection is then held open for a moment: closing a socket with unread data
//! resets it, and the reset would overtake the answer.

use rustix::event::PollFlags;
use rustix::net::{SendFlags, Shutdown, SocketFlags, accept_with, send, shutdown};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// LIMIT: answered connections that are held open at the same time; the oldest go first.
pub const LINGER_MAX: usize = 64;
/// LIMIT: milliseconds a connection is held open after its answer.
const LINGER_MS: u64 = 1_000;
/// LIMIT: connections answered in one turn of the loop, so that a flood cannot starve it.
const ACCEPTS_PER_TURN_MAX: usize = 16;

/// The whole answer.
pub const RESTARTING: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 119\r\n\
    Retry-After: 1\r\n\
    Connection: close\r\n\
    \r\n\
    {\"error\":{\"code\":\"run/server-restarting\",\"what\":\"the server behind this door restarts\",\
    \"help\":\"try again in a moment\"}}";

/// Connections that have their answer.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    held: VecDeque<(OwnedFd, Instant)>,
}

impl Lingering {
    /// Answers what waits at a door.
    pub(super) fn answer(&mut self, door: BorrowedFd<'_>, now: Instant) {
        // Set each time: whether accept waits is shared with every server that held this door.
        let Ok(flags) = rustix::fs::fcntl_getfl(door) else {
            return;
        };
        if rustix::fs::fcntl_setfl(door, flags | rustix::fs::OFlags::NONBLOCK).is_err() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(connection) = accept_with(door, flags) else {
                return;
            };
            let sent = send(&connection, RESTARTING.as_bytes(), SendFlags::NOSIGNAL);
            if sent.is_ok() && shutdown(&connection, Shutdown::Write).is_ok() {
                self.held
                    .push_back((connection, now + Duration::from_millis(LINGER_MS)));
            }
            if self.held.len() > LINGER_MAX {
                self.held.pop_front();
            }
        }
    }

    /// When the next one is let go by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.front().map(|(_, until)| *until)
    }

    /// Lets go those whose time is up or whose peer is done.
    pub(super) fn let_go(&mut self, now: Instant) {
        self.held
            .retain(|(connection, until)| *until > now && !is_done(connection));
    }

    /// The connections, for polling with [`WATCHED`].
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.held.iter().map(|(connection, _)| connection.as_fd())
    }
}

/// The event that says that a peer is done. Incoming data is not: it is never read.
pub(super) const WATCHED: PollFlags = PollFlags::RDHUP;

fn is_done(connection: &OwnedFd) -> bool {
    let mut polled = [rustix::event::PollFd::new(connection, WATCHED)];
    let zero = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&zero)).is_ok_and(|n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_answer_is_well_formed_http_and_json() {
        let (head, body) = RESTARTING.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "));
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["error"]["code"], "run/server-restarting");
    }

    #[test]
    fn a_client_that_still_sends_gets_the_whole_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 10000\r\n\r\n")
            .unwrap();
        let mut lingering = Lingering::default();
        let now = Instant::now();
        lingering.answer(listener.as_fd(), now);
        client.write_all(&[b'x'; 10_000]).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, RESTARTING);
        lingering.let_go(now);
        assert_eq!(
            lingering.sockets().count(),
            1,
            "held while the client has not closed"
        );
        drop(client);
        lingering.let_go(now);
        assert_eq!(lingering.sockets().count(), 0);
    }

    #[test]
    fn connections_are_held_up_to_the_limit_and_for_a_limited_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut lingering = Lingering::default();
        let now = Instant::now();
        let mut clients = Vec::new();
        for expected in (1..=LINGER_MAX).chain([LINGER_MAX]) {
            clients.push(TcpStream::connect(address).unwrap());
            lingering.answer(listener.as_fd(), now);
            assert_eq!(lingering.sockets().count(), expected);
        }
        let until = lingering.deadline().unwrap();
        lingering.let_go(until);
        assert_eq!(lingering.sockets().count(), 0);
    }
}
