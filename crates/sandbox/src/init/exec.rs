//! Starting one program.

use super::Inherited;
use crate::weakness::Weakness;
use crate::zygote::wire::{Failure, STALLED};
use ringfence_core::isolation::{ExecRequest, Program};
use ringfence_sys::spawn::{self, Executable};
use ringfence_sys::{ns, process};
use std::ffi::CString;
use std::io::{self, PipeReader, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// LIMIT: milliseconds from the fork to the exec. A program that already runs can stop the child in
/// between (`kill(-1, SIGSTOP)`); that must not hold this init, whose owner waits for it.
const EXEC_MS_MAX: i64 = 2_000;

struct Prepared<'a> {
    candidates: Vec<CString>,
    binary: Option<BorrowedFd<'a>>,
    argv: Vec<CString>,
    envp: Vec<CString>,
    /// Whether descriptors are left open, for the attack suite.
    leaky: bool,
}

/// Forks and execs; the pid once the exec has succeeded. All memory is allocated before the fork.
pub(super) fn start(
    request: &ExecRequest,
    stdio: &[OwnedFd; 3],
    inherited: &Inherited,
) -> Result<i32, Failure> {
    let mut prepared = prepare(request, inherited.binary.as_fd())?;
    prepared.leaky = inherited.weakened.lacks(Weakness::Descriptors);
    let (mut report, mut said) = pipe().map_err(|e| Failure::new("pipe", &e))?;
    match spawn::fork().map_err(|e| Failure::new("fork", &e))? {
        None => {
            let (step, error) = become_program(&prepared, request, stdio);
            let code = error.raw_os_error().unwrap_or(0);
            let mut message = vec![step];
            message.extend(code.to_ne_bytes());
            drop(said.write_all(&message));
            spawn::exit_now(127)
        }
        Some(pid) => {
            drop(said);
            heed(pid, &mut report)
        }
    }
}

/// Waits for the child's exec or its complaint, whichever comes, but not for ever.
fn heed(pid: i32, report: &mut PipeReader) -> Result<i32, Failure> {
    let mut message = [0; REPORT_BYTES];
    let said = match ns::readable(report.as_fd(), Some(EXEC_MS_MAX)) {
        Ok(true) => report.read(&mut message).map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    let failure = match said {
        // The end without a word: the exec closed the pipe.
        Ok(Some(0)) => return Ok(pid),
        Ok(Some(_)) => {
            let [step, code @ ..] = message;
            let error = io::Error::from_raw_os_error(i32::from_ne_bytes(code));
            Failure::new(step_name(step), &error)
        }
        Ok(None) => Failure::new(STALLED, &io::ErrorKind::TimedOut.into()),
        Err(error) => Failure::new("exec", &error),
    };
    // One that is stopped does not end by itself, not even after its complaint.
    spawn::kill_child(pid).map_err(|e| Failure::new("kill", &e))?;
    spawn::wait_for(pid).map_err(|e| Failure::new("wait", &e))?;
    Err(failure)
}

/// A step and an error number.
const REPORT_BYTES: usize = 5;
const STEP_STREAMS: u8 = 1;
const STEP_DIRECTORY: u8 = 2;
const STEP_EXEC: u8 = 3;

fn step_name(step: u8) -> &'static str {
    match step {
        STEP_STREAMS => "standard streams",
        STEP_DIRECTORY => "working directory",
        _ => "exec",
    }
}

fn become_program(
    prepared: &Prepared<'_>,
    request: &ExecRequest,
    stdio: &[OwnedFd; 3],
) -> (u8, io::Error) {
    let [stdin, stdout, stderr] = stdio;
    let streams = process::new_session()
        .and_then(|()| spawn::set_stdio([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]))
        .and_then(|()| {
            if prepared.leaky {
                return Ok(());
            }
            spawn::close_on_exec_from(3)
        });
    if let Err(error) = streams {
        return (STEP_STREAMS, error);
    }
    if let Err(error) = std::env::set_current_dir(&request.workdir) {
        return (STEP_DIRECTORY, error);
    }
    spawn::default_signals();
    if let Some(binary) = prepared.binary {
        let error = spawn::exec(Executable::Fd(binary), &prepared.argv, &prepared.envp);
        return (STEP_EXEC, error);
    }
    let mut worst = io::Error::from_raw_os_error(2);
    for path in &prepared.candidates {
        let error = spawn::exec(Executable::Path(path), &prepared.argv, &prepared.envp);
        // As a shell does: a file that is there but cannot be run is better news than none.
        if error.kind() != io::ErrorKind::NotFound {
            worst = error;
        }
    }
    (STEP_EXEC, worst)
}

fn prepare<'a>(request: &ExecRequest, binary: BorrowedFd<'a>) -> Result<Prepared<'a>, Failure> {
    let (name, argv, binary) = match &request.program {
        Program::Command(argv) => (
            argv.first().cloned().unwrap_or_default(),
            argv.clone(),
            None,
        ),
        Program::Ringfence(args) => {
            let argv = std::iter::once("ringfence".to_owned()).chain(args.iter().cloned());
            (String::new(), argv.collect(), Some(binary))
        }
    };
    let path = request
        .env
        .iter()
        .find(|(k, _)| k == "PATH")
        .map_or(DEFAULT_PATH, |(_, v)| v);
    let candidates = if name.contains('/') {
        vec![text(&name)?]
    } else {
        path.split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|directory| text(&format!("{directory}/{name}")))
            .collect::<Result<_, _>>()?
    };
    Ok(Prepared {
        candidates,
        binary,
        argv: argv.iter().map(|a| text(a)).collect::<Result<_, _>>()?,
        envp: request
            .env
            .iter()
            .map(|(key, value)| text(&format!("{key}={value}")))
            .collect::<Result<_, _>>()?,
        leaky: false,
    })
}

fn text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| {
        Failure::new(
            "exec",
            &io::Error::other("an argument or variable holds a NUL"),
        )
    })
}
