//! What attacks are made of: single system calls, each with the arguments that do harm.
//!
//! The attack suite describes an attack as a list of such calls, so that a native program and a
//! Python program make exactly the same ones. This file makes them; [`stage`] holds what the host's
//! side of the suite needs. Nothing here is called outside the suite.
//! INVARIANT: only the calls of [`Syscall`] can be made, and each reads and writes nothing but the
//! buffers it is given.

pub mod stage;

use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

macro_rules! syscalls {
    ($($name:ident = $number:ident),+ $(,)?) => {
        /// A call that an attack may make.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Syscall {
            $(#[doc = concat!("`", stringify!($number), "`.")] $name,)+
        }

        impl Syscall {
            /// Its number on this architecture.
            pub fn number(self) -> i64 {
                match self { $(Self::$name => libc::$number,)+ }
            }

            /// Its name as in syscalls(2).
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($number).trim_start_matches("SYS_"),)+ }
            }
        }
    };
}

// Every call here takes only numbers, texts that end in NUL, and buffers followed by their length or
// smaller than BUFFER_BYTES: that is what makes `call` sound. None changes the caller's mappings.
syscalls! {
    AddKey = SYS_add_key, Bpf = SYS_bpf, Capset = SYS_capset, Chroot = SYS_chroot,
    FanotifyInit = SYS_fanotify_init, Fchmodat = SYS_fchmodat,
    Fsopen = SYS_fsopen, Fspick = SYS_fspick, Ioctl = SYS_ioctl, IoUringSetup = SYS_io_uring_setup,
    Keyctl = SYS_keyctl, Kill = SYS_kill, Linkat = SYS_linkat, Mknodat = SYS_mknodat,
    Mlockall = SYS_mlockall, Mount = SYS_mount, MountSetattr = SYS_mount_setattr,
    MqOpen = SYS_mq_open,
    OpenTree = SYS_open_tree, Openat = SYS_openat, PerfEventOpen = SYS_perf_event_open,
    Personality = SYS_personality, PidfdGetfd = SYS_pidfd_getfd, PidfdOpen = SYS_pidfd_open,
    Prlimit = SYS_prlimit64, Ptrace = SYS_ptrace, Read = SYS_read,
    SchedSetscheduler = SYS_sched_setscheduler, Sethostname = SYS_sethostname, Setns = SYS_setns, Setpriority = SYS_setpriority, Setresuid = SYS_setresuid,
    Socket = SYS_socket, Symlinkat = SYS_symlinkat, Syslog = SYS_syslog, Umount = SYS_umount2,
    Unshare = SYS_unshare, Userfaultfd = SYS_userfaultfd, Write = SYS_write,
}

/// LIMIT: octets that a call can read beyond a shorter input, or write to an output whose length is
/// not an argument of its own.
pub const BUFFER_BYTES: usize = 4096;

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number or a descriptor.
    Number(i64),
    /// Octets for the kernel to read; padded with zeros, so a text ends in NUL.
    Input(Vec<u8>),
    /// So many octets for the kernel to write, at least [`BUFFER_BYTES`].
    Output(usize),
}

/// Makes a call: its result and what the kernel wrote.
///
/// A length that follows an output and is larger than it is refused with EINVAL, as is a seventh
/// argument.
pub fn call(which: Syscall, arguments: &[Value]) -> io::Result<(i64, Vec<u8>)> {
    let mut buffers: Vec<Vec<u8>> = Vec::new();
    let mut words = [0_i64; 6];
    if arguments.len() > words.len() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut output = None;
    for (place, argument) in words.iter_mut().zip(arguments) {
        match argument {
            Value::Number(number) => *place = *number,
            Value::Input(octets) => {
                let mut buffer = octets.clone();
                buffer.resize(octets.len() + BUFFER_BYTES, 0);
                *place = buffer.as_ptr() as i64;
                buffers.push(buffer);
            }
            Value::Output(length) => {
                let mut buffer = vec![0; (*length).max(BUFFER_BYTES)];
                *place = buffer.as_mut_ptr() as i64;
                output = Some(buffers.len());
                buffers.push(buffer);
            }
        }
    }
    for pair in arguments.windows(2) {
        if let [Value::Output(length), Value::Number(claimed)] = pair
            && usize::try_from(*claimed).map_or(true, |n| n > (*length).max(BUFFER_BYTES))
        {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
    }
    // SAFETY: pointers are to buffers above, which outlive the call; every input is followed by
    // zeros for as long as any of these calls reads, every output is as long as any of them writes
    // or as its own length argument, checked above.
    let result = unsafe {
        libc::syscall(
            which.number(),
            words[0],
            words[1],
            words[2],
            words[3],
            words[4],
            words[5],
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let written = output
        .and_then(|place| buffers.into_iter().nth(place))
        .unwrap_or_default();
    Ok((result, written))
}

/// Asks for a new user namespace in a form that a filter cannot (`clone3`, arguments in memory) or
/// can (`clone`) read. The child waits to be killed; its number.
pub fn clone_into_user_namespace(third: bool) -> io::Result<i32> {
    // CLONE_NEWUSER.
    const FLAG: u64 = 0x1000_0000;
    let mut args = [FLAG, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let pid = if third {
        // SAFETY: `args` is a clone_args of version 0 (64 octets) that outlives the call; without
        // CLONE_VM the child has its own memory, and the callers have one thread.
        unsafe { libc::syscall(libc::SYS_clone3, args.as_mut_ptr(), size_of_val(&args)) }
    } else {
        let flags = FLAG | libc::SIGCHLD as u64;
        // SAFETY: a null stack and no CLONE_VM make it a fork; the callers have one thread.
        unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) }
    };
    match pid {
        0 => crate::spawn::wait_to_be_killed(),
        pid if pid < 0 => Err(io::Error::last_os_error()),
        pid => i32::try_from(pid).map_err(io::Error::other),
    }
}

/// Reads another process's memory from this address.
pub fn read_process(pid: i32, address: usize, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; length];
    let here = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: length,
    };
    let there = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    // SAFETY: one local vector of the length of `buffer`; the other is in another process.
    let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    buffer.truncate(read.cast_unsigned());
    Ok(buffer)
}

