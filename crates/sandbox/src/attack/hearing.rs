//! What the host hears of an attack: the program's words, its end, and the counters of its sandbox.

use super::{MADE, REFUSED};
use crate::error::{SandboxError, doing};
use crate::zygote::{InitNotice, Started};
use ringfence_core::isolation::{Ended, SandboxStats};
use ringfence_sys::ns;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// LIMIT: octets of output that are read of one attack.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
const SIGSYS: i32 = 31;

/// What was heard of a program until it had done what it could.
pub(super) struct Heard {
    /// Its output and errors, at most [`OUTPUT_BYTES_MAX`] octets.
    pub output: Vec<u8>,
    ended: Option<Ended>,
}

impl Heard {
    fn line(&self, start: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.output);
        text.lines()
            .rev()
            .find_map(|l| l.strip_prefix(start).map(|r| r.trim().to_owned()))
    }

    /// Whether it made all of its steps.
    pub(super) fn made(&self) -> bool {
        self.line(MADE).is_some()
    }

    /// Whether it ran at all, so that its silence means something.
    pub(super) fn ran(&self) -> bool {
        self.made()
            || self.line(REFUSED).is_some()
            || matches!(
                self.ended,
                Some(
                    Ended::OutOfMemory
                        | Ended::Signaled(SIGSYS)
                        | Ended::TimedOut
                        | Ended::Exited(0)
                )
            )
    }

    /// What came back, in words.
    pub(super) fn answer(&self) -> String {
        if let Some(why) = self.line(REFUSED) {
            return format!("refused {why}");
        }
        match self.ended {
            _ if self.made() => "made".to_owned(),
            Some(Ended::Signaled(signal)) => format!("ended by signal {signal}"),
            Some(Ended::OutOfMemory) => "ended, out of memory".to_owned(),
            Some(Ended::TimedOut) => "ended by its deadline".to_owned(),
            Some(Ended::Exited(code)) => {
                let text = String::from_utf8_lossy(&self.output);
                let last = text.lines().next_back().unwrap_or_default();
                format!("exited {code} {last}").trim().to_owned()
            }
            Some(Ended::Lost) => "the sandbox was lost".to_owned(),
            None => "said nothing".to_owned(),
        }
    }
}

/// Reads until the program has said how far it came, or has ended.
pub(super) fn listen(
    started: &mut Started,
    output: OwnedFd,
    to_the_end: bool,
) -> Result<Heard, SandboxError> {
    ns::set_nonblocking(output.as_fd()).map_err(doing("fcntl"))?;
    let mut output = File::from(output);
    let mut heard = Heard {
        output: Vec::new(),
        ended: None,
    };
    let deadline = Instant::now() + Duration::from_millis(super::suite::ATTACK_MS_MAX + 2_000);
    loop {
        let mut chunk = [0; 8 * 1024];
        while heard.output.len() < OUTPUT_BYTES_MAX {
            match output.read(&mut chunk) {
                Ok(length) if length > 0 => heard.output.extend(chunk.iter().take(length)),
                _ => break,
            }
        }
        while let Ok(Some(notice)) = started.init.next_notice() {
            let InitNotice::Ended { ended, .. } = notice;
            heard.ended = Some(ended);
        }
        let told = heard.made() || heard.line(REFUSED).is_some();
        let done = heard.ended.is_some() || (told && !to_the_end);
        let left = deadline
            .saturating_duration_since(Instant::now())
            .as_millis();
        if done || left == 0 {
            return Ok(heard);
        }
        let left = i64::try_from(left).unwrap_or(i64::MAX).min(50);
        let watched = [output.as_fd(), started.init.fd()];
        ns::readable_of(watched, Some(left)).map_err(doing("poll"))?;
    }
}

/// What the host heard of the attack by itself, if anything.
pub(super) fn event(heard: &Heard, before: SandboxStats, after: SandboxStats) -> Option<String> {
    let mut events = Vec::new();
    if matches!(heard.ended, Some(Ended::Signaled(SIGSYS))) {
        events.push("ended by SIGSYS".to_owned());
    }
    if after.oom_kills > before.oom_kills || heard.ended == Some(Ended::OutOfMemory) {
        events.push("out of memory".to_owned());
    }
    if after.fork_denials > before.fork_denials {
        events.push("fork denied".to_owned());
    }
    if after.refused_connections > before.refused_connections {
        events.push("connection refused".to_owned());
    }
    (!events.is_empty()).then(|| events.join(", "))
}
