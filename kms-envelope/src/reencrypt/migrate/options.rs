//! How to migrate.

use core::num::NonZeroU32;
use core::time::Duration;

use super::MigrationScope;

/// How to migrate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MigrationOptions {
    /// Which objects.
    pub scope: MigrationScope,
    /// Objects in work at once. 32; zero is taken as one.
    pub concurrency: usize,
    /// The most objects that are rewritten in a second. None by default, which is as many as
    /// the store and the key providers take.
    pub rate: Option<NonZeroU32>,
    /// Open and judge, and change nothing.
    pub dry_run: bool,
    /// Rewrite every object that was last written before the migration began, whatever it is under.
    ///
    /// This is the only way to bring KMS v1 values to another KEK behind the same provider name: they
    /// do not tell theirs, and are not stale for kube-apiserver. It is also what to do after a
    /// DEK leaked. Whoever writes meanwhile must do so with the new key; nothing here can see it.
    pub renew: bool,
    /// What to do when the key of the target changes while objects are rewritten.
    pub on_key_change: OnKeyChange,
    /// Go on from the checkpoint, if there is one.
    pub resume: bool,
    /// How long to wait for a key provider or a store that does not answer before stopping. 5 min.
    pub patience: Duration,
    /// How often to go through all objects, if those that were verified show that some can still
    /// be brought to the target. 3; zero is taken as one.
    pub passes: u32,
    /// The most objects that are read at once. 500.
    pub page_limit: u32,
    /// How long progress may get lost in a crash: how often the checkpoint is saved. 1 s.
    pub checkpoint_interval: Duration,
}

/// What to do when the key of the target changes in the middle.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnKeyChange {
    /// Stop, and say so.
    #[default]
    Stop,
    /// Begin again, for the new key; five times at the most.
    Restart,
}

impl MigrationOptions {
    /// The default options for these objects.
    #[must_use]
    pub const fn new(scope: MigrationScope) -> Self {
        Self {
            scope,
            concurrency: 32,
            rate: None,
            dry_run: false,
            renew: false,
            on_key_change: OnKeyChange::Stop,
            resume: false,
            patience: Duration::from_secs(5 * 60),
            passes: 3,
            page_limit: kms_core::object::ScanOptions::DEFAULT_PAGE_LIMIT,
            checkpoint_interval: Duration::from_secs(1),
        }
    }

    /// Sets how many objects are in work at once.
    #[must_use]
    pub const fn with_concurrency(mut self, objects: usize) -> Self {
        self.concurrency = objects;
        self
    }

    /// Sets the most objects that are rewritten in a second.
    #[must_use]
    pub fn with_rate(mut self, per_second: impl Into<Option<NonZeroU32>>) -> Self {
        self.rate = per_second.into();
        self
    }

    /// Sets whether to change nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets whether to rewrite what is right already, too.
    #[must_use]
    pub const fn with_renew(mut self, renew: bool) -> Self {
        self.renew = renew;
        self
    }

    /// Sets what to do when the key changes.
    #[must_use]
    pub const fn with_on_key_change(mut self, on_key_change: OnKeyChange) -> Self {
        self.on_key_change = on_key_change;
        self
    }

    /// Sets whether to go on from the checkpoint.
    #[must_use]
    pub const fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets how long to wait for what does not answer.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how often to go through all objects.
    #[must_use]
    pub const fn with_passes(mut self, passes: u32) -> Self {
        self.passes = passes;
        self
    }

    /// Sets the most objects that are read at once.
    #[must_use]
    pub const fn with_page_limit(mut self, objects: u32) -> Self {
        self.page_limit = objects;
        self
    }

    /// Sets how often the checkpoint is saved.
    #[must_use]
    pub const fn with_checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }
}
