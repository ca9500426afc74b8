//! Kernel interfaces with a history, and other gates into it (research list 22 to 26, 29).

use crate::attack::Arg::{B, Fact, N, Out, S};
use crate::attack::Attack;
use crate::attack::Step::{Call, Int80, SharedMemory, X32};
use crate::attack::effect::Effect;
use crate::weakness::Weakness as W;
use ringfence_sys::attack::Syscall as C;

const KERNEL: &[W] = &[W::Seccomp, W::UserNamespace, W::Privileges];
/// `perf_event_attr`: software event 0, size 128, only user space.
const PERF: &[u8] = &[
    1, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x60,
];
const TIOCSCTTY: i64 = 0x540e;
const TIOCSTI: i64 = 0x5412;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "io-uring",
        tries: "opens a queue whose calls no filter sees",
        walls: &[W::Seccomp],
        steps: &[Call(C::IoUringSetup, &[N(4), B(&[0; 120])])],
        effect: Effect::Descriptor("anon_inode:[io_uring]"),
    },
    Attack {
        name: "bpf",
        tries: "makes a BPF map, the first step to a program in the kernel",
        walls: KERNEL,
        steps: &[Call(
            C::Bpf,
            &[N(0), B(&[2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1]), N(16)],
        )],
        effect: Effect::Descriptor("anon_inode:bpf-map"),
    },
    Attack {
        name: "perf",
        tries: "opens a performance counter",
        // Debian allows it to the privileged only (perf_event_paranoid=3).
        walls: KERNEL,
        steps: &[Call(C::PerfEventOpen, &[B(PERF), N(0), N(-1), N(-1), N(0)])],
        effect: Effect::Descriptor("anon_inode:[perf_event]"),
    },
    Attack {
        name: "userfaultfd",
        tries: "handles page faults itself, to win races in the kernel",
        walls: &[W::Seccomp],
        steps: &[Call(C::Userfaultfd, &[N(1)])],
        effect: Effect::Descriptor("anon_inode:[userfaultfd]"),
    },
    Attack {
        name: "fanotify",
        tries: "watches a file system",
        walls: &[W::Seccomp],
        steps: &[Call(C::FanotifyInit, &[N(0x200), N(0)])],
        effect: Effect::Descriptor("anon_inode:[fanotify]"),
    },
    Attack {
        name: "keyring",
        tries: "reads a key of the host",
        walls: &[W::Seccomp, W::Keyring],
        steps: &[Call(C::Keyctl, &[N(11), Fact("key"), Out(4096), N(4096)])],
        effect: Effect::Secret,
    },
    Attack {
        name: "kernel-log",
        tries: "reads the kernel's log",
        walls: KERNEL,
        steps: &[Call(C::Syslog, &[N(3), Out(1 << 20), N(1 << 20)])],
        effect: Effect::Secret,
    },
    Attack {
        name: "message-queue",
        tries: "makes a POSIX message queue",
        walls: &[W::Seccomp, W::Rlimits, W::Landlock],
        steps: &[Call(C::MqOpen, &[S("attack"), N(0o102), N(0o600), N(0)])],
        effect: Effect::Descriptor("/attack"),
    },
    Attack {
        name: "shared-memory",
        tries: "attaches a System V segment of the host",
        walls: &[W::IpcNamespace],
        steps: &[SharedMemory],
        effect: Effect::Secret,
    },
    Attack {
        name: "type-keys",
        tries: "types into the terminal of the person who started it",
        walls: &[W::Seccomp],
        steps: &[
            Call(C::Ioctl, &[N(0), N(TIOCSCTTY), N(0)]),
            Call(C::Ioctl, &[N(0), N(TIOCSTI), B(b"\n")]),
        ],
        effect: Effect::Typed,
    },
    Attack {
        name: "type-keys-high-bit",
        tries: "the same with a bit set that the kernel ignores (CVE-2019-7303)",
        walls: &[W::Seccomp],
        steps: &[
            Call(C::Ioctl, &[N(0), N(TIOCSCTTY), N(0)]),
            Call(C::Ioctl, &[N(0), N(TIOCSTI | (1 << 32)), B(b"\n")]),
        ],
        effect: Effect::Typed,
    },
    Attack {
        name: "int-80",
        tries: "makes a call through the 32-bit gate",
        walls: &[W::Seccomp],
        steps: &[Int80],
        effect: Effect::Answered,
    },
    Attack {
        name: "x32",
        tries: "makes a call with the x32 numbering",
        walls: &[W::Seccomp],
        steps: &[X32],
        effect: Effect::Answered,
    },
    Attack {
        name: "set-host-name",
        tries: "renames the host",
        walls: &[W::Seccomp, W::UserNamespace, W::Privileges, W::UtsNamespace],
        steps: &[Call(C::Sethostname, &[S("attacked"), N(8)])],
        effect: Effect::HostName,
    },
];
