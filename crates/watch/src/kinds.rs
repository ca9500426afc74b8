//! The kinds of events that WATCH understands, and what their details must hold. Any other kind is
//! counted and shown, and changes no metric.

/// A request ended, however. Target: its key or sandbox.
/// Details: `status` (HTTP), `latency_ms`, `tokens_in`, `tokens_out`.
pub const REQUEST_FINISHED: &str = "run.request.finished";
/// The prompt shield found something and let it pass marked. Details: `count` (default 1).
pub const SHIELD_TAGGED: &str = "run.shield.tagged";
/// The prompt shield refused a request or ended an answer. Details: `count` (default 1).
pub const SHIELD_BLOCKED: &str = "run.shield.blocked";
/// Personal data was replaced. Details: `count` (default 1).
pub const PII_REDACTED: &str = "run.pii.redacted";
/// A key opened nothing: unknown, expired, revoked, over its limit.
pub const KEY_REFUSED: &str = "run.key.refused";
/// The breaker refused a request. Counted as a denial, but not fed back into the breaker: a
/// target must be able to come out of its own throttling.
pub const BREAKER_REFUSED: &str = "run.breaker.refused";
/// Counters of a sandbox. Details, all since its start: `cpu_us`, `oom_kills`, `fork_denials`; and
/// at this moment: `memory_bytes`, `processes`.
pub const SANDBOX_STATS: &str = "run.sandbox.stats";
/// A connection out of a sandbox was refused. Details: `count` (default 1).
pub const SANDBOX_REFUSED: &str = "run.sandbox.refused";
/// A breaker changed its state. Details: `from`, `to`, `reason`. Made by WATCH itself.
pub const BREAKER_TRIP: &str = "watch.breaker.trip";

/// Every kind above.
pub const ALL: &[&str] = &[
    REQUEST_FINISHED,
    SHIELD_TAGGED,
    SHIELD_BLOCKED,
    PII_REDACTED,
    KEY_REFUSED,
    BREAKER_REFUSED,
    SANDBOX_STATS,
    SANDBOX_REFUSED,
    BREAKER_TRIP,
];
