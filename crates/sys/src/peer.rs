//! Who is at the other end of a Unix socket, as the kernel knows it.

use rustix::net::sockopt::socket_peercred;
use std::io;
use std::os::fd::AsFd;

/// The credentials that the peer had when it connected (`SO_PEERCRED`, unix(7)). The peer cannot
/// choose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Its process.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// Asks the kernel who connected.
pub fn peer_credentials(socket: impl AsFd) -> io::Result<PeerCredentials> {
    let found = socket_peercred(socket)?;
    Ok(PeerCredentials {
        pid: found.pid.as_raw_nonzero().get(),
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{getegid, geteuid};
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_names_this_process_as_the_peer_of_its_own_pair() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = peer_credentials(&a).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        assert_eq!(peer, PeerCredentials { pid, uid, gid });
    }

    #[test]
    fn a_pipe_has_no_peer() {
        let (a, _b) = io::pipe().unwrap();
        assert!(peer_credentials(&a).is_err());
    }
}
