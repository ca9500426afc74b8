//! Other processes, privileges, and the sandbox's own init (research list 7, 8, 12, 20, 28, 39).

use super::HERE;
use crate::attack::Arg::{B, Fact, N, Parent, Prev, S};
use crate::attack::Attack;
use crate::attack::Step::{Call, Create, Daemon, Open, Show, VictimMemory};
use crate::attack::effect::Effect;
use crate::weakness::Weakness as W;
use ringfence_sys::attack::Syscall as C;

/// What keeps a process of the host apart.
const APART: &[W] = &[
    W::PidNamespace,
    W::UserNamespace,
    W::Privileges,
    W::Landlock,
    W::Seccomp,
];

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "kill-host",
        tries: "kills a process of the host",
        walls: &[W::PidNamespace, W::UserNamespace, W::Landlock],
        steps: &[Call(C::Kill, &[Fact("victim"), N(9)])],
        effect: Effect::VictimGone,
    },
    Attack {
        name: "ptrace-host",
        tries: "traces a process of the host",
        walls: APART,
        steps: &[Call(C::Ptrace, &[N(0x4206), Fact("victim"), N(0), N(0)])],
        effect: Effect::VictimTraced,
    },
    Attack {
        name: "read-host-memory",
        tries: "reads the memory of a process of the host",
        walls: APART,
        steps: &[VictimMemory],
        effect: Effect::Secret,
    },
    Attack {
        name: "open-host-memory",
        tries: "opens the memory of a process of the host as a file",
        walls: APART,
        steps: &[Open("/proc/{victim}/mem", 0)],
        effect: Effect::Opened("/proc/{victim}/mem"),
    },
    Attack {
        name: "steal-descriptor",
        tries: "takes an open file from a process of the host",
        walls: APART,
        steps: &[
            Call(C::PidfdOpen, &[Fact("victim"), N(0)]),
            Call(C::PidfdGetfd, &[Prev, N(0), N(0)]),
        ],
        effect: Effect::Descriptor("{private}"),
    },
    Attack {
        name: "read-environment",
        tries: "reads the environment of a process of the host",
        walls: &[
            W::PidNamespace,
            W::UserNamespace,
            W::Privileges,
            W::Landlock,
        ],
        steps: &[Show("/proc/{victim}/environ")],
        effect: Effect::Secret,
    },
    Attack {
        name: "stop-init",
        tries: "stops the sandbox's own init",
        walls: &[W::PidNamespace, W::UserNamespace],
        steps: &[Call(C::Kill, &[Parent, N(19)])],
        effect: Effect::InitStopped,
    },
    Attack {
        name: "open-init-memory",
        tries: "opens the memory of the init as a file",
        walls: &[W::Concealment],
        steps: &[Open("/proc/1/mem", 0)],
        effect: Effect::Opened("/proc/1/mem"),
    },
    Attack {
        name: "steal-from-init",
        tries: "takes an open file from the init",
        walls: &[W::Seccomp, W::Concealment],
        steps: &[
            Call(C::PidfdOpen, &[Parent, N(0)]),
            Call(C::PidfdGetfd, &[Prev, N(0), N(0)]),
        ],
        effect: Effect::Descriptor("/dev/null"),
    },
    Attack {
        name: "limit-init",
        tries: "takes the init's descriptors away",
        walls: &[W::Seccomp],
        steps: &[Call(
            C::Prlimit,
            &[Parent, N(7), B(&[64, 0, 0, 0, 0, 0, 0, 0, 64]), N(0)],
        )],
        effect: Effect::InitLimited(64),
    },
    Attack {
        name: "starve-init",
        tries: "gives the init the lowest priority",
        walls: &[W::Seccomp],
        steps: &[Call(C::SchedSetscheduler, &[Parent, N(5), B(&[0])])],
        effect: Effect::InitPolicy(5),
    },
    Attack {
        name: "outlive",
        tries: "leaves a child behind in a session of its own",
        walls: &[W::PidNamespace, W::UserNamespace],
        steps: &[Daemon],
        effect: Effect::Survivor,
    },
    Attack {
        name: "raise-capability",
        tries: "takes the capability to administrate",
        walls: &[W::Privileges],
        steps: &[Call(
            C::Capset,
            // Version 3; then effective, permitted and inheritable: CAP_SYS_ADMIN, bit 21.
            &[
                B(&[0x22, 0x05, 0x08, 0x20]),
                B(&[0, 0, 0x20, 0, 0, 0, 0x20, 0, 0, 0, 0x20, 0]),
            ],
        )],
        effect: Effect::Capable,
    },
    Attack {
        name: "change-user",
        tries: "becomes another user",
        walls: &[W::UserNamespace, W::Privileges],
        steps: &[Call(C::Setresuid, &[N(1), N(1), N(1)])],
        effect: Effect::OtherUser,
    },
    Attack {
        name: "set-id-file",
        tries: "leaves a set-user-id file for the host",
        walls: &[W::Seccomp],
        steps: &[
            Create("{out}/set-id"),
            Call(C::Fchmodat, &[N(HERE), S("{out}/set-id"), N(0o4755)]),
        ],
        effect: Effect::SetId("set-id"),
    },
    Attack {
        name: "device-node",
        tries: "leaves a node of the host's memory",
        walls: &[W::UserNamespace, W::Privileges],
        steps: &[Call(
            C::Mknodat,
            &[N(HERE), S("{out}/device"), N(0o20_666), N(0x101)],
        )],
        effect: Effect::Device("device"),
    },
    Attack {
        name: "personality",
        tries: "takes chance out of the address layout of what it starts",
        walls: &[W::Seccomp],
        steps: &[Call(C::Personality, &[N(0x0004_0000)])],
        effect: Effect::Personality,
    },
    Attack {
        name: "priority",
        tries: "takes precedence over everything else on the host",
        walls: &[W::UserNamespace, W::Privileges],
        steps: &[Call(C::Setpriority, &[N(0), N(0), N(-20)])],
        effect: Effect::Nice(-20),
    },
];
