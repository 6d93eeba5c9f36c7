//! One version, as far as activation asks after it.

use std::time::SystemTime;

use super::Stop;
use crate::key_url::KeyVersion;

/// Whether a version is a key for wrapping at all. That never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fitness {
    /// It is, or it has not been looked at yet.
    WrappingKey,
    /// It is not: an elliptic curve, say.
    Unsuitable,
}

/// A version of a key and what its vault says of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub version: KeyVersion,
    /// When it was made.
    pub created: SystemTime,
    /// When its attributes were last changed.
    pub updated: SystemTime,
    /// Before this it does not wrap.
    pub not_before: Option<SystemTime>,
    /// From this on it does not wrap.
    pub expires: Option<SystemTime>,
    /// Whether its owner has it switched on.
    pub enabled: bool,
    /// Whether the key's own list of operations holds wrapping.
    pub allows_wrapping: bool,
    /// Whether it is a key for wrapping at all.
    pub fitness: Fitness,
}

impl Candidate {
    pub(super) fn start(&self) -> SystemTime {
        self.not_before
            .map_or(self.created, |start| start.max(self.created))
    }

    pub(super) const fn is_wrapping_key(&self) -> bool {
        matches!(self.fitness, Fitness::WrappingKey)
    }

    const fn is_switched_on(&self) -> bool {
        self.enabled && self.allows_wrapping
    }

    fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }

    /// Whether it can wrap as soon as its time has come.
    pub(super) fn can_become_active(&self, now: SystemTime) -> bool {
        self.is_wrapping_key() && self.is_switched_on() && !self.is_expired(now)
    }

    /// Why it cannot wrap now; `None` if it can.
    pub(super) fn stop(&self, now: SystemTime) -> Option<Stop> {
        if !self.is_wrapping_key() {
            Some(Stop::Unsuitable)
        } else if !self.enabled {
            Some(Stop::Disabled)
        } else if !self.allows_wrapping {
            Some(Stop::NotAllowed)
        } else if self.is_expired(now) {
            Some(Stop::Expired)
        } else if self.not_before.is_some_and(|start| now < start) {
            Some(Stop::NotYetValid)
        } else {
            None
        }
    }

    /// Whether it may have wrapped at some time since its instant, which is past.
    ///
    /// Before `updated` its attributes may have been any; since then they are what they are.
    pub(super) fn may_have_been_active(&self, instant: SystemTime) -> bool {
        self.is_wrapping_key()
            && (self.is_switched_on() || self.updated >= instant)
            && (self.expires.is_none_or(|end| end > instant) || self.updated >= instant)
    }
}
