//! How far a migration has come.

use core::time::Duration;
use std::collections::VecDeque;

use kms_core::Tick;

use super::MigrationCounts;

/// What a migration is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MigrationPhase {
    /// Opens, judges and rewrites.
    Rewriting,
    /// Opens all objects once more, at one revision.
    Verifying,
    /// Waits for other workers to end what they have claimed.
    Waiting,
}

/// How far a migration has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// What it is doing.
    pub phase: MigrationPhase,
    /// Keys that this phase has gone through, also before an interruption.
    pub done: u64,
    /// All of them, if the store can tell.
    pub total: Option<u64>,
    /// What became of the objects so far.
    pub counts: MigrationCounts,
    /// Keys in a second, over the last half minute; none at the beginning.
    pub per_second: Option<f64>,
    /// How long the rest takes at this rate.
    pub eta: Option<Duration>,
}

/// Measures the rate, and says when there is something new to show.
#[derive(Debug)]
pub(super) struct Pace {
    phase: MigrationPhase,
    total: Option<u64>,
    rate: Rate,
    shown: Option<Tick>,
}

/// How much is done in a second, over the last half minute.
#[derive(Debug)]
pub(in crate::reencrypt) struct Rate {
    /// When how much was done, a second apart.
    marks: VecDeque<(Tick, u64)>,
}

const WINDOW: Duration = Duration::from_secs(30);
const MARK_EVERY: Duration = Duration::from_secs(1);
pub(in crate::reencrypt) const SHOW_EVERY: Duration = Duration::from_millis(100);

impl Rate {
    pub(in crate::reencrypt) fn new(now: Tick, done: u64) -> Self {
        Self {
            marks: VecDeque::from([(now, done)]),
        }
    }

    /// The rate now; none at the beginning.
    pub(in crate::reencrypt) fn measure(&mut self, now: Tick, done: u64) -> Option<f64> {
        if self
            .marks
            .back()
            .is_none_or(|(at, _)| now.since(*at) >= MARK_EVERY)
        {
            self.marks.push_back((now, done));
        }
        while self.marks.len() > 2
            && self
                .marks
                .front()
                .is_some_and(|(at, _)| now.since(*at) > WINDOW)
        {
            self.marks.pop_front();
        }
        self.marks.front().and_then(|(at, before)| {
            let seconds = now.since(*at).as_secs_f64();
            let more = done.saturating_sub(*before) as f64;
            (seconds >= 0.5 && more > 0.0).then(|| more / seconds)
        })
    }
}

/// How long the rest takes at this rate.
pub(in crate::reencrypt) fn eta(left: Option<u64>, per_second: Option<f64>) -> Option<Duration> {
    let (left, per_second) = left.zip(per_second)?;
    Duration::try_from_secs_f64(left as f64 / per_second).ok()
}

impl Pace {
    pub(super) fn new(phase: MigrationPhase, total: Option<u64>, done: u64, now: Tick) -> Self {
        Self {
            phase,
            total,
            rate: Rate::new(now, done),
            shown: None,
        }
    }

    /// Whether nothing was shown yet.
    pub(super) const fn is_new(&self) -> bool {
        self.shown.is_none()
    }

    /// What to show now, unless that was a moment ago.
    pub(super) fn progress(
        &mut self,
        now: Tick,
        done: u64,
        counts: MigrationCounts,
    ) -> Option<MigrationProgress> {
        if self
            .shown
            .is_some_and(|shown| now.since(shown) < SHOW_EVERY)
        {
            return None;
        }
        self.shown = Some(now);
        Some(self.last(now, done, counts))
    }

    /// What to show in any case.
    pub(super) fn last(
        &mut self,
        now: Tick,
        done: u64,
        counts: MigrationCounts,
    ) -> MigrationProgress {
        let per_second = self.rate.measure(now, done);
        let left = self.total.map(|total| total.saturating_sub(done));
        let eta = eta(left, per_second);
        MigrationProgress {
            phase: self.phase,
            done,
            // What was created meanwhile is done, too.
            total: self.total.map(|total| total.max(done)),
            counts,
            per_second,
            eta,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_that_of_the_last_half_minute() {
        let counts = MigrationCounts::default();
        let mut pace = Pace::new(MigrationPhase::Rewriting, Some(10_000), 0, at(0));
        let first = pace.progress(at(0), 0, counts).unwrap();
        assert_eq!((first.per_second, first.eta), (None, None));
        assert_eq!(pace.progress(at(0), 1, counts), None, "that is too soon");
        // A hundred a second at first, then ten.
        for second in 1..=60 {
            pace.progress(at(second), second * 100, counts);
        }
        let mut last = None;
        for second in 1..=60 {
            last = pace.progress(at(60 + second), 6000 + second * 10, counts);
        }
        let last = last.unwrap();
        let rate = last.per_second.unwrap();
        assert!((9.0..11.0).contains(&rate), "{rate}");
        let eta = last.eta.unwrap().as_secs();
        assert!((300..400).contains(&eta), "{eta}");
    }

    #[test]
    fn more_than_all_is_all() {
        let mut pace = Pace::new(MigrationPhase::Rewriting, Some(5), 0, at(0));
        let shown = pace.progress(at(1), 7, MigrationCounts::default()).unwrap();
        assert_eq!(shown.total, Some(7));
        assert_eq!(shown.eta, Some(Duration::ZERO));
    }
}
