//! Two ways to do one thing, measured in one run.

use core::fmt;
use core::hint::black_box;
use core::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::now;

/// Whether the benchmarks should only show that they run: `cargo bench -- --test`.
#[must_use]
pub fn smoke() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// What [`compare`] has found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// Median time of one call of the candidate, in nanoseconds.
    pub candidate_ns: f64,
    /// Median time of one call of the baseline, in nanoseconds.
    pub baseline_ns: f64,
    /// Median over the rounds of candidate / baseline within a round. Below 1 the candidate is
    /// faster.
    pub ratio: f64,
}

/// As `1234 ns, 0.97 of 1272 ns`.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            candidate_ns,
            baseline_ns,
            ratio,
        } = self;
        write!(f, "{candidate_ns:.0} ns, {ratio:.2} of {baseline_ns:.0} ns")
    }
}

/// Measures a candidate against a baseline in about a second, taking turns.
///
/// A machine drifts by more than the differences we want to see, from one minute to the next. So
/// the two take turns in slices of 12 ms, and what counts is the median over 41 rounds of the ratio
/// within a round. With `--test` each is only called.
///
/// ```
/// use kms_testkit::bench::compare;
///
/// let bytes = [7_u8; 4096];
/// let found = compare(|| bytes.to_vec(), || bytes.iter().copied().collect::<Vec<_>>());
/// assert!(found.ratio > 0.0);
/// ```
#[must_use]
pub fn compare<A, B>(candidate: impl FnMut() -> A, baseline: impl FnMut() -> B) -> Comparison {
    let start = now();
    compare_by(&|| start.elapsed(), candidate, baseline)
}

/// As [`compare`], by the processor time of this thread: what it waits while others run does not
/// count. For work on one thread that waits for nothing, on a machine that others use too.
#[must_use]
pub fn compare_on_cpu<A, B>(
    candidate: impl FnMut() -> A,
    baseline: impl FnMut() -> B,
) -> Comparison {
    let used = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    };
    compare_by(&used, candidate, baseline)
}

fn compare_by<A, B>(
    clock: &dyn Fn() -> Duration,
    mut candidate: impl FnMut() -> A,
    mut baseline: impl FnMut() -> B,
) -> Comparison {
    let (rounds, slice) = if smoke() {
        (1, Duration::ZERO)
    } else {
        (41, Duration::from_millis(12))
    };
    let candidate_calls = calls_for(clock, slice, &mut candidate);
    let baseline_calls = calls_for(clock, slice, &mut baseline);
    let mut times = Vec::new();
    for round in 0..rounds {
        // Who goes first changes, so that neither always finds warm caches.
        let (a, b);
        if round % 2 == 0 {
            a = time(clock, candidate_calls, &mut candidate);
            b = time(clock, baseline_calls, &mut baseline);
        } else {
            b = time(clock, baseline_calls, &mut baseline);
            a = time(clock, candidate_calls, &mut candidate);
        }
        times.push((a, b));
    }
    Comparison {
        candidate_ns: median(times.iter().map(|(a, _)| *a).collect()),
        baseline_ns: median(times.iter().map(|(_, b)| *b).collect()),
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
    // A call that is too short for the clock still took some time: no ratio is 0 / 0.
    clock().saturating_sub(start).as_nanos().max(1) as f64 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().wrapping_div(2))
        .copied()
        .unwrap_or(f64::NAN)
}

/// A percentile of sorted durations, `0.99` for p99; zero if there are none.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_more_takes_longer() {
        let work = |rounds: u64| (0..rounds).fold(1_u64, |a, b| black_box(a.rotate_left(3) ^ b));
        let found = compare(|| work(20_000), || work(1_000));
        assert!(found.ratio > 2.0, "{found}");
        assert!(found.candidate_ns > found.baseline_ns, "{found}");
    }

    #[test]
    fn percentiles_of_few_and_of_none() {
        let times = [1, 2, 3].map(Duration::from_secs);
        assert_eq!(percentile(&times, 0.5), Duration::from_secs(2));
        assert_eq!(percentile(&times, 1.0), Duration::from_secs(3));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
