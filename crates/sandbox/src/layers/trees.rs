//! The mounts of a spec, opened before the sandbox exists.

use crate::weakness::{Weakened, Weakness};
use crate::zygote::wire::Failure;
use ringfence_core::isolation::{Access, Spec};
use ringfence_sys::mount::{Devices, Tree, Writing};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A detached copy of every mount of the spec, in order, already restricted.
pub(crate) fn open(spec: &Spec, weakened: Weakened) -> Result<Vec<Tree>, Failure> {
    spec.mounts
        .iter()
        .map(|mount| {
            let writing = match mount.access {
                Access::ReadOnly if !weakened.lacks(Weakness::ReadOnly) => Writing::Refused,
                Access::ReadOnly | Access::ReadWrite => Writing::Allowed,
            };
            let step = || format!("mount {}", mount.source.display());
            let source =
                fs::symlink_metadata(&mount.source).map_err(|e| Failure::new(&step(), &e))?;
            if source.file_type().is_symlink() {
                // The link could lead elsewhere by the time it is used.
                let error = io::Error::other("a mount's source must not be a symbolic link");
                return Err(Failure::new(&step(), &error));
            }
            Tree::open(&mount.source, writing, Devices::Refused)
                .map_err(|e| Failure::new(&step(), &e))
        })
        .collect()
}

/// Owner and group of a mount's source.
pub(crate) fn owner_of(source: &Path) -> Result<(u32, u32), Failure> {
    fs::symlink_metadata(source)
        .map(|m| (m.uid(), m.gid()))
        .map_err(|e| Failure::new(&format!("mount {}", source.display()), &e))
}
