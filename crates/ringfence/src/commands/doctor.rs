//! `doctor`: what this machine can do for the fence, and how to mend what it cannot.

use crate::render::{self, Format};
use crate::{FINDINGS, Outcome, PASS};
use serde_json::json;

/// Probes every wall of this host.
pub(crate) fn run(format: Format) -> Outcome {
    let walls = ringfence_sandbox::host::walls();
    let all = walls.iter().all(|w| w.stands);
    if format == Format::Json {
        let version = env!("CARGO_PKG_VERSION");
        render::json(&json!({"version": version, "complete": all, "walls": walls}))?;
    } else {
        render::walls::print(&walls);
        let count = walls.iter().filter(|w| w.stands).count();
        println!("{count} of {} walls stand on this host", walls.len());
        if !all {
            println!("help: mend them as said above, or start with --accept-weaker (recorded)");
        }
    }
    Ok(if all { PASS } else { FINDINGS })
}
