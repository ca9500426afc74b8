//! The file system of a sandbox: a small tmpfs with the read-only system of the host, private
//! /proc, /dev and /tmp, and the mounts that were asked for.
//!
//! Nothing of the host is visible unless this file or the spec names it.
//! INVARIANT: after [`build`] the old root is attached nowhere in this mount namespace.

use crate::weakness::{Weakened, Weakness};
use crate::zygote::wire::Failure;
use ringfence_core::isolation::Spec;
use ringfence_sys::mount::{self, Devices, PlaceKind, Tree, Writing};
use ringfence_sys::ns;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

/// LIMIT: octets and files of the root itself, which programs cannot write.
const ROOT_SIZE: (&str, &str) = ("1m", "4096");
/// LIMIT: files in /tmp and in /dev/shm.
const TMP_INODES: &str = "65536";
/// LIMIT: octets of /dev/shm; they count against the memory of the sandbox too.
const SHM_SIZE: &str = "64m";

/// System directories of the host. Where the host has a link (merged /usr), so has the sandbox.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Parts of the host's /etc that programs need and that hold no secret.
const ETC: [&str; 8] = [
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ca-certificates",
    "pki",
    "localtime",
];
/// Files written by us, the same for every sandbox.
const WRITTEN: [(&str, &str); 4] = [
    (
        "passwd",
        "root:x:0:0:sandbox:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("group", "root:x:0:\nnogroup:x:65534:\n"),
    (
        "hosts",
        "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    ),
    ("hostname", "sandbox\n"),
];
/// How names are found where no door answers questions about them, and where one does.
const WITHOUT_NAMES: [(&str, &str); 2] = [
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
    ("resolv.conf", ""),
];
const WITH_NAMES: [(&str, &str); 2] = [
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
    (
        "resolv.conf",
        "nameserver 127.0.0.1\noptions attempts:1 timeout:5\n",
    ),
];
/// Where resolv.conf(5) finds a name server.
const NAMES_PORT: u16 = 53;
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// What /proc tells about the host rather than the sandbox, or lets it do to the host.
const MASKED_FILES: [&str; 10] = [
    "kcore",
    "keys",
    "key-users",
    "kallsyms",
    "kmsg",
    "timer_list",
    "sched_debug",
    "sysrq-trigger",
    "latency_stats",
    "interrupts",
];
const MASKED_DIRECTORIES: [&str; 5] = ["acpi", "scsi", "bus", "fs", "driver"];

/// A directory that exists only to be forbidden by Landlock, so that its refusal can be shown.
pub(crate) const FENCED: &str = "/.fenced";
/// Inside it, a file everyone may read as far as its permissions go.
pub(crate) const FENCED_FILE: &str = "/.fenced/probe";

/// Names the step in an error.
fn at<T>(step: &str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|e| Failure::new(step, &e))
}

/// Builds the file system and moves into it.
pub(crate) fn build(spec: &Spec, trees: &[Tree], weakened: Weakened) -> Result<(), Failure> {
    at("make mounts private", mount::make_private())?;
    let options = [
        ("size", ROOT_SIZE.0),
        ("nr_inodes", ROOT_SIZE.1),
        ("mode", "755"),
    ];
    let root = at("mount a new root", Tree::new("tmpfs", &options, false))?;
    at("attach the new root", mount::attach_as_working_root(&root))?;
    system(&root)?;
    etc(&root, spec)?;
    devices(&root)?;
    processes(&root)?;
    if !weakened.lacks(Weakness::NoFurtherUsers) && !weakened.lacks(Weakness::UserNamespace) {
        at(
            "forbid further namespaces",
            ns::forbid_further(Path::new("proc")),
        )?;
    }
    if !weakened.lacks(Weakness::Masks) {
        mask(&root)?;
    }
    let size = spec.tmp_bytes.to_string();
    let quota = if weakened.lacks(Weakness::Quota) {
        ("0", "0")
    } else {
        (size.as_str(), TMP_INODES)
    };
    scratch(&root, "tmp", quota)?;
    at(
        "make /var/tmp",
        fs::create_dir("var").and_then(|()| symlink("/tmp", "var/tmp")),
    )?;
    at("make /run", fs::create_dir("run"))?;
    let fenced = fs::create_dir("./.fenced").and_then(|()| fs::write("./.fenced/probe", "x"));
    at("make the probe file", fenced)?;
    attach_mounts(&root, spec, trees)?;
    at("seal the root", root.seal())?;
    at("enter the new root", mount::pivot_into(root.as_fd()))
}

fn attach(root: &Tree, tree: &Tree, path: &Path, kind: PlaceKind) -> Result<(), Failure> {
    let step = format!("mount at {}", path.display());
    let place = at(&step, mount::make_place(root.as_fd(), path, kind))?;
    at(&step, tree.attach(place.as_fd()))
}

fn kind_of(path: &Path) -> PlaceKind {
    if path.is_dir() {
        PlaceKind::Directory
    } else {
        PlaceKind::File
    }
}

/// Shows a host path read-only at the same place, or copies it if it is a link.
fn show(root: &Tree, host: &Path) -> Result<(), Failure> {
    let step = format!("mount {}", host.display());
    let relative = host.strip_prefix("/").unwrap_or(host);
    let Ok(metadata) = fs::symlink_metadata(host) else {
        return Ok(());
    };
    if let Some(parent) = relative.parent() {
        at(&step, fs::create_dir_all(parent))?;
    }
    if metadata.file_type().is_symlink() {
        return at(
            &step,
            fs::read_link(host).and_then(|target| symlink(target, relative)),
        );
    }
    let tree = at(&step, Tree::open(host, Writing::Refused, Devices::Refused))?;
    attach(root, &tree, relative, kind_of(host))
}

fn system(root: &Tree) -> Result<(), Failure> {
    SYSTEM
        .iter()
        .try_for_each(|name| show(root, &Path::new("/").join(name)))
}

fn etc(root: &Tree, spec: &Spec) -> Result<(), Failure> {
    at("make /etc", fs::create_dir("etc"))?;
    let answered = spec.doors.iter().any(|door| door.port == NAMES_PORT);
    let names = if answered { WITH_NAMES } else { WITHOUT_NAMES };
    for (name, content) in WRITTEN.into_iter().chain(names) {
        at(
            "write /etc",
            fs::write(Path::new("etc").join(name), content),
        )?;
    }
    ETC.iter()
        .try_for_each(|name| show(root, &Path::new("/etc").join(name)))
}

fn devices(root: &Tree) -> Result<(), Failure> {
    at("make /dev", fs::create_dir("dev"))?;
    for name in DEVICES {
        let host = Path::new("/dev").join(name);
        let step = format!("mount {}", host.display());
        let tree = at(&step, Tree::open(&host, Writing::Allowed, Devices::Allowed))?;
        attach(root, &tree, &host, PlaceKind::File)?;
    }
    for (name, target) in LINKS {
        at(
            "make links in /dev",
            symlink(target, Path::new("dev").join(name)),
        )?;
    }
    scratch(root, "dev/shm", (SHM_SIZE, TMP_INODES))
}

fn scratch(root: &Tree, path: &str, (size, inodes): (&str, &str)) -> Result<(), Failure> {
    let options = [("size", size), ("nr_inodes", inodes), ("mode", "1777")];
    let tree = at(
        "mount a scratch directory",
        Tree::new("tmpfs", &options, false),
    )?;
    attach(root, &tree, Path::new(path), PlaceKind::Directory)
}

/// A /proc of this pid namespace. `hidepid=ptraceable` hides our init from the programs, because it
/// cannot be traced.
fn processes(root: &Tree) -> Result<(), Failure> {
    let tree = Tree::new("proc", &[("hidepid", "ptraceable")], true)
        .or_else(|_| Tree::new("proc", &[], true));
    attach(
        root,
        &at("mount /proc", tree)?,
        Path::new("proc"),
        PlaceKind::Directory,
    )
}

/// Hides what tells about the host, and makes its settings read-only.
fn mask(root: &Tree) -> Result<(), Failure> {
    for name in MASKED_FILES {
        let path = Path::new("proc").join(name);
        if path.exists() {
            let null = Tree::open(Path::new("/dev/null"), Writing::Refused, Devices::Allowed);
            attach(root, &at("mask /proc", null)?, &path, PlaceKind::File)?;
        }
    }
    for name in MASKED_DIRECTORIES {
        let path = Path::new("proc").join(name);
        if path.exists() {
            let empty = Tree::new("tmpfs", &[("size", "4k"), ("mode", "555")], true);
            attach(root, &at("mask /proc", empty)?, &path, PlaceKind::Directory)?;
        }
    }
    let settings = Tree::open(Path::new("proc/sys"), Writing::Refused, Devices::Refused);
    attach(
        root,
        &at("protect /proc/sys", settings)?,
        Path::new("proc/sys"),
        PlaceKind::Directory,
    )
}

/// Outer targets before inner ones, so that one mount can hold the place of another.
fn attach_mounts(root: &Tree, spec: &Spec, trees: &[Tree]) -> Result<(), Failure> {
    let mut order: Vec<_> = spec.mounts.iter().zip(trees).collect();
    order.sort_by_key(|(mount, _)| mount.target.components().count());
    order.into_iter().try_for_each(|(mount, tree)| {
        let kind = if at("look at a mount", tree.is_directory())? {
            PlaceKind::Directory
        } else {
            PlaceKind::File
        };
        attach(root, tree, &mount.target, kind)
    })
}
