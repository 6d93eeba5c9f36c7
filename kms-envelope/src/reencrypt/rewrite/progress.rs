//! How far a migration through the API has come.

use core::time::Duration;

use kms_core::Tick;

use super::ApiMigrationCounts;
use crate::reencrypt::migrate::progress::{Rate, SHOW_EVERY, eta};

/// What a migration is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ApiMigrationPhase {
    /// Asks for every object to be written again.
    Rewriting,
    /// Asks once more, to see that there is nothing left to write.
    Confirming,
}

/// How far a migration has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ApiMigrationProgress {
    /// What it is doing.
    pub phase: ApiMigrationPhase,
    /// Objects that this pass is done with, also before an interruption.
    pub done: u64,
    /// All of them, if the server says how many there are.
    pub total: Option<u64>,
    /// What became of the objects of this pass.
    pub counts: ApiMigrationCounts,
    /// Objects in a second, over the last half minute; none at the beginning.
    pub per_second: Option<f64>,
    /// How long the rest takes at this rate.
    pub eta: Option<Duration>,
}

/// Who is told.
pub(super) type OnProgress<'f> = dyn FnMut(&ApiMigrationProgress) + Send + 'f;

/// Measures the rate of one pass, and says when there is something new to show.
pub(super) struct Pace {
    phase: ApiMigrationPhase,
    total: Option<u64>,
    rate: Rate,
    shown: Option<Tick>,
}

impl Pace {
    pub(super) fn new(pass: u32, total: Option<u64>, done: u64, now: Tick) -> Self {
        Self {
            phase: if pass > 1 {
                ApiMigrationPhase::Confirming
            } else {
                ApiMigrationPhase::Rewriting
            },
            total,
            rate: Rate::new(now, done),
            shown: None,
        }
    }

    /// What to show now, unless that was a moment ago.
    pub(super) fn progress(
        &mut self,
        now: Tick,
        counts: ApiMigrationCounts,
    ) -> Option<ApiMigrationProgress> {
        let is_soon = |shown| now.since(shown) < SHOW_EVERY;
        if self.shown.is_some_and(is_soon) {
            return None;
        }
        self.shown = Some(now);
        Some(self.last(now, counts))
    }

    /// What to show in any case.
    pub(super) fn last(&mut self, now: Tick, counts: ApiMigrationCounts) -> ApiMigrationProgress {
        let done = counts.objects;
        let per_second = self.rate.measure(now, done);
        let left = self.total.map(|total| total.saturating_sub(done));
        ApiMigrationProgress {
            phase: self.phase,
            done,
            // What was created meanwhile is done, too.
            total: self.total.map(|total| total.max(done)),
            counts,
            per_second,
            eta: eta(left, per_second),
        }
    }
}
