//! Mounts, namespaces and the shape of the file system (research list 15 to 17).

use super::HERE;
use crate::attack::Arg::{B, N, Prev, S};
use crate::attack::Attack;
use crate::attack::Step::{Call, CloneUser, Handle, Open};
use crate::attack::effect::Effect;
use crate::weakness::Weakness as W;
use ringfence_sys::attack::Syscall as C;

const SHAPE: &[W] = &[W::Seccomp, W::Privileges, W::Landlock];
const USERS: &[W] = &[W::Seccomp, W::NoFurtherUsers];

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "mount-tmpfs",
        tries: "mounts a file system over /tmp",
        walls: SHAPE,
        steps: &[Call(
            C::Mount,
            &[S("none"), S("/tmp"), S("tmpfs"), N(0), N(0)],
        )],
        effect: Effect::Mounts,
    },
    Attack {
        name: "mount-bind",
        tries: "binds a directory over another",
        walls: SHAPE,
        steps: &[Call(C::Mount, &[S("/usr"), S("/tmp"), N(0), N(4096), N(0)])],
        effect: Effect::Mounts,
    },
    Attack {
        name: "mount-remount",
        tries: "makes /usr writable",
        walls: SHAPE,
        steps: &[Call(C::Mount, &[N(0), S("/usr"), N(0), N(4096 | 32), N(0)])],
        effect: Effect::Mounts,
    },
    Attack {
        name: "mount-proc",
        tries: "mounts a /proc without masks",
        walls: &[W::Seccomp, W::Privileges, W::Landlock, W::Masks],
        steps: &[Call(
            C::Mount,
            &[S("none"), S("/tmp"), S("proc"), N(0), N(0)],
        )],
        effect: Effect::Mounts,
    },
    Attack {
        name: "mount-cgroup",
        tries: "mounts the control groups",
        walls: SHAPE,
        steps: &[Call(
            C::Mount,
            &[S("none"), S("/tmp"), S("cgroup2"), N(0), N(0)],
        )],
        effect: Effect::Mounts,
    },
    Attack {
        name: "umount-mask",
        tries: "takes the mask from /proc/sys",
        walls: SHAPE,
        steps: &[Call(C::Umount, &[S("/proc/sys"), N(2)])],
        effect: Effect::Mounts,
    },
    Attack {
        name: "mount-setattr",
        tries: "makes /usr writable by the new interface",
        walls: SHAPE,
        steps: &[Call(
            C::MountSetattr,
            &[
                N(HERE),
                S("/usr"),
                N(0),
                B(&[0, 0, 0, 0, 0, 0, 0, 0, 1]),
                N(32),
            ],
        )],
        effect: Effect::Mounts,
    },
    Attack {
        name: "open-tree",
        tries: "takes a copy of a mount, to be attached elsewhere",
        walls: SHAPE,
        steps: &[Call(C::OpenTree, &[N(HERE), S("/usr"), N(1)])],
        effect: Effect::Descriptor("/"),
    },
    Attack {
        name: "fsopen",
        tries: "makes a file system that is attached nowhere",
        walls: SHAPE,
        steps: &[Call(C::Fsopen, &[S("tmpfs"), N(0)])],
        effect: Effect::Descriptor("anon_inode:[fscontext]"),
    },
    Attack {
        name: "fspick",
        tries: "reconfigures the file system of /tmp",
        walls: SHAPE,
        steps: &[Call(C::Fspick, &[N(HERE), S("/tmp"), N(0)])],
        effect: Effect::Descriptor("anon_inode:[fscontext]"),
    },
    Attack {
        name: "chroot",
        tries: "moves its root, the first half of an escape from it",
        walls: &[W::Seccomp, W::Privileges],
        steps: &[Call(C::Chroot, &[S("/tmp")])],
        effect: Effect::Root,
    },
    Attack {
        name: "open-by-handle",
        tries: "opens a file without a path, as the `shocker` attack does",
        walls: &[W::Seccomp, W::UserNamespace, W::Privileges, W::Landlock],
        steps: &[Handle("/tmp")],
        effect: Effect::Descriptor("/tmp"),
    },
    Attack {
        name: "unshare-user",
        tries: "leaves into a user namespace, where it has every capability",
        walls: USERS,
        steps: &[Call(C::Unshare, &[N(0x1000_0000)])],
        effect: Effect::Namespace("user"),
    },
    Attack {
        name: "unshare-mount",
        tries: "leaves into a user and a mount namespace",
        walls: USERS,
        steps: &[Call(C::Unshare, &[N(0x1002_0000)])],
        effect: Effect::Namespace("mnt"),
    },
    Attack {
        name: "unshare-network",
        tries: "leaves into a user and a network namespace, to reach nf_tables",
        walls: USERS,
        steps: &[Call(C::Unshare, &[N(0x5000_0000)])],
        effect: Effect::Namespace("net"),
    },
    Attack {
        name: "clone-user",
        tries: "starts a child in a user namespace by clone",
        walls: USERS,
        steps: &[CloneUser { third: false }],
        effect: Effect::Namespace("user"),
    },
    Attack {
        name: "clone3-user",
        tries: "starts a child in a user namespace by clone3, whose flags no filter sees",
        walls: USERS,
        steps: &[CloneUser { third: true }],
        effect: Effect::Namespace("user"),
    },
    Attack {
        name: "setns",
        tries: "enters a namespace of a process of the host",
        walls: &[
            W::Seccomp,
            W::PidNamespace,
            W::UserNamespace,
            W::Privileges,
            W::Landlock,
            W::UtsNamespace,
        ],
        steps: &[
            Open("/proc/{victim}/ns/mnt", 0),
            Call(C::Setns, &[Prev, N(0)]),
        ],
        effect: Effect::Namespace("mnt"),
    },
];
