//! The system calls by name: what Python, Node.js, shells, compilers and inference engines use, and
//! what no hosted program has any business with. A flat table; the reasons stand per group.

use libc as l;

/// Flags that make or enter namespaces.
pub(super) const NAMESPACE_FLAGS: [i32; 8] = [
    l::CLONE_NEWNS,
    l::CLONE_NEWCGROUP,
    l::CLONE_NEWUTS,
    l::CLONE_NEWIPC,
    l::CLONE_NEWUSER,
    l::CLONE_NEWPID,
    l::CLONE_NEWNET,
    CLONE_NEWTIME,
];
/// `CLONE_NEWTIME`, which shares its bit with the exit signal's mask in `clone` but not in
/// `unshare`; in `clone` no signal number reaches bit 7.
const CLONE_NEWTIME: i32 = 0x80;
/// Change of line discipline.
pub(super) const TIOCSETD: u64 = 0x5423;
/// `futex_wake`, `futex_wait` and `futex_requeue` of Linux 6.7, the same on every architecture.
const FUTEX_WAKE: i64 = 454;
const FUTEX_WAIT: i64 = 455;
const FUTEX_REQUEUE: i64 = 456;
/// `SOCK_PACKET`, obsolete and a way to raw frames.
pub(super) const SOCK_PACKET: i32 = 10;
/// `SOCK_DCCP`.
pub(super) const SOCK_DCCP: i32 = 6;

