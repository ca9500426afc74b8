//! ADMIT at start: an inspector worker looks at the project inside a sandbox, and what it says is
//! a verdict, a leaf, and cases.
//!
//! The bytes of the project are never parsed by this process. What comes back is one JSON document
//! of bounded size; a worker that says nothing, too much or nonsense is an error, and an error
//! denies.

use crate::app::broken;
use ringfence_admit::{ActiveWaiver, ScanOptions, ScanReport};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{Access, Ended, ExecRequest, Mount, Program, Spec, Strictness};
use ringfence_core::ports::{Isolation, Running};
use ringfence_core::time::Timestamp;
use ringfence_policy::GateConfig;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

/// LIMIT: octets of a worker's report.
pub const REPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// LIMIT: octets of a worker's complaints that are kept.
const COMPLAINT_BYTES_MAX: u64 = 16 * 1024;
/// LIMIT: milliseconds that a worker may take.
pub const SCAN_MS_MAX: u64 = 10 * 60 * 1000;
/// LIMIT: memory of a worker in octets.
const SCAN_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Where the project stands inside the worker's sandbox.
pub const PROJECT_INSIDE: &str = "/project";
/// Where imported advisory data stands inside the worker's sandbox.
pub const ADVISORIES_INSIDE: &str = "/advisories.idx";

/// What a worker is told, on its standard input.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// The `[gate]` table.
    pub gate: GateConfig,
    /// What is waived.
    pub waivers: Vec<ActiveWaiver>,
    /// The moment of the decision.
    pub now: Timestamp,
}

impl ScanRequest {
    /// The options of the scan; imported advisory data is found where it is mounted.
    pub fn options(self) -> ScanOptions {
        let imported = PathBuf::from(ADVISORIES_INSIDE);
        let mut options = ScanOptions::at(self.now);
        options.gate = self.gate;
        options.waivers = self.waivers;
        options.advisories = imported.exists().then_some(imported);
        options
    }
}

/// What is scanned.
pub struct Scan<'a> {
    /// Whose project.
    pub project: &'a ProjectId,
    /// A fresh id.
    pub id: SandboxId,
    /// The folder on the host.
    pub folder: &'a Path,
    /// Imported advisory data, if there is any.
    pub advisories: Option<PathBuf>,
    /// Gate, waivers and time.
    pub request: ScanRequest,
    /// Whether missing walls are accepted.
    pub strictness: Strictness,
}

/// Runs a worker and returns what it says.
pub async fn scan(isolation: &dyn Isolation, scan: Scan<'_>) -> Result<ScanReport, Explained> {
    let mut spec = Spec::new(scan.id, scan.project.clone());
    spec.strictness = scan.strictness;
    spec.memory_bytes = SCAN_MEMORY_BYTES;
    spec.cpu_millis = None;
    let mount = |source: &Path, target: &str| Mount {
        source: source.to_owned(),
        target: target.into(),
        access: Access::ReadOnly,
    };
    spec.mounts.push(mount(scan.folder, PROJECT_INSIDE));
    if let Some(file) = &scan.advisories {
        spec.mounts.push(mount(file, ADVISORIES_INSIDE));
    }
    let request = serde_json::to_vec(&scan.request)
        .map_err(|e| broken("a scan request cannot be written").because(e))?;
    let sandbox = isolation.start(spec).await?;
    let running = sandbox
        .exec(ExecRequest {
            program: Program::Ringfence(vec!["role".into(), "inspector".into()]),
            env: Vec::new(),
            workdir: "/".into(),
            wall_ms: Some(SCAN_MS_MAX),
        })
        .await;
    let outcome = match running {
        Ok(running) => converse(running, &request).await,
        Err(error) => Err(error),
    };
    sandbox.close().await?;
    outcome
}

/// Hands the request over and collects output, complaints and exit.
async fn converse(running: Running, request: &[u8]) -> Result<ScanReport, Explained> {
    let Running {
        stdin,
        stdout,
        stderr,
        ended,
        ..
    } = running;
    let write = async {
        let mut sender = pipe::Sender::from_owned_fd(stdin)?;
        sender.write_all(request).await
    };
    let (written, output, complaint, ended) = tokio::join!(
        write,
        read(stdout, REPORT_BYTES_MAX),
        read(stderr, COMPLAINT_BYTES_MAX),
        ended
    );
    let complaint = complaint.unwrap_or_default();
    let failed = |why: String| {
        Explained::new(
            ErrorCode("admit/inspector-failed"),
            "the inspector did not finish, so nothing is admitted",
            "run `ringfence check` on the project to see where it stops",
        )
        .because(why)
    };
    if ended != Ended::Exited(0) {
        let said = String::from_utf8_lossy(&complaint);
        return Err(failed(format!("it ended with {ended:?}; {}", said.trim())));
    }
    written.map_err(|e| failed(e.to_string()))?;
    let output = output.map_err(|e| failed(e.to_string()))?;
    if output.len() as u64 > REPORT_BYTES_MAX {
        return Err(failed(format!(
            "its report is longer than {REPORT_BYTES_MAX} octets"
        )));
    }
    serde_json::from_slice(&output).map_err(|e| failed(e.to_string()))
}

/// Reads a pipe to its end, keeping one octet more than the limit at most.
async fn read(fd: OwnedFd, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut receiver = pipe::Receiver::from_owned_fd(fd)?;
    (&mut receiver)
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .await?;
    // What is beyond is read and dropped, so that the writer is not stuck on a full pipe.
    tokio::io::copy(&mut receiver, &mut tokio::io::sink()).await?;
    Ok(bytes)
}