/// Attaches a System V segment and copies its first octets.
pub fn read_shared_memory(id: i32, length: usize) -> io::Result<Vec<u8>> {
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
    if address.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the segment is mapped readable and one page or more; the suite asks for less.
    let copy = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length.min(4096)) };
    Ok(copy.to_vec())
}

/// Opens a file again by its handle, without a path and thus without the directories above it.
pub fn reopen_by_handle(path: &std::ffi::CStr) -> io::Result<OwnedFd> {
    /// `struct file_handle` with room for the largest handle.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        octets: [u8; 128],
    }
    let mut handle = Handle {
        bytes: 128,
        kind: 0,
        octets: [0; 128],
    };
    let mut mount = 0_i32;
    let (place, number) = (&raw mut handle, &raw mut mount);
    let here = libc::AT_FDCWD;
    // SAFETY: the path ends in NUL; the handle has as much room as it says; the number of the mount
    // has a place of its own.
    crate::spawn::check(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            here,
            path.as_ptr(),
            place,
            number,
            0,
        )
    })?;
    // SAFETY: the handle is the one that the kernel has just filled.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, here, place, libc::O_RDONLY) };
    crate::spawn::check(fd)?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Locks a mebibyte of memory for the life of this process.
pub fn lock_a_mebibyte() -> io::Result<()> {
    let memory = Box::leak(vec![1_u8; 1 << 20].into_boxed_slice());
    // SAFETY: the memory is ours and never freed.
    crate::spawn::check(libc::c_long::from(unsafe {
        libc::mlock(memory.as_ptr().cast(), memory.len())
    }))
}

/// Asks for the process number through the 32-bit gate, whose numbers a 64-bit filter would take for
/// other calls.
#[cfg(target_arch = "x86_64")]
pub fn through_int_80() -> io::Result<i64> {
    const GETPID_32: i32 = 20;
    let mut answer = GETPID_32;
    // SAFETY: getpid touches no memory; int 0x80 may clobber r8 to r11.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    kernel_says(i64::from(answer))
}

/// Asks for the process number under the x32 numbering, which sets bit 30.
#[cfg(target_arch = "x86_64")]
pub fn through_x32() -> io::Result<i64> {
    const X32: i64 = 0x4000_0000;
    let mut answer = X32 + libc::SYS_getpid;
    // SAFETY: getpid touches no memory; syscall clobbers rcx and r11.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") answer, out("rcx") _, out("r11") _);
    }
    kernel_says(answer)
}

#[cfg(target_arch = "x86_64")]
fn kernel_says(answer: i64) -> io::Result<i64> {
    if answer >= 0 {
        return Ok(answer);
    }
    let number = i32::try_from(answer.unsigned_abs()).unwrap_or(libc::EINVAL);
    Err(io::Error::from_raw_os_error(number))
}

/// Other architectures have no second gate.
#[cfg(not(target_arch = "x86_64"))]
pub fn through_int_80() -> io::Result<i64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Other architectures have no second numbering.
#[cfg(not(target_arch = "x86_64"))]
pub fn through_x32() -> io::Result<i64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Keeps a descriptor across exec and beyond the life of its owner: what a careless parent does.
pub fn leak(fd: impl AsFd) -> io::Result<RawFd> {
    Ok(rustix::io::dup(fd)?.into_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_returns_what_the_kernel_wrote() {
        let path = Value::Input(b"/proc/self/comm".to_vec());
        let (fd, _) = call(
            Syscall::Openat,
            &[Value::Number(-100), path, Value::Number(0)],
        )
        .unwrap();
        let read = [Value::Number(fd), Value::Output(64), Value::Number(64)];
        let (length, bytes) = call(Syscall::Read, &read).unwrap();
        assert!(length > 0 && bytes[usize::try_from(length).unwrap() - 1] == b'\n');
    }

    #[test]
    fn a_length_beyond_the_buffer_never_reaches_the_kernel() {
        let read = |length| {
            let arguments = [Value::Number(-1), Value::Output(64), Value::Number(length)];
            call(Syscall::Read, &arguments).unwrap_err().raw_os_error()
        };
        assert_eq!(read(4096), Some(libc::EBADF));
        assert_eq!(read(4097), Some(libc::EINVAL));
        let seven = vec![Value::Number(0); 7];
        assert!(call(Syscall::Kill, &seven).is_err());
    }

    #[test]
    fn names_and_numbers_are_those_of_the_kernel() {
        assert_eq!(
            (Syscall::Mount.name(), Syscall::Mount.number()),
            ("mount", libc::SYS_mount)
        );
    }
}
