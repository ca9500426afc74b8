//! Using up the host (research list 1 to 5, 46).

use crate::attack::Arg::{B, N};
use crate::attack::Attack;
use crate::attack::Step::{
    Call, Descriptors, Files, Fill, Forks, Lock, Memory, MemoryFile, Spin, Threads,
};
use crate::attack::effect::Effect;
use crate::attack::stage::{FILES, MEMORY_MIB, PROCESSES, TMP_MIB};
use crate::weakness::Weakness as W;
use ringfence_sys::attack::Syscall as C;
use ringfence_sys::rlimit;

const LIMITS: &[W] = &[W::Limits];
const RLIMITS: &[W] = &[W::Rlimits];
const TOO_MUCH_MIB: usize = MEMORY_MIB + 12;
const TOO_MANY: u32 = PROCESSES + 8;
#[expect(
    clippy::cast_possible_truncation,
    reason = "a few thousand descriptors"
)]
const TOO_MANY_FILES: u32 = rlimit::OPEN_FILES.1 as u32 + 64;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "fork-bomb",
        tries: "starts more processes than it may",
        walls: LIMITS,
        steps: &[Forks(TOO_MANY)],
        effect: Effect::Processes,
    },
    Attack {
        name: "thread-bomb",
        tries: "starts more threads than it may",
        walls: LIMITS,
        steps: &[Threads(TOO_MANY)],
        effect: Effect::Processes,
    },
    Attack {
        name: "memory-bomb",
        tries: "takes more memory than it may",
        walls: LIMITS,
        steps: &[Memory(TOO_MUCH_MIB)],
        effect: Effect::Memory,
    },
    Attack {
        name: "memory-bomb-memfd",
        tries: "takes more memory than it may, in an anonymous file",
        walls: LIMITS,
        steps: &[MemoryFile(TOO_MUCH_MIB)],
        effect: Effect::Memory,
    },
    Attack {
        name: "memory-bomb-shm",
        tries: "takes more memory than it may, in /dev/shm",
        walls: LIMITS,
        steps: &[Fill("/dev/shm/fill", TOO_MUCH_MIB)],
        effect: Effect::Memory,
    },
    Attack {
        name: "processor",
        tries: "takes more of a processor than it may",
        walls: LIMITS,
        steps: &[Spin(200)],
        effect: Effect::Processor,
    },
    Attack {
        name: "fill-disk",
        tries: "writes more than its scratch space holds",
        walls: &[W::Quota],
        steps: &[Fill("/tmp/fill", TMP_MIB * 2)],
        effect: Effect::Size("tmp/fill"),
    },
    Attack {
        name: "fill-inodes",
        tries: "makes more files than its scratch space holds",
        walls: &[W::Quota],
        steps: &[Files("/tmp/files", FILES + 64)],
        effect: Effect::Files("tmp/files"),
    },
    Attack {
        name: "descriptors",
        tries: "opens more files than it may",
        walls: RLIMITS,
        steps: &[Descriptors(TOO_MANY_FILES)],
        effect: Effect::OpenFiles,
    },
    Attack {
        name: "lock-memory",
        tries: "locks memory that the host then cannot take back",
        walls: RLIMITS,
        steps: &[Lock],
        effect: Effect::Locked,
    },
    Attack {
        name: "core-dump",
        tries: "allows itself core dumps, whose handler runs on the host",
        walls: &[W::Rlimits, W::Concealment],
        steps: &[Call(C::Prlimit, &[N(0), N(4), B(&[0xff; 16]), N(0)])],
        effect: Effect::CoreDumps,
    },
];
