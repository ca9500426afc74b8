//! Files of the host, its settings and devices (research list 9 to 14, 19, 21).

use super::HERE;
use crate::attack::Arg::{N, S};
use crate::attack::Attack;
use crate::attack::Step::{Call, Create, Leaked, Open, Put, Show};
use crate::attack::effect::Effect;
use crate::weakness::Weakness as W;
use ringfence_sys::attack::Syscall as C;

const TREE: &[W] = &[W::FileSystem, W::Landlock, W::UserNamespace];
const SETTINGS: &[W] = &[W::Masks, W::Landlock, W::UserNamespace];

/// A setting of the whole host is opened for writing and never written.
const fn setting(
    name: &'static str,
    tries: &'static str,
    steps: &'static [crate::attack::Step],
    path: &'static str,
) -> Attack {
    Attack {
        name,
        tries,
        walls: SETTINGS,
        steps,
        effect: Effect::Opened(path),
    }
}

/// A device of the host is opened and never used.
const fn device(
    name: &'static str,
    tries: &'static str,
    steps: &'static [crate::attack::Step],
    path: &'static str,
) -> Attack {
    Attack {
        name,
        tries,
        walls: TREE,
        steps,
        effect: Effect::Opened(path),
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "read-host-file",
        tries: "reads a file of the host that everybody may read",
        walls: &[W::FileSystem, W::Landlock],
        steps: &[Show("{readable}")],
        effect: Effect::Secret,
    },
    Attack {
        name: "read-private-file",
        tries: "reads a file that only the host's root may read",
        walls: TREE,
        steps: &[Show("{private}")],
        effect: Effect::Secret,
    },
    Attack {
        name: "write-host-file",
        tries: "changes a file of the host",
        walls: TREE,
        steps: &[Put("{readable}", "changed")],
        effect: Effect::Changed,
    },
    Attack {
        name: "symbolic-link",
        tries: "leaves a link to a file of the host and reads through it",
        walls: &[W::FileSystem, W::Landlock, W::UserNamespace],
        steps: &[
            Call(C::Symlinkat, &[S("{readable}"), N(HERE), S("{out}/link")]),
            Show("{out}/link"),
        ],
        effect: Effect::Secret,
    },
    Attack {
        name: "hard-link",
        tries: "gives a file of the host a second name",
        walls: TREE,
        steps: &[Call(
            C::Linkat,
            &[N(HERE), S("{readable}"), N(HERE), S("{out}/hard"), N(0)],
        )],
        effect: Effect::Made("out/hard"),
    },
    Attack {
        name: "write-read-only",
        tries: "writes into a project that was mounted read-only",
        walls: &[W::ReadOnly, W::Landlock],
        steps: &[Create("{project}/new")],
        effect: Effect::Made("project/new"),
    },
    Attack {
        name: "leaked-descriptor",
        tries: "walks out through a directory that was left open (CVE-2024-21626)",
        walls: &[W::Descriptors, W::Landlock],
        steps: &[Leaked("{readable}")],
        effect: Effect::Secret,
    },
    Attack {
        name: "host-memory-file",
        tries: "opens /proc/kcore",
        walls: &[W::Masks, W::UserNamespace, W::Privileges],
        steps: &[Open("/proc/kcore", 0)],
        effect: Effect::Opened("/proc/kcore"),
    },
    setting(
        "set-core-pattern",
        "names a program that the host runs for core dumps",
        &[Open("/proc/sys/kernel/core_pattern", 1)],
        "/proc/sys/kernel/core_pattern",
    ),
    setting(
        "set-modprobe",
        "names a program that the host runs to load modules",
        &[Open("/proc/sys/kernel/modprobe", 1)],
        "/proc/sys/kernel/modprobe",
    ),
    setting(
        "set-overcommit",
        "changes how the host promises memory",
        &[Open("/proc/sys/vm/overcommit_memory", 1)],
        "/proc/sys/vm/overcommit_memory",
    ),
    setting(
        "sysrq",
        "asks the kernel to restart the host",
        &[Open("/proc/sysrq-trigger", 1)],
        "/proc/sysrq-trigger",
    ),
    Attack {
        name: "write-host-name",
        tries: "renames the host by its settings",
        walls: &[W::Masks, W::Landlock, W::UserNamespace, W::UtsNamespace],
        steps: &[Put("/proc/sys/kernel/hostname", "attacked")],
        effect: Effect::HostName,
    },
    Attack {
        name: "leave-cgroup",
        tries: "moves itself out of its control group",
        walls: TREE,
        steps: &[Put("{cgroup}", "0")],
        effect: Effect::OutsideGroup,
    },
    device(
        "release-agent",
        "names a program that the host runs when a control group empties (CVE-2022-0492)",
        &[Open("{release-agent}", 1)],
        "{release-agent}",
    ),
    Attack {
        name: "device-kmsg",
        tries: "opens the kernel's log as a device",
        walls: &[W::FileSystem, W::Landlock, W::UserNamespace, W::Privileges],
        steps: &[Open("/dev/kmsg", 0)],
        effect: Effect::Opened("/dev/kmsg"),
    },
    device(
        "device-kvm",
        "opens the hypervisor",
        &[Open("/dev/kvm", 2)],
        "/dev/kvm",
    ),
    device(
        "device-fuse",
        "opens the door for its own file systems",
        &[Open("/dev/fuse", 2)],
        "/dev/fuse",
    ),
    device(
        "device-tun",
        "opens the door for its own network interfaces",
        &[Open("/dev/net/tun", 2)],
        "/dev/net/tun",
    ),
    device(
        "device-loop",
        "opens a block device of the host",
        &[Open("/dev/loop-control", 2)],
        "/dev/loop-control",
    ),
];
