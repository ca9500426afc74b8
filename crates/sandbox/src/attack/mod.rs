//! The attack suite: every wall, attacked as a hostile program would, judged from the host.
//!
//! An attack is data: steps, the effect that would prove it, and the walls that hold it. The same
//! steps are made by a native program ([`native`]) and by a generated Python program ([`python`]).
//! Each runs twice, in a sandbox as every other and in one that lacks exactly the walls it names
//! ([`suite`]). The host looks for the effect ([`effect`]) on a stage of its own ([`stage`]), where
//! a wall that fails does no harm.
//! INVARIANT: an attack holds only if its effect is absent with the walls and present without them.

mod effect;
mod hearing;
mod list;
pub mod native;
mod python;
mod stage;
pub mod suite;

use crate::weakness::Weakness;
use effect::Effect;
use ringfence_sys::attack::Syscall;
use std::collections::BTreeMap;

pub use list::all;
pub use suite::{Report, Row, Verdict, run};

/// What an attack is told about the stage: paths and numbers, by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// One way to break out.
#[derive(Debug)]
pub struct Attack {
    /// As in tables, and for `--only`.
    pub name: &'static str,
    /// What it tries, in words.
    pub tries: &'static str,
    /// The walls that hold it: without them it must succeed.
    pub(crate) walls: &'static [Weakness],
    pub(crate) steps: &'static [Step],
    pub(crate) effect: Effect,
}

impl Attack {
    /// The walls that hold it, by name.
    pub fn walls(&self) -> Vec<&'static str> {
        self.walls.iter().map(|w| w.as_str()).collect()
    }
}

/// The walls that can be left out, by name and in words.
pub fn weaknesses() -> impl Iterator<Item = (&'static str, &'static str)> {
    Weakness::ALL.iter().map(|w| (w.as_str(), w.what()))
}

/// What an attack is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// This binary: raw system calls, assembly where it matters.
    Native,
    /// The system's `python3`.
    Python,
}

/// One argument of a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg {
    /// A number.
    N(i64),
    /// A text with `{facts}`, ended by NUL.
    S(&'static str),
    /// Octets, padded with zeros.
    B(&'static [u8]),
    /// A buffer of this size, printed once the kernel has filled it.
    Out(usize),
    /// What the step before returned.
    Prev,
    /// A number among the facts.
    Fact(&'static str),
    /// The number of the parent process.
    Parent,
}

/// One thing that an attack does. The first step that fails ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A system call.
    Call(Syscall, &'static [Arg]),
    /// Prints a file.
    Show(&'static str),
    /// Writes a text to a file that exists.
    Put(&'static str, &'static str),
    /// Makes a file, and the directories above it.
    Create(&'static str),
    /// Opens a file and keeps it open; the flags are those of open(2).
    Open(&'static str, i32),
    /// Connects and sends the token.
    Tcp(&'static str),
    /// Sends the token as a datagram.
    Udp(&'static str),
    /// Connects to a Unix socket, abstract if its name starts with `@`, and sends the token.
    Unix(&'static str),
    /// Prints the victim's environment out of its memory.
    VictimMemory,
    /// Prints the first octets of a System V segment.
    SharedMemory,
    /// Tries every inherited descriptor as a way to the host's root, and prints this file of it.
    Leaked(&'static str),
    /// Takes the handle of a directory and opens it again without a path.
    Handle(&'static str),
    /// A child in a new user namespace, by clone or clone3.
    CloneUser {
        /// By clone3.
        third: bool,
    },
    /// A system call through the 32-bit gate.
    Int80,
    /// A system call with the x32 numbering.
    X32,
    /// So many children that wait.
    Forks(u32),
    /// So many threads that wait.
    Threads(u32),
    /// So many mebibytes of anonymous memory.
    Memory(usize),
    /// So many mebibytes in an anonymous file.
    MemoryFile(usize),
    /// So many mebibytes in this file.
    Fill(&'static str, usize),
    /// So many empty files below this directory.
    Files(&'static str, u32),
    /// So many open descriptors, the limit raised as far as it goes.
    Descriptors(u32),
    /// One mebibyte locked in memory.
    Lock,
    /// So many milliseconds of processor time.
    Spin(u64),
    /// A child of a child in a session of its own; the program then ends.
    Daemon,
}

/// Replaces `{name}` by the fact of that name; `None` if there is none.
pub(crate) fn fill(text: &str, facts: &Facts) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}')?;
        filled.push_str(before);
        filled.push_str(facts.get(name)?);
        rest = behind;
    }
    filled.push_str(rest);
    Some(filled)
}

/// What an attack program prints when all its steps were made.
pub(crate) const MADE: &str = "ringfence-attack made";
/// What it prints when one was refused, before the error and the step.
pub(crate) const REFUSED: &str = "ringfence-attack refused";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weakness::Weakness as W;

    #[test]
    fn facts_are_filled_in_and_a_missing_one_is_no_text() {
        let facts = Facts::from([("out".to_owned(), "/out".to_owned())]);
        assert_eq!(fill("{out}/a", &facts).as_deref(), Some("/out/a"));
        assert_eq!(fill("/proc", &facts).as_deref(), Some("/proc"));
        assert_eq!(fill("{victim}", &facts), None);
        assert_eq!(fill("{out", &facts), None);
    }

    #[test]
    fn there_are_at_least_sixty_attacks_with_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = all().map(|a| a.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.len() >= 60, "{}", names.len());
    }

    #[test]
    fn every_attack_names_walls_and_leaves_one_that_an_attack_program_can_see() {
        // Outside of a sandbox the programs refuse to run; see `native::inside`.
        let seen = [W::UserNamespace, W::PidNamespace, W::FileSystem];
        for attack in all() {
            assert!(
                !attack.walls.is_empty() && !attack.steps.is_empty(),
                "{}",
                attack.name
            );
            assert!(
                seen.iter().any(|w| !attack.walls.contains(w)),
                "{}",
                attack.name
            );
        }
    }
}
