//! Putting evidence together.

use std::time::SystemTime;

use kms_core::KeyId;

use super::document::{self, Content};
use super::unscanned::Attribution;
use super::{
    Evidence, KnownKey, ReplicaState, ScannedSource, UnscannedKind, UnscannedSource, Waiver, moment,
};
use crate::Error;

/// Puts [`Evidence`] together.
///
/// Nothing that is added takes an objection away that a source raises, except a waiver of what may
/// be waived and a word on which key a KMS v1 provider uses.
#[derive(Clone, Debug)]
pub struct EvidenceBuilder(Content);

impl EvidenceBuilder {
    pub(super) const fn new(now: SystemTime) -> Self {
        Self(Content {
            taken_at: now,
            sources: Vec::new(),
            replicas: Vec::new(),
            not_scanned: Vec::new(),
            kms_v1_keys: Vec::new(),
            known_keys: Vec::new(),
            waivers: Vec::new(),
        })
    }

    pub(super) const fn from_content(content: Content) -> Self {
        Self(content)
    }

    /// Adds what was scanned.
    #[must_use]
    pub fn scanned(mut self, source: ScannedSource) -> Self {
        self.0.sources.push(source);
        self
    }

    /// Adds what a replica writes with.
    #[must_use]
    pub fn replica(mut self, replica: ReplicaState) -> Self {
        self.0.replicas.push(replica);
        self
    }

    /// Names something that may hold references and was not scanned.
    #[must_use]
    pub fn not_scanned(mut self, name: impl Into<String>, kind: UnscannedKind) -> Self {
        self.0.not_scanned.push(UnscannedSource {
            name: name.into(),
            kind,
        });
        self
    }

    /// Says which key the KMS v1 provider of this name uses, and has always used. Its values then
    /// count as references to that key alone.
    #[must_use]
    pub fn kms_v1_key(mut self, provider: impl Into<String>, key_id: &KeyId) -> Self {
        self.0.kms_v1_keys.push(Attribution {
            provider: provider.into(),
            key_id: key_id.as_str().to_owned(),
        });
        self
    }

    /// Adds a key that somebody knows, such as one that its provider lists. Without it a key that
    /// nothing needs any more is not told from one that never was.
    #[must_use]
    pub fn known_key(mut self, known: KnownKey) -> Self {
        self.0.known_keys.push(known);
        self
    }

    /// Takes responsibility for something that was not scanned or cannot be known, by the name that
    /// [`Objection::waivable_as`](super::Objection::waivable_as) gives. A name that nothing has does
    /// no harm.
    #[must_use]
    pub fn waive(mut self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.0.waivers.push(Waiver {
            name: name.into(),
            reason: reason.into(),
        });
        self
    }

    /// The evidence.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if a list is over its limit, or a
    /// time is not between 1970 and 9999; [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) if
    /// a waiver has no name or no reason.
    pub fn finish(self) -> Result<Evidence, Error> {
        let mut content = self.0;
        content.taken_at = moment::to_the_second(content.taken_at)?;
        for source in &mut content.sources {
            source.scanned_at = moment::to_the_second(source.scanned_at)?;
        }
        for replica in &mut content.replicas {
            replica.checked_at = moment::to_the_second(replica.checked_at)?;
        }
        let standing = content.standing();
        content.not_scanned.extend(standing);
        content.sort();
        document::check(&content)?;
        let digest = document::digest(&content)?;
        Ok(Evidence { content, digest })
    }
}
