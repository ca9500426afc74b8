//! The host's side of the attack suite: a stage on which a wall that fails does no harm.
//!
//! The suite moves itself into network, IPC and UTS namespaces of its own first. What attacks aim at
//! (addresses, a host name, shared memory, keys) then belongs to the stage, and no packet can leave
//! it: its only interface is loopback.
//! INVARIANT: everything made here goes with the namespaces or with the process.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Moves this process, which must have one thread, onto a stage: own network, IPC and UTS
/// namespaces, and a session keyring of its own. Brings loopback up.
pub fn enter() -> io::Result<()> {
    if !crate::spawn::is_single_threaded() {
        return Err(io::Error::other(
            "a stage is entered by a process with one thread",
        ));
    }
    let kinds = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    // SAFETY: unshare changes only which namespaces this process is in.
    crate::spawn::check(libc::c_long::from(unsafe { libc::unshare(kinds) }))?;
    crate::ns::own_session_keyring()?;
    crate::netns::raise_loopback()
}

/// Gives loopback a further address, by its alias `lo:N`.
pub fn add_address(alias: u8, address: Ipv4Addr) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = format!("lo:{alias}");
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    // SAFETY: all-zero bytes are a valid sockaddr_in.
    let mut wanted: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    wanted.sin_family = libc::sa_family_t::try_from(libc::AF_INET).map_err(io::Error::other)?;
    wanted.sin_addr.s_addr = u32::from(address).to_be();
    // SAFETY: both are plain socket addresses of 16 octets.
    request.ifr_ifru.ifru_addr =
        unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(wanted) };
    // SAFETY: SIOCSIFADDR reads one ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) };
    crate::spawn::check(libc::c_long::from(result))
}

/// A System V segment of one page that everybody may read, holding this text; its number.
pub fn share_memory(text: &[u8]) -> io::Result<i32> {
    // SAFETY: shmget touches no memory of ours.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o666) };
    if id < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if address.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    let length = text.len().min(4096);
    // SAFETY: the segment is one writable page and `length` is at most a page.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), address.cast(), length) };
    // SAFETY: `address` came from shmat.
    crate::spawn::check(libc::c_long::from(unsafe { libc::shmdt(address) }))?;
    Ok(id)
}

/// A key in this session's keyring; its serial number.
pub fn keep_key(name: &std::ffi::CStr, secret: &[u8]) -> io::Result<i64> {
    const SESSION: libc::c_long = -3;
    // SAFETY: type and name are NUL-terminated, the payload has the length given.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            SESSION,
        )
    };
    crate::spawn::check(serial)?;
    Ok(serial)
}

/// A terminal of the host: the end of the person and the end of the program.
pub fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut person, mut program) = (-1, -1);
    // SAFETY: openpty writes two descriptors; the other arguments may be null.
    let made = unsafe {
        libc::openpty(
            &raw mut person,
            &raw mut program,
            std::ptr::null_mut(),
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    crate::spawn::check(libc::c_long::from(made))?;
    // SAFETY: the kernel has just made both for us.
    let ends = unsafe { (OwnedFd::from_raw_fd(person), OwnedFd::from_raw_fd(program)) };
    rustix::io::fcntl_setfd(&ends.0, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::fcntl_setfd(&ends.1, rustix::io::FdFlags::CLOEXEC)?;
    Ok(ends)
}

/// The host name of this stage.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_child, needs_root};
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_stage_has_addresses_of_its_own_and_no_way_out() {
        if !needs_root("a_stage_has_addresses_of_its_own_and_no_way_out") {
            return;
        }
        let metadata = Ipv4Addr::new(169, 254, 169, 254);
        assert!(
            TcpListener::bind((metadata, 0)).is_err(),
            "the host itself has it"
        );
        in_child(|| {
            enter().unwrap();
            add_address(1, metadata).unwrap();
            assert!(TcpListener::bind((metadata, 80)).is_ok());
            let out = UdpSocket::bind("0.0.0.0:0")
                .unwrap()
                .connect(("192.0.2.1", 9));
            assert_eq!(out.unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        });
    }

    #[test]
    fn shared_memory_and_keys_can_be_read_by_who_has_them() {
        in_child(|| {
            crate::ns::own_session_keyring().unwrap();
            let id = share_memory(b"secret").unwrap();
            assert_eq!(super::super::read_shared_memory(id, 6).unwrap(), b"secret");
            // SAFETY: removes the segment that was just made.
            unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
            assert!(keep_key(c"ringfence-test", b"secret").unwrap() > 0);
        });
    }
}
