//! One unwrapped DEK, and what it is the answer to.

use std::sync::Arc;

use kms_core::{EncryptionContext, KeyId, SecretBytes, Tick, WrappedKey};

use crate::cache::options::{Phase, UnwrapCacheOptions};
use crate::cache::partition::Partition;

/// All that the answer depends on, and whose it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Asked<'a> {
    pub(super) partition: &'a Partition,
    pub(super) wrapped: &'a WrappedKey,
    pub(super) context: &'a EncryptionContext,
}

impl Asked<'_> {
    pub(super) fn to_question(self, epoch: u64) -> Question {
        Question {
            partition: self.partition.clone(),
            wrapped: self.wrapped.clone(),
            context: self.context.clone(),
            epoch,
        }
    }
}

/// The same, owned. Bounded by what it is made of. Who asks after a purge does not share a call
/// from before it.
#[derive(Eq, Hash, PartialEq)]
pub(super) struct Question {
    pub(super) partition: Partition,
    pub(super) wrapped: WrappedKey,
    pub(super) context: EncryptionContext,
    pub(super) epoch: u64,
}

impl Question {
    pub(super) const fn asked(&self) -> Asked<'_> {
        Asked {
            partition: &self.partition,
            wrapped: &self.wrapped,
            context: &self.context,
        }
    }
}

pub(super) struct Entry {
    question: Arc<Question>,
    dek: Arc<SecretBytes>,
    /// When the provider was asked.
    asked_at: Tick,
    /// A refresh has been begun and none is due before this.
    refresh_from: Tick,
    /// The provider could not be reached and is not asked again before this.
    outage_until: Tick,
}

/// What to do with an entry that was found.
pub(super) enum Found {
    Serve(Arc<SecretBytes>),
    ServeStale(Arc<SecretBytes>),
    /// Serve it, and see to a new one: the finder is the only one who was told so.
    Refresh(Arc<SecretBytes>),
}

impl Entry {
    pub(super) const fn new(
        question: Arc<Question>,
        dek: Arc<SecretBytes>,
        asked_at: Tick,
    ) -> Self {
        Self {
            question,
            dek,
            asked_at,
            refresh_from: Tick::ORIGIN,
            outage_until: Tick::ORIGIN,
        }
    }

    /// The full comparison behind the hash.
    pub(super) fn is(&self, asked: &Asked<'_>) -> bool {
        self.question.asked() == *asked
    }

    pub(super) fn dek(&self) -> Arc<SecretBytes> {
        Arc::clone(&self.dek)
    }

    pub(super) fn key_id(&self) -> Option<&KeyId> {
        self.question.wrapped.key_id()
    }

    pub(super) fn phase(&self, options: &UnwrapCacheOptions, now: Tick) -> Phase {
        options.phase(now.since(self.asked_at))
    }

    /// Whether this is what was asked for, and within its own time.
    pub(super) fn valid(&self, asked: &Asked<'_>, options: &UnwrapCacheOptions, now: Tick) -> bool {
        matches!(self.phase(options, now), Phase::Fresh | Phase::Due) && self.is(asked)
    }

    /// Whether this may stand in for an answer that did not come.
    pub(super) fn stale(&self, asked: &Asked<'_>, options: &UnwrapCacheOptions, now: Tick) -> bool {
        self.phase(options, now) != Phase::Over && self.is(asked)
    }

    /// Serves without waiting, if that is possible.
    pub(super) fn serve(
        &mut self,
        asked: &Asked<'_>,
        options: &UnwrapCacheOptions,
        now: Tick,
    ) -> Option<Found> {
        if !self.is(asked) {
            return None;
        }
        match self.phase(options, now) {
            Phase::Fresh => Some(Found::Serve(self.dek())),
            Phase::Due if now < self.refresh_from || now < self.outage_until => {
                Some(Found::Serve(self.dek()))
            }
            Phase::Due => {
                // A claim that runs out by itself: nobody need give it back, so one whose owner
                // was dropped blocks nothing.
                self.refresh_from = now + options.retry_every;
                Some(Found::Refresh(self.dek()))
            }
            Phase::Stale if now < self.outage_until => Some(Found::ServeStale(self.dek())),
            Phase::Stale | Phase::Over => None,
        }
    }

    pub(super) const fn note_outage(&mut self, until: Tick) {
        self.outage_until = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_same_hash_is_told_apart() {
        let (partition, context) = (Partition::default(), EncryptionContext::new());
        let wrapped = |byte| WrappedKey::new("k".parse().unwrap(), vec![byte]).unwrap();
        let (ours, theirs) = (wrapped(1), wrapped(2));
        let asked = |wrapped| Asked {
            partition: &partition,
            wrapped,
            context: &context,
        };
        let dek = Arc::new(SecretBytes::copy_from_slice(b"dek"));
        let question = Arc::new(asked(&ours).to_question(0));
        let mut entry = Entry::new(question, dek, Tick::ORIGIN);
        let options = UnwrapCacheOptions::default();
        for (wrapped, found) in [(&ours, true), (&theirs, false)] {
            let asked = asked(wrapped);
            let now = Tick::ORIGIN;
            assert_eq!(entry.serve(&asked, &options, now).is_some(), found);
            assert_eq!(entry.valid(&asked, &options, now), found);
            assert_eq!(entry.stale(&asked, &options, now), found);
        }
    }
}
