//! What a driver acts upon, as traits: so that a test needs neither an etcd nor a vault.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{Revision, StoreIdentity};
use kms_core::{CallOptions, Error, KeyId};
use kms_envelope::reencrypt::{Evidence, ReplicaState};
use kms_envelope::rotation::{
    Expectation, Observation, ProviderName, Remaining, Rewrite, Scope, Target, TaskId,
};
use serde::Serialize;

use crate::Failure;

/// What a driver acts upon.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parts {
    /// Where new versions come from.
    pub keys: Arc<dyn KeySource>,
    /// Who writes.
    pub writers: Arc<dyn Writers>,
    /// What is written.
    pub objects: Arc<dyn Objects>,
}

impl Parts {
    /// All three.
    #[must_use]
    pub fn new(
        keys: Arc<dyn KeySource>,
        writers: Arc<dyn Writers>,
        objects: Arc<dyn Objects>,
    ) -> Self {
        Self {
            keys,
            writers,
            objects,
        }
    }
}

/// The versions of one key, as its provider shows them. Only looked at.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync + 'static {
    /// The name under which the state knows it.
    fn name(&self) -> &ProviderName;

    /// Looks once.
    ///
    /// # Errors
    ///
    /// Why nothing could be seen. That a version cannot be used is no error: it is what is seen.
    async fn observe(&self, options: &CallOptions) -> Result<Observation, Error>;
}

/// Those who write objects: the API servers of a cluster, every one of them.
#[async_trait]
pub trait Writers: fmt::Debug + Send + Sync + 'static {
    /// Finds out whether all of them are as expected. One that cannot be asked is not.
    ///
    /// # Errors
    ///
    /// Why it could not be found out at all.
    async fn check(&self, expectation: &Expectation) -> Result<Convergence, Failure>;

    /// Asks each which key it writes with, for evidence: whether that is `target` or another one.
    async fn states(&self, target: &Target) -> WriterStates;
}

/// Which key each of those who write writes with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WriterStates {
    /// Those that said so.
    pub known: Vec<ReplicaState>,
    /// The names of those that did not, or of what was not asked.
    pub unknown: Vec<String>,
}

impl WriterStates {
    /// These said so, and these did not.
    #[must_use]
    pub const fn new(known: Vec<ReplicaState>, unknown: Vec<String>) -> Self {
        Self { known, unknown }
    }
}

/// What was found of those who write.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Convergence {
    /// How many are not as expected, or could not be asked.
    pub lagging: u32,
    /// What was found of each, and what could not be checked, in sentences.
    pub findings: Vec<String>,
}

impl Convergence {
    /// This many are not as expected.
    #[must_use]
    pub const fn new(lagging: u32, findings: Vec<String>) -> Self {
        Self { lagging, findings }
    }
}

/// The objects of a cluster.
#[async_trait]
pub trait Objects: fmt::Debug + Send + Sync + 'static {
    /// Which cluster this is, by its own id, and its newest revision.
    ///
    /// # Errors
    ///
    /// Why that could not be asked.
    async fn identity(&self) -> Result<StoreIdentity, Failure>;

    /// Encrypts objects again, in one pass; may do so twice. To stop it, drop the future.
    ///
    /// # Errors
    ///
    /// Why it ended before it had been over all of them.
    async fn migrate(
        &self,
        order: &MigrationOrder,
        progress: &(dyn Fn(PassProgress) + Send + Sync),
    ) -> Result<PassSummary, Failure>;

    /// Takes a census, now, and what else belongs to [`Evidence`]. Changes nothing.
    ///
    /// # Errors
    ///
    /// Why it could not be taken.
    async fn verify(&self, order: &CensusOrder) -> Result<Verified, Failure>;
}

/// What is to be migrated.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MigrationOrder {
    /// Which task this is. The same one again goes on where it was interrupted.
    pub task: TaskId,
    /// What objects are to be under.
    pub target: Target,
    /// Whether each needs a new DEK.
    pub rewrite: Rewrite,
    /// Which objects.
    pub scope: Scope,
}

/// What a census is taken for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CensusOrder {
    /// What objects should be under.
    pub target: Target,
    /// The keys that are to go, if nothing needs them.
    pub keys: Vec<KeyId>,
    /// What those who write said just before.
    pub writers: WriterStates,
}

/// How far a pass has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PassProgress {
    /// Objects that it has been over.
    pub done: u64,
    /// All there are, if that is known.
    pub total: Option<u64>,
    /// Objects that were rewritten.
    pub rewritten: u64,
    /// What is left, in seconds, if that can be told.
    pub seconds_left: Option<u64>,
}

impl PassProgress {
    /// This many of so many.
    #[must_use]
    pub const fn new(done: u64, total: Option<u64>, rewritten: u64) -> Self {
        Self {
            done,
            total,
            rewritten,
            seconds_left: None,
        }
    }

    /// Sets what is left, in seconds.
    #[must_use]
    pub const fn with_seconds_left(mut self, seconds: Option<u64>) -> Self {
        self.seconds_left = seconds;
        self
    }
}

/// What a pass came to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PassSummary {
    /// Objects that were looked at.
    pub seen: u64,
    /// Objects that were rewritten.
    pub rewritten: u64,
    /// Objects that could not be, with a sentence for each of the first.
    pub left: u64,
    /// Why, for the first of them.
    pub reasons: Vec<String>,
}

impl PassSummary {
    /// This many of so many.
    #[must_use]
    pub const fn new(seen: u64, rewritten: u64, left: u64) -> Self {
        Self {
            seen,
            rewritten,
            left,
            reasons: Vec::new(),
        }
    }

    /// Says why objects were left.
    #[must_use]
    pub fn with_reasons(mut self, reasons: Vec<String>) -> Self {
        self.reasons = reasons;
        self
    }
}

/// What a census came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Verified {
    /// What was scanned, what was found, and what was not scanned.
    pub evidence: Evidence,
    /// What is not as it should be.
    pub remaining: Remaining,
}

impl Verified {
    /// A census.
    #[must_use]
    pub const fn new(evidence: Evidence, remaining: Remaining) -> Self {
        Self {
            evidence,
            remaining,
        }
    }

    /// The revision that was counted.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.evidence.revision()
    }
}
