//! The server: faces the network, so it has no root, no key of the log and no program to run.

use super::{RoleResult, handed, misplaced, value};
use crate::commands::check;
use crate::render;
use crate::render::Format;
use crate::{FINDINGS, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::Strictness;
use ringfence_core::ports::Isolation;
use ringfence_crypto::random::SystemEntropy;
use ringfence_sandbox::client::SupervisorClient;
use ringfence_server::offline::{self, Question};
use ringfence_server::selftest::{self, Check};
use ringfence_server::startup::{self, Options, Running, Started};
use ringfence_sys::clock::SystemClock;
use ringfence_sys::confine::{Confinement, Place, apply};
use serde_json::json;
use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the supervisor said on the command line.
struct Handed {
    options: Options,
    channel: OwnedFd,
    /// Held open: the paths of `options` lead through it.
    _project: OwnedFd,
    /// Answer this and end.
    question: Option<OwnedFd>,
    manner: Manner,
}

/// How the operator wants it.
struct Manner {
    selftest: bool,
    format: Format,
    /// How the operator calls this program.
    program: String,
    /// Whether all roles share the operator's user.
    rootless: bool,
}

/// Runs until it is told to stop.
pub(crate) fn run(rest: Vec<OsString>) -> RoleResult {
    let handed = read(rest)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| broken("the runtime did not start").because(e))?;
    runtime.block_on(serve(handed))
}

fn broken(what: &str) -> Explained {
    Explained::new(
        ErrorCode("run/server-start"),
        what,
        "see `ringfence doctor`",
    )
}

/// Reads the arguments and confines the process, while it has one thread.
fn read(rest: Vec<OsString>) -> Result<Handed, Explained> {
    let (mut fds, words) = handed(rest)?;
    let channel = fds.take("supervisor").ok_or_else(misplaced)?;
    let project = fds.take("project").ok_or_else(misplaced)?;
    let path = |name: &str| value(&words, name).map(PathBuf::from).ok_or_else(misplaced);
    let has = |flag: &str| words.iter().any(|w| w == flag);
    let folder = path("--folder")?;
    let recorder = path("--recorder")?;
    let strictness = if has("--accept-weaker") {
        Strictness::AcceptWeaker
    } else {
        Strictness::Full
    };
    ringfence_sys::process::set_not_dumpable().map_err(|e| misplaced().because(e))?;
    let readable = project.try_clone().map_err(|e| misplaced().because(e))?;
    // Which name servers the host asks; the way out asks the same, over TCP.
    let names = Place::IfPresent("/etc/resolv.conf".into());
    let read = vec![Place::Fd(readable), names];
    let confinement =
        Confinement::server(read, vec![Place::Path(folder.clone())]).with_strictness(strictness);
    apply(confinement).map_err(|e| Explained::of(&e))?;
    let options = Options {
        // The supervisor opened the folder; this user may not be able to walk to it.
        root: PathBuf::from(format!("/proc/self/fd/{}", project.as_raw_fd())),
        host_root: path("--project")?,
        advisories: value(&words, "--advisories").map(PathBuf::from),
        folder,
        recorder,
        strictness,
        plain: has("--plain"),
        check_only: has("--check-only"),
        selftest: has("--selftest"),
        terminal: Arc::new(|lines: &[String]| {
            for line in lines {
                eprintln!("{}", render::table::neutral(line));
            }
        }),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let manner = Manner {
        selftest: has("--selftest"),
        format: if has("--json") {
            Format::Json
        } else {
            Format::Table
        },
        program: value(&words, "--program").unwrap_or_else(|| "ringfence".to_owned()),
        rootless: has("--rootless"),
    };
    let question = if has("--offline") {
        fds.take("question")
    } else {
        None
    };
    Ok(Handed {
        options,
        channel,
        _project: project,
        question,
        manner,
    })
}

/// Answers one question on standard output.
async fn answer(options: Options, question: OwnedFd) -> RoleResult {
    let mut text = String::new();
    std::fs::File::from(question)
        .read_to_string(&mut text)
        .map_err(|e| broken("no question came").because(e))?;
    let question: Question =
        serde_json::from_str(&text).map_err(|e| broken("no question came").because(e))?;
    let answer = Box::pin(offline::ask(options, question)).await?;
    render::json(&answer)?;
    Ok(PASS)
}

async fn serve(handed: Handed) -> RoleResult {
    if let Some(question) = handed.question {
        return answer(handed.options, question).await;
    }
    let (client, driver) = SupervisorClient::new(handed.channel);
    let isolation: Arc<dyn Isolation> = Arc::new(client);
    let driver = tokio::task::JoinSet::from_iter([driver]);
    let outcome = Box::pin(live(handed.options, isolation, &handed.manner)).await;
    drop(driver);
    outcome
}

async fn live(options: Options, isolation: Arc<dyn Isolation>, manner: &Manner) -> RoleResult {
    // Listened for from the first moment: an end that is asked for during the start comes after it,
    // in order, and not in the middle of it.
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|e| broken("signals cannot be received").because(e))?;
    let mut say = |line: &str| eprintln!("ringfence: {line}");
    let started = Box::pin(startup::start(options, isolation, &mut say)).await?;
    let running = match started {
        Started::Decided(report) => {
            if manner.format == Format::Json {
                render::json(&report)?;
            } else {
                render::scan::print(&report);
            }
            return Ok(check::code(&report));
        }
        Started::Running(running) => running,
    };
    let code = if manner.selftest {
        let checks = selftest::run(&running.app, running.authority_pem.clone()).await;
        show_checks(&checks, manner.format)?
    } else {
        render::welcome::print(&running, &manner.program, manner.rootless);
        running.app.learn(|facts| facts.ready = true);
        until_stopped(&running, &mut terminate).await;
        PASS
    };
    if let Some(error) = running.app.halted.get() {
        startup::abandon(&running.app).await?;
        return Err(error.clone());
    }
    startup::stop(&running.app).await?;
    Ok(code)
}

/// Resolves on SIGTERM, or when a command asked for the end.
async fn until_stopped(running: &Running, terminate: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        () = running.app.tasks.stopped() => {}
    }
}

fn show_checks(checks: &[Check], format: Format) -> RoleResult {
    let passed = checks.iter().all(|c| c.passed);
    if format == Format::Json {
        render::json(&json!({"passed": passed, "checks": checks}))?;
    } else {
        let mut table = render::table::Table::new(&["CHECK", "RESULT", "SEEN"]);
        for check in checks {
            let result = if check.passed { "passed" } else { "FAILED" };
            table.row([check.name.to_owned(), result.to_owned(), check.seen.clone()]);
        }
        print!("{table}");
    }
    Ok(if passed { PASS } else { FINDINGS })
}
