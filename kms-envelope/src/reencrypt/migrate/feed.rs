//! Reading the objects of a scope, page by page.

use kms_core::ErrorKind as CoreErrorKind;
use kms_core::object::{ObjectKey, Revision, Scan, ScanOptions, StoredObject};

use super::StopReason;
use super::work::{Patience, Waited, Work};

/// Where reading stands.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// What the keys begin with, in byte order, and which of them comes next.
    prefixes: Vec<Vec<u8>>,
    next_prefix: usize,
    pub(super) after: Option<ObjectKey>,
    through: Option<ObjectKey>,
    /// All pages are read at one revision, as long as it is kept.
    at: Option<Revision>,
    keeps_revision: bool,
}

/// Some objects that follow each other.
#[derive(Debug)]
pub(super) struct Batch {
    /// Those of the scope.
    pub(super) objects: Vec<StoredObject>,
    /// How many keys were read.
    pub(super) scanned: u64,
    /// The last key that was read.
    pub(super) last: ObjectKey,
}

impl Position {
    /// All objects of the scope after this key, at one revision.
    pub(super) fn new(work: &Work<'_>, after: Option<ObjectKey>) -> Self {
        Self {
            prefixes: work.options.scope.prefixes(),
            next_prefix: 0,
            after,
            through: None,
            at: None,
            keeps_revision: true,
        }
    }

    /// Each page at the newest revision.
    pub(super) fn following(mut self) -> Self {
        self.keeps_revision = false;
        self
    }

    /// Up to this key.
    pub(super) fn through(mut self, last: ObjectKey) -> Self {
        self.through = Some(last);
        self
    }

    fn options(&self, work: &Work<'_>) -> Option<ScanOptions> {
        let prefix = self.prefixes.get(self.next_prefix)?;
        Some(
            ScanOptions::default()
                .with_prefix(prefix.clone())
                .with_after(self.after.clone())
                .with_through(self.through.clone())
                .with_at(self.at)
                .with_page_limit(work.options.page_limit),
        )
    }

    /// The next objects, and where it goes on; no objects at the end.
    pub(super) async fn next(
        mut self,
        work: &Work<'_>,
    ) -> Result<(Option<Batch>, Self), StopReason> {
        let mut patience = Patience::default();
        while let Some(options) = self.options(work) {
            let page = match Scan::new(work.store, options).next_page().await {
                Ok(page) => page,
                // The two halves are of different states then; that is enough for this, as
                // every object is judged anew and all are verified in the end.
                Err(error) if error.kind() == CoreErrorKind::Compacted && self.at.is_some() => {
                    self.at = None;
                    continue;
                }
                Err(error) if error.is_retryable() => {
                    match patience.wait(work, error.retry_after()).await {
                        Waited::Enough => continue,
                        Waited::TooLong => return Err(StopReason::Store(error)),
                        Waited::Stopped => return Err(StopReason::Asked),
                    }
                }
                Err(error) => return Err(StopReason::Store(error)),
            };
            patience.reset();
            let Some(page) = page else {
                self.next_prefix = self.next_prefix.saturating_add(1);
                continue;
            };
            if self.keeps_revision {
                self.at = Some(page.revision);
            }
            if page.next.is_none() {
                self.next_prefix = self.next_prefix.saturating_add(1);
            }
            let Some(last) = page.objects.last().map(|object| object.key.clone()) else {
                continue;
            };
            self.after = Some(last.clone());
            let scanned = page.objects.len() as u64;
            let mut objects = page.objects;
            objects.retain(|object| work.options.scope.contains(&object.key));
            let batch = Batch {
                objects,
                scanned,
                last,
            };
            return Ok((Some(batch), self));
        }
        Ok((None, self))
    }

    /// How many keys there are, if the store can tell that from less than all of them.
    pub(super) async fn count(&self, work: &Work<'_>) -> Option<u64> {
        let mut count = 0_u64;
        let mut position = self.clone();
        while let Some(options) = position.options(work) {
            let page = work.store.scan(&options.with_page_limit(1)).await.ok()?;
            let rest = match (&page.next, page.remaining) {
                (None, _) => 0,
                (Some(_), remaining) => remaining?,
            };
            count = count
                .saturating_add(page.objects.len() as u64)
                .saturating_add(rest);
            position.next_prefix = position.next_prefix.saturating_add(1);
        }
        Some(count)
    }
}
