//! A packet socket that waits with tokio.
//!
//! tokio has no safe type for such a socket; its Unix stream waits for readiness of any of them, so
//! one duplicate of the descriptor waits and the other does the calls.

use ringfence_sys::seqpacket::SeqPacket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

pub(super) struct PacketSocket {
    watch: UnixStream,
    socket: SeqPacket,
}

impl PacketSocket {
    /// Takes over an end; within a tokio runtime.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let watch = std::os::unix::net::UnixStream::from(fd.try_clone()?);
        watch.set_nonblocking(true)?;
        Ok(Self {
            watch: UnixStream::from_std(watch)?,
            socket: SeqPacket::new(fd),
        })
    }

    /// The next message; an empty buffer is the end. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Vec<OwnedFd>> {
        loop {
            self.watch.readable().await?;
            match self
                .watch
                .try_io(Interest::READABLE, || self.socket.recv(buffer))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends one message. Cancel safe: it is sent whole or not at all.
    pub(super) async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            self.watch.writable().await?;
            match self
                .watch
                .try_io(Interest::WRITABLE, || self.socket.send(bytes, fds))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
