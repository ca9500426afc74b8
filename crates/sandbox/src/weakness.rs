//! Walls that the attack suite leaves out on purpose, to show that an attack succeeds without them.
//!
//! A zygote is weak from birth or never: what it leaves out stands on its command line, and no
//! message can change it. Only the suite starts one; no configuration, spec or request names a
//! weakness, so a server that is taken over cannot ask for one.
//! INVARIANT: [`Weakened::none`] is what every other caller passes.

use std::fmt;
use std::str::FromStr;

macro_rules! weaknesses {
    ($($name:ident = $text:literal, $what:literal;)+) => {
        /// One wall that is left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Weakness { $(#[doc = $what] $name,)+ }

        impl Weakness {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as in tables and on the command line of a zygote.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What is left out, in words.
            pub(crate) fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)+ }
            }
        }
    };
}

weaknesses! {
    Seccomp = "seccomp", "No system call filter.";
    Landlock = "landlock", "No Landlock domain.";
    Privileges = "privileges", "Capabilities are kept and may be gained.";
    UserNamespace = "user-namespace", "Root inside is root of the host.";
    FileSystem = "file-system", "The host's file tree instead of a private root.";
    PidNamespace = "pid-namespace", "The processes of the host.";
    NetNamespace = "net-namespace", "The network of the suite's stage.";
    IpcNamespace = "ipc-namespace", "The IPC objects of the suite's stage.";
    UtsNamespace = "uts-namespace", "The host name of the suite's stage.";
    Limits = "limits", "Control groups without limits.";
    Rlimits = "rlimits", "The resource limits of the host's root.";
    Quota = "quota", "Scratch space without limits.";
    Masks = "masks", "The whole of /proc, writable.";
    ReadOnly = "read-only", "Mounts that should be read-only can be written.";
    Keyring = "keyring", "The session keyring of the host.";
    Descriptors = "descriptors", "A directory of the host is left open.";
    Concealment = "concealment", "The init can be looked into.";
    NoFurtherUsers = "no-further-users", "User namespaces may be made inside.";
}

/// The walls that one zygote leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Weakened(u32);

impl Weakened {
    /// Every wall stands.
    pub(crate) const fn none() -> Self {
        Self(0)
    }

    /// Without these.
    pub(crate) fn without(weaknesses: &[Weakness]) -> Self {
        Self(weaknesses.iter().fold(0, |bits, w| bits | bit(*w)))
    }

    /// Whether this wall is left out.
    pub(crate) fn lacks(self, weakness: Weakness) -> bool {
        self.0 & bit(weakness) != 0
    }
}

fn bit(weakness: Weakness) -> u32 {
    1 << (weakness as u32)
}

impl fmt::Display for Weakened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Weakness::ALL
            .iter()
            .filter(|w| self.lacks(**w))
            .map(|w| w.as_str())
            .collect();
        f.write_str(&names.join("+"))
    }
}

/// A word that is no weakness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

impl FromStr for Weakened {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        text.split('+')
            .filter(|word| !word.is_empty())
            .map(|word| Weakness::ALL.iter().find(|w| w.as_str() == word).copied())
            .collect::<Option<Vec<_>>>()
            .map(|all| Self::without(&all))
            .ok_or(Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_as_it_is_written_and_an_unknown_word_is_refused() {
        for weakness in Weakness::ALL {
            let one = Weakened::without(&[*weakness]);
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        let all = Weakened::without(Weakness::ALL);
        assert_eq!(all.to_string().parse(), Ok(all));
        assert_eq!("".parse(), Ok(Weakened::none()));
        assert_eq!("seccomp+everything".parse::<Weakened>(), Err(Unknown));
    }
}
