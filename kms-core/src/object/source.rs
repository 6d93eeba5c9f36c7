//! Reading stored bytes.

use core::fmt;

use async_trait::async_trait;

use crate::object::{HistoryOptions, HistoryPage, ObjectKey, Revision, StoredObject};
use crate::{CallOptions, Error, ErrorKind};

/// Something that holds objects and lets them be read as stored: a live etcd, a snapshot file, a
/// store in memory.
///
/// `Display` names the source in errors and logs, and must not show credentials; `Debug` must not
/// show stored values. The conformance suite in `kms-testkit` checks what follows.
///
/// # Contract
///
/// - **Order.** A scan gives keys in strictly ascending byte order, each once.
/// - **One revision.** A page is the state at exactly one revision, which it names. Pages that
///   are asked for at one revision ([`ScanOptions::at`]) fit together: all of them see every
///   change up to that revision and none after it, whoever writes meanwhile.
/// - **Complete.** Nothing is left out. An object that cannot be shown, such as one whose key is
///   over [`ObjectKey::MAX_LEN`], is an error ([`ErrorKind::Corrupt`]), never a gap.
/// - **Fresh.** Without a revision, a read sees every change that was acknowledged before the
///   read began. A stale follower must not answer.
/// - **Kept or refused.** A revision that is no longer kept is refused with
///   [`ErrorKind::Compacted`], one that is not reached yet with [`ErrorKind::InvalidInput`];
///   neither is ever answered with another revision.
/// - **Bounded.** A page holds no more objects than was asked for; a source may give fewer, but
///   at least one if there is one. It reads no more ahead than the page needs.
/// - A call is cancelled by dropping its future.
///
/// # What a cursor promises
///
/// A cursor is the key where the last page ended; that is all it is, so it never expires and may
/// be kept in a file. Given with the revision of its scan, it continues that scan. Once that
/// revision is compacted, the cursor may be used at a newer one, but then the two halves are of
/// different states: an object may have been written behind the cursor. That is enough for a
/// migration, which verifies afterwards, and not enough for a census, which starts again.
#[async_trait]
pub trait ObjectSource: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Says what is read here, and its newest revision.
    ///
    /// # Errors
    ///
    /// Any kind.
    async fn identity(&self, options: &CallOptions) -> Result<StoreIdentity, Error>;

    /// Reads one page. To read all of them, use [`Scan`](crate::object::Scan), which also checks
    /// the source.
    ///
    /// # Errors
    ///
    /// Any kind; see the contract above.
    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error>;

    /// Reads one object, or `None` if there is none of this key.
    ///
    /// # Errors
    ///
    /// Any kind; see the contract above.
    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error>;

    /// Reads one page of all changes that are still kept, oldest first: superseded values and
    /// deletions too. What is kept in history can still be read by whoever restores a backup.
    ///
    /// # Errors
    ///
    /// Any kind. A source that cannot do this returns [`ErrorKind::Unsupported`], which is the
    /// default.
    async fn history(&self, options: &HistoryOptions) -> Result<HistoryPage, Error> {
        let _ = options;
        Err(
            Error::new(ErrorKind::Unsupported, "reading history is not supported")
                .with_provider(self.to_string()),
        )
    }
}

/// What a source reads from: the part of evidence that says what was scanned.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoreIdentity {
    /// The kind of source, a stable lower-case word such as `etcd`, `snapshot` or `embedded`.
    pub kind: String,
    /// Which one, for people: end points, a path. No credentials.
    pub name: String,
    /// The cluster's own id, if the source knows it; etcd's as 16 hexadecimal digits. A snapshot
    /// does not hold one.
    pub cluster_id: Option<String>,
    /// The newest revision at the time of asking.
    pub revision: Revision,
    /// Whether the source follows the cluster. A copy, such as a snapshot, proves nothing about
    /// what the cluster holds by now.
    pub live: bool,
}

impl StoreIdentity {
    /// The identity of a source whose cluster id is not known.
    #[must_use]
    pub fn new(
        kind: impl Into<String>,
        name: impl Into<String>,
        revision: Revision,
        live: bool,
    ) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
            cluster_id: None,
            revision,
            live,
        }
    }

    /// Sets the cluster's own id.
    #[must_use]
    pub fn with_cluster_id(mut self, cluster_id: impl Into<String>) -> Self {
        self.cluster_id = Some(cluster_id.into());
        self
    }
}

/// What to scan, and how much at a time.
///
/// A key is in the scan if it begins with `prefix`, comes after `after` and not after `through`.
/// Ranges of the form `(after, through]` tile the keys without gap or overlap, so that workers
/// can share a scan.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ScanOptions {
    /// What every call can be told.
    pub call: CallOptions,
    /// What keys begin with. Empty for all keys. To read one resource of Kubernetes and not
    /// its namesakes, end it with a slash.
    pub prefix: Vec<u8>,
    /// Only keys after this one: the cursor. It need not exist.
    pub after: Option<ObjectKey>,
    /// Only keys up to this one, itself included. It need not exist.
    pub through: Option<ObjectKey>,
    /// The revision to read at; the newest if there is none.
    pub at: Option<Revision>,
    /// The most objects on a page. Zero is taken as one.
    pub page_limit: u32,
    /// A page ends with the first object whose [`size`](StoredObject::size) brings it to this
    /// many bytes, and so exceeds it by one object at most.
    pub page_bytes: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            call: CallOptions::default(),
            prefix: Vec::new(),
            after: None,
            through: None,
            at: None,
            page_limit: Self::DEFAULT_PAGE_LIMIT,
            page_bytes: Self::DEFAULT_PAGE_BYTES,
        }
    }
}

