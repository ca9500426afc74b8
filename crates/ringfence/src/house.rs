//! The house on this machine: which users the roles run as, which folders and sockets they have,
//! and which project a state directory was last started for.

use ringfence_core::error::{ErrorCode, Explained};
use ringfence_sandbox::supervisor::{RoleCommand, StateDirectory, StateSocket, SupervisorConfig};
use ringfence_sys::process::{Identity, is_root};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The recorder's own user, when started by root.
pub(crate) const RECORDER: Identity = Identity {
    uid: 65_101,
    gid: 65_101,
};
/// The server's own user, when started by root.
pub(crate) const SERVER: Identity = Identity {
    uid: 65_102,
    gid: 65_102,
};
/// Where `up` notes which folder it was last started for.
const FOLDER_FILE: &str = "folder";
/// LIMIT: octets of that note.
const FOLDER_BYTES_MAX: u64 = 4096;

/// The state directory, opened; made if it is missing, refused if it is somebody else's. Nothing in
/// it is written before this: root must not follow what another user put there.
pub(crate) fn open(state: &Path) -> Result<OwnedFd, Explained> {
    let refuse = |why: String| {
        Explained::new(
            ErrorCode("config/state-directory"),
            format!("{} cannot be the state directory", state.display()),
            "name another: --state DIR",
        )
        .because(why)
    };
    std::fs::create_dir_all(state).map_err(|e| refuse(e.to_string()))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder =
        rustix::fs::open(state, flags, Mode::empty()).map_err(|e| refuse(e.to_string()))?;
    let found = fstat(&folder).map_err(|e| refuse(e.to_string()))?;
    if found.st_uid != ringfence_sys::process::own_uid() {
        return Err(refuse(format!("it belongs to user {}", found.st_uid)));
    }
    Ok(folder)
}

/// Makes a file of the state directory anew, for its owner only: an old one is removed, never
/// followed or reused.
pub(crate) fn create(state: &Path, name: &str) -> Result<File, Explained> {
    let refuse = |e: rustix::io::Errno| {
        Explained::new(
            ErrorCode("config/state-directory"),
            format!("{} cannot be written", state.join(name).display()),
            "name another: --state DIR",
        )
        .because(e)
    };
    let folder = open(state)?;
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(refuse(error)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    openat(&folder, name, flags, mode)
        .map(File::from)
        .map_err(refuse)
}

/// Notes the folder of a start.
pub(crate) fn note(state: &Path, folder: &Path) -> Result<(), Explained> {
    let mut file = create(state, FOLDER_FILE)?;
    file.write_all(folder.as_os_str().as_encoded_bytes())
        .map_err(|e| {
            Explained::new(
                ErrorCode("config/state-directory"),
                format!("{} cannot be written", state.display()),
                "name another: --state DIR",
            )
            .because(e)
        })
}

/// The folder of the last start, if there was one.
pub(crate) fn noted(state: &Path) -> Option<PathBuf> {
    let mut text = String::new();
    File::open(state.join(FOLDER_FILE))
        .ok()?
        .take(FOLDER_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    let folder = PathBuf::from(text);
    folder.is_absolute().then_some(folder)
}

/// Refuses a state directory that the roles' own users could not walk to.
pub(crate) fn reachable(state: &Path) -> Result<(), Explained> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS_PASS: u32 = 0o001;
    if !is_root() {
        return Ok(());
    }
    let closed = state.ancestors().skip(1).find(|folder| {
        std::fs::metadata(folder).is_ok_and(|m| m.permissions().mode() & OTHERS_PASS == 0)
    });
    match closed {
        None => Ok(()),
        Some(folder) => Err(Explained::new(
            ErrorCode("config/state-unreachable"),
            format!("{} lets no other user pass", folder.display()),
            "name another place with --state DIR: recorder and server run as users of their own \
             and must be able to walk to the state directory",
        )),
    }
}

/// Folders and sockets of a state directory, with their owners.
pub(crate) fn directories(config: &mut SupervisorConfig) {
    let owner = |identity: Identity| is_root().then_some(identity);
    config.directories = vec![
        StateDirectory {
            name: "record".into(),
            owner: owner(RECORDER),
        },
        StateDirectory {
            name: "server".into(),
            owner: owner(SERVER),
        },
    ];
    config.sockets = vec![StateSocket {
        name: "recorder.sock".into(),
        connects: owner(SERVER),
        role: "recorder".to_owned(),
        fd_name: "recorder-socket".to_owned(),
    }];
}

/// The recorder, which only the server may speak to.
pub(crate) fn recorder_role(state: &Path, accept_weaker: bool) -> RoleCommand {
    let client = if is_root() {
        SERVER.uid
    } else {
        ringfence_sys::process::own_uid()
    };
    let mut args: Vec<OsString> = vec![
        "--dir".into(),
        state.join("record").into(),
        "--client-uid".into(),
        client.to_string().into(),
    ];
    if accept_weaker {
        args.push("--accept-weaker".into());
    }
    RoleCommand {
        name: "recorder".to_owned(),
        args,
        identity: is_root().then_some(RECORDER),
        fds: Vec::new(),
        restart: true,
        channel: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_state_directory_behind_a_closed_folder_is_refused_to_root() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let open = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), permissions).unwrap();
        };
        open(0o755);
        assert_eq!(reachable(&state), Ok(()));
        open(0o700);
        let refused = reachable(&state).err().map(|e| e.code);
        assert_eq!(
            refused.as_deref(),
            is_root().then_some("config/state-unreachable")
        );
    }

    #[test]
    fn a_link_in_the_state_directory_is_replaced_and_its_target_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("precious");
        std::fs::write(&target, "untouched").unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&target, state.join("folder")).unwrap();
        // The attack, where links are followed:
        let naive = dir.path().join("copy");
        std::fs::write(&naive, "untouched").unwrap();
        std::os::unix::fs::symlink(&naive, state.join("followed")).unwrap();
        std::fs::write(state.join("followed"), "/srv/x").unwrap();
        assert_eq!(std::fs::read_to_string(&naive).unwrap(), "/srv/x");
        // And with the control:
        note(&state, Path::new("/srv/x")).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "untouched");
        assert_eq!(noted(&state), Some(PathBuf::from("/srv/x")));
    }

    #[test]
    fn only_an_absolute_folder_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(noted(dir.path()), None);
        note(dir.path(), Path::new("/srv/assistant")).unwrap();
        assert_eq!(noted(dir.path()), Some(PathBuf::from("/srv/assistant")));
        note(dir.path(), Path::new("relative")).unwrap();
        assert_eq!(noted(dir.path()), None);
    }
}
