//! Which version of a key wraps: pure state, fed with what was seen and with the time.
//!
//! Several replicas follow one key without talking to each other. They must change over to a new
//! version at the same moment, each may see it up to a poll later than another, and none may ever
//! go back. The rules, for versions in the order of their creation (then of their names):
//!
//! 1. A version becomes active at its **instant**: `max(created, not before) + delay`. The delay is
//!    at least two polls and the clocks' skew, so everyone knows the version by then, even if one
//!    poll fails. The oldest version needs no delay: there is nothing to change over from.
//! 2. A version that is first seen usable after its instant is **late**: it was enabled later, or
//!    this replica could not look. Its instant is `max(created, not before, updated) + delay`, or
//!    now if that is past too. Replicas that see it before that agree to the moment; one that was
//!    blind for longer follows with its first look. The one disagreement that is left: attributes
//!    changed again between two replicas' first looks put them apart by the time between the
//!    changes. It lasts no longer than the delay after the later one's first look.
//! 3. What is active stays active until a newer version is. If it cannot wrap any more, wrapping
//!    **stops**, and nothing older is taken instead: what was wrapped under the newer one since would
//!    be forgotten when the older one goes.
//! 4. If the active version cannot wrap any more and a newer one can, the newer one is active at
//!    once: the delay protects a choice between two usable versions, and there is none.
//! 5. At its first look a replica takes the newest version whose instant by rule 1 is past. One that
//!    is disabled, and was so since before its instant, has never been active and is passed over;
//!    so is one that is no wrapping key at all.
//!
//! Nothing has to be stored, since all of this follows from what the vault says. The one thing that
//! a restart does not know is what the replica had seen by rules 2 and 4: for up to a delay after
//! such an event a replica that restarts may decide otherwise than the others.

mod candidate;

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::SystemTime;

pub use candidate::{Candidate, Fitness};

use crate::key_url::KeyVersion;

/// Follows the versions of one key. See [the module](self).
#[derive(Clone, Debug)]
pub struct Activation {
    delay: Duration,
    known: BTreeMap<Order, Known>,
    /// The oldest version is known, since all have been listed.
    listed: bool,
    active: Option<Order>,
}

/// By age, then by name.
type Order = (SystemTime, KeyVersion);

#[derive(Clone, Debug)]
struct Known {
    candidate: Candidate,
    /// The instant of a version that was seen late.
    late: Option<SystemTime>,
}

/// What wraps.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// This version.
    Active(KeyVersion),
    /// None: this version is active, or would be, and cannot wrap.
    Stopped(KeyVersion, Stop),
    /// None: no version is known that could ever be active.
    Nothing,
}

/// Why wrapping has stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stop {
    /// It is disabled.
    Disabled,
    /// It has expired.
    Expired,
    /// Its start time lies ahead.
    NotYetValid,
    /// The key's own list of operations lacks wrapping.
    NotAllowed,
    /// It is no key for wrapping.
    Unsuitable,
}

/// A version that is on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pending {
    /// The version.
    pub version: KeyVersion,
    /// When it becomes active.
    pub active_at: SystemTime,
}

impl Activation {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new(delay: Duration) -> Self {
        Self {
            delay,
            known: BTreeMap::new(),
            listed: false,
            active: None,
        }
    }

    /// Takes in what was seen: all versions of the key, or only some if `all` is false.
    pub fn observe(
        &mut self,
        seen: impl IntoIterator<Item = Candidate>,
        all: bool,
        now: SystemTime,
    ) {
        self.listed |= all;
        let first_look = self.active.is_none();
        for candidate in seen {
            let order = (candidate.created, candidate.version.clone());
            let before = self.known.remove(&order);
            let on_time = self.on_time(&order, &candidate);
            let was_usable = before
                .as_ref()
                .is_some_and(|known| known.candidate.can_become_active(now));
            let is_usable = candidate.can_become_active(now);
            let late = match before {
                _ if first_look || !is_usable => None,
                Some(known) if was_usable => known.late,
                _ if now > on_time => {
                    Some(after(candidate.start().max(candidate.updated), self.delay))
                }
                _ => None,
            };
            self.known.insert(order, Known { candidate, late });
        }
        self.forget();
    }

