//! How cautious a rotation is.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::ms;
use crate::{Error, ErrorKind};

/// How long a rotation waits and how much it asks for. Every duration is kept in whole milliseconds.
///
/// ```
/// use core::time::Duration;
/// use kms_envelope::rotation::Policy;
///
/// let policy = Policy::default().with_activation_delay(Duration::from_secs(11 * 60));
/// assert_eq!(policy.max_live_keys, 2);
/// # policy.check()?;
/// # Ok::<(), kms_envelope::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// Keys that live objects may need at one time: the active one and those that are not migrated
    /// yet. Two by default, the least that a rotation needs; 16 at most. A change that is asked for
    /// is refused beyond it. What a provider does by itself cannot be refused; it is reported.
    pub max_live_keys: u32,
    /// Until when a key is kept that nothing needs any more.
    pub retention: Retention,
    /// How a routine migration treats DEKs. After a compromise they are always new.
    pub rewrite: Rewrite,
    /// How far the clocks of replicas differ at most. A minute by default.
    #[serde(rename = "skew_ms", with = "ms")]
    pub skew: Duration,
    /// The provider's activation delay: how long a replica may follow later than another if a
    /// version was seen late. Two polls of five minutes and a minute by default, as `kms-azure` has
    /// it.
    #[serde(rename = "activation_delay_ms", with = "ms")]
    pub activation_delay: Duration,
    /// How long a writer may go on with what it has, once its plugin says another key id. Five
    /// minutes by default: kube-apiserver asks every minute, keeps what it has for three if the new
    /// key fails, and may reload its configuration in between.
    #[serde(rename = "write_lease_ms", with = "ms")]
    pub write_lease: Duration,
    /// How old evidence may be. Ten minutes by default.
    #[serde(rename = "evidence_max_age_ms", with = "ms")]
    pub evidence_max_age: Duration,
    /// How long leave to delete a key holds. Fifteen minutes by default.
    #[serde(rename = "permit_life_ms", with = "ms")]
    pub permit_life: Duration,
    /// How long to wait after the first failure of a task; each further one doubles it. Five
    /// seconds by default.
    #[serde(rename = "first_retry_ms", with = "ms")]
    pub first_retry: Duration,
    /// The longest such wait. Ten minutes by default.
    #[serde(rename = "longest_retry_ms", with = "ms")]
    pub longest_retry: Duration,
    /// After how long without an answer an effect is given out again. Ten minutes by default.
    #[serde(rename = "reissue_after_ms", with = "ms")]
    pub reissue_after: Duration,
    /// How long to rest before looking again, while something still needs an old key. Six hours by
    /// default.
    #[serde(rename = "verify_again_after_ms", with = "ms")]
    pub verify_again_after: Duration,
}

/// Until when a key is kept that nothing needs any more.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Retention {
    /// Until evidence says that nothing needs it. For plugins that can do without it, such as this
    /// SDK's.
    #[default]
    WhileNeeded,
    /// Until, in addition, the next change of the key is through. For a managed control plane that
    /// holds two keys at once and fails if either goes, such as that of AKS: after a first rotation
    /// the first key stays; rotate twice to be rid of it. After it was switched off the last key
    /// stays for good.
    UntilNextChange,
}

/// How a migration treats the DEK of an object.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rewrite {
    /// Seals the object again under a new DEK. The only way for Kubernetes.
    #[default]
    FreshDeks,
    /// Wraps the same DEK again, if the format can do that; cheaper, and no help if a DEK has leaked.
    Rewrap,
}

impl Default for Policy {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        Self {
            max_live_keys: 2,
            retention: Retention::default(),
            rewrite: Rewrite::default(),
            skew: minutes(1),
            activation_delay: minutes(11),
            write_lease: minutes(5),
            evidence_max_age: minutes(10),
            permit_life: minutes(15),
            first_retry: Duration::from_secs(5),
            longest_retry: minutes(10),
            reissue_after: minutes(10),
            verify_again_after: minutes(6 * 60),
        }
    }
}

impl Policy {
    /// The most that [`max_live_keys`](Self::max_live_keys) may be.
    pub const MOST_LIVE_KEYS: u32 = 16;
    /// The longest that any duration may be: 366 days.
    pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// Sets how many keys live objects may need at one time.
    #[must_use]
    pub const fn with_max_live_keys(mut self, keys: u32) -> Self {
        self.max_live_keys = keys;
        self
    }

    /// Sets until when a key is kept that nothing needs any more.
    #[must_use]
    pub const fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how a routine migration treats DEKs.
    #[must_use]
    pub const fn with_rewrite(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = rewrite;
        self
    }

    /// Sets how far clocks differ at most.
    #[must_use]
    pub const fn with_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Sets the provider's activation delay.
    #[must_use]
    pub const fn with_activation_delay(mut self, delay: Duration) -> Self {
        self.activation_delay = delay;
        self
    }

