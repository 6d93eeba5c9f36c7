//! How a driver goes about it.

use core::time::Duration;

use kms_envelope::rotation::Policy;

use crate::Failure;

/// How long to rest before a census is taken again, while something still needs an old key: API
/// servers have etcd compacted every five minutes.
const VERIFY_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// How a driver goes about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DriverOptions {
    /// How cautious it is. Replaces the policy that is stored. By default that of
    /// [`Policy::default`], except that a census is taken again after ten minutes.
    pub policy: Policy,
    /// How often to look for a new version. 30 s.
    pub poll: Duration,
    /// The longest that one look may take. 30 s.
    pub call_timeout: Duration,
    /// After how long without a sign of life of another driver this one takes over. 90 s; a driver
    /// gives a sign three times as often.
    pub takeover: Duration,
    /// What this driver is called in the store and by others, such as a host and a process.
    pub name: String,
    /// When it ends by itself.
    pub until: Until,
}

/// When a driver ends by itself. It always ends when it is asked to, and in doubt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Until {
    /// Never.
    #[default]
    Asked,
    /// When nothing can be done now: it does not wait for a time to come, for another driver, or for
    /// a store that fails.
    NothingToDo,
    /// When every writer uses the newest version, and every object is under it. If another one
    /// drives it ends, too.
    Settled,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default().with_verify_again_after(VERIFY_AGAIN_AFTER),
            poll: Duration::from_secs(30),
            call_timeout: Duration::from_secs(30),
            takeover: Duration::from_secs(90),
            name: "kms".to_owned(),
            until: Until::default(),
        }
    }
}

impl DriverOptions {
    /// The shortest and the longest that any wait may be: 1 s and a day.
    pub const WAITS: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));

    /// Sets how cautious it is.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how often to look for a new version.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets the longest that one look may take.
    #[must_use]
    pub const fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets after how long without a sign of life another driver is taken over from.
    #[must_use]
    pub const fn with_takeover(mut self, takeover: Duration) -> Self {
        self.takeover = takeover;
        self
    }

    /// Sets what this driver is called.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets when it ends by itself.
    #[must_use]
    pub const fn with_until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// How often a driver gives a sign of life, and how often another looks for one.
    pub(super) fn beat(&self) -> Duration {
        self.takeover.checked_div(3).unwrap_or_default()
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        self.policy.check()?;
        let (least, most) = Self::WAITS;
        for (name, wait) in [
            ("poll", self.poll),
            ("call_timeout", self.call_timeout),
            ("takeover", self.takeover),
        ] {
            if !(least..=most).contains(&wait) {
                return Err(Failure::usage(
                    format!("`{name}` of the driver is not between 1 s and a day"),
                    "give a duration in that range",
                ));
            }
        }
        Ok(())
    }
}
