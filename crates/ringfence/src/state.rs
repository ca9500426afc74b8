//! Where the state directory is: the only place that asks the environment.
//!
//! | variable | meaning |
//! |---|---|
//! | `XDG_STATE_HOME` | parent of the state directory of a user who is not root |
//! | `HOME` | used when `XDG_STATE_HOME` is not set |

use ringfence_core::error::{ErrorCode, Explained};
use std::path::PathBuf;

/// The state directory: the flag, else root's, else the user's.
pub(crate) fn directory(flag: Option<PathBuf>) -> Result<PathBuf, Explained> {
    let dir = match flag {
        Some(dir) => dir,
        None if ringfence_sys::process::is_root() => PathBuf::from("/var/lib/ringfence"),
        None => std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state")))
            .map(|parent| parent.join("ringfence"))
            .ok_or_else(|| {
                Explained::new(
                    ErrorCode("config/no-state-directory"),
                    "neither XDG_STATE_HOME nor HOME is set",
                    "say where: --state DIR",
                )
            })?,
    };
    std::path::absolute(&dir).map_err(|e| {
        Explained::new(
            ErrorCode("config/no-state-directory"),
            format!("{} cannot be made absolute", dir.display()),
            "say where: --state DIR",
        )
        .because(e)
    })
}
