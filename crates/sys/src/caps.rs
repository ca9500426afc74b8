//! Giving up every privilege for good.
//!
//! INVARIANT: after [`drop_all`] no exec, no file capability and no set-user-id bit gives any back.

use rustix::process::Pid;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use std::io;

/// Empties the bounding, ambient, inheritable, permitted and effective sets, locks the secure bits
/// and sets `no_new_privs`.
pub fn drop_all() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    empty_bounding_set()?;
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(locked)?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None::<Pid>, sets)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

fn empty_bounding_set() -> io::Result<()> {
    // LIMIT: the kernel has 41 capabilities (6.18) and numbers them below 64.
    for number in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINVAL) {
                return Ok(());
            }
            return Err(error);
        }
    }
    Ok(())
}
