//! The doors between rooms: what one stage needs of another, as traits.
//!
//! A stage never imports a stage. It takes one of these at construction, and
//! `server/src/wire/` joins them. A port that waits returns a boxed future of the standard
//! library, so that nothing here knows a runtime.

use crate::digest::Digest;
use crate::error::Explained;
use crate::event::{Occurrence, Target};
use crate::ids::{ProjectId, SandboxId};
use crate::isolation::{
    Attestation, Door, Ended, ExecRequest, ProcessEvidence, SandboxStats, Spec,
};
use crate::leaf::Leaf;
use crate::rule::RuleCard;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

/// A future that can be held without naming its type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time of day and a clock that never goes back.
pub trait Clock: Send + Sync {
    /// Now, by the wall clock.
    fn now(&self) -> Timestamp;
    /// Nanoseconds of a clock that only goes forward; its zero means nothing.
    fn monotonic_ns(&self) -> u64;
}

/// Randomness fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills the buffer, or says why it cannot.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained>;
}

/// Where a leaf went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its index in the log, from 0.
    pub index: u64,
    /// RFC 6962 leaf hash.
    pub leaf_hash: Digest,
    /// The log's signed promise that the leaf stands there, as the text of a receipt file.
    pub promise: String,
}

/// A place in the log taken before the work, filled after it.
pub trait LeafSlot: Send {
    /// The durable sequence number that makes a loss countable.
    fn sequence(&self) -> u64;
    /// Hands the leaf over; it is durable within 10 ms. Dropping a slot unfilled is recorded as
    /// an unaccounted number.
    fn settle(self: Box<Self>, leaf: Leaf);
}

/// The log, as seen by who writes it.
pub trait LeafSink: Send + Sync {
    /// Appends a decision or change; resolves after fdatasync.
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>>;
    /// Takes a slot for a request summary. Refuses when too many are open or the log is gone:
    /// the request must then be refused too.
    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained>;
}

/// Takes events; never blocks. Only samples may be dropped, and drops are counted.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, occurrence: Occurrence);
}

/// State of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// All passes.
    Closed,
    /// Only a trickle passes.
    Throttled,
    /// Nothing passes.
    Frozen,
    /// A few pass, to see whether it is over.
    HalfOpen,
}

/// Asked before each request. Synchronous and lock-free.
pub trait Breaker: Send + Sync {
    /// The state that holds for a target now.
    fn state(&self, target: &Target) -> BreakerState;
    /// Whether one more request of this target may pass now. Counts it.
    fn admit(&self, target: &Target) -> bool;
}

/// What WATCH and RESPOND can do to what runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Intervention {
    /// Let only a trickle pass.
    Throttle,
    /// Stop every process, keep the memory.
    Freeze,
    /// Go on.
    Thaw,
    /// End it.
    Kill,
    /// No connection leaves.
    CloseEgress,
    /// Connections leave again.
    OpenEgress,
    /// Enforce a rule until the fix is in.
    Mitigate {
        /// The rule.
        rule: Box<RuleCard>,
    },
    /// The key opens nothing any more.
    RevokeKey,
}

/// An intervention with its target, reason and end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlAction {
    /// What to do.
    pub intervention: Intervention,
    /// To whom.
    pub target: Target,
    /// Why, for the log and the person who asks.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// Carries out interventions.
pub trait Control: Send + Sync {
    /// Carries one out; resolves when it holds.
    fn apply(&self, action: ControlAction) -> BoxFuture<'_, Result<(), Explained>>;
}

/// What asks to come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum AdmissionSubject {
    /// A project directory.
    Project {
        /// Whose.
        project: ProjectId,
        /// Digest of its admitted content.
        digest: Digest,
    },
    /// A model by digest.
    Model {
        /// The digest.
        digest: Digest,
    },
}

/// ADMIT, as seen by who must not start what was not admitted.
pub trait Admission: Send + Sync {
    /// Looks at a subject and decides.
    fn check(&self, subject: AdmissionSubject) -> BoxFuture<'_, Result<Verdict, Explained>>;
    /// Whether a digest has been admitted.
    fn admitted(&self, digest: &Digest) -> bool;
}

/// A program running in a sandbox.
pub struct Running {
    /// Its number within the sandbox.
    pub exec_id: u64,
    /// Its input; closing it is end of file.
    pub stdin: OwnedFd,
    /// Its output.
    pub stdout: OwnedFd,
    /// Its errors.
    pub stderr: OwnedFd,
    /// Resolves when it has ended.
    pub ended: BoxFuture<'static, Ended>,
}

/// A running sandbox. Dropping the handle does not end it; [`Sandbox::close`] does.
pub trait Sandbox: Send + Sync {
    /// Its id.
    fn id(&self) -> &SandboxId;
    /// Whose project.
    fn project(&self) -> &ProjectId;
    /// What it found when it attacked itself.
    fn attestation(&self) -> &Attestation;
    /// The listening sockets bound inside, once; a second call returns none.
    fn take_doors(&self) -> Vec<(Door, OwnedFd)>;
    /// Starts a program.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Running, Explained>>;
    /// A TCP connection to 127.0.0.1:`port` inside.
    fn connect(&self, port: u16) -> BoxFuture<'_, Result<OwnedFd, Explained>>;
    /// Sends a signal to a program and all that it started.
    fn signal(&self, exec_id: u64, signal: i32) -> BoxFuture<'_, Result<(), Explained>>;
    /// Stops (`true`) or continues (`false`) every process.
    fn freeze(&self, frozen: bool) -> BoxFuture<'_, Result<(), Explained>>;
    /// The processes with their stacks.
    fn evidence(&self) -> BoxFuture<'_, Result<Vec<ProcessEvidence>, Explained>>;
    /// Counters.
    fn stats(&self) -> BoxFuture<'_, Result<SandboxStats, Explained>>;
    /// Ends it and removes every trace; resolves when nothing is left.
    fn close(&self) -> BoxFuture<'_, Result<(), Explained>>;
}

/// A sandbox that outlived the server that started it.
pub struct Adopted {
    /// The sandbox, with its doors.
    pub sandbox: Arc<dyn Sandbox>,
    /// What it was asked to be.
    pub spec: Spec,
    /// The programs that run in it.
    pub execs: Vec<AdoptedExec>,
}

/// A program that outlived the server that started it. Its input went with that server; whoever
/// takes it over must go on reading its output, or it stalls on a full pipe.
pub struct AdoptedExec {
    /// Its number within the sandbox.
    pub exec_id: u64,
    /// Its output.
    pub stdout: OwnedFd,
    /// Its errors.
    pub stderr: OwnedFd,
    /// Resolves when it has ended.
    pub ended: BoxFuture<'static, Ended>,
}

/// Starts sandboxes.
pub trait Isolation: Send + Sync {
    /// Starts one; resolves after it attested itself.
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Arc<dyn Sandbox>, Explained>>;
    /// Sandboxes that outlived a previous server, to be taken over.
    fn adopt(&self) -> BoxFuture<'_, Result<Vec<Adopted>, Explained>>;
}

/// A name that stands for a secret inside a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placeholder(pub String);

/// A peer whose TLS identity was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPeer {
    /// The verified host name.
    pub host: String,
}

/// Hands a secret out, only toward a verified peer.
pub trait SecretSource: Send + Sync {
    /// The secret behind a placeholder for this peer.
    fn resolve(
        &self,
        placeholder: &Placeholder,
        peer: &VerifiedPeer,
    ) -> BoxFuture<'_, Result<Secret<Vec<u8>>, Explained>>;
}
