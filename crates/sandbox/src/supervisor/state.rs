//! The state directory: made with exactly the owners and modes it should have, or refused.
//!
//! The supervisor may be root and the directory may be old, so nothing is trusted: links are not
//! followed, and a directory of another owner is not taken over.

use super::error::SupervisorError;
use ringfence_sys::process::Identity;
use rustix::fs::{AtFlags, Mode, OFlags, chownat, fchmod, fchown, fstat, mkdirat, open, openat};
use rustix::fs::{Gid, Uid, chmodat, unlinkat};
use rustix::process::geteuid;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};

/// A directory below the state directory, with its one owner.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    /// Its name: one component.
    pub name: PathBuf,
    /// Whose it is; `None` is the supervisor's own user.
    pub owner: Option<Identity>,
}

/// A listening Unix socket that the supervisor makes for a role and keeps over its restarts, so
/// that a client that connects meanwhile waits instead of failing.
#[derive(Clone, Debug)]
pub struct StateSocket {
    /// Its file name in the state directory: one component.
    pub name: PathBuf,
    /// Who may connect: the owner of the file, mode 0600. `None` is the supervisor's own user.
    pub connects: Option<Identity>,
    /// The role that gets it.
    pub role: String,
    /// Under which descriptor name.
    pub fd_name: String,
}

/// Makes the state directory itself. With roles of their own users they must be able to pass
/// through it, but not to list it.
pub(super) fn prepare_root(path: &Path, shared: bool) -> Result<OwnedFd, SupervisorError> {
    std::fs::create_dir_all(path).map_err(|e| state(path, &e))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = open(path, flags, Mode::empty()).map_err(|e| state(path, &e))?;
    let mode = if shared { 0o711 } else { 0o700 };
    settle(&fd, path, None, mode)?;
    Ok(fd)
}

/// Makes one directory, 0700 for its owner.
pub(super) fn prepare_directory(
    root: &OwnedFd,
    root_path: &Path,
    directory: &StateDirectory,
) -> Result<(), SupervisorError> {
    let path = root_path.join(&directory.name);
    one_component(&directory.name, &path)?;
    match mkdirat(root, &directory.name, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(state(&path, &error)),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(root, &directory.name, flags, Mode::empty()).map_err(|e| state(&path, &e))?;
    settle(&fd, &path, directory.owner, 0o700)
}

/// Binds a socket of a role, 0600 for who connects.
pub(super) fn prepare_socket(
    root: &OwnedFd,
    root_path: &Path,
    socket: &StateSocket,
) -> Result<OwnedFd, SupervisorError> {
    let path = root_path.join(&socket.name);
    one_component(&socket.name, &path)?;
    match unlinkat(root, &socket.name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(state(&path, &error)),
    }
    let listener = UnixListener::bind(&path).map_err(|e| state(&path, &e))?;
    chmodat(
        root,
        &socket.name,
        Mode::RUSR | Mode::WUSR,
        AtFlags::empty(),
    )
    .map_err(|e| state(&path, &e))?;
    if let Some(who) = socket.connects {
        let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
        chownat(
            root,
            &socket.name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|e| state(&path, &e))?;
    }
    Ok(listener.into())
}

/// Gives an open directory its owner and mode, unless it belongs to a third party.
fn settle(
    fd: impl AsFd,
    path: &Path,
    owner: Option<Identity>,
    mode: u32,
) -> Result<(), SupervisorError> {
    let found = fstat(&fd).map_err(|e| state(path, &e))?;
    let own = geteuid().as_raw();
    let wanted = owner.map_or(own, |o| o.uid);
    if found.st_uid != own && found.st_uid != wanted {
        let what = format!("it belongs to user {}, not to {wanted}", found.st_uid);
        return Err(SupervisorError::State {
            path: path.to_owned(),
            what,
        });
    }
    if let Some(who) = owner {
        let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
        fchown(&fd, Some(uid), Some(gid)).map_err(|e| state(path, &e))?;
    }
    fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|e| state(path, &e))
}

fn one_component(name: &Path, path: &Path) -> Result<(), SupervisorError> {
    let mut parts = name.components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(()),
        _ => Err(SupervisorError::State {
            path: path.to_owned(),
            what: "its name has more than one component".to_owned(),
        }),
    }
}

fn state(path: &Path, error: &impl std::fmt::Display) -> SupervisorError {
    SupervisorError::State {
        path: path.to_owned(),
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn directory(name: &str) -> StateDirectory {
        StateDirectory {
            name: name.into(),
            owner: None,
        }
    }

    #[test]
    fn directories_get_their_modes_and_links_are_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/state");
        let root = prepare_root(&path, true).unwrap();
        prepare_directory(&root, &path, &directory("record")).unwrap();
        prepare_directory(&root, &path, &directory("record")).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&path.join("record"))), (0o711, 0o700));
        let victim = scratch.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        symlink(&victim, path.join("server")).unwrap();
        assert!(prepare_directory(&root, &path, &directory("server")).is_err());
        for bad in ["..", "a/b", "/tmp", ""] {
            assert!(
                prepare_directory(&root, &path, &directory(bad)).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_socket_replaces_a_stale_one_and_only_its_user_may_connect() {
        let scratch = tempfile::tempdir().unwrap();
        let root = prepare_root(scratch.path(), false).unwrap();
        let socket = StateSocket {
            name: "recorder.sock".into(),
            connects: None,
            role: "recorder".to_owned(),
            fd_name: "listener".to_owned(),
        };
        drop(prepare_socket(&root, scratch.path(), &socket).unwrap());
        let _listener = prepare_socket(&root, scratch.path(), &socket).unwrap();
        let path = scratch.path().join("recorder.sock");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }
}
