//! A question to the control API while no service runs.
//!
//! The same roles are started for the length of one answer, under the same users and walls, so that
//! `key`, `case`, `waive` and `log` work before and after `up` and leave files of the right owners.

use crate::{ERROR, Outcome, house};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_sandbox::supervisor::{RoleCommand, SupervisorConfig, run as supervise};
use ringfence_server::offline::{Answer, QUESTION_BYTES_MAX, Question};
use ringfence_sys::process::is_root;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

fn failed(what: &str) -> Explained {
    Explained::new(
        ErrorCode("cli/offline"),
        what,
        "start the service instead: ringfence up -d",
    )
}

/// Asks through a process of its own, whose output is the answer.
pub(crate) fn ask(state: &Path, question: &Question) -> Result<Answer, Explained> {
    let program = std::env::current_exe().map_err(|e| failed("no program").because(e))?;
    let text = serde_json::to_vec(question).map_err(|e| failed("no question").because(e))?;
    let mut child = Command::new(program)
        .arg("--state")
        .arg(state)
        .arg("offline")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed("it did not start").because(e))?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(&text)
            .map_err(|e| failed("no question was taken").because(e))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|e| failed("no answer came").because(e))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        failed("no service runs, and the state could not be opened")
            .because(String::from_utf8_lossy(&output.stderr).trim())
    })
}

/// Becomes the supervisor of a server that answers one question.
pub(crate) fn run(state: &Path) -> Outcome {
    let folder = house::noted(state).ok_or_else(|| failed("nothing was hosted here yet"))?;
    let mut question = Vec::new();
    std::io::stdin()
        .take(QUESTION_BYTES_MAX as u64 + 1)
        .read_to_end(&mut question)
        .map_err(|e| failed("no question").because(e))?;
    if question.len() > QUESTION_BYTES_MAX {
        return Err(failed("the question is too long"));
    }
    // The pipe holds the whole question: nobody has to read while it is written.
    let (reader, mut writer) = std::io::pipe().map_err(|e| failed("no pipe").because(e))?;
    writer
        .write_all(&question)
        .map_err(|e| failed("no question").because(e))?;
    drop(writer);
    let project = File::open(&folder)
        .map_err(|e| failed(&format!("{} is gone", folder.display())).because(e))?;
    let mut config = SupervisorConfig::new(state.to_owned());
    house::directories(&mut config);
    let words = ["--folder", "--recorder", "--project"];
    let paths = [state.join("server"), state.join("recorder.sock"), folder];
    let mut args: Vec<std::ffi::OsString> = words
        .into_iter()
        .zip(paths)
        .flat_map(|(word, path)| [word.into(), path.into_os_string()])
        .collect();
    args.push("--offline".into());
    config.roles = vec![
        house::recorder_role(state, false),
        RoleCommand {
            name: "server".to_owned(),
            args,
            identity: is_root().then_some(house::SERVER),
            fds: vec![
                ("project".to_owned(), project.into()),
                ("question".to_owned(), reader.into()),
            ],
            restart: false,
            channel: true,
        },
    ];
    let code = supervise(config).map_err(|e| Explained::of(&e))?;
    Ok(u8::try_from(code & 0xff).unwrap_or(ERROR))
}
