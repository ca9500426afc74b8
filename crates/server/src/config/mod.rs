//! The whole configuration: one typed tree, read once from `ringfence.toml`.
//!
//! Each stage owns the struct of its table; this module only composes them. An unknown key is an
//! error that points at the line and names the nearest key, because a typo in a security setting
//! must never be the same as leaving it out.

mod explain;
mod quantity;
mod read;
mod store;

pub use explain::{Explanation, Origin, explain};
pub use quantity::{Bytes, BytesError};
pub use read::{CONFIG_BYTES_MAX, ConfigError, check, parse};
pub use store::{Address, AddressError, Place, StoreConfig};

use ringfence_core::ids::{OwnerId, ProjectId};
use ringfence_core::limits::{SANDBOX_MEMORY_BYTES, SANDBOX_PROCESSES};
use serde::{Deserialize, Serialize};

/// Everything `ringfence.toml` can say.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this is.
    pub project: Project,
    /// What is hosted; a project without an assistant is only a gateway.
    #[serde(default)]
    pub assistant: Option<Assistant>,
    /// Whether the assistant still answers.
    #[serde(default)]
    pub health: Health,
    /// What the assistant's sandbox may use.
    #[serde(default)]
    pub sandbox: SandboxConfig,
    /// What hosted programs may reach outside.
    #[serde(default)]
    pub egress: ringfence_sandbox::egress::EgressConfig,
    /// Models, the first is the default.
    #[serde(default, rename = "model")]
    pub models: Vec<Model>,
    /// The front door.
    #[serde(default)]
    pub gateway: GatewayTable,
    /// What happens to prompts and answers.
    #[serde(default)]
    pub guard: ringfence_gateway::config::GuardConfig,
    /// What may come in.
    #[serde(default)]
    pub gate: ringfence_policy::GateConfig,
    /// When a breaker trips.
    #[serde(default)]
    pub watch: ringfence_watch::breaker::BreakerConfig,
    /// Where alerts go.
    #[serde(default)]
    pub alert: ringfence_respond::RespondConfig,
    /// The console.
    #[serde(default)]
    pub console: ConsoleConfig,
    /// Who else sees the log.
    #[serde(default)]
    pub record: ringfence_record::config::RecordConfig,
    /// Where the state is kept.
    #[serde(default)]
    pub store: StoreConfig,
}

/// Who this is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its name: lower-case letters, digits and `-`.
    pub name: ProjectId,
    /// The folder that is scanned and hosted, relative to this file.
    #[serde(default = "here")]
    pub directory: String,
    /// Files and folders of documentation, relative to this file, for the built-in responder.
    #[serde(default)]
    pub documents: Vec<String>,
    /// Who owns it.
    #[serde(default = "OwnerId::local")]
    pub owner: OwnerId,
}

fn here() -> String {
    ".".to_owned()
}

/// What is hosted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Assistant {
    /// The program and its arguments, run in the project directory inside the sandbox.
    pub command: Vec<String>,
    /// Where it listens, on 127.0.0.1 inside its own network namespace.
    pub port: u16,
    /// Further environment variables. Secrets do not belong here.
    #[serde(default)]
    pub env: std::collections::BTreeMap<String, String>,
    /// What two requests share.
    #[serde(default)]
    pub isolation: RequestIsolation,
    /// Instances that wait for a request, when each has one of its own.
    #[serde(default = "parked")]
    pub parked: usize,
    /// Instances at the same time, waiting or in use.
    #[serde(default = "instances_max")]
    pub instances_max: usize,
}

fn parked() -> usize {
    2
}

fn instances_max() -> usize {
    8
}

/// How the assistant is looked after.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// What is asked for with GET; without it a connection is enough.
    pub path: Option<String>,
    /// Seconds between two looks.
    pub interval_s: u64,
    /// Looks in a row without an answer before it is killed and started again.
    pub failures_max: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: None,
            interval_s: 30,
            failures_max: 3,
        }
    }
}

/// What two requests to an assistant share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestIsolation {
    /// One sandbox answers all of them.
    #[default]
    Workload,
    /// Nothing: each is answered by an instance that has answered no other.
    Request,
}

/// What the assistant's sandbox may use, and the limits of one code execution.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// Memory of all its processes together.
    pub memory: Bytes,
    /// Processes and threads together.
    pub processes: u32,
    /// Processors, for example 0.5.
    pub cpu: f64,
    /// Size of its private /tmp.
    pub tmp: Bytes,
    /// Milliseconds that one code execution may take.
    pub exec_timeout_ms: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            memory: Bytes(SANDBOX_MEMORY_BYTES),
            processes: SANDBOX_PROCESSES,
            cpu: 1.0,
            tmp: Bytes(64 << 20),
            exec_timeout_ms: 10_000,
        }
    }
}

impl SandboxConfig {
    /// Thousandths of a processor; at least 10.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 10..=1_024_000 first"
    )]
    pub fn cpu_millis(&self) -> u32 {
        (self.cpu * 1000.0).clamp(10.0, 1_024_000.0) as u32
    }
}

/// One model that the project may use.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name that clients say.
    pub name: String,
    /// `auto` finds an engine on this host, `demo` is the built-in responder, or `http://…`.
    #[serde(default = "default_upstream")]
    pub upstream: String,
}

fn default_upstream() -> String {
    "auto".to_owned()
}

/// The front door.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayTable {
    /// Address and port.
    pub listen: std::net::SocketAddr,
    /// TLS with the local authority; `false` is allowed on loopback only.
    pub tls: bool,
    /// How much each caller may ask.
    pub limits: ringfence_gateway::config::LimitConfig,
}

impl Default for GatewayTable {
    fn default() -> Self {
        Self {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 8443)),
            tls: true,
            limits: ringfence_gateway::config::LimitConfig::default(),
        }
    }
}

/// The console.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Address and port; loopback unless you say otherwise.
    pub listen: std::net::SocketAddr,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 8444)),
        }
    }
}
