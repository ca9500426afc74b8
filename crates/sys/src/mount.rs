//! Detached mounts: made, restricted, then attached where they belong.
//!
//! Only the new mount interface (`open_tree`, `fsopen`, `mount_setattr`, `move_mount`), because it works
//! on descriptors: what is attached is what was opened, whatever a path means by then.
//! INVARIANT: every tree that leaves [`Tree::open`] is `nosuid` and `nodev`.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Whether a tree can be written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Every write fails with EROFS.
    Refused,
    /// As the files' own permissions say.
    Allowed,
}

/// Whether device nodes in a tree work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// They do not.
    Refused,
    /// They do: for the few of a private /dev.
    Allowed,
}

/// A mount that is attached nowhere yet.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// A copy of what is mounted at `path` and below, restricted before anyone can see it.
    /// A final symbolic link is not followed.
    pub fn open(path: &Path, writing: Writing, devices: Devices) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let tree = Self(rustix::mount::open_tree(CWD, path, flags)?);
        let mut set = MOUNT_ATTR_NOSUID;
        if writing == Writing::Refused {
            set |= MOUNT_ATTR_RDONLY;
        }
        if devices == Devices::Refused {
            set |= MOUNT_ATTR_NODEV;
        }
        set_attributes(tree.as_fd(), set, None, libc::AT_RECURSIVE)?;
        Ok(tree)
    }

    /// Shows the files of this tree through the id map of a user namespace. Fails where the file
    /// system does not support it.
    pub fn map_ids(&self, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
        set_attributes(
            self.as_fd(),
            MOUNT_ATTR_IDMAP,
            Some(user_namespace),
            libc::AT_RECURSIVE,
        )
    }

    /// A new file system of this type, `nosuid` and `nodev`, with these options.
    pub fn new(kind: &str, options: &[(&str, &str)], noexec: bool) -> io::Result<Self> {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
        rustix::mount::fsconfig_create(context.as_fd())?;
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        if noexec {
            attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
        }
        let fd =
            rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok(Self(fd))
    }

    /// Attaches at the directory or file of an `O_PATH` descriptor.
    pub fn attach(&self, place: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(
            self.as_fd(),
            "",
            place,
            "",
            flags,
        )?)
    }

    /// Whether the top of this tree is a directory.
    pub fn is_directory(&self) -> io::Result<bool> {
        let status = rustix::fs::fstat(&self.0)?;
        Ok(rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir())
    }

    /// Makes the top mount of this tree read-only, those below stay as they are.
    pub fn seal(&self) -> io::Result<()> {
        set_attributes(self.as_fd(), MOUNT_ATTR_RDONLY, None, 0)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_attributes(
    tree: BorrowedFd<'_>,
    set: u64,
    user_namespace: Option<BorrowedFd<'_>>,
    flags: i32,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: `attributes` is a valid mount_attr of the size given; the path is an empty
    // NUL-terminated text, which AT_EMPTY_PATH turns into the descriptor itself.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    crate::spawn::check(result)
}

/// Cuts the propagation of mounts between this mount namespace and the one it was copied from.
pub fn make_private() -> io::Result<()> {
    use rustix::mount::MountPropagationFlags as Flags;
    Ok(rustix::mount::mount_change(
        "/",
        Flags::PRIVATE | Flags::REC,
    )?)
}

/// Opens a path below a directory that we made, as a place to attach to. Symbolic links are
/// refused on the way: a link in a mounted tree must not move the next mount elsewhere.
pub fn place(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    Ok(rustix::fs::openat2(
        root,
        relative,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// What a place to attach to must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// For a directory.
    Directory,
    /// For anything else.
    File,
}

/// Like [`place`], making what is missing on the way (directories 0755, files 0644).
pub fn make_place(root: BorrowedFd<'_>, path: &Path, kind: PlaceKind) -> io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let mut parts = relative.components().peekable();
    let through = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let mut here = rustix::fs::openat(root, ".", through, Mode::empty())?;
    while let Some(part) = parts.next() {
        let std::path::Component::Normal(name) = part else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        if parts.peek().is_none() && kind == PlaceKind::File {
            let make = OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::WRONLY;
            match rustix::fs::openat(&here, name, make, Mode::from_raw_mode(0o644)) {
                Ok(_) | Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
            break;
        }
        match rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755)) {
            Ok(())
            | Err(rustix::io::Errno::EXIST | rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS) =>
                {}
            Err(error) => return Err(error.into()),
        }
        here = rustix::fs::openat(&here, name, through, Mode::empty())?;
    }
    place(root, path)
}

/// Attaches the coming root over a directory that every Linux has, only to have it attached: a
/// detached tree cannot be pivoted into. Then makes it the working directory.
pub fn attach_as_working_root(root: &Tree) -> io::Result<()> {
    let over = rustix::fs::openat(CWD, "/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    root.attach(over.as_fd())?;
    Ok(rustix::process::fchdir(root)?)
}

/// Makes `root` the root of this mount namespace and lets go of everything else.
pub fn pivot_into(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // pivot_root(".", ".") stacks the old root on the new one, from where it is detached; no
    // directory for it is needed (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_never_reached_through_a_symbolic_link() {
        let folder = tempfile_dir();
        std::fs::create_dir(folder.join("real")).unwrap();
        std::os::unix::fs::symlink("real", folder.join("link")).unwrap();
        let root = std::fs::File::open(&folder).unwrap();
        assert!(place(root.as_fd(), Path::new("/real")).is_ok());
        assert!(place(root.as_fd(), Path::new("/link")).is_err());
        assert!(place(root.as_fd(), Path::new("/../etc")).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn tempfile_dir() -> std::path::PathBuf {
        let name = format!("ringfence-sys-mount-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
