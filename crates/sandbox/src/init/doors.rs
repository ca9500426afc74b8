//! Binding the doors of a sandbox, inside its network namespace, before privilege is given up.

use crate::zygote::wire::Failure;
use ringfence_core::isolation::{Door, DoorKind};
use ringfence_sys::netns;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

/// Binds every door, in order. If one of them is for any address, every destination is made an
/// address of this namespace first; there is no interface through which anything could leave.
pub(super) fn bind(doors: &[Door]) -> Result<Vec<OwnedFd>, Failure> {
    if doors.iter().any(|door| door.kind == DoorKind::AnyStream) {
        netns::make_everything_local()
            .map_err(|e| Failure::new("route every destination to loopback", &e))?;
    }
    doors
        .iter()
        .map(|door| {
            one(door)
                .map_err(|e| Failure::new(&format!("bind door {} at {}", door.name, door.port), &e))
        })
        .collect()
}

/// Whoever serves a door polls it; a blocking accept would hang on a peer that left.
fn one(door: &Door) -> io::Result<OwnedFd> {
    let here = ("127.0.0.1", door.port);
    match door.kind {
        DoorKind::Stream => {
            let listener = TcpListener::bind(here)?;
            listener.set_nonblocking(true)?;
            Ok(listener.into())
        }
        DoorKind::Datagram => {
            let socket = UdpSocket::bind(here)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        }
        DoorKind::AnyStream => netns::listen_everywhere(door.port),
    }
}