    /// Sets how long a writer may go on with what it has.
    #[must_use]
    pub const fn with_write_lease(mut self, lease: Duration) -> Self {
        self.write_lease = lease;
        self
    }

    /// Sets how old evidence may be.
    #[must_use]
    pub const fn with_evidence_max_age(mut self, age: Duration) -> Self {
        self.evidence_max_age = age;
        self
    }

    /// Sets how long leave to delete a key holds.
    #[must_use]
    pub const fn with_permit_life(mut self, life: Duration) -> Self {
        self.permit_life = life;
        self
    }

    /// Sets the first and the longest wait after a failure.
    #[must_use]
    pub const fn with_retry(mut self, first: Duration, longest: Duration) -> Self {
        self.first_retry = first;
        self.longest_retry = longest;
        self
    }

    /// Sets after how long without an answer an effect is given out again.
    #[must_use]
    pub const fn with_reissue_after(mut self, wait: Duration) -> Self {
        self.reissue_after = wait;
        self
    }

    /// Sets how long to rest before looking again.
    #[must_use]
    pub const fn with_verify_again_after(mut self, rest: Duration) -> Self {
        self.verify_again_after = rest;
        self
    }

    /// Says what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if a field is out of its range; the message names it.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| {
            let message = format!("the rotation policy is refused: {what}");
            Err(Error::new(ErrorKind::Config, message))
        };
        if !(2..=Self::MOST_LIVE_KEYS).contains(&self.max_live_keys) {
            return wrong("`max_live_keys` is not between 2 and 16");
        }
        let least = Duration::from_millis(1);
        let durations = [
            ("skew", self.skew, Duration::ZERO),
            ("activation_delay", self.activation_delay, Duration::ZERO),
            ("write_lease", self.write_lease, Duration::ZERO),
            ("evidence_max_age", self.evidence_max_age, least),
            ("permit_life", self.permit_life, least),
            ("first_retry", self.first_retry, least),
            ("longest_retry", self.longest_retry, self.first_retry),
            ("reissue_after", self.reissue_after, least),
            ("verify_again_after", self.verify_again_after, least),
        ];
        for (name, duration, least) in durations {
            if duration < least {
                return wrong(&format!("`{name}` is too short"));
            }
            if duration > Self::LONGEST {
                return wrong(&format!("`{name}` is over 366 days"));
            }
        }
        Ok(())
    }

    /// The same, with every duration cut to whole milliseconds: as it is kept.
    pub(super) fn in_whole_ms(mut self) -> Self {
        let durations = [
            &mut self.skew,
            &mut self.activation_delay,
            &mut self.write_lease,
            &mut self.evidence_max_age,
            &mut self.permit_life,
            &mut self.first_retry,
            &mut self.longest_retry,
            &mut self.reissue_after,
            &mut self.verify_again_after,
        ];
        for duration in durations {
            *duration = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(0));
        }
        self
    }

    /// How long replicas may differ after a version was seen late.
    pub(super) const fn late_bound(&self) -> Duration {
        self.activation_delay.saturating_add(self.skew)
    }

    /// How long to wait for writers that lag behind their plugin, by whatever clocks.
    pub(super) const fn lease_bound(&self) -> Duration {
        self.write_lease.saturating_add(self.skew)
    }

    /// The wait after this many failures.
    pub(super) fn retry(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first_retry
            .saturating_mul(doubled)
            .min(self.longest_retry)
    }

    /// The longest that anything but a start time is waited for, by a clock that is behind the one
    /// that set the end by as much as clocks may differ. A wait that ends later than this from now
    /// was set by a clock that was further ahead.
    pub(super) fn longest_wait(&self) -> Duration {
        let settling = self.late_bound().max(self.lease_bound());
        settling.max(self.longest_retry).saturating_add(self.skew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        assert!(Policy::default().check().is_ok());
        let cases = [
            (Policy::default().with_max_live_keys(1), "max_live_keys"),
            (Policy::default().with_max_live_keys(17), "max_live_keys"),
            (
                Policy::default().with_skew(Policy::LONGEST + Duration::from_secs(1)),
                "skew",
            ),
            (
                Policy::default().with_evidence_max_age(Duration::ZERO),
                "evidence_max_age",
            ),
            (
                Policy::default().with_retry(Duration::from_secs(9), Duration::from_secs(8)),
                "longest_retry",
            ),
        ];
        for (policy, field) in cases {
            let error = policy.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(field), "{error}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let seconds = |failures| Policy::default().retry(failures).as_secs();
        assert_eq!([seconds(1), seconds(2), seconds(3)], [5, 10, 20]);
        assert_eq!([seconds(8), seconds(40), seconds(u32::MAX)], [600; 3]);
    }
}
