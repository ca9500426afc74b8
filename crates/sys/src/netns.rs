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

/// `rtm_table`, `rtm_protocol`, `rtm_scope` and `rtm_type` of a route to this machine itself:
/// `RT_TABLE_LOCAL`, `RTPROT_BOOT`, `RT_SCOPE_HOST`, `RTN_LOCAL` (rtnetlink(7)).
const TO_ITSELF: [u8; 4] = [255, 3, 254, 2];
/// `RTM_NEWROUTE`, and `NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL`.
const NEW_ROUTE: u16 = 24;
const MAKE_AND_ACKNOWLEDGE: u16 = 0x605;
/// `NLMSG_ERROR`, which with error 0 is an acknowledgement.
const ACKNOWLEDGED: u16 = 2;
/// `RTA_OIF`.
const OUTGOING: u16 = 4;
/// Index of `lo`, the first interface of every network namespace.
const LOOPBACK: u32 = 1;

/// Makes every address of both protocols an address of this network namespace, as `ip route add
/// local default dev lo` does: a connection to anywhere reaches a listener for any address here, or
/// nobody. Where the kernel has no IPv6 there is nothing to make local.
pub fn make_everything_local() -> io::Result<()> {
    add_local_default(libc::AF_INET)?;
    match add_local_default(libc::AF_INET6) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        outcome => outcome,
    }
}

fn add_local_default(family: libc::c_int) -> io::Result<()> {
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
    };
    let kind = SocketType::RAW;
    let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)?;
    send(&socket, &local_default(family), SendFlags::empty())?;
    let mut answer = [0; 64];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// The request: `nlmsghdr`, `rtmsg` with prefix length 0, and the outgoing interface.
fn local_default(family: libc::c_int) -> Vec<u8> {
    let [table, protocol, scope, kind] = TO_ITSELF;
    let family = u8::try_from(family).unwrap_or(0);
    let mut body = vec![family, 0, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0];
    body.extend(8_u16.to_ne_bytes());
    body.extend(OUTGOING.to_ne_bytes());
    body.extend(LOOPBACK.to_ne_bytes());
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(NEW_ROUTE.to_ne_bytes());
    message.extend(MAKE_AND_ACKNOWLEDGE.to_ne_bytes());
    // Sequence number and port: there is one question, and the kernel knows who asks.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Reads `nlmsghdr` and the error number behind it.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok());
    let error = answer.get(16..20).and_then(|b| b.try_into().ok());
    match (kind.map(u16::from_ne_bytes), error.map(i32::from_ne_bytes)) {
        (Some(ACKNOWLEDGED), Some(0)) => Ok(()),
        (Some(ACKNOWLEDGED), Some(error)) => {
            Err(io::Error::from_raw_os_error(error.saturating_neg()))
        }
        _ => Err(io::Error::other("rtnetlink gave no answer")),
    }
}

/// A TCP listener for connections to any address of both protocols at this port.
pub fn listen_everywhere(port: u16) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = SocketType::STREAM;
    let (socket, address) = match socket_with(AddressFamily::INET6, stream, flags, None) {
        Ok(socket) => {
            sockopt::set_ipv6_v6only(&socket, false)?;
            (
                socket,
                std::net::IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED),
            )
        }
        Err(rustix::io::Errno::AFNOSUPPORT) => (
            socket_with(AddressFamily::INET, stream, flags, None)?,
            std::net::Ipv4Addr::UNSPECIFIED.into(),
        ),
        Err(error) => return Err(error.into()),
    };
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &std::net::SocketAddr::new(address, port))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// LIMIT: connections that wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_kernel_is_heard_and_silence_is_no_consent() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![36, 0, 0, 0];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(error.to_ne_bytes());
            acknowledged(&bytes).map_err(|e| e.raw_os_error())
        };
        assert_eq!(answer(ACKNOWLEDGED, 0), Ok(()));
        assert_eq!(answer(ACKNOWLEDGED, -libc::EPERM), Err(Some(libc::EPERM)));
        assert_eq!(answer(3, 0), Err(None));
        assert!(acknowledged(&[]).is_err());
    }

    #[test]
    fn a_request_announces_its_real_length() {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let message = local_default(family);
            let announced = u32::from_ne_bytes(message[..4].try_into().unwrap());
            assert_eq!(announced as usize, message.len());
        }
    }

    #[test]
    fn a_listener_for_any_address_accepts_both_protocols() {
        let socket = listen_everywhere(0).unwrap();
        let listener = std::net::TcpListener::from(socket);
        let port = listener.local_addr().unwrap().port();
        for address in ["127.0.0.1", "127.8.9.10", "::1"] {
            let address: std::net::IpAddr = address.parse().unwrap();
            let client = std::net::TcpStream::connect((address, port)).unwrap();
            crate::ns::readable(listener.as_fd(), Some(1000)).unwrap();
            let (met, _) = listener.accept().unwrap();
            let meant = met.local_addr().unwrap().ip().to_canonical();
            assert_eq!(meant, address);
            drop(client);
        }
    }

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
