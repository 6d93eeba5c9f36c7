//! One DEK that encrypts.

use std::sync::Arc;

use kms_core::{EncryptionContext, Tick};

use crate::cache::budget::{Budget, Left};
use crate::cache::limits::DekLimits;
use crate::cache::partition::Partition;

/// The part of the messages and of the bytes that is left when it is time for the next DEK.
const LAST_PART: u64 = 8;

/// What a caller wants a DEK for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) partition: &'a Partition,
    pub(super) context: &'a EncryptionContext,
    pub(super) bytes: u64,
}

impl Wanted<'_> {
    pub(super) fn to_purpose(self, epoch: u64) -> Purpose {
        Purpose {
            partition: self.partition.clone(),
            context: self.context.clone(),
            epoch,
        }
    }
}

/// What a DEK is for. Who asks after a purge does not share a call from before it.
#[derive(Eq, Hash, PartialEq)]
pub(super) struct Purpose {
    partition: Partition,
    pub(super) context: EncryptionContext,
    pub(super) epoch: u64,
}

/// A DEK and what it may still encrypt. Those who waited for it take from it even if it has been
/// evicted meanwhile.
pub(super) struct Live<T> {
    purpose: Arc<Purpose>,
    key: Arc<T>,
    made: Tick,
    budget: Budget,
}

impl<T> Live<T> {
    pub(super) fn new(purpose: Arc<Purpose>, key: T, limits: &DekLimits, made: Tick) -> Self {
        Self {
            purpose,
            key: Arc::new(key),
            made,
            budget: Budget::new(limits.max_messages.max(1), limits.max_bytes),
        }
    }

    /// The full comparison behind the hash.
    pub(super) fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.purpose.partition == *wanted.partition && self.purpose.context == *wanted.context
    }

    pub(super) fn is_for(&self, purpose: &Purpose) -> bool {
        self.purpose.partition == purpose.partition && self.purpose.context == purpose.context
    }

    pub(super) fn key(&self) -> Arc<T> {
        Arc::clone(&self.key)
    }

    /// Counts a message, or refuses it.
    pub(super) fn take(&self, limits: &DekLimits, bytes: u64, now: Tick) -> Option<Left> {
        if self.is_too_old(limits, now) {
            return None;
        }
        self.budget.take(bytes)
    }

    pub(super) fn has_room(&self, limits: &DekLimits, bytes: u64, now: Tick) -> bool {
        !self.is_too_old(limits, now) && self.budget.has_room(bytes)
    }

    fn nears_its_end(&self, left: Left, limits: &DekLimits, now: Tick) -> bool {
        let part = |limit: u64| limit.checked_div(LAST_PART).unwrap_or(0);
        left.messages <= part(limits.max_messages)
            || left.bytes <= part(limits.max_bytes)
            || now.since(self.made) >= limits.max_age.saturating_sub(limits.refresh_before)
    }

    fn is_too_old(&self, limits: &DekLimits, now: Tick) -> bool {
        now.since(self.made) >= limits.max_age.max(DekLimits::LEAST_AGE)
    }
}

/// A live DEK on the shelf.
pub(super) struct Held<T> {
    live: Arc<Live<T>>,
    /// The next one has been begun and is not due again before this.
    replace_from: Tick,
    /// How many rotations had been noted when its making began or when it was last found to be
    /// current; `None` when it was found not to be.
    current_at: Option<u64>,
}

/// What to do with a DEK that was found, which has counted the message.
pub(super) enum Found<T> {
    Serve(Arc<T>),
    /// Use it, and see to the next one: the finder is the only one who was told so.
    Replace(Arc<T>),
}

impl<T> Held<T> {
    pub(super) const fn new(live: Arc<Live<T>>, rotations: u64) -> Self {
        Self {
            live,
            replace_from: Tick::ORIGIN,
            current_at: Some(rotations),
        }
    }

    /// Whether it may be called current as far as anyone knows.
    pub(super) const fn passes_for_current(&self) -> bool {
        self.current_at.is_some()
    }

    pub(super) const fn note_rotation(&mut self, rotations: u64, is_current: bool) {
        self.current_at = if is_current { Some(rotations) } else { None };
    }

    pub(super) const fn live(&self) -> &Arc<Live<T>> {
        &self.live
    }

    /// Counts a message and serves the DEK, if there is room.
    pub(super) fn serve(
        &mut self,
        wanted: &Wanted<'_>,
        limits: &DekLimits,
        rotations: u64,
        now: Tick,
    ) -> Option<Found<T>> {
        if !self.live.is(wanted) {
            return None;
        }
        let left = self.live.take(limits, wanted.bytes, now)?;
        let key = self.live.key();
        let outdated = self.current_at != Some(rotations);
        let due = outdated || self.live.nears_its_end(left, limits, now);
        if due && now >= self.replace_from {
            // A claim that runs out by itself: nobody need give it back, so one whose owner
            // was dropped blocks nothing.
            self.replace_from = now + limits.retry_every;
            return Some(Found::Replace(key));
        }
        Some(Found::Serve(key))
    }

    pub(super) fn is_due(&self, limits: &DekLimits, rotations: u64, now: Tick) -> bool {
        let left = self.live.budget.left();
        self.current_at != Some(rotations) || self.live.nears_its_end(left, limits, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_same_hash_is_told_apart() {
        let (partition, limits) = (Partition::default(), DekLimits::default());
        let contexts = ["a", "b"].map(|name| EncryptionContext::new().with(name, "").unwrap());
        let [ours, theirs] = contexts.each_ref().map(|context| Wanted {
            partition: &partition,
            context,
            bytes: 1,
        });
        let now = Tick::ORIGIN;
        let live = Live::new(Arc::new(ours.to_purpose(0)), (), &limits, now);
        assert!(live.is(&ours) && !live.is(&theirs));
        assert!(live.is_for(&ours.to_purpose(7)) && !live.is_for(&theirs.to_purpose(0)));
        let mut held = Held::new(Arc::new(live), 0);
        assert!(held.serve(&theirs, &limits, 0, now).is_none());
        assert!(held.serve(&ours, &limits, 0, now).is_some());
    }
}
