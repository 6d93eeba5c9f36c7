//! Whose an entry is.

use core::fmt;
use core::hash::{BuildHasher as _, Hash, Hasher as _};
use std::sync::Arc;

use kms_core::{Error, ErrorKind};

use super::sync::RandomState;

/// A share of a cache that no other share can push out of it, such as a tenant's.
///
/// The program chooses it, from whom it has authenticated, and never from stored bytes. A program
/// without tenants uses [`Partition::default`] throughout.
///
/// ```
/// use kms_envelope::cache::Partition;
///
/// let tenant = Partition::new("acme")?;
/// assert_eq!(tenant.as_str(), "acme");
/// assert_ne!(tenant, Partition::default());
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Partition(Arc<str>);

impl Partition {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 255;

    /// A partition of this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the name is over [`Partition::MAX_LEN`] bytes.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        if name.len() > Self::MAX_LEN {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a cache partition's name is over 255 bytes",
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The partition without a name.
impl Default for Partition {
    fn default() -> Self {
        Self("".into())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Where an entry lies: two hashes under a key of the process that nobody outside can know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) partition: u64,
    pub(super) entry: u64,
}

/// Finds places, in one pass over what is asked for and without owning any of it.
pub(super) struct Places(RandomState);

impl Places {
    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    pub(super) fn of(&self, partition: &Partition, entry: &impl Hash) -> Place {
        let mut hasher = self.0.build_hasher();
        partition.hash(&mut hasher);
        let partition = hasher.finish();
        entry.hash(&mut hasher);
        Place {
            partition,
            entry: hasher.finish(),
        }
    }

    pub(super) fn partition(&self, partition: &Partition) -> u64 {
        self.of(partition, &()).partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded() {
        assert!(Partition::new("a".repeat(255)).is_ok());
        let error = Partition::new("a".repeat(256)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let name = Partition::new("tenant 1").unwrap();
        assert_eq!(format!("{name} {name:?}"), "tenant 1 \"tenant 1\"");
    }

    #[test]
    fn a_place_tells_partitions_and_entries_apart() {
        let places = Places::new();
        let (one, two) = (Partition::new("1").unwrap(), Partition::default());
        let place = places.of(&one, &"a");
        assert_eq!(place, places.of(&one, &"a"));
        assert_eq!(place.partition, places.partition(&one));
        assert_eq!(place.partition, places.of(&one, &"b").partition);
        assert_ne!(place.entry, places.of(&one, &"b").entry);
        assert_ne!(place.partition, places.of(&two, &"a").partition);
        assert_ne!(place.entry, places.of(&two, &"a").entry);
        // The key is the process's own, so another cache has other places.
        assert_ne!(place, Places::new().of(&one, &"a"));
    }
}
