//! What a process uses, as the kernel tells it, and how busy the machine is besides.

use std::error::Error;
use std::fmt;

use tokio::time::Instant;

/// A bench ends with the first thing that goes wrong.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A process's counters at the beginning of what is measured.
pub(crate) struct Meter {
    process: String,
    started: Instant,
    cpu_micros: u64,
    written: u64,
}

impl Meter {
    /// Begins to measure: `process` is an id, or `self`.
    pub(crate) fn start(process: &str) -> Outcome<Self> {
        let (cpu_micros, written) = counters(process)?;
        Ok(Self { process: process.to_owned(), started: Instant::now(), cpu_micros, written })
    }

    /// What was used since, for `count` records.
    pub(crate) fn used(&self, count: u64) -> Outcome<Used> {
        let (cpu_micros, written) = counters(&self.process)?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        Ok(Used {
            count,
            seconds: self.started.elapsed().as_secs_f64(),
            cpu_micros: cpu_micros - self.cpu_micros,
            written: written - self.written,
            peak_mib: peak_kib / 1024,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

/// Processor time in microseconds and bytes written to the disk so far.
fn counters(process: &str) -> Outcome<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name in parentheses: utime and stime are fields 14 and 15, in 1/100 s.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    let io = std::fs::read_to_string(format!("/proc/{process}/io"))?;
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap_or("0");
    Ok(((ticks(11) + ticks(12)) * 10_000, written.parse()?))
}

impl Used {
    /// Records a second.
    #[expect(clippy::cast_precision_loss, reason = "figures for the eye")]
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// What was used.
pub(crate) struct Used {
    count: u64,
    /// Time that passed.
    pub(crate) seconds: f64,
    /// Processor time, of all threads.
    pub(crate) cpu_micros: u64,
    written: u64,
    peak_mib: u64,
    load: String,
}

impl fmt::Display for Used {
    #[expect(clippy::cast_precision_loss, reason = "figures for the eye")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count as f64;
        write!(
            f,
            "{:.2} s, {:.0} records/s, {:.2} CPU µs and {:.0} bytes written a record, peak memory {} MiB (load {})",
            self.seconds,
            self.rate(),
            self.cpu_micros as f64 / count,
            self.written as f64 / count,
            self.peak_mib,
            self.load,
        )
    }
}