impl ScanOptions {
    /// Objects on a page, unless told otherwise: what the Kubernetes API server asks of etcd.
    pub const DEFAULT_PAGE_LIMIT: u32 = 500;
    /// Bytes on a page, unless told otherwise: 8 MiB.
    pub const DEFAULT_PAGE_BYTES: usize = 8 * 1024 * 1024;

    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets what keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the cursor.
    #[must_use]
    pub fn with_after(mut self, after: impl Into<Option<ObjectKey>>) -> Self {
        self.after = after.into();
        self
    }

    /// Sets the last key.
    #[must_use]
    pub fn with_through(mut self, through: impl Into<Option<ObjectKey>>) -> Self {
        self.through = through.into();
        self
    }

    /// Sets the revision to read at.
    #[must_use]
    pub fn with_at(mut self, at: impl Into<Option<Revision>>) -> Self {
        self.at = at.into();
        self
    }

    /// Sets the most objects on a page.
    #[must_use]
    pub const fn with_page_limit(mut self, objects: u32) -> Self {
        self.page_limit = objects;
        self
    }

    /// Sets how many bytes end a page.
    #[must_use]
    pub const fn with_page_bytes(mut self, bytes: usize) -> Self {
        self.page_bytes = bytes;
        self
    }

    /// Whether this key is in the scan.
    #[must_use]
    pub fn contains(&self, key: &ObjectKey) -> bool {
        key.as_bytes().starts_with(&self.prefix)
            && self.after.as_ref().is_none_or(|after| key > after)
            && self.through.as_ref().is_none_or(|through| key <= through)
    }

    /// The same keys as `start..end` in byte order, for those who implement a source: `end` is
    /// `None` if nothing bounds it, and never before `start`.
    ///
    /// Start and end are as etcd takes them, except that etcd writes an open end as one zero
    /// byte and an empty start likewise.
    ///
    /// ```
    /// use kms_core::object::ScanOptions;
    ///
    /// let secrets = ScanOptions::default().with_prefix("/registry/secrets/");
    /// let (start, end) = secrets.range();
    /// assert_eq!(start, b"/registry/secrets/");
    /// assert_eq!(end.as_deref(), Some(&b"/registry/secrets0"[..]));
    /// ```
    #[must_use]
    pub fn range(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let start = match &self.after {
            Some(after) if after.as_bytes() >= self.prefix.as_slice() => successor(after),
            _ => self.prefix.clone(),
        };
        let end = match (
            prefix_end(&self.prefix),
            self.through.as_ref().map(successor),
        ) {
            (Some(prefix), Some(through)) => Some(prefix.min(through)),
            (prefix, through) => prefix.or(through),
        };
        let end = end.map(|end| end.max(start.clone()));
        (start, end)
    }
}

/// The first byte string after this key.
fn successor(key: &ObjectKey) -> Vec<u8> {
    [key.as_bytes(), &[0]].concat()
}

/// The first byte string after all that begin with `prefix`; none if `prefix` is all `0xff`.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// One page of a scan.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ScanPage {
    /// The objects, in byte order of their keys.
    pub objects: Vec<StoredObject>,
    /// Where the next page begins: the last key of this one. `None` if this page is the last.
    pub next: Option<ObjectKey>,
    /// The revision at which the page was read.
    pub revision: Revision,
    /// How many objects follow this page, if the source knows. For progress; it decides nothing.
    pub remaining: Option<u64>,
}

impl ScanPage {
    /// A page with objects.
    #[must_use]
    pub const fn new(
        objects: Vec<StoredObject>,
        next: Option<ObjectKey>,
        revision: Revision,
    ) -> Self {
        Self {
            objects,
            next,
            revision,
            remaining: None,
        }
    }

    /// Sets how many objects follow.
    #[must_use]
    pub const fn with_remaining(mut self, remaining: Option<u64>) -> Self {
        self.remaining = remaining;
        self
    }
}

/// How to read one object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct FetchOptions {
    /// What every call can be told.
    pub call: CallOptions,
    /// The revision to read at; the newest if there is none.
    pub at: Option<Revision>,
}

impl FetchOptions {
    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets the revision to read at.
    #[must_use]
    pub fn with_at(mut self, at: impl Into<Option<Revision>>) -> Self {
        self.at = at.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(bytes: impl AsRef<[u8]>) -> ObjectKey {
        ObjectKey::new(bytes).unwrap()
    }

    #[test]
    fn a_prefix_of_all_ones_has_no_end() {
        assert_eq!(prefix_end(b""), None);
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b"a\xff"), Some(b"b".to_vec()));
    }

    #[test]
    fn an_empty_range_does_not_run_backwards() {
        let backwards = ScanOptions::default()
            .with_after(key("b"))
            .with_through(key("a"));
        let (start, end) = backwards.range();
        assert_eq!(Some(start), end);
    }

    fn small_key() -> impl Strategy<Value = ObjectKey> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(0xfe), Just(0xff)];
        proptest::collection::vec(byte, 1..4).prop_map(key)
    }

    proptest! {
        #[test]
        fn the_range_holds_exactly_what_the_options_contain(
            prefix in proptest::option::of(small_key()),
            after in proptest::option::of(small_key()),
            through in proptest::option::of(small_key()),
            probe in small_key(),
        ) {
            let options = ScanOptions::default()
                .with_prefix(prefix.map_or_else(Vec::new, |prefix| prefix.as_bytes().to_vec()))
                .with_after(after)
                .with_through(through);
            let (start, end) = options.range();
            let inside = probe.as_bytes() >= start.as_slice()
                && end.is_none_or(|end| probe.as_bytes() < end.as_slice());
            prop_assert_eq!(inside, options.contains(&probe));
        }
    }
}
