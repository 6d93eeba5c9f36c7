//! A snapshot as a source of objects.

use core::fmt;
use core::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPage, HistoryRecord, ObjectKey, ObjectSource, Revision,
    ScanOptions, ScanPage, StoreIdentity, StoredObject,
};
use kms_core::text::hex;
use kms_core::{CallOptions, Error, ErrorKind};

use super::database::{self, Database};
use super::info::{Buckets, SnapshotInfo};
use super::record;
use super::storage::Storage;
use super::sweep::{self, SweptRecord};
use super::walk::{self, Direction, Walk};
use super::window::{self, Window, WindowEntry};

/// A snapshot of etcd, or the database file of a member that is stopped. Never written to.
///
/// Cloning is cheap; clones share the file and what was learnt of it. Its identity knows no
/// cluster id, because the file does not hold one, and is not live.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    database: Database,
    buckets: Buckets,
    info: SnapshotInfo,
    window: Mutex<Option<Window>>,
    window_budget: usize,
}

/// How to open a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// Whether to check the SHA-256 at the end of the file, if there is one. That reads all of
    /// the file. On by default.
    pub verify_digest: bool,
    /// What a scan in the order of keys holds of keys, in bytes; twice that while it looks for
    /// them. 10 MiB by default.
    pub window_bytes: usize,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            verify_digest: true,
            window_bytes: window::BUDGET,
        }
    }
}

impl SnapshotOptions {
    /// Sets whether to check the digest.
    #[must_use]
    pub const fn with_verify_digest(mut self, verify: bool) -> Self {
        self.verify_digest = verify;
        self
    }

    /// Sets what a scan in the order of keys holds of keys, in bytes.
    #[must_use]
    pub const fn with_window_bytes(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes;
        self
    }
}

impl Snapshot {
    /// Opens a file and checks its digest. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &SnapshotOptions::default())
    }

    /// Opens a file. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be read; [`ErrorKind::Corrupt`] if it is no database of
    /// etcd, is cut off, or is not what its digest says.
    pub fn open_with(path: impl AsRef<Path>, options: &SnapshotOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let storage = Storage::open(path).map_err(|error| database::io_error(&name, &error))?;
        Self::from_storage(storage, name, options)
    }

    /// Takes a file that is in memory; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::open_with`].
    pub fn from_bytes(
        bytes: impl Into<Arc<[u8]>>,
        name: impl Into<String>,
        options: &SnapshotOptions,
    ) -> Result<Self, Error> {
        Self::from_storage(Storage::Memory(bytes.into()), name.into(), options)
    }

    fn from_storage(
        storage: Storage,
        name: String,
        options: &SnapshotOptions,
    ) -> Result<Self, Error> {
        let io = |error| database::io_error(&name, &error);
        let file_len = storage.len().map_err(io)?;
        let digest_len = digest_len(file_len);
        let database_bytes = file_len.saturating_sub(digest_len);
        let mut sha256 = None;
        if digest_len > 0 && options.verify_digest {
            let mut stored = [0; SHA256_LEN];
            storage
                .read_exact_at(&mut stored, database_bytes)
                .map_err(io)?;
            let found = storage.sha256(database_bytes).map_err(io)?;
            if found.as_ref() != stored {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the SHA-256 at its end is not that of its content: it was changed or not copied whole",
                )
                .with_provider(name));
            }
            sha256 = Some(hex(&stored));
        }
        let database = Database::open(storage, name, database_bytes)?;
        let buckets = Buckets::find(&database)?;
        let compacted = buckets.compacted(&database)?;
        let newest = buckets.newest(&database)?;
        let meta = database.meta();
        let info = SnapshotInfo {
            revision: newest.max(compacted).unwrap_or(Revision::new(1)),
            compacted,
            sha256,
            database_bytes: database.len(),
            page_bytes: meta.page_size,
            pages: meta.pages,
            transaction: meta.transaction,
        };
        Ok(Self(Arc::new(Inner {
            database,
            buckets,
            info,
            window: Mutex::new(None),
            window_budget: options.window_bytes,
        })))
    }

    /// What the file says about itself.
    #[must_use]
    pub fn info(&self) -> &SnapshotInfo {
        &self.0.info
    }

    /// Visits every record of the file up to a revision, or all, the newest first, in one pass.
    /// Live objects, what they were before, and deletions are told apart by
    /// [`SweptRecord::is_live`] and [`SweptRecord::value`]. Blocks while it reads.
    ///
    /// A visitor that breaks ends the sweep, which then returns without an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] where the file is damaged, [`ErrorKind::Io`] if it cannot be read,
    /// [`ErrorKind::Conflict`] if it changed meanwhile: what was visited before is then worth
    /// nothing. [`ErrorKind::Compacted`] and [`ErrorKind::InvalidInput`] for a revision that is
    /// no longer there or not yet.
    pub fn sweep(
        &self,
        at: Option<Revision>,
        visit: impl FnMut(&SweptRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let at = self.0.revision(at)?;
        sweep::newest_first(&self.0.database, &self.0.buckets.key, at, visit)
    }

    /// As [`ObjectSource::scan`], for those who have no runtime. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// As [`ObjectSource::scan`].
    pub fn scan_blocking(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        self.0.scan(options)
    }

    /// Reads away from the threads of the executor: a disk may be slow.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || read(&inner))
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Internal, format!("the reader stopped: {error}"))
                    .with_provider(self.to_string())
            })?
    }
}

