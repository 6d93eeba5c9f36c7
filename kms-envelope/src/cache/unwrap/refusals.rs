//! Errors that are remembered for a moment.

use core::hash::BuildHasher as _;
use std::hash::RandomState;

use kms_core::{Error, Tick};

use super::entry::Asked;
use crate::cache::partition::Place;
use crate::cache::shelf::Shelf;

/// What the provider has refused, by fingerprint: what was asked may be large, and whoever asks
/// may be hostile, so nothing of it is kept. Together with the place the fingerprint is 128 bits
/// under two keys of the process, so one question never gets another's error.
pub(super) struct Refusals {
    shelf: Shelf<Refusal>,
    hasher: RandomState,
}

struct Refusal {
    fingerprint: u64,
    error: Error,
    until: Tick,
}

impl Refusals {
    pub(super) fn new(quota: usize, partitions: usize) -> Self {
        Self {
            shelf: Shelf::new(quota, partitions),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn find(&self, place: Place, asked: &Asked<'_>, now: Tick) -> Option<Error> {
        let fingerprint = self.hasher.hash_one(asked);
        self.shelf.hit(place, now, |refusal| {
            let remembered = refusal.fingerprint == fingerprint && now < refusal.until;
            remembered.then(|| refusal.error.clone())
        })
    }

    pub(super) fn remember(
        &self,
        place: Place,
        asked: &Asked<'_>,
        error: &Error,
        now: Tick,
        until: Tick,
        admit: impl FnOnce() -> bool,
    ) {
        let refusal = Refusal {
            fingerprint: self.hasher.hash_one(asked),
            error: error.clone(),
            until,
        };
        self.shelf
            .insert(place, refusal, now, || until > now && admit());
    }

    pub(super) fn sweep(&self, now: Tick) {
        self.shelf.retain(|_, refusal| now < refusal.until);
    }

    pub(super) fn clear(&self) {
        self.shelf.retain(|_, _| false);
    }

    pub(super) fn len(&self) -> usize {
        self.shelf.len()
    }
}
