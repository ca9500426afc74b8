//! Bad input for the walk: what must not hang, follow, read for ever, or go unseen.

use crate::tree::{NOW, Tree, skips};
use ringfence_admit::walk::{HostOpener, Opener, WalkLimits};
use ringfence_admit::{ScanOptions, ScanReport, scan_with};
use ringfence_core::verdict::Decision;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

const HOSTILE: &[u8] = b"cos\nsystem\n(S'echo'\ntR.";

fn scanned(tree: &Tree, opener: &dyn Opener, limits: WalkLimits) -> ScanReport {
    let root = OwnedFd::from(File::open(tree.path("")).expect("the root"));
    let options = ScanOptions {
        limits,
        ..ScanOptions::at(NOW)
    };
    scan_with(&root, opener, &options, &mut |_| {}).expect("a report")
}

fn limited(tree: &Tree, change: impl Fn(&mut WalkLimits)) -> ScanReport {
    let mut limits = WalkLimits::default();
    change(&mut limits);
    scanned(tree, &HostOpener, limits)
}

#[test]
fn a_file_of_one_long_line_of_a_gigabyte_is_hashed_and_counted() {
    let tree = Tree::new(&[("small.py", b"x = 1\n")]);
    let line = File::create(tree.path("line.txt")).expect("a file");
    line.set_len(1024 * 1024 * 1024).expect("a sparse file");
    let report = tree.check();
    assert_eq!(skips(&report), [("line.txt", "too-large")]);
    assert_eq!(report.verdict.coverage.bytes_skipped(), 1024 * 1024 * 1024);
    assert_eq!(report.verdict.decision, Decision::Incomplete);
}

#[test]
fn a_line_at_the_limit_of_a_file_is_read() {
    let mut line = vec![b'a'; 4 * 1024 * 1024];
    line.extend_from_slice(b"; run(host='0.0.0.0')");
    let tree = Tree::new(&[("a.py", &line)]);
    assert_eq!(tree.check().findings.len(), 1);
}

#[test]
fn limits_hold_at_the_limit_and_one_beyond() {
    let tree = Tree::new(&[("a.txt", b"12345"), ("d/e/b.txt", b"12345")]);
    assert_eq!(skips(&limited(&tree, |l| l.file_bytes = 5)), []);
    assert_eq!(skips(&limited(&tree, |l| l.file_bytes = 4)).len(), 2);
    // Entries: a.txt, d, d/e, d/e/b.txt.
    assert_eq!(skips(&limited(&tree, |l| l.files = 4)), []);
    assert_eq!(
        skips(&limited(&tree, |l| l.files = 3)),
        [("d/e", "too-many-files")]
    );
    assert_eq!(skips(&limited(&tree, |l| l.depth = 2)), []);
    assert_eq!(
        skips(&limited(&tree, |l| l.depth = 1)),
        [("d/e", "too-deep")]
    );
    assert_eq!(skips(&limited(&tree, |l| l.project_bytes = 10)), []);
    let over = limited(&tree, |l| l.project_bytes = 9);
    assert_eq!(skips(&over), [("d/e/b.txt", "project-too-large")]);
}

#[test]
fn links_are_recorded_and_never_followed() {
    let outside = Tree::new(&[("evil.pkl", HOSTILE)]);
    let tree = Tree::new(&[("in/a.txt", b"text")]);
    symlink(outside.path(""), tree.path("out")).expect("a link");
    symlink(outside.path("evil.pkl"), tree.path("model.pkl")).expect("a link");
    symlink("../..", tree.path("in/up")).expect("a link");
    symlink("a.txt", tree.path("in/same")).expect("a link");
    let report = tree.check();
    assert!(report.findings.is_empty());
    let expected = [
        ("in/up", "symlink-out"),
        ("model.pkl", "symlink-out"),
        ("out", "symlink-out"),
    ];
    assert_eq!(skips(&report), expected);
    assert_eq!(report.inventory.links, 4);
    // The control off: the same file in the tree is found.
    tree.put("real.pkl", HOSTILE);
    assert_eq!(tree.check().findings.len(), 1);
}

#[test]
fn loops_of_links_end() {
    let tree = Tree::new(&[("d/a.txt", b"text")]);
    symlink("loop", tree.path("loop")).expect("a link");
    symlink("b", tree.path("a")).expect("a link");
    symlink("a", tree.path("b")).expect("a link");
    symlink("..", tree.path("d/parent")).expect("a link");
    let report = tree.check();
    assert_eq!(report.inventory.files, 1);
    assert_eq!(report.inventory.links, 4);
}

#[test]
fn special_files_are_never_opened() {
    let tree = Tree::new(&[("a.txt", b"text")]);
    let pipe = tree.path("pipe.pkl");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a pipe");
    let _listener = UnixListener::bind(tree.path("socket")).expect("a socket");
    let report = tree.check();
    assert_eq!(
        skips(&report),
        [("pipe.pkl", "special-file"), ("socket", "special-file")]
    );
}

/// Fails or meddles when a name is opened.
struct Meddling<'a> {
    name: &'static CStr,
    act: &'a dyn Fn() -> io::Result<()>,
}

