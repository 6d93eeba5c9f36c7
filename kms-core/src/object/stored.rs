//! An object as it lies in its store.

use core::fmt;
use core::num::NonZeroI64;

use crate::object::ObjectKey;

/// A moment in a store's life: the number of its latest change.
///
/// It grows with every change to any object of the store (etcd's revision; of one object, its
/// `mod_revision`), and means nothing to another store. Zero comes before every change.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(u64);

impl Revision {
    /// The revision of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The lease on which an object's life hangs: when it runs out, the store deletes the object.
/// Kubernetes keeps its events that way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseId(NonZeroI64);

impl LeaseId {
    /// The lease of this number, or `None` for zero, which is etcd's way to say there is none.
    #[must_use]
    pub const fn new(number: i64) -> Option<Self> {
        match NonZeroI64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0.get()
    }
}

/// In hexadecimal, as `etcdctl` shows it.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// An object as it lies in its store: key, bytes, and when they were written.
///
/// The value may be in clear, so `Debug` shows its length alone. It is a `Vec` and not shared:
/// a value of up to 1.5 MiB moves from the decoder of a network message into here without a copy,
/// is inspected by one reader, and is dropped with its page.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredObject {
    /// Its key.
    pub key: ObjectKey,
    /// The stored bytes, encrypted or not. May be empty.
    pub value: Vec<u8>,
    /// When these bytes were written. What [`Swap`](crate::object::Swap) compares.
    pub revision: Revision,
    /// The lease it hangs on.
    pub lease: Option<LeaseId>,
}

impl StoredObject {
    /// An object without a lease.
    #[must_use]
    pub const fn new(key: ObjectKey, value: Vec<u8>, revision: Revision) -> Self {
        Self {
            key,
            value,
            revision,
            lease: None,
        }
    }

    /// Sets the lease.
    #[must_use]
    pub const fn with_lease(mut self, lease: Option<LeaseId>) -> Self {
        self.lease = lease;
        self
    }

    /// What it counts toward [`ScanOptions::page_bytes`](crate::object::ScanOptions::page_bytes):
    /// key and value, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.as_bytes().len().saturating_add(self.value.len())
    }
}

impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredObject")
            .field("key", &self.key)
            .field("value_len", &self.value.len())
            .field("revision", &self.revision.get())
            .field("lease", &self.lease)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_the_value() {
        let key = ObjectKey::new("k").unwrap();
        let object = StoredObject::new(key, b"hunter2".to_vec(), Revision::new(7));
        assert_eq!(
            format!("{object:?}"),
            r#"StoredObject { key: "k", value_len: 7, revision: 7, lease: None }"#
        );
    }

    #[test]
    fn zero_is_no_lease() {
        assert_eq!(LeaseId::new(0), None);
        assert_eq!(
            LeaseId::new(0x694d).map(|lease| lease.to_string()),
            Some("694d".to_owned())
        );
    }
}
