//! Files of a sandbox, and all of its files at once.
//!
//! They are read and written by programs inside, `cat` and `tar` of the read-only system, with no
//! more rights than any other program there: a link or a pipe that lies in the way leads nowhere but
//! into the sandbox itself.

use super::ExecService;
use super::capture::{Capture, Said};
use super::handlers::{Refused, exec_request, in_driver, refused, unknown_sandbox};
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringfence_core::digest::hex;
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::Ended;
use ringfence_core::limits::REQUEST_BYTES_MAX;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// LIMIT: octets of a file that is sent or fetched.
pub const FILE_BYTES_MAX: usize = REQUEST_BYTES_MAX;
/// LIMIT: octets of a path.
pub const PATH_BYTES_MAX: usize = 1024;
/// LIMIT: octets of a snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// LIMIT: snapshots of one service; the oldest goes first.
pub const SNAPSHOTS_MAX: usize = 4;
/// LIMIT: milliseconds for one of these.
const TOOL_MS_MAX: u64 = 10_000;
/// LIMIT: octets kept of a message, which is not shown.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Octets of randomness in the id of a snapshot.
const ID_BYTES: usize = 16;

const WRITE: &str = r#"mkdir -p -- "${1%/*}" && cat > "$1""#;

/// The snapshots of one service, oldest first.
#[derive(Default)]
pub(super) struct Snapshots(Mutex<VecDeque<(String, Arc<Vec<u8>>)>>);

impl Snapshots {
    fn keep(&self, id: String, bytes: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SNAPSHOTS_MAX {
            kept.pop_front();
        }
        kept.push_back((id, Arc::new(bytes)));
    }

    fn find(&self, id: &str) -> Option<Arc<Vec<u8>>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(other, _)| other == id);
        found.map(|(_, bytes)| Arc::clone(bytes))
    }
}

fn tool(purpose: &'static str, command: &[&str], stdin: Vec<u8>, bytes_max: usize) -> Capture {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Capture {
        purpose,
        request: exec_request(command, TOOL_MS_MAX),
        stdin,
        bytes_max,
    }
}

/// The path inside that a request names: absolute, and without a way back up.
fn inside(path: &str) -> Result<String, Refused> {
    let fine = path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && !path.is_empty()
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    if fine {
        return Ok(format!("/{path}"));
    }
    Err(refused(
        StatusCode::BAD_REQUEST,
        "run/exec-file-path",
        "not a plain path",
        "name a file below /tmp: PUT /v1/sandboxes/{id}/files/tmp/data.csv",
    ))
}

fn failed(status: StatusCode, what: &str) -> Refused {
    let help = "only /tmp and /dev/shm can be written, up to their size";
    refused(status, "run/exec-file", what, help)
}

fn too_large(what: &str, limit: usize) -> Refused {
    let what = format!("{what} has at most {limit} octets");
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    refused(
        status,
        "run/exec-file-too-large",
        what,
        "send or fetch it in parts",
    )
}

pub(super) async fn put(
    State(service): State<Arc<ExecService>>,
    Path((id, path)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refused> {
    let path = inside(&path)?;
    let body = to_bytes(body, FILE_BYTES_MAX).await;
    let bytes = body
        .map_err(|_| too_large("a file", FILE_BYTES_MAX))?
        .to_vec();
    let command = ["/bin/sh", "-c", WRITE, "sh", &path];
    let capture = tool("file-put", &command, bytes, MESSAGE_BYTES_MAX);
    match run(&service, &id, capture).await?.ended {
        Ended::Exited(0) => Ok(StatusCode::NO_CONTENT),
        _ => Err(failed(StatusCode::CONFLICT, "the file cannot be written")),
    }
}

pub(super) async fn get(
    State(service): State<Arc<ExecService>>,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let path = inside(&path)?;
    let capture = tool(
        "file-get",
        &["/bin/cat", "--", &path],
        Vec::new(),
        FILE_BYTES_MAX,
    );
    let said = run(&service, &id, capture).await?;
    match said.ended {
        Ended::Exited(0) if said.stdout.cut => Err(too_large("a file", FILE_BYTES_MAX)),
        Ended::Exited(0) => {
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            Ok((StatusCode::OK, kind, said.stdout.bytes).into_response())
        }
        _ => Err(failed(StatusCode::NOT_FOUND, "the file cannot be read")),
    }
}

pub(super) async fn snapshot(
    State(service): State<Arc<ExecService>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let command = ["/bin/tar", "-C", "/tmp", "-cf", "-", "."];
    let capture = tool("snapshot", &command, Vec::new(), SNAPSHOT_BYTES_MAX);
    let said = run(&service, &id, capture).await?;
    match said.ended {
        Ended::Exited(0) if said.stdout.cut => Err(too_large("a snapshot", SNAPSHOT_BYTES_MAX)),
        Ended::Exited(0) => {
            let mut random = [0; ID_BYTES];
            let filled = service.parts.entropy.fill(&mut random);
            filled.map_err(super::handlers::unavailable)?;
            let name = format!("snap-{}", hex(&random));
            let answer = json!({"snapshot": name, "bytes": said.stdout.bytes.len()});
            service.snapshots.keep(name, said.stdout.bytes);
            let kind = [(header::CONTENT_TYPE, "application/json")];
            Ok((StatusCode::CREATED, kind, answer.to_string()).into_response())
        }
        _ => Err(failed(StatusCode::CONFLICT, "the files cannot be read")),
    }
}

async fn run(service: &Arc<ExecService>, id: &str, capture: Capture) -> Result<Said, Refused> {
    let id: SandboxId = id.parse().map_err(|_| unknown_sandbox())?;
    let running = Arc::clone(service);
    let work = async move { running.run_captured(&id, capture).await };
    in_driver(service, work).await?
}

impl ExecService {
    /// The octets of a snapshot of this service.
    pub(super) fn snapshot_of(&self, name: &str) -> Result<Arc<Vec<u8>>, Refused> {
        self.snapshots.find(name).ok_or_else(|| {
            refused(
                StatusCode::NOT_FOUND,
                "run/exec-snapshot-unknown",
                "there is no such snapshot",
                "make one with POST /v1/sandboxes/{id}/snapshot; the last four are kept",
            )
        })
    }

    /// Puts the files of a snapshot into a sandbox that has none.
    pub(super) async fn restore(&self, id: &SandboxId, files: &[u8]) -> Result<(), Refused> {
        let command = ["/bin/tar", "-C", "/tmp", "-xf", "-"];
        let capture = tool("restore", &command, files.to_vec(), MESSAGE_BYTES_MAX);
        match self.run_captured(id, capture).await?.ended {
            Ended::Exited(0) => Ok(()),
            _ => Err(failed(
                StatusCode::CONFLICT,
                "the snapshot cannot be restored",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_and_of_limited_length() {
        assert_eq!(inside("tmp/a b/c").ok(), Some("/tmp/a b/c".to_owned()));
        for path in [
            "",
            "tmp/../etc",
            "..",
            "tmp//a",
            "./a",
            "tmp/",
            "a\0b",
            "/etc/passwd",
        ] {
            assert!(inside(path).is_err(), "{path:?}");
        }
        assert!(inside(&"a".repeat(PATH_BYTES_MAX)).is_ok());
        assert!(inside(&"a".repeat(PATH_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn the_oldest_snapshot_goes_first() {
        let snapshots = Snapshots::default();
        for n in 0..=SNAPSHOTS_MAX {
            snapshots.keep(n.to_string(), vec![0]);
        }
        assert!(snapshots.find("0").is_none());
        assert!(snapshots.find("1").is_some());
    }
}
