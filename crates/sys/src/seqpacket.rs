//! Whole messages with file descriptors beside them, over a connected `SOCK_SEQPACKET` pair.
//!
//! The kernel keeps message borders, so there is no framing to get wrong. What does not fit is an
//! error on both sides, never a silent truncation: a descriptor or an octet that the kernel dropped
//! would make the receiver act on half a message.
//! INVARIANT: every descriptor that is received is close-on-exec before anyone sees it.

use rustix::cmsg_space;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// LIMIT: octets of one packet.
pub const PACKET_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: descriptors beside one packet (the kernel's own limit is 253).
pub const PACKET_FDS_MAX: usize = 32;

/// Two connected ends, both close-on-exec.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// One end of a pair.
#[derive(Debug)]
pub struct SeqPacket {
    fd: OwnedFd,
}

impl SeqPacket {
    /// Takes over an end.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Makes [`send`](Self::send) and [`recv`](Self::recv) return `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        let mut flags = fcntl_getfl(&self.fd)?;
        flags.set(OFlags::NONBLOCK, nonblocking);
        Ok(fcntl_setfl(&self.fd, flags)?)
    }

    /// Sends one message. Empty ones are refused: the receiver could not tell them from the end.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > PACKET_BYTES_MAX || fds.len() > PACKET_FDS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a packet has 1 to {PACKET_BYTES_MAX} octets and at most {PACKET_FDS_MAX} \
                     descriptors, this one has {} and {}",
                    bytes.len(),
                    fds.len()
                ),
            ));
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(PACKET_FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("no room for the descriptors"));
        }
        let sent = retry(|| {
            sendmsg(
                &self.fd,
                &[IoSlice::new(bytes)],
                &mut control,
                SendFlags::NOSIGNAL,
            )
        })?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::Error::other("a packet was cut"))
        }
    }

    /// Receives one message into `buffer`, replacing what it held; an empty buffer afterwards
    /// means that the other end is closed. A message that was cut is an error.
    pub fn recv(&self, buffer: &mut Vec<u8>) -> io::Result<Vec<OwnedFd>> {
        buffer.clear();
        buffer.resize(PACKET_BYTES_MAX, 0);
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(PACKET_FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let outcome = retry(|| {
            recvmsg(
                &self.fd,
                &mut [IoSliceMut::new(buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        });
        let message = match outcome {
            Ok(message) => message,
            Err(error) => {
                buffer.clear();
                return Err(error);
            }
        };
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        buffer.truncate(message.bytes);
        // The kernel's alignment leaves room for a few more than were asked for.
        let cut = message
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
        if cut || fds.len() > PACKET_FDS_MAX {
            buffer.clear();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a packet or its descriptors were cut off",
            ));
        }
        Ok(fds)
    }
}

impl AsFd for SeqPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for SeqPacket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<SeqPacket> for OwnedFd {
    fn from(socket: SeqPacket) -> Self {
        socket.fd
    }
}

/// Repeats a call that a signal interrupted; it had no effect yet.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (SeqPacket, SeqPacket) {
        let (a, b) = seqpacket_pair().unwrap();
        (SeqPacket::new(a), SeqPacket::new(b))
    }

    #[test]
    fn messages_keep_their_borders_and_bring_descriptors() {
        let (a, b) = pair();
        let (mut near, far) = UnixStream::pair().unwrap();
        a.send(b"one", &[far.as_fd()]).unwrap();
        a.send(b"two", &[]).unwrap();
        drop(far);
        let mut buffer = Vec::new();
        let mut fds = b.recv(&mut buffer).unwrap();
        assert_eq!((buffer.as_slice(), fds.len()), (b"one".as_slice(), 1));
        let fd = fds.pop().unwrap();
        assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
        near.write_all(b"x").unwrap();
        let mut byte = [0];
        UnixStream::from(fd).read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(b.recv(&mut buffer).unwrap().is_empty());
        assert_eq!(buffer, b"two");
    }

    #[test]
    fn the_end_is_an_empty_buffer_and_nothing_waiting_is_would_block() {
        let (a, b) = pair();
        b.set_nonblocking(true).unwrap();
        let mut buffer = vec![1, 2, 3];
        let error = b.recv(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(
            buffer.is_empty(),
            "a failed receive must not show zeros as a message"
        );
        drop(a);
        assert!(b.recv(&mut buffer).unwrap().is_empty());
        assert!(buffer.is_empty());
        assert_eq!(
            b.send(b"x", &[]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_packet_passes_at_the_size_limit_and_is_refused_one_above_or_empty() {
        let (a, b) = pair();
        let full = vec![7; PACKET_BYTES_MAX];
        a.send(&full, &[]).unwrap();
        let mut buffer = Vec::new();
        b.recv(&mut buffer).unwrap();
        assert_eq!(buffer, full);
        for bad in [vec![7; PACKET_BYTES_MAX + 1], Vec::new()] {
            assert_eq!(
                a.send(&bad, &[]).unwrap_err().kind(),
                io::ErrorKind::InvalidInput
            );
        }
    }

    #[test]
    fn descriptors_pass_at_the_limit_and_are_refused_one_above() {
        let (a, b) = pair();
        let (x, _y) = UnixStream::pair().unwrap();
        let many = |n: usize| vec![x.as_fd(); n];
        a.send(b"m", &many(PACKET_FDS_MAX)).unwrap();
        assert_eq!(b.recv(&mut Vec::new()).unwrap().len(), PACKET_FDS_MAX);
        let error = a.send(b"m", &many(PACKET_FDS_MAX + 1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_message_whose_octets_or_descriptors_were_cut_is_an_error_not_half_a_message() {
        let (a, b) = pair();
        let (x, _y) = UnixStream::pair().unwrap();
        let too_many = vec![x.as_fd(); PACKET_FDS_MAX + 8];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(PACKET_FDS_MAX + 8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&too_many)));
        sendmsg(&a, &[IoSlice::new(b"m")], &mut control, SendFlags::empty()).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(
            b.recv(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert!(buffer.is_empty());
        let long = vec![1_u8; PACKET_BYTES_MAX + 1];
        let mut none = SendAncillaryBuffer::new(&mut []);
        sendmsg(&a, &[IoSlice::new(&long)], &mut none, SendFlags::empty()).unwrap();
        assert_eq!(
            b.recv(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
