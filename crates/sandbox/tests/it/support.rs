//! What the tests share: a zygote that is not this harness, small commands, and the rule about
//! root.

use ringfence_core::isolation::{Access, Ended, ExecRequest, Mount, Program, Spec};
use ringfence_sandbox::oneshot::{self, OneShot, OneShotReport, Streams};
use ringfence_sandbox::zygote::{InitNotice, Started, Zygote, ZygoteOptions};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether this test can run: as root. Without root it fails, unless the operator of the tests said
/// that there is none; then it says that it did not run.
pub(crate) fn privileged() -> bool {
    let root = ringfence_sys::ns::is_root();
    let excused = std::env::var_os("RINGFENCE_TEST_NO_PRIVILEGED").is_some_and(|v| v == "1");
    if !root && excused {
        println!("SKIPPED: needs root");
        return false;
    }
    assert!(
        root,
        "this test needs root; RINGFENCE_TEST_NO_PRIVILEGED=1 skips it"
    );
    true
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A name that no other test of any process has.
pub(crate) fn unique(prefix: &str) -> String {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{count}", std::process::id())
}

/// The cgroup parent of this test process, of its own so that leftovers can be counted.
pub(crate) fn options() -> ZygoteOptions {
    ZygoteOptions {
        cgroup_parent: format!("ringfence-test-{}", std::process::id()),
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_sandbox-probe"))),
        ..ZygoteOptions::default()
    }
}

pub(crate) fn spec() -> Spec {
    Spec::new(unique("test").parse().unwrap(), "tests".parse().unwrap())
}

pub(crate) fn exec(argv: &[&str]) -> ExecRequest {
    ExecRequest {
        program: Program::Command(argv.iter().map(|a| (*a).to_owned()).collect()),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        workdir: "/tmp".into(),
        wall_ms: Some(20_000),
    }
}

pub(crate) fn job(argv: &[&str]) -> OneShot {
    OneShot {
        spec: spec(),
        exec: exec(argv),
        streams: Streams::Capture { stdin: Vec::new() },
        zygote: options(),
    }
}

pub(crate) fn run(job: &OneShot) -> OneShotReport {
    oneshot::run(job)
        .unwrap_or_else(|e| panic!("{e}: {:?}", ringfence_core::error::Explain::why(&e)))
}

/// Runs a shell command to its end: how it ended, what it said, what it complained about.
pub(crate) fn sh(script: &str) -> (Ended, String, String) {
    texts(run(&job(&["sh", "-c", script])))
}

pub(crate) fn python(script: &str) -> (Ended, String, String) {
    texts(run(&job(&["python3", "-c", script])))
}

pub(crate) fn texts(report: OneShotReport) -> (Ended, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        report.ended,
        text(report.stdout.bytes),
        text(report.stderr.bytes),
    )
}

/// Runs Python in a started sandbox and returns what it printed.
pub(crate) fn print_of(started: &mut Started, script: &str) -> String {
    let request = exec(&["python3", "-c", script]);
    let (id, [stdin, stdout, stderr]) = started.init.exec(&request).unwrap();
    drop(stdin);
    let mut text = String::new();
    File::from(stdout).read_to_string(&mut text).unwrap();
    File::from(stderr).read_to_string(&mut text).unwrap();
    loop {
        let Some(InitNotice::Ended { exec_id, .. }) = started.init.next_notice().unwrap() else {
            continue;
        };
        assert_eq!(exec_id, id);
        return text.trim().to_owned();
    }
}

pub(crate) fn mount(source: &Path, target: &str, access: Access) -> Mount {
    Mount {
        source: source.to_path_buf(),
        target: target.into(),
        access,
    }
}

/// A zygote and one sandbox of it.
pub(crate) fn started(spec: &Spec) -> (Zygote, Started) {
    let zygote = Zygote::launch(options()).unwrap();
    let started = zygote.start(spec).unwrap();
    (zygote, started)
}

/// A directory of the host that goes with the test.
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(unique("ringfence-sandbox-test"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
