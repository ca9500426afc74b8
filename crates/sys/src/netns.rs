//! The one interface of a sandbox's network: loopback.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// `IFF_UP | IFF_RUNNING`.
const UP_AND_RUNNING: libc::c_short = 0x41;

/// Brings `lo` of this network namespace up.
pub fn raise_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which `request` is and which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    crate::spawn::check(libc::c_long::from(result))
}

/// LIMIT: milliseconds to wait for a connection on loopback. The kernel decides in microseconds
/// unless the listener's backlog is full.
const CONNECT_MS_MAX: i64 = 50;

/// A non-blocking TCP socket connected to 127.0.0.1:`port` of this network namespace. A listener
/// with a full backlog leaves it connecting: a hostile one must not hold up who asks.
pub fn connect_loopback(port: u16) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], port))) {
        Ok(()) => return Ok(socket),
        Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    if crate::ns::writable(socket.as_fd(), CONNECT_MS_MAX)? {
        rustix::net::sockopt::socket_error(&socket)??;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_reached_and_a_closed_port_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect_loopback(port).is_ok());
        drop(listener);
        let refused = connect_loopback(port).map_err(|e| e.kind());
        assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused));
    }
}
