//! Limits that more than one crate must agree on. A limit of one crate stands in that crate.

/// LIMIT: octets of one canonical leaf.
pub const LEAF_BYTES_MAX: usize = 8 * 1024;
/// LIMIT: nesting depth of any JSON read from outside.
pub const JSON_DEPTH_MAX: usize = 64;
/// LIMIT: octets of a request body at the gateway.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// LIMIT: octets of one typed message between two roles.
pub const ROLE_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: octets of one file an inspector reads whole; more is counted as a skip.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// LIMIT: files of one project; more makes the verdict incomplete.
pub const FILES_MAX: usize = 200_000;
/// LIMIT: depth of directories during a walk.
pub const WALK_DEPTH_MAX: usize = 128;
/// Default memory of a sandbox in bytes.
pub const SANDBOX_MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// Default number of processes and threads in a sandbox.
pub const SANDBOX_PROCESSES: u32 = 100;
