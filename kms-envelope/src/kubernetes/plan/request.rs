//! What is to be planned, and what is known.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::StoredObjects;
use crate::kubernetes::EncryptionConfiguration;

/// A change to plan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlanRequest<'a> {
    /// What all API servers have now; `None` if nothing has been encrypted so far.
    pub from: Option<&'a EncryptionConfiguration>,
    /// What they are to have.
    pub to: &'a EncryptionConfiguration,
    /// What is stored, if that was counted.
    pub stored: Option<&'a StoredObjects>,
    /// How a file comes to the servers.
    pub rollout: Rollout,
    /// KMS that move to another socket under their name, where the plugin has the same keys.
    pub same_keys: BTreeSet<String>,
    /// What KMS answer to Status and Encrypt, by name, of those that were asked.
    pub kms: BTreeMap<String, KmsAnswer>,
}

/// How a file comes to the API servers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rollout {
    /// One server after the other; all of them serve.
    #[default]
    Rolling,
    /// None serves until all have it: there is one server, or all are stopped. This allows what
    /// cannot be done one by one, at the price of a time without an API.
    AllAtOnce,
}

/// What a KMS answered to Status and Encrypt.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KmsAnswer {
    /// It did as it should.
    Answers,
    /// It did not, for this reason.
    Silent(String),
}

impl<'a> PlanRequest<'a> {
    /// From this to that, with nothing known of what is stored.
    #[must_use]
    pub const fn new(
        from: Option<&'a EncryptionConfiguration>,
        to: &'a EncryptionConfiguration,
    ) -> Self {
        Self {
            from,
            to,
            stored: None,
            rollout: Rollout::Rolling,
            same_keys: BTreeSet::new(),
            kms: BTreeMap::new(),
        }
    }

    /// Says what is stored.
    #[must_use]
    pub fn with_stored(mut self, stored: impl Into<Option<&'a StoredObjects>>) -> Self {
        self.stored = stored.into();
        self
    }

    /// Sets how a file comes to the servers.
    #[must_use]
    pub const fn with_rollout(mut self, rollout: Rollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// Says that the plugin of this KMS has the same keys at its new socket.
    #[must_use]
    pub fn with_same_keys(mut self, name: impl Into<String>) -> Self {
        self.same_keys.insert(name.into());
        self
    }

    /// Says what a KMS answered.
    #[must_use]
    pub fn with_kms(mut self, name: impl Into<String>, answer: KmsAnswer) -> Self {
        self.kms.insert(name.into(), answer);
        self
    }
}
