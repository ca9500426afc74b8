//! The most that one sandbox may be given, whoever asks: what this host has.
//!
//! The server decides on limits within these; one that was taken over must not be able to ask for a
//! sandbox without limits.
//! INVARIANT: every sandbox that starts has a limit of memory, processes, processor time and /tmp.

use super::sandboxes::failed;
use ringfence_core::error::Explained;
use ringfence_core::isolation::Spec;
use std::fs;

/// LIMIT: processes and threads of one sandbox.
pub const SANDBOX_PROCESSES_MAX: u32 = 4096;
/// LIMIT: octets of memory of one sandbox on a host that has less or does not say: an inspection is
/// given so many, and uses them only for a project that needs them.
pub const SMALL_HOST_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Thousandths of a processor in one processor.
const MILLIS_PER_PROCESSOR: u32 = 1000;

/// The ceilings of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ceilings {
    /// Of memory, and of /tmp, which is memory.
    pub memory_bytes: u64,
    /// Of processes and threads.
    pub processes: u32,
    /// Of processor time, in thousandths of one processor.
    pub cpu_millis: u32,
}

impl Ceilings {
    /// Of this host, as it is at the start.
    pub(super) fn of_host() -> Self {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memory_bytes: total_memory(&memory)
                .unwrap_or_default()
                .max(SMALL_HOST_BYTES),
            processes: SANDBOX_PROCESSES_MAX,
            cpu_millis: u32::try_from(processors)
                .unwrap_or(u32::MAX)
                .saturating_mul(MILLIS_PER_PROCESSOR),
        }
    }

    /// Refuses what is above; processor time without a limit is all that the host has.
    pub(super) fn check(&self, spec: &mut Spec) -> Result<(), Explained> {
        let cpu_millis = *spec.cpu_millis.get_or_insert(self.cpu_millis);
        for (what, unit, asked, most) in [
            ("memory", "octets", spec.memory_bytes, self.memory_bytes),
            ("/tmp", "octets", spec.tmp_bytes, self.memory_bytes),
            (
                "processes",
                "at once",
                spec.processes.into(),
                self.processes.into(),
            ),
            (
                "processor time",
                "thousandths of a processor",
                cpu_millis.into(),
                self.cpu_millis.into(),
            ),
        ] {
            if asked > most {
                let what = format!(
                    "a sandbox was to have {asked} {unit} of {what}; the most on this host is {most}"
                );
                let help = "lower this limit in the configuration";
                return Err(failed("run/limit-too-high", what, help));
            }
        }
        Ok(())
    }
}

/// `MemTotal` of /proc/meminfo, in octets.
fn total_memory(text: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::ids::ProjectId;

    const CEILINGS: Ceilings = Ceilings {
        memory_bytes: 1 << 30,
        processes: SANDBOX_PROCESSES_MAX,
        cpu_millis: 2000,
    };

    fn spec() -> Spec {
        Spec::new("s".parse().unwrap(), ProjectId::host())
    }

    fn code(change: impl FnOnce(&mut Spec)) -> Result<(), String> {
        let mut spec = spec();
        change(&mut spec);
        CEILINGS.check(&mut spec).map_err(|e| e.code)
    }

    #[test]
    fn each_limit_is_accepted_at_its_ceiling_and_refused_one_above() {
        let refused = Err("run/limit-too-high".to_owned());
        assert_eq!(code(|s| s.memory_bytes = CEILINGS.memory_bytes), Ok(()));
        assert_eq!(
            code(|s| s.memory_bytes = CEILINGS.memory_bytes + 1),
            refused
        );
        assert_eq!(code(|s| s.tmp_bytes = CEILINGS.memory_bytes), Ok(()));
        assert_eq!(code(|s| s.tmp_bytes = CEILINGS.memory_bytes + 1), refused);
        assert_eq!(code(|s| s.processes = CEILINGS.processes), Ok(()));
        assert_eq!(code(|s| s.processes = CEILINGS.processes + 1), refused);
        assert_eq!(code(|s| s.cpu_millis = Some(CEILINGS.cpu_millis)), Ok(()));
        assert_eq!(
            code(|s| s.cpu_millis = Some(CEILINGS.cpu_millis + 1)),
            refused
        );
    }

    #[test]
    fn no_limit_of_processor_time_becomes_what_the_host_has() {
        let mut free = spec();
        free.cpu_millis = None;
        assert_eq!(CEILINGS.check(&mut free), Ok(()));
        assert_eq!(free.cpu_millis, Some(CEILINGS.cpu_millis));
    }

    #[test]
    fn the_ceilings_of_this_host_are_its_own_and_the_defaults_fit() {
        let host = Ceilings::of_host();
        assert!(host.cpu_millis >= MILLIS_PER_PROCESSOR);
        assert!(host.memory_bytes >= SMALL_HOST_BYTES, "{host:?}");
        assert_eq!(
            total_memory("MemFree: 1 kB\nMemTotal:    16 kB\n"),
            Some(16 * 1024)
        );
        assert_eq!(total_memory("MemTotal: many\n"), None);
        assert_eq!(host.check(&mut spec()), Ok(()));
    }
}
