//! The driver: carries out what the machine asks for, and tells it what came of it.

mod begin;
mod plan;
mod seat;
mod shift;
mod stop;
mod work;

use core::fmt;
use std::sync::Arc;

use kms_core::state::StateStore;
use kms_core::{Clock, OsRandom, SecureRandom};
use kms_envelope::rotation::{Effect, State};

pub use self::plan::DrivePlan;
use self::seat::{Seat, Taken};
use self::shift::{End, Shift};
use self::stop::StopSignal;
use super::{Doubt, DriverNote, DriverOptions, News, Parts, Until};
use crate::Failure;

/// Drives a rotation from a new version to an old key that may be deleted, unattended.
///
/// It acts on what it sees and on what the state machine ([`kms_envelope::rotation`]) asks for, and on
/// nothing else: it makes, disables and deletes no key, and changes no configuration. Where the
/// rotation is stands in the store, so that a driver may be killed at any moment; another one goes
/// on.
///
/// # What a provider's faults come to
///
/// A fault begins with a step and lasts an hour. The table says where the rotation is at the end of
/// that hour, and the codes of what was told to a person meanwhile. In all of them no object becomes
/// unreadable for good, no key is said to be free that is needed, and once the fault is over the
/// rotation comes to its end by itself.
///
/// | fault | observe | activate | converge | migrate | verify | retire |
/// |---|---|---|---|---|---|---|
/// | every call fails | not seen; `unavailable` | pending; `unavailable` | waits for writers; `unavailable`, `lagging_replicas`, `task_fails` | migrates; `unavailable`, `provider`, `task_fails` | done; `unavailable` | done; `unavailable` |
/// | every call takes a minute | not seen; `deadline_exceeded` | pending; `deadline_exceeded` | done; `deadline_exceeded` | done; `deadline_exceeded` | done; `deadline_exceeded` | done; `deadline_exceeded` |
/// | every call is turned away | not seen; `throttled` | pending; `throttled` | waits for writers; `throttled`, `lagging_replicas`, `task_fails` | migrates; `throttled`, `provider`, `task_fails` | done; `throttled` | done; `throttled` |
/// | the new version has expired | pending | pending | waits for writers; `writes_stopped`, `lagging_replicas`, `task_fails` | migrates; `writes_stopped` | done; `writes_stopped` | done; `writes_stopped` |
/// | the new version is disabled | pending | pending | waits for writers; `writes_stopped`, `reads_fail`, `lagging_replicas`, `task_fails` | migrates; `writes_stopped`, `reads_fail` | done; `writes_stopped`, `reads_fail` | done; `writes_stopped`, `reads_fail` |
/// | the old version is disabled | old key kept; `writes_stopped`, `reads_fail` | old key kept; `writes_stopped`, `reads_fail` | old key kept; `reads_fail` | old key kept; `reads_fail` | done | done |
///
/// - *not seen*, *pending*: everybody goes on with the old version.
/// - *waits for writers*: nothing is migrated before every API server writes with the new version.
/// - *migrates*: what is migrated stays so; the rest is still under the old version, and opens.
/// - *old key kept*: what is under it cannot be opened while it is disabled, so it is left as it is.
/// - *done*: the step needs no provider, or no more of it than there was. A census needs none.
pub struct Driver {
    store: Arc<dyn StateStore>,
    parts: Parts,
    options: DriverOptions,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
}

/// Why a driver has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a driver that ended may have stopped in doubt"]
#[non_exhaustive]
pub enum Outcome {
    /// It was asked to.
    Asked,
    /// It has done what [`Until`] says.
    Done {
        /// Where the rotation is.
        state: Box<State>,
    },
    /// Of a driver that ends by itself: another one is at work.
    Yielded {
        /// The other, if the store names one.
        to: Option<DriverNote>,
    },
    /// It does not know what is right.
    Doubt(Doubt),
}

impl Outcome {
    /// What has to be done by somebody else before it goes on, if not only time has to pass: what an
    /// operator should know, and what no driver carries out. That a key may be deleted is not among
    /// it. Empty unless the driver has done what it could.
    #[must_use]
    pub fn waits_for(&self) -> Vec<Effect> {
        let Self::Done { state } = self else {
            return Vec::new();
        };
        let is_others = |effect: &Effect| {
            !matches!(
                effect,
                Effect::Persist
                    | Effect::WakeAt(_)
                    | Effect::CheckConvergence { .. }
                    | Effect::Migrate { .. }
                    | Effect::Verify { .. }
                    | Effect::PermitDeletion { .. }
            )
        };
        state.outstanding().into_iter().filter(is_others).collect()
    }
}

impl Driver {
    /// A driver of the rotation in this store.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the option that is out of its range.
    pub fn new(
        store: Arc<dyn StateStore>,
        parts: Parts,
        options: DriverOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        options.check()?;
        Ok(Self {
            store,
            parts,
            options,
            clock,
            random: Arc::new(OsRandom),
        })
    }

    /// Takes the driver's id from `random` instead of the operating system.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// Drives until `stop` ends, or until there is a reason to end; tells `news` what happens.
    ///
    /// Whatever was begun may be dropped at any point: the store holds where the rotation is, and
    /// the next driver goes on from there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that no waiting can help: the store holds something else than a rotation, or
    /// refuses; or there is no state yet and it could not be begun.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()> + Send,
        mut news: impl FnMut(&News) + Send,
    ) -> Result<Outcome, Failure> {
        let mut stop = StopSignal::new(stop);
        loop {
            let seat = match Seat::take(self, &mut stop, &mut news).await? {
                Taken::Seat(seat) => seat,
                Taken::Yielded(to) => return Ok(Outcome::Yielded { to: Some(to) }),
                Taken::Asked => return Ok(Outcome::Asked),
                Taken::Doubt(doubt) => return Ok(self.stopped(doubt, &mut news)),
            };
            match Shift::new(self, *seat).run(&mut stop, &mut news).await? {
                End::Asked => return Ok(Outcome::Asked),
                End::Done(state) => return Ok(Outcome::Done { state }),
                End::Doubt(doubt) => return Ok(self.stopped(doubt, &mut news)),
                End::Lost(to) => {
                    news(&News::Yielded { to: to.clone() });
                    if self.options.until != Until::Asked {
                        return Ok(Outcome::Yielded { to });
                    }
                }
            }
        }
    }

    fn stopped(&self, doubt: Doubt, news: &mut (impl FnMut(&News) + Send)) -> Outcome {
        news(&News::Stopped(doubt.clone()));
        Outcome::Doubt(doubt)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("store", &self.store)
            .field("parts", &self.parts)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(future: impl Future + Send) -> impl Future + Send {
        future
    }

    /// It can be run in a task of a runtime of many threads. That this compiles is the test.
    #[expect(dead_code, reason = "never called")]
    fn can_be_sent(driver: &Driver) -> impl Future + Send {
        sent(driver.run(core::future::pending(), |_| {}))
    }
}
