//! What a phase costs: CPU time of the whole process, and the most memory it held.

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The cost of one phase.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// CPU time of all threads of the process, in seconds.
    pub(crate) cpu_s: f64,
    /// The peak of resident memory during the phase, in bytes.
    pub(crate) peak_bytes: u64,
    /// The same, beyond what was resident when the phase began.
    pub(crate) extra_bytes: u64,
}

/// Runs `phase` and says what it cost beside what it gave.
pub(crate) fn measure<T>(phase: impl FnOnce() -> T) -> anyhow::Result<(T, Cost)> {
    // Linux: 5 resets the peak of resident memory (proc_pid_clear_refs(5)).
    std::fs::write("/proc/self/clear_refs", "5").context("the peak of memory cannot be reset")?;
    let before = resident("VmRSS:")?;
    let (value, cpu_s) = cpu_seconds(phase);
    let peak_bytes = resident("VmHWM:")?;
    let cost = Cost {
        cpu_s,
        peak_bytes,
        extra_bytes: peak_bytes.saturating_sub(before),
    };
    Ok((value, cost))
}

/// Runs `phase` and says what CPU time it took, in seconds.
pub(crate) fn cpu_seconds<T>(phase: impl FnOnce() -> T) -> (T, f64) {
    let start = cpu_time();
    let value = phase();
    (value, (cpu_time() - start).as_secs_f64())
}

fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).expect("a process has not run for negative time");
    let nanos = u32::try_from(spent.tv_nsec).expect("nanoseconds are below 10^9");
    Duration::new(seconds, nanos)
}

/// One line of /proc/self/status, which counts in KiB.
fn resident(line: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .with_context(|| format!("/proc/self/status has no {line}"))
}