impl Inner {
    /// The revision to read at, if it can be read at.
    fn revision(&self, at: Option<Revision>) -> Result<Revision, Error> {
        let newest = self.info.revision;
        let at = at.unwrap_or(newest);
        let refuse = |kind, problem: String| {
            Err(Error::new(kind, problem).with_provider(self.database.name()))
        };
        match self.info.compacted {
            _ if at > newest => refuse(
                ErrorKind::InvalidInput,
                format!("revision {at} is not reached yet: the newest is {newest}"),
            ),
            Some(compacted) if at < compacted => refuse(
                ErrorKind::Compacted,
                format!("revision {at} is no longer kept: history begins at {compacted}"),
            ),
            _ => Ok(at),
        }
    }

    fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        let at = self.revision(options.at)?;
        let limit = usize::try_from(options.page_limit.max(1)).unwrap_or(usize::MAX);
        let mut wanted = options.clone();
        let mut objects: Vec<StoredObject> = Vec::new();
        let mut bytes = 0_usize;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A page may take more than one window: pages are as full as they can be.
        let remaining = loop {
            let window = match &mut *window {
                Some(window) if window.serves(&wanted, at) => window,
                other => other.insert(self.next_window(&wanted, at)?),
            };
            let entries = window.behind(wanted.after.as_ref());
            let mut taken = 0_usize;
            for entry in entries {
                if objects.len() >= limit || bytes >= options.page_bytes.max(1) {
                    break;
                }
                let object = self.read_object(entry)?;
                bytes = bytes.saturating_add(object.size());
                objects.push(object);
                taken = taken.saturating_add(1);
            }
            let left = entries.len().saturating_sub(taken) as u64;
            if left > 0 || window.beyond == 0 {
                break left.saturating_add(window.beyond);
            }
            wanted.after = objects.last().map(|object| object.key.clone());
        };
        self.database.check_unchanged()?;
        let next = objects
            .last()
            .filter(|_| remaining > 0)
            .map(|object| object.key.clone());
        Ok(ScanPage::new(objects, next, at).with_remaining(Some(remaining)))
    }

    fn next_window(&self, options: &ScanOptions, at: Revision) -> Result<Window, Error> {
        let (database, bucket) = (&self.database, &self.buckets.key);
        Window::fill(database, bucket, options, at, self.window_budget)
    }

    fn read_object(&self, entry: &WindowEntry) -> Result<StoredObject, Error> {
        let mut value = vec![0; entry.value_len];
        self.database
            .read_exact_at(&mut value, entry.value_offset)?;
        let key = ObjectKey::new(&entry.key)?;
        Ok(StoredObject::new(key, value, entry.revision).with_lease(entry.lease))
    }

    fn fetch(&self, key: &ObjectKey, at: Option<Revision>) -> Result<Option<StoredObject>, Error> {
        let at = self.revision(at)?;
        let mut found = None;
        sweep::newest_first(&self.database, &self.buckets.key, at, |record| {
            if record.key != key.as_bytes() {
                return ControlFlow::Continue(());
            }
            found = record.value.map(|value| {
                StoredObject::new(key.clone(), value.to_vec(), record.position.revision)
                    .with_lease(record.lease)
            });
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        let (database, bucket) = (&self.database, &self.buckets.key);
        let limit = usize::try_from(options.page_limit.max(1)).unwrap_or(usize::MAX);
        let mut walk = match options.after {
            Some(after) => Walk::seek(database, bucket, &record::position_key(after))?,
            None => Walk::new(database, bucket, Direction::Forward)?,
        };
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        let (mut last, mut next) = (None, None);
        'leaves: while let Some(leaf) = walk.next_leaf()? {
            for entry in walk::entries(leaf, Direction::Forward) {
                let found = sweep::read(database, leaf, &entry)?;
                let direction = Direction::Forward;
                sweep::check_order(database, leaf, found.position, &mut last, direction)?;
                let is_wanted = options.after.is_none_or(|after| found.position > after)
                    && found.key.starts_with(&options.prefix);
                if !is_wanted {
                    continue;
                }
                if records.len() >= limit || bytes >= options.page_bytes.max(1) {
                    next = records.last().map(|record: &HistoryRecord| record.position);
                    break 'leaves;
                }
                let value = found.value.map(<[u8]>::to_vec);
                bytes = bytes
                    .saturating_add(found.key.len())
                    .saturating_add(value.as_ref().map_or(0, Vec::len));
                let key = ObjectKey::new(found.key)?;
                records.push(HistoryRecord::new(found.position, key, value));
            }
        }
        database.check_unchanged()?;
        let page = HistoryPage::new(records, next, self.info.revision);
        Ok(page.with_compacted(self.info.compacted))
    }
}

#[async_trait]
impl ObjectSource for Snapshot {
    async fn identity(&self, _: &CallOptions) -> Result<StoreIdentity, Error> {
        let name = self.0.database.name();
        Ok(StoreIdentity::new(
            "snapshot",
            name,
            self.0.info.revision,
            false,
        ))
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        let options = options.clone();
        self.blocking(move |inner| inner.scan(&options)).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        let (key, at) = (key.clone(), options.at);
        self.blocking(move |inner| inner.fetch(&key, at)).await
    }

    async fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        let options = options.clone();
        self.blocking(move |inner| inner.history(&options)).await
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.database.name())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("name", &self.0.database.name())
            .field("info", &self.0.info)
            .finish_non_exhaustive()
    }
}

const SHA256_LEN: usize = 32;

/// How long the digest at the end is. A database is whole pages, so a file with 32 bytes more
/// than a multiple of 512 has one; etcd tells by the same rule.
const fn digest_len(file_len: u64) -> u64 {
    if file_len % 512 == SHA256_LEN as u64 {
        SHA256_LEN as u64
    } else {
        0
    }
}