/// Allowed on every architecture.
#[rustfmt::skip]
const COMMON: &[i64] = &[
    // files
    l::SYS_read, l::SYS_write, l::SYS_readv, l::SYS_writev, l::SYS_pread64, l::SYS_pwrite64,
    l::SYS_preadv, l::SYS_pwritev, l::SYS_preadv2, l::SYS_pwritev2, l::SYS_openat,
    l::SYS_close, l::SYS_close_range, l::SYS_lseek, l::SYS_fstat, l::SYS_newfstatat, l::SYS_statx,
    l::SYS_statfs, l::SYS_fstatfs, l::SYS_faccessat, l::SYS_faccessat2, l::SYS_getdents64,
    l::SYS_readlinkat, l::SYS_mkdirat, l::SYS_unlinkat, l::SYS_renameat, l::SYS_renameat2,
    l::SYS_linkat, l::SYS_symlinkat, l::SYS_fchmod, l::SYS_fchmodat, l::SYS_fchmodat2,
    l::SYS_fchown, l::SYS_fchownat, l::SYS_ftruncate, l::SYS_truncate, l::SYS_fallocate,
    l::SYS_fsync, l::SYS_fdatasync, l::SYS_sync, l::SYS_syncfs, l::SYS_sync_file_range,
    l::SYS_utimensat, l::SYS_fadvise64, l::SYS_readahead, l::SYS_copy_file_range, l::SYS_sendfile,
    l::SYS_splice, l::SYS_tee, l::SYS_vmsplice, l::SYS_flock, l::SYS_umask, l::SYS_chdir,
    l::SYS_fchdir, l::SYS_getcwd, l::SYS_dup, l::SYS_dup3, l::SYS_fcntl, l::SYS_ioctl, l::SYS_pipe2,
    l::SYS_memfd_create, l::SYS_inotify_init1, l::SYS_inotify_add_watch, l::SYS_inotify_rm_watch,
    l::SYS_getxattr, l::SYS_lgetxattr, l::SYS_fgetxattr, l::SYS_listxattr, l::SYS_llistxattr,
    l::SYS_flistxattr, l::SYS_setxattr, l::SYS_lsetxattr, l::SYS_fsetxattr, l::SYS_removexattr,
    l::SYS_lremovexattr, l::SYS_fremovexattr, l::SYS_mknodat,
    // memory
    l::SYS_mmap, l::SYS_munmap, l::SYS_mremap, l::SYS_mprotect, l::SYS_madvise, l::SYS_brk,
    l::SYS_mincore, l::SYS_msync, l::SYS_mlock, l::SYS_mlock2, l::SYS_munlock, l::SYS_mlockall,
    l::SYS_munlockall, l::SYS_membarrier, l::SYS_rseq, l::SYS_pkey_alloc, l::SYS_pkey_free,
    l::SYS_pkey_mprotect, l::SYS_get_mempolicy, l::SYS_mseal,
    // processes and threads
    l::SYS_clone, l::SYS_execve, l::SYS_execveat, l::SYS_exit, l::SYS_exit_group, l::SYS_wait4,
    l::SYS_waitid, l::SYS_kill, l::SYS_tkill, l::SYS_tgkill, l::SYS_pidfd_open,
    l::SYS_pidfd_send_signal, l::SYS_getpid, l::SYS_getppid, l::SYS_gettid, l::SYS_getpgid,
    l::SYS_setpgid, l::SYS_getsid, l::SYS_setsid, l::SYS_getuid, l::SYS_geteuid, l::SYS_getgid,
    l::SYS_getegid, l::SYS_getresuid, l::SYS_getresgid, l::SYS_getgroups, l::SYS_setuid,
    l::SYS_setgid, l::SYS_setreuid, l::SYS_setregid, l::SYS_setresuid, l::SYS_setresgid,
    l::SYS_setgroups, l::SYS_setfsuid, l::SYS_setfsgid, l::SYS_capget, l::SYS_capset, l::SYS_prctl,
    l::SYS_prlimit64, l::SYS_getrlimit, l::SYS_setrlimit, l::SYS_getrusage, l::SYS_getpriority,
    l::SYS_setpriority, l::SYS_set_tid_address, l::SYS_set_robust_list, l::SYS_get_robust_list,
    l::SYS_futex, l::SYS_futex_waitv, FUTEX_WAKE, FUTEX_WAIT, FUTEX_REQUEUE,
    l::SYS_personality, l::SYS_seccomp, l::SYS_landlock_create_ruleset, l::SYS_landlock_add_rule,
    l::SYS_landlock_restrict_self,
    // scheduling
    l::SYS_sched_yield, l::SYS_sched_getaffinity, l::SYS_sched_setaffinity,
    l::SYS_sched_getparam, l::SYS_sched_setparam, l::SYS_sched_getscheduler,
    l::SYS_sched_setscheduler, l::SYS_sched_get_priority_max, l::SYS_sched_get_priority_min,
    l::SYS_sched_rr_get_interval, l::SYS_sched_getattr, l::SYS_sched_setattr, l::SYS_getcpu,
    // signals and time
    l::SYS_rt_sigaction, l::SYS_rt_sigprocmask, l::SYS_rt_sigreturn, l::SYS_rt_sigsuspend,
    l::SYS_rt_sigpending, l::SYS_rt_sigtimedwait, l::SYS_rt_sigqueueinfo,
    l::SYS_rt_tgsigqueueinfo, l::SYS_sigaltstack, l::SYS_restart_syscall, l::SYS_signalfd4,
    l::SYS_clock_gettime, l::SYS_clock_getres, l::SYS_clock_nanosleep, l::SYS_nanosleep,
    l::SYS_gettimeofday, l::SYS_times, l::SYS_getitimer, l::SYS_setitimer, l::SYS_timer_create,
    l::SYS_timer_settime, l::SYS_timer_gettime, l::SYS_timer_getoverrun, l::SYS_timer_delete,
    l::SYS_timerfd_create, l::SYS_timerfd_settime, l::SYS_timerfd_gettime,
    // waiting
    l::SYS_ppoll, l::SYS_pselect6, l::SYS_epoll_create1, l::SYS_epoll_ctl, l::SYS_epoll_pwait,
    l::SYS_epoll_pwait2, l::SYS_eventfd2,
    // sockets; families and types are narrowed by the refusals
    l::SYS_socket, l::SYS_socketpair, l::SYS_bind, l::SYS_listen, l::SYS_accept, l::SYS_accept4,
    l::SYS_connect, l::SYS_getsockname, l::SYS_getpeername, l::SYS_sendto, l::SYS_recvfrom,
    l::SYS_sendmsg, l::SYS_recvmsg, l::SYS_sendmmsg, l::SYS_recvmmsg, l::SYS_setsockopt,
    l::SYS_getsockopt, l::SYS_shutdown,
    // System V memory and semaphores, in a namespace of their own
    l::SYS_shmget, l::SYS_shmat, l::SYS_shmdt, l::SYS_shmctl, l::SYS_semget, l::SYS_semop,
    l::SYS_semctl, l::SYS_semtimedop, l::SYS_msgget, l::SYS_msgsnd, l::SYS_msgrcv, l::SYS_msgctl,
    // facts about the machine
    l::SYS_uname, l::SYS_sysinfo, l::SYS_getrandom,
];

/// Old calls that only x86-64 has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD: &[i64] = &[
    l::SYS_open, l::SYS_creat, l::SYS_stat, l::SYS_lstat, l::SYS_access, l::SYS_readlink,
    l::SYS_mkdir, l::SYS_rmdir, l::SYS_unlink, l::SYS_rename, l::SYS_link, l::SYS_symlink,
    l::SYS_chmod, l::SYS_chown, l::SYS_lchown, l::SYS_utime, l::SYS_utimes, l::SYS_futimesat,
    l::SYS_getdents, l::SYS_dup2, l::SYS_pipe, l::SYS_fork, l::SYS_vfork, l::SYS_getpgrp,
    l::SYS_alarm, l::SYS_pause, l::SYS_time, l::SYS_poll, l::SYS_select, l::SYS_epoll_create,
    l::SYS_epoll_wait, l::SYS_eventfd, l::SYS_signalfd, l::SYS_inotify_init, l::SYS_arch_prctl,
    l::SYS_mknod,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

