//! `up`: becomes the supervisor, and starts the roles.
//!
//! This process stays single-threaded and parses nothing of the project: it opens the folder and
//! hands it on. The server reads the configuration, after it has confined itself.

use crate::cli::UpArgs;
use crate::control::{ask_running, get};
use crate::render::{self, Format};
use crate::{Outcome, PASS, house};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::{Access, Strictness};
use ringfence_sandbox::supervisor::{
    Announcement, Permits, RoleCommand, SupervisorConfig, run as supervise,
};
use ringfence_server::service::status::Status;
use ringfence_sys::lock::DirLock;
use ringfence_sys::process::is_root;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// LIMIT: how long `up -d` waits for the service to answer.
const START_SECONDS_MAX: u64 = 120;
/// Between two looks at a starting service.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Hosts a project.
pub(crate) fn run(args: &UpArgs, state: &Path, format: Format) -> Outcome {
    let folder = args.dir.canonicalize().map_err(|e| {
        Explained::new(
            ErrorCode("config/unreadable"),
            format!("{} cannot be opened", args.dir.display()),
            "name the folder that holds ringfence.toml; examples/helpdesk has one to copy",
        )
        .because(e)
    })?;
    house::reachable(state)?;
    if args.detach {
        return detach(args, &folder, state, format);
    }
    walls(args)?;
    house::open(state)?;
    drop(DirLock::acquire(state).map_err(|e| Explained::of(&e))?);
    house::note(state, &folder)?;
    let code = supervise(config(args, &folder, state, format)?).map_err(|e| Explained::of(&e))?;
    Ok(u8::try_from(code & 0xff).unwrap_or(crate::ERROR))
}

/// Refuses a host that lacks a wall, unless that was accepted.
fn walls(args: &UpArgs) -> Result<(), Explained> {
    let walls = ringfence_sandbox::host::walls();
    let missing: Vec<_> = walls.iter().filter(|w| !w.stands).collect();
    if missing.is_empty() || args.accept_weaker {
        return Ok(());
    }
    render::walls::print(&walls);
    let names: Vec<&str> = missing.iter().map(|w| w.wall.as_str()).collect();
    Err(Explained::new(
        ErrorCode("run/walls-missing"),
        format!("this host lacks {}", names.join(", ")),
        "mend it as said above, or accept less with --accept-weaker, which is recorded",
    ))
}

fn config(
    args: &UpArgs,
    folder: &Path,
    state: &Path,
    format: Format,
) -> Result<SupervisorConfig, Explained> {
    let project = File::open(folder).map_err(|e| unreadable(folder).because(e))?;
    let advisories = super::advisories::file(state);
    let advisories = advisories.exists().then_some(advisories);
    let mut config = SupervisorConfig::new(state.to_owned());
    house::directories(&mut config);
    let mut mounts = vec![(folder.to_owned(), Access::ReadOnly)];
    mounts.extend(
        advisories
            .iter()
            .map(|file| (file.clone(), Access::ReadOnly)),
    );
    let strictness = if args.accept_weaker {
        Strictness::AcceptWeaker
    } else {
        Strictness::Full
    };
    config.permits = Permits { mounts, strictness };
    config.roles = vec![
        house::recorder_role(state, args.accept_weaker),
        RoleCommand {
            name: "server".to_owned(),
            args: server_args(args, folder, state, advisories, format),
            identity: is_root().then_some(house::SERVER),
            fds: vec![("project".to_owned(), project.into())],
            restart: true,
            channel: true,
        },
    ];
    config.announce = Box::new(announce);
    Ok(config)
}

fn unreadable(folder: &Path) -> Explained {
    Explained::new(
        ErrorCode("config/unreadable"),
        format!("{} cannot be opened", folder.display()),
        "check its permissions",
    )
}

fn server_args(
    args: &UpArgs,
    folder: &Path,
    state: &Path,
    advisories: Option<PathBuf>,
    format: Format,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![
        "--folder".into(),
        state.join("server").into(),
        "--recorder".into(),
        state.join("recorder.sock").into(),
        "--project".into(),
        folder.into(),
    ];
    // How the operator calls this program, for the commands that are suggested.
    if let Some(program) = std::env::args_os().next() {
        words.push("--program".into());
        words.push(program);
    }
    if let Some(file) = advisories {
        words.push("--advisories".into());
        words.push(file.into());
    }
    let flags = [
        (args.accept_weaker, "--accept-weaker"),
        (args.plain, "--plain"),
        (args.check_only, "--check-only"),
        (args.selftest, "--selftest"),
        (format == Format::Json, "--json"),
        (!is_root(), "--rootless"),
    ];
    words.extend(
        flags
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, flag)| flag.into()),
    );
    words
}

/// Says what happens to the roles, where somebody must know.
fn announce(announcement: Announcement) {
    match announcement {
        Announcement::RoleDied { name, how } => {
            eprintln!("ringfence: the {name} died ({how}) and is started again");
        }
        Announcement::ServerRefused { why } => {
            eprintln!("ringfence: the server broke the protocol and is ended: {why}");
        }
        Announcement::SandboxLost { sandbox, reason } => {
            eprintln!("ringfence: sandbox {sandbox} was lost: {reason}");
        }
        _ => {}
    }
}

/// Starts the same command in the background and waits until it answers.
fn detach(args: &UpArgs, folder: &Path, state: &Path, format: Format) -> Outcome {
    let failed = |what: &str| {
        Explained::new(
            ErrorCode("run/detach"),
            what,
            format!("what it said is in {}", state.join("up.log").display()),
        )
    };
    house::open(state)?;
    // Asked before anything is touched: a service that runs keeps its log.
    drop(DirLock::acquire(state).map_err(|e| Explained::of(&e))?);
    // Its first lines hold the one-time token, so nobody else reads it.
    let log = house::create(state, "up.log")?;
    let errors = log
        .try_clone()
        .map_err(|e| failed("no log file").because(e))?;
    let program = std::env::current_exe().map_err(|e| failed("no program").because(e))?;
    let mut command = Command::new(program);
    command.arg("--state").arg(state).arg("up").arg(folder);
    if args.accept_weaker {
        command.arg("--accept-weaker");
    }
    if args.plain {
        command.arg("--plain");
    }
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    let mut child = ringfence_sys::process::spawn_in_session(&mut command)
        .map_err(|e| failed("it did not start").because(e))?;
    let start = Instant::now();
    while start.elapsed().as_secs() < START_SECONDS_MAX {
        if let Ok(Some(status)) = child.try_wait() {
            let said = std::fs::read_to_string(state.join("up.log")).unwrap_or_default();
            eprint!("{said}");
            return Ok(status
                .code()
                .and_then(|c| u8::try_from(c).ok())
                .unwrap_or(crate::ERROR));
        }
        if let Ok(status) = ask_running::<Status>(state, &get("/v1/status"))
            && status.ready
        {
            if format == Format::Json {
                render::json(&status)?;
            } else {
                print!(
                    "{}",
                    std::fs::read_to_string(state.join("up.log")).unwrap_or_default()
                );
                println!("it runs in the background; stop it with: ringfence down");
            }
            return Ok(PASS);
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    Err(failed("it does not answer"))
}
