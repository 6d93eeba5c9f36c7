//! One unwrapped DEK, and what it is the answer to.

use core::hash::{BuildHasher as _, Hash, Hasher};
use std::hash::RandomState;
use std::sync::Arc;

use kms_core::{EncryptionContext, KeyId, Tick, WrappedKey};

use crate::cache::options::{Phase, UnwrapCacheOptions};
use crate::cache::partition::Partition;

/// All that the answer depends on, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) partition: &'a Partition,
    pub(super) wrapped: &'a WrappedKey,
    pub(super) context: &'a EncryptionContext,
}

impl Asked<'_> {
    /// Shows all of it, piece by piece, until `see` has seen enough. Each piece stands behind its
    /// length and each list before an end, so no two that differ show the same bytes.
    fn walk(&self, mut see: impl FnMut(&[u8]) -> bool) -> bool {
        let mut field = |bytes: Option<&[u8]>| {
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            see(&length.to_le_bytes()) && bytes.is_none_or(&mut see)
        };
        field(Some(self.partition.as_str().as_bytes()))
            && field(self.wrapped.key_id().map(|id| id.as_str().as_bytes()))
            && field(Some(self.wrapped.ciphertext()))
            && self
                .wrapped
                .annotations()
                .iter()
                .all(|(name, value)| field(Some(name.as_bytes())) && field(Some(value)))
            && field(None)
            && self
                .context
                .iter()
                .all(|(name, value)| field(Some(name.as_bytes())) && field(Some(value.as_bytes())))
            && field(None)
    }

    /// A hash that tells everything apart, as far as 64 bits can.
    pub(super) fn fingerprint(&self, key: &RandomState) -> u64 {
        let mut hasher = key.build_hasher();
        self.walk(|piece| {
            hasher.write(piece);
            true
        });
        hasher.finish()
    }

    fn to_bytes(self) -> Box<[u8]> {
        let mut bytes = Vec::new();
        self.walk(|piece| {
            bytes.extend_from_slice(piece);
            true
        });
        bytes.into()
    }

    pub(super) fn to_question(self, epoch: u64) -> Question {
        Question {
            partition: self.partition.clone(),
            wrapped: self.wrapped.clone(),
            context: self.context.clone(),
            epoch,
        }
    }
}

/// A hash need not tell everything apart, so the lengths are left out: each piece costs time. The
/// partition is hashed before this.
impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        if let Some(id) = self.wrapped.key_id() {
            hasher.write(id.as_str().as_bytes());
        }
        hasher.write(self.wrapped.ciphertext());
        for (name, value) in self.wrapped.annotations() {
            hasher.write(name.as_bytes());
            hasher.write(value);
        }
        for (name, value) in self.context.iter() {
            hasher.write(name.as_bytes());
            hasher.write(value.as_bytes());
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

pub(super) struct Entry<T> {
    /// What was asked, in one piece: a hit reads all of it, and scattered memory would cost more
    /// than everything else a hit does.
    asked: Box<[u8]>,
    key_id: Option<KeyId>,
    dek: Arc<T>,
    /// When the provider was asked.
    asked_at: Tick,
    /// A refresh has been begun and none is due before this.
    refresh_from: Tick,
    /// The provider could not be reached and is not asked again before this.
    outage_until: Tick,
}

/// What to do with an entry that was found.
pub(super) enum Found<T> {
    Serve(Arc<T>),
    ServeStale(Arc<T>),
    /// Serve it, and see to a new one: the finder is the only one who was told so.
    Refresh(Arc<T>),
}

impl<T> Entry<T> {
    pub(super) fn new(asked: &Asked<'_>, dek: Arc<T>, asked_at: Tick) -> Self {
        Self {
            asked: asked.to_bytes(),
            key_id: asked.wrapped.key_id().cloned(),
            dek,
            asked_at,
            refresh_from: Tick::ORIGIN,
            outage_until: Tick::ORIGIN,
        }
    }

    /// The full comparison behind the hash.
    pub(super) fn is(&self, asked: &Asked<'_>) -> bool {
        let mut rest = &*self.asked;
        let same = asked.walk(|piece| match rest.strip_prefix(piece) {
            Some(tail) => {
                rest = tail;
                true
            }
            None => false,
        });
        same && rest.is_empty()
    }

    pub(super) fn dek(&self) -> Arc<T> {
        Arc::clone(&self.dek)
    }

    pub(super) const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
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
    ) -> Option<Found<T>> {
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
        let dek = Arc::new("dek");
        let mut entry = Entry::new(&asked(&ours), dek, Tick::ORIGIN);
        let options = UnwrapCacheOptions::default();
        for (wrapped, found) in [(&ours, true), (&theirs, false)] {
            let asked = asked(wrapped);
            let now = Tick::ORIGIN;
            assert_eq!(entry.serve(&asked, &options, now).is_some(), found);
            assert_eq!(entry.valid(&asked, &options, now), found);
            assert_eq!(entry.stale(&asked, &options, now), found);
        }
    }

    #[test]
    fn no_two_questions_show_the_same_bytes() {
        let wrapped = |id: Option<&str>, bytes: &[u8]| match id {
            Some(id) => WrappedKey::new(id.parse().unwrap(), bytes.to_vec()).unwrap(),
            None => WrappedKey::without_key_id(bytes.to_vec()).unwrap(),
        };
        let note = |key: WrappedKey, name: &str, value: &[u8]| {
            key.with_annotation(name, value.to_vec()).unwrap()
        };
        let keys = [
            wrapped(Some("ab"), b"c"),
            wrapped(Some("a"), b"bc"),
            wrapped(None, b"abc"),
            note(wrapped(Some("ab"), b"c"), "d", b"e"),
            note(wrapped(Some("ab"), b"c"), "d", b""),
            note(wrapped(Some("ab"), b"c"), "de", b""),
            note(note(wrapped(Some("ab"), b"c"), "d", b""), "e", b""),
        ];
        let contexts = [&[][..], &["d=e"], &["d="], &["de="], &["d=", "e="]].map(|pairs| {
            pairs
                .iter()
                .fold(EncryptionContext::new(), |context, pair| {
                    let (name, value) = pair.split_once('=').unwrap();
                    context.with(name, value).unwrap()
                })
        });
        let partitions = ["", "a"].map(|name| Partition::new(name).unwrap());
        let mut all = Vec::new();
        for partition in &partitions {
            for wrapped in &keys {
                for context in &contexts {
                    all.push(Asked {
                        partition,
                        wrapped,
                        context,
                    });
                }
            }
        }
        for (at, one) in all.iter().enumerate() {
            let dek = Arc::new("dek");
            let entry = Entry::new(one, dek, Tick::ORIGIN);
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(entry.is(other), at == other_at, "{one:?} {other:?}");
                let prefix = one.to_bytes().starts_with(&other.to_bytes());
                assert_eq!(prefix, at == other_at);
            }
        }
    }
}