const ALLOWED_LENGTH: usize = COMMON.len() + OLD.len();

const fn join() -> [i64; ALLOWED_LENGTH] {
    let mut all = [0; ALLOWED_LENGTH];
    let mut i = 0;
    while i < COMMON.len() {
        all[i] = COMMON[i];
        i += 1;
    }
    while i < ALLOWED_LENGTH {
        all[i] = OLD[i - COMMON.len()];
        i += 1;
    }
    all
}

/// Everything on the allow-list.
pub(super) static ALLOWED: &[i64] = &join();

/// Refused with EPERM whatever the arguments.
#[rustfmt::skip]
pub(super) static REFUSED: &[i64] = &[
    // the file system's shape
    l::SYS_mount, l::SYS_umount2, l::SYS_pivot_root, l::SYS_chroot, l::SYS_move_mount,
    l::SYS_open_tree, l::SYS_fsopen, l::SYS_fsconfig, l::SYS_fsmount, l::SYS_fspick,
    l::SYS_mount_setattr, l::SYS_open_by_handle_at, l::SYS_name_to_handle_at, l::SYS_swapon,
    l::SYS_swapoff, l::SYS_quotactl, l::SYS_quotactl_fd, l::SYS_fanotify_init,
    l::SYS_fanotify_mark, l::SYS_acct,
    // other processes and namespaces
    l::SYS_ptrace, l::SYS_process_vm_readv, l::SYS_process_vm_writev, l::SYS_process_madvise,
    l::SYS_pidfd_getfd, l::SYS_kcmp, l::SYS_setns, l::SYS_move_pages, l::SYS_migrate_pages,
    // the kernel itself
    l::SYS_bpf, l::SYS_perf_event_open, l::SYS_userfaultfd, l::SYS_init_module,
    l::SYS_finit_module, l::SYS_delete_module, l::SYS_kexec_load, l::SYS_reboot, l::SYS_syslog,
    l::SYS_sethostname, l::SYS_setdomainname, l::SYS_vhangup, l::SYS_lookup_dcookie,
    l::SYS_nfsservctl,
    // keys
    l::SYS_keyctl, l::SYS_add_key, l::SYS_request_key,
    // the clock
    l::SYS_settimeofday, l::SYS_clock_settime, l::SYS_clock_adjtime, l::SYS_adjtimex,
    // memory placement and secrets
    l::SYS_mbind, l::SYS_set_mempolicy, l::SYS_memfd_secret, l::SYS_remap_file_pages,
    #[cfg(target_arch = "x86_64")] l::SYS_iopl,
    #[cfg(target_arch = "x86_64")] l::SYS_ioperm,
    #[cfg(target_arch = "x86_64")] l::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")] l::SYS_uselib,
    #[cfg(target_arch = "x86_64")] l::SYS_kexec_file_load,
];

/// Answered as if the kernel did not have them: their arguments are in memory, where a filter
/// cannot look, and libraries fall back to calls it can judge.
pub(super) static ABSENT: &[i64] = &[
    l::SYS_clone3,
    l::SYS_openat2,
    l::SYS_io_uring_setup,
    l::SYS_io_uring_enter,
    l::SYS_io_uring_register,
];

/// Calls that change how another process is scheduled or limited, which their first argument names.
pub(super) static OF_PROCESSES: &[i64] = &[
    l::SYS_sched_setscheduler,
    l::SYS_sched_setattr,
    l::SYS_sched_setparam,
    l::SYS_sched_setaffinity,
    l::SYS_prlimit64,
];

/// Flags of `open` with which its mode counts: `O_CREAT` and the bit of `O_TMPFILE`.
pub(super) const CREATING: [u64; 2] = [0o100, 0o20_000_000];

/// Calls that can set a file's mode, with the place of the mode and of the flags that make it
/// count. A set-user-id file that a sandbox leaves in a writable mount would run with its owner's
/// rights on the host.
pub(super) static MODES: &[(i64, u8, Option<u8>)] = &[
    (l::SYS_fchmod, 1, None),
    (l::SYS_fchmodat, 2, None),
    (l::SYS_fchmodat2, 2, None),
    (l::SYS_mknodat, 2, None),
    (l::SYS_openat, 3, Some(2)),
    #[cfg(target_arch = "x86_64")]
    (l::SYS_chmod, 1, None),
    #[cfg(target_arch = "x86_64")]
    (l::SYS_mknod, 1, None),
    #[cfg(target_arch = "x86_64")]
    (l::SYS_creat, 1, None),
    #[cfg(target_arch = "x86_64")]
    (l::SYS_open, 2, Some(1)),
];
