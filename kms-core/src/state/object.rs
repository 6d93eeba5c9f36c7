//! State under one key of an object store.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::store::check_len;
use super::{MAX_STATE_LEN, StateStore, StateSwap, StateVersion, VersionedState};
use crate::object::{FetchOptions, ObjectKey, ObjectStore, Revision, Swap, SwapOutcome};
use crate::{CallOptions, Error, ErrorKind};

/// A [`StateStore`] that keeps its state under one key of an [`ObjectStore`]: in the etcd that
/// several machines share, or in memory.
///
/// The version is the object's revision, which never comes back, even if the object is deleted and
/// made again. How durable a state is, the object store decides: etcd confirms what a majority of
/// its members has on disk.
///
/// ```
/// # use std::sync::Arc;
/// # use kms_core::Error;
/// use kms_core::object::{ObjectKey, ObjectStore};
/// use kms_core::state::ObjectStateStore;
///
/// fn state_in(etcd: Arc<dyn ObjectStore>) -> Result<ObjectStateStore, Error> {
///     // Away from what a cluster keeps there itself.
///     Ok(ObjectStateStore::new(etcd, ObjectKey::new("/kms/rotation/default")?))
/// }
/// ```
pub struct ObjectStateStore {
    store: Arc<dyn ObjectStore>,
    key: ObjectKey,
}

impl ObjectStateStore {
    /// The state under `key`. Nothing else may write there.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, key: ObjectKey) -> Self {
        Self { store, key }
    }

    /// Where the state lies.
    #[must_use]
    pub const fn key(&self) -> &ObjectKey {
        &self.key
    }

    fn named(&self, error: Error) -> Error {
        error.with_provider(self.to_string())
    }
}

impl fmt::Display for ObjectStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.key, self.store)
    }
}

impl fmt::Debug for ObjectStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStateStore")
            .field("store", &self.store)
            .field("key", &self.key)
            .finish()
    }
}

#[async_trait]
impl StateStore for ObjectStateStore {
    async fn load(&self, options: &CallOptions) -> Result<Option<VersionedState>, Error> {
        let fetch = FetchOptions::default().with_call(options.clone());
        let found = self.store.fetch(&self.key, &fetch).await;
        let Some(object) = found.map_err(|error| self.named(error))? else {
            return Ok(None);
        };
        if object.value.len() > MAX_STATE_LEN {
            return Err(self.named(Error::new(
                ErrorKind::Corrupt,
                "what is stored here is over 1048576 bytes: it is not a state",
            )));
        }
        let version = StateVersion::new(object.revision.get());
        Ok(Some(VersionedState::new(version, object.value)))
    }

    async fn swap(
        &self,
        expected: Option<StateVersion>,
        bytes: &[u8],
        options: &CallOptions,
    ) -> Result<StateSwap, Error> {
        check_len(bytes).map_err(|error| self.named(error))?;
        let value = bytes.to_vec();
        let swap = match expected {
            None => Swap::Create { value },
            Some(version) => Swap::Replace {
                expected: Revision::new(version.get()),
                value,
            },
        };
        let outcome = self.store.compare_and_swap(&self.key, &swap, options).await;
        let version = |revision: Revision| StateVersion::new(revision.get());
        Ok(match outcome.map_err(|error| self.named(error))? {
            SwapOutcome::Swapped { revision } => StateSwap::Swapped {
                version: version(revision),
            },
            SwapOutcome::Changed { current } => StateSwap::Changed {
                current: current.map(version),
            },
        })
    }
}
