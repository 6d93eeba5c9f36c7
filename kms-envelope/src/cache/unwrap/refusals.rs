//! Errors that are remembered for a moment.

use std::hash::RandomState;

use kms_core::{Error, Tick};

use super::entry::Asked;
use crate::cache::partition::Place;
use crate::cache::shelf::Shelf;

/// What the provider has refused, by fingerprint: what was asked may be large, and whoever asks
/// may be hostile, so nothing of it is kept. The fingerprint is 64
/// bits under a key of the process, which nobody outside can aim at, and the place has to be the
/// same as well; the worst is one question that gets another's refusal for a moment.
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
        let fingerprint = asked.fingerprint(&self.hasher);
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
            fingerprint: asked.fingerprint(&self.hasher),
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use kms_core::{EncryptionContext, WrappedKey};

    use super::*;
    use crate::cache::partition::Partition;

    #[test]
    fn another_question_at_the_same_place_is_not_refused() {
        let (partition, context) = (Partition::default(), EncryptionContext::new());
        let wrapped = |byte| WrappedKey::new("k".parse().unwrap(), vec![byte]).unwrap();
        let (refused, other) = (wrapped(1), wrapped(2));
        let asked = |wrapped| Asked {
            partition: &partition,
            wrapped,
            context: &context,
        };
        let place = Place {
            partition: 1,
            entry: 2,
        };
        let refusals = Refusals::new(4, 1);
        let (now, until) = (Tick::ORIGIN, Tick::ORIGIN + Duration::from_secs(1));
        let error = Error::crypto();
        refusals.remember(place, &asked(&refused), &error, now, until, || true);
        assert!(refusals.find(place, &asked(&refused), now).is_some());
        assert!(refusals.find(place, &asked(&other), now).is_none());
        assert!(refusals.find(place, &asked(&refused), until).is_none());
    }
}
