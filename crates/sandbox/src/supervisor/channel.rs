//! The supervisor's end of the server channel: never waits for the server.

use crate::protocol::{self, Message, ProtocolError, Request};
use ringfence_sys::seqpacket::SeqPacket;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// LIMIT: messages that wait for a server that does not read; one more and it counts as hung.
pub const QUEUE_MAX: usize = 256;

/// Why a server is not worth talking to any more. It is ended and replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error("it closed its channel")]
    Closed,
    #[error("it sent something that is not the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("it sent descriptors")]
    Descriptors,
    #[error("it does not read its messages")]
    Hung,
    #[error("its channel failed: {0}")]
    Io(#[from] io::Error),
}

/// The channel to one server process.
#[derive(Debug)]
pub(super) struct Channel {
    socket: SeqPacket,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    buffer: Vec<u8>,
}

impl Channel {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = SeqPacket::new(fd);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            waiting: VecDeque::new(),
            buffer: Vec::new(),
        })
    }

    /// The next question, if one is there.
    pub(super) fn next_request(&mut self) -> Result<Option<Request>, ChannelError> {
        let fds = match self.socket.recv(&mut self.buffer) {
            Ok(fds) => fds,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if self.buffer.is_empty() {
            return Err(ChannelError::Closed);
        }
        if !fds.is_empty() {
            return Err(ChannelError::Descriptors);
        }
        Ok(Some(protocol::decode_request(&self.buffer)?))
    }

    /// Sends a message, now or when the server reads again.
    pub(super) fn send(
        &mut self,
        message: &Message,
        fds: Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        if self.waiting.len() >= QUEUE_MAX {
            return Err(ChannelError::Hung);
        }
        self.waiting.push_back((protocol::encode(message)?, fds));
        self.flush()
    }

    /// Sends what waits, as far as it goes.
    pub(super) fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some((bytes, fds)) = self.waiting.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match self.socket.send(bytes, &borrowed) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Answer, Ask, PROTOCOL_VERSION};
    use ringfence_sys::seqpacket::seqpacket_pair;

    fn pair() -> (Channel, SeqPacket) {
        let (ours, theirs) = seqpacket_pair().unwrap();
        (Channel::new(ours).unwrap(), SeqPacket::new(theirs))
    }

    #[test]
    fn a_question_arrives_and_anything_else_is_a_reason_to_hang_up() {
        let (mut channel, server) = pair();
        assert!(channel.next_request().unwrap().is_none());
        let request = Request {
            v: PROTOCOL_VERSION,
            id: 1,
            ask: Ask::Adopt,
        };
        let bytes = protocol::encode(&request).unwrap();
        server.send(&bytes, &[]).unwrap();
        assert_eq!(channel.next_request().unwrap(), Some(request));
        server.send(&bytes, &[server.as_fd()]).unwrap();
        assert!(matches!(
            channel.next_request(),
            Err(ChannelError::Descriptors)
        ));
        server.send(b"{}", &[]).unwrap();
        assert!(matches!(
            channel.next_request(),
            Err(ChannelError::Protocol(_))
        ));
        drop(server);
        assert!(matches!(channel.next_request(), Err(ChannelError::Closed)));
    }

    #[test]
    fn a_server_that_does_not_read_is_waited_for_up_to_the_limit() {
        let (mut channel, server) = pair();
        let message = Message::reply(1, Answer::Done);
        while !channel.is_behind() {
            channel.send(&message, Vec::new()).unwrap();
        }
        for _ in 1..QUEUE_MAX {
            channel.send(&message, Vec::new()).unwrap();
        }
        assert!(matches!(
            channel.send(&message, Vec::new()),
            Err(ChannelError::Hung)
        ));
        let mut buffer = Vec::new();
        server.set_nonblocking(true).unwrap();
        while channel.is_behind() {
            while server.recv(&mut buffer).is_ok() {}
            channel.flush().unwrap();
        }
    }
}