impl Opener for Meddling<'_> {
    fn directory(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        if name == self.name {
            (self.act)()?;
        }
        HostOpener.directory(parent, name)
    }

    fn file(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        if name == self.name {
            (self.act)()?;
        }
        HostOpener.file(parent, name)
    }
}

#[test]
fn unreadable_files_are_counted_with_their_octets() {
    let tree = Tree::new(&[("a.py", b"x = 1\n"), ("locked.py", b"y = 22\n")]);
    let act = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
    let report = scanned(
        &tree,
        &Meddling {
            name: c"locked.py",
            act: &act,
        },
        WalkLimits::default(),
    );
    assert_eq!(skips(&report), [("locked.py", "unreadable")]);
    assert_eq!(report.verdict.coverage.bytes_skipped(), 7);
    assert_eq!(report.verdict.decision, Decision::Incomplete);
}

#[test]
fn directories_and_files_that_vanish_are_counted_and_the_walk_goes_on() {
    let tree = Tree::new(&[("a/x.py", b"x"), ("z.py", b"run(host='0.0.0.0')")]);
    let gone = tree.path("a");
    let act = || fs::remove_dir_all(&gone);
    let report = scanned(
        &tree,
        &Meddling {
            name: c"a",
            act: &act,
        },
        WalkLimits::default(),
    );
    assert_eq!(skips(&report), [("a", "vanished")]);
    assert_eq!(report.findings.len(), 1);

    let tree = Tree::new(&[("a.py", b"x")]);
    let gone = tree.path("a.py");
    let act = || fs::remove_file(&gone);
    let report = scanned(
        &tree,
        &Meddling {
            name: c"a.py",
            act: &act,
        },
        WalkLimits::default(),
    );
    assert_eq!(skips(&report), [("a.py", "vanished")]);
}

#[test]
fn a_link_or_pipe_swapped_in_after_the_look_is_not_followed() {
    let outside = Tree::new(&[("evil.pkl", HOSTILE)]);
    let tree = Tree::new(&[("m.pkl", b"\x80\x02}.")]);
    let (target, place) = (outside.path("evil.pkl"), tree.path("m.pkl"));
    let act = || fs::remove_file(&place).and_then(|()| symlink(&target, &place));
    let report = scanned(
        &tree,
        &Meddling {
            name: c"m.pkl",
            act: &act,
        },
        WalkLimits::default(),
    );
    assert_eq!(skips(&report), [("m.pkl", "changed-while-read")]);
    assert!(report.findings.is_empty());

    let tree = Tree::new(&[("m.pkl", b"\x80\x02}.")]);
    let place = tree.path("m.pkl");
    let act = || {
        fs::remove_file(&place)?;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        Ok(rustix::fs::mknodat(
            rustix::fs::CWD,
            &place,
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )?)
    };
    let report = scanned(
        &tree,
        &Meddling {
            name: c"m.pkl",
            act: &act,
        },
        WalkLimits::default(),
    );
    assert_eq!(skips(&report), [("m.pkl", "changed-while-read")]);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_counted() {
    let tree = Tree::new(&[("log.txt", b"one\n")]);
    let place = tree.path("log.txt");
    let act = || fs::write(&place, b"one\ntwo\n");
    let report = scanned(
        &tree,
        &Meddling {
            name: c"log.txt",
            act: &act,
        },
        WalkLimits::default(),
    );
    assert_eq!(skips(&report), [("log.txt", "changed-while-read")]);
}

#[test]
fn the_digest_covers_content_names_links_and_the_executable_bit() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new(&[("a.txt", b"one")]);
    let mut seen = vec![tree.check().project_digest];
    assert_eq!(seen[0], tree.check().project_digest);
    tree.put("a.txt", b"two");
    seen.push(tree.check().project_digest);
    fs::set_permissions(tree.path("a.txt"), fs::Permissions::from_mode(0o755)).expect("a mode");
    seen.push(tree.check().project_digest);
    symlink("a.txt", tree.path("l")).expect("a link");
    seen.push(tree.check().project_digest);
    fs::rename(tree.path("a.txt"), tree.path("b.txt")).expect("a new name");
    seen.push(tree.check().project_digest);
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn git_objects_and_pictures_are_counted_apart_and_the_rest_of_git_is_scanned() {
    let loose = format!(".git/objects/ab/{}", "0".repeat(38));
    let tree = Tree::new(&[
        (&loose, b"\x78\x01\x9c\xff"),
        (".git/hooks/post-checkout.sh", b"nc -l 0.0.0.0 80\n"),
        ("logo.png", b"\x89PNG\r\n\x1a\n\xff\xff"),
        ("lib.so", b"\x7fELF\xff\xff"),
    ]);
    let report = tree.check();
    assert_eq!(skips(&report), [("lib.so", "executable-not-understood")]);
    assert_eq!(report.inventory.inert["git-objects"].bytes, 4);
    assert_eq!(report.inventory.inert["media"].files, 1);
    assert_eq!(report.findings.len(), 1);
}
