//! Whether the hosted assistant still answers, asked from outside.
//!
//! A program can be alive and of no use: it hangs, or it listens no more. What does not answer so
//! many times in a row is killed; whoever keeps it running starts it again, a limited number of
//! times.

use crate::app::App;
use crate::config::Health;
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ports::Sandbox;
use ringfence_net::body;
use ringfence_net::client::{ClientLimits, send_over_fd};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// The assistant did not answer. Details: `failures` in a row, and `killed`.
pub const FAILED: &str = "run.health.failed";
/// LIMIT: milliseconds for an answer.
const ANSWER_MS_MAX: u64 = 5_000;
const SIGKILL: i32 = 9;

/// How often the assistant failed in a row, and what follows from the next look.
#[derive(Debug, Default)]
struct Record {
    failures: u32,
}

impl Record {
    /// Takes the next look; whether the program is to be killed.
    fn take(&mut self, fine: bool, failures_max: u32) -> bool {
        self.failures = if fine { 0 } else { self.failures + 1 };
        if self.failures < failures_max {
            return false;
        }
        self.failures = 0;
        true
    }
}

/// Looks after one program for as long as this is awaited.
pub async fn watch(app: &App, sandbox: &Arc<dyn Sandbox>, port: u16, exec_id: u64) -> Infallible {
    let wanted = app.config.health.clone();
    let mut record = Record::default();
    loop {
        tokio::time::sleep(Duration::from_secs(wanted.interval_s)).await;
        let fine = answers(sandbox.as_ref(), port, &wanted).await;
        let failures = record.failures + 1;
        let killed = record.take(fine, wanted.failures_max);
        if fine {
            continue;
        }
        let target = Target::Sandbox(sandbox.id().clone());
        let occurrence = Occurrence::new(app.now(), app.project.clone(), target, FAILED)
            .with("failures", failures)
            .with("killed", killed);
        app.events.emit(occurrence);
        if killed {
            // One that cannot be signalled is gone, and its end says so.
            let _told = sandbox.signal(exec_id, SIGKILL).await;
        }
    }
}

/// Whether it answers in time: a request, if a path is configured, else a connection.
async fn answers(sandbox: &dyn Sandbox, port: u16, wanted: &Health) -> bool {
    let asking = async {
        let Ok(socket) = sandbox.connect(port).await else {
            return false;
        };
        let Some(path) = &wanted.path else {
            return true;
        };
        let Ok(request) = http::Request::get(path.as_str()).body(body::empty()) else {
            return false;
        };
        let answer = send_over_fd(socket, request, ClientLimits::default()).await;
        answer.is_ok_and(|answer| !answer.status().is_server_error())
    };
    let limit = Duration::from_millis(ANSWER_MS_MAX);
    tokio::time::timeout(limit, asking).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn only_failures_in_a_row_count_and_a_kill_begins_anew() {
        let mut record = Record::default();
        let looks = [false, false, true, false, false, false, false, false, false];
        let killed = looks.map(|fine| record.take(fine, 3));
        let expected = [false, false, false, false, false, true, false, false, true];
        assert_eq!(killed, expected);
    }
}