    /// What is older than the active version decides nothing any more; the oldest of all stays.
    fn forget(&mut self) {
        if let Some(active) = &self.active {
            let active = active.clone();
            self.known.retain(|order, _| *order >= active);
        }
    }

    /// What wraps now. Never an older version than at an earlier call, even if the clock goes back.
    pub fn decide(&mut self, now: SystemTime) -> Decision {
        let next = match &self.active {
            Some(active) => self.successor(active, now),
            None => self.first(now),
        };
        if next.is_some() {
            self.active = next;
            self.forget();
        }
        // While none is active the newest says why.
        let spokesman = self.active.as_ref().or_else(|| self.newest());
        let known = spokesman.and_then(|order| Some((order, self.known.get(order)?)));
        match known.map(|(order, known)| (order, known.candidate.stop(now))) {
            Some((order, None)) if self.active.is_some() => Decision::Active(order.1.clone()),
            Some((order, stop)) if self.listed || self.active.is_some() => {
                Decision::Stopped(order.1.clone(), stop.unwrap_or(Stop::NotYetValid))
            }
            _ => Decision::Nothing,
        }
    }

    /// The newest version that is on its way, usable as far as is known.
    #[must_use]
    pub fn pending(&self, now: SystemTime) -> Option<Pending> {
        let newest = self.coming(now).next_back()?;
        Some(Pending {
            version: newest.0.1.clone(),
            active_at: self.instant(newest.0, newest.1),
        })
    }

    /// All versions that are on their way, the older first.
    pub(crate) fn on_their_way(&self, now: SystemTime) -> Vec<KeyVersion> {
        self.coming(now).map(|(order, _)| order.1.clone()).collect()
    }

    fn coming(&self, now: SystemTime) -> impl DoubleEndedIterator<Item = (&Order, &Known)> {
        self.known.iter().filter(move |(order, known)| {
            self.active.as_ref().is_none_or(|active| *order > active)
                && known.candidate.can_become_active(now)
        })
    }

    /// Rules 1 and 2.
    fn instant(&self, order: &Order, known: &Known) -> SystemTime {
        known
            .late
            .unwrap_or_else(|| self.on_time(order, &known.candidate))
    }

    /// Rule 1.
    fn on_time(&self, order: &Order, candidate: &Candidate) -> SystemTime {
        let mut wrapping_keys = self
            .known
            .iter()
            .filter(|(_, known)| known.candidate.is_wrapping_key());
        let is_oldest = self.listed
            && self.active.is_none()
            && wrapping_keys
                .next()
                .is_none_or(|(oldest, _)| order <= oldest);
        if is_oldest {
            candidate.start()
        } else {
            after(candidate.start(), self.delay)
        }
    }

    /// Rules 3 and 4.
    fn successor(&self, active: &Order, now: SystemTime) -> Option<Order> {
        let stuck = self
            .known
            .get(active)
            .is_none_or(|known| known.candidate.stop(now).is_some());
        let newer = self
            .known
            .iter()
            .rev()
            .take_while(|(order, _)| *order > active);
        newer
            .filter(|(_, known)| known.candidate.stop(now).is_none())
            .find(|(order, known)| stuck || self.instant(order, known) <= now)
            .map(|(order, _)| order.clone())
    }

    /// Rule 5, and 4.
    fn first(&self, now: SystemTime) -> Option<Order> {
        let taken = self.known.iter().rev().find(|(order, known)| {
            let instant = self.on_time(order, &known.candidate);
            instant <= now && known.candidate.may_have_been_active(instant)
        });
        let (taken, known) = taken?;
        if known.candidate.stop(now).is_none() || !self.listed {
            return Some(taken.clone());
        }
        self.successor(taken, now).or_else(|| Some(taken.clone()))
    }

    /// The newest that may yet wrap, else the newest of all.
    fn newest(&self) -> Option<&Order> {
        let fit = self
            .known
            .iter()
            .rev()
            .find(|(_, known)| known.candidate.is_wrapping_key());
        fit.or_else(|| self.known.iter().next_back())
            .map(|(order, _)| order)
    }
}

/// A vault's times end with the year 9999, so this does not overflow.
fn after(time: SystemTime, duration: Duration) -> SystemTime {
    time.checked_add(duration).unwrap_or(time)
}

#[cfg(test)]
mod tests;
