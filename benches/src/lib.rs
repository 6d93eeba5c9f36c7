//! Comparisons measured in one run.
//!
//! A virtual machine drifts by more than the differences we want to see, from one minute to the
//! next. So the variants of a comparison take turns, round by round, and what counts is the median
//! over the rounds of the ratio within a round.
//!
//! On a machine that others use as well, [`compare_on_cpu`] counts what the thread itself has used.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Whether the benchmarks should only show that they run: `cargo bench -- --test`.
#[must_use]
pub fn smoke() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// Two ways to do one thing.
#[derive(Debug)]
pub struct Outcome {
    /// Median time of one call of ours, in nanoseconds.
    pub ours_ns: f64,
    /// Median time of one call of the yardstick, in nanoseconds.
    pub bare_ns: f64,
    /// Median over the rounds of ours / yardstick.
    pub ratio: f64,
}

/// Measures `ours` against `bare`, taking turns.
#[must_use]
pub fn compare<A, B>(ours: impl FnMut() -> A, bare: impl FnMut() -> B) -> Outcome {
    let start = Instant::now();
    compare_by(&|| start.elapsed(), ours, bare)
}

/// As [`compare`], by the processor time of this thread: what it takes while others run does not
/// count. For work on one thread that waits for nothing.
#[must_use]
pub fn compare_on_cpu<A, B>(ours: impl FnMut() -> A, bare: impl FnMut() -> B) -> Outcome {
    let used = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    compare_by(&used, ours, bare)
}

fn compare_by<A, B>(
    clock: &dyn Fn() -> Duration,
    mut ours: impl FnMut() -> A,
    mut bare: impl FnMut() -> B,
) -> Outcome {
    let (rounds, slice) = if smoke() {
        (1, Duration::ZERO)
    } else {
        (41, Duration::from_millis(12))
    };
    let ours_calls = calls_for(clock, slice, &mut ours);
    let bare_calls = calls_for(clock, slice, &mut bare);
    let mut times = Vec::new();
    for round in 0..rounds {
        // Who goes first changes, so that neither always finds warm caches.
        let (a, b);
        if round % 2 == 0 {
            a = time(clock, ours_calls, &mut ours);
            b = time(clock, bare_calls, &mut bare);
        } else {
            b = time(clock, bare_calls, &mut bare);
            a = time(clock, ours_calls, &mut ours);
        }
        times.push((a, b));
    }
    Outcome {
        ours_ns: median(times.iter().map(|(a, _)| *a).collect()),
        bare_ns: median(times.iter().map(|(_, b)| *b).collect()),
        ratio: median(times.iter().map(|(a, b)| a / b).collect()),
    }
}

fn calls_for<T>(
    clock: &dyn Fn() -> Duration,
    slice: Duration,
    work: &mut impl FnMut() -> T,
) -> u32 {
    let mut calls = 1_u32;
    loop {
        let start = clock();
        for _ in 0..calls {
            black_box(work());
        }
        if clock().saturating_sub(start) >= slice || calls >= 1 << 24 {
            return calls;
        }
        calls = calls.saturating_mul(2);
    }
}

fn time<T>(clock: &dyn Fn() -> Duration, calls: u32, work: &mut impl FnMut() -> T) -> f64 {
    let start = clock();
    for _ in 0..calls {
        black_box(work());
    }
    clock().saturating_sub(start).as_nanos() as f64 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A percentile of sorted durations, `0.99` for p99.
#[must_use]
pub fn percentile(sorted: &[Duration], p: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * p).round() as usize;
    sorted.get(index.min(last)).copied().unwrap_or_default()
}

/// The machine, for a results file.
#[must_use]
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            text.lines().find_map(|line| {
                line.strip_prefix("model name")?
                    .split_once(": ")
                    .map(|(_, name)| name.to_owned())
            })
        })
        .unwrap_or_else(|| "unknown CPU".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cpu}, {cores} cores, {} {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}
