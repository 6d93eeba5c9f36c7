//! A checkpoint that is an object of the store.

use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kms_core::CallOptions;
use kms_core::object::{FetchOptions, ObjectKey, ObjectStore, Revision, Swap, SwapOutcome};

use super::CheckpointStore;
use crate::{Error, ErrorKind};

/// Keeps a checkpoint as an object of a store, such as the cluster's own etcd: it can then be
/// resumed on any machine.
///
/// It is compared and swapped. So of two migrations that keep their places under one key, the one
/// that began first notices at its next save that the other has taken over, and stops.
#[derive(Debug)]
pub struct ObjectCheckpoints<'s> {
    store: &'s dyn ObjectStore,
    key: ObjectKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The revision of what is there, or that there is nothing; not known at first.
    known: Option<Option<Revision>>,
    /// What was to be saved when no answer came.
    unanswered: Option<Vec<u8>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl<'s> ObjectCheckpoints<'s> {
    /// Keeps it under this key, which should not be one of the API server's.
    #[must_use]
    pub fn new(store: &'s dyn ObjectStore, key: ObjectKey) -> Self {
        Self {
            store,
            key,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: kms_core::Error) -> Error {
        Error::provider(format!("the checkpoint under {}", self.key), error)
    }

    fn taken_over(&self) -> Error {
        Error::new(
            ErrorKind::Checkpoint,
            format!("another migration keeps its checkpoint under {}", self.key),
        )
    }

    async fn look(&self) -> Result<Option<Vec<u8>>, Error> {
        let found = self.store.fetch(&self.key, &FetchOptions::default()).await;
        let found = found.map_err(|error| self.failed(error))?;
        self.state().known = Some(found.as_ref().map(|object| object.revision));
        Ok(found.map(|object| object.value))
    }

    /// The revision of what is to be replaced. After a call without an answer that may be what this
    /// one has put there.
    async fn expected(&self) -> Result<Option<Revision>, Error> {
        let (known, unanswered) = {
            let mut state = self.state();
            (state.known, state.unanswered.take())
        };
        match (known, unanswered) {
            (Some(known), None) => Ok(known),
            (None, _) => {
                self.look().await?;
                Ok(self.state().known.flatten())
            }
            (Some(known), Some(unanswered)) => {
                let found = match self.look().await {
                    Ok(found) => found,
                    Err(error) => {
                        let mut state = self.state();
                        state.known = Some(known);
                        state.unanswered = Some(unanswered);
                        return Err(error);
                    }
                };
                let now = self.state().known.flatten();
                if now == known || now.is_none() || found.as_ref() == Some(&unanswered) {
                    return Ok(now);
                }
                Err(self.taken_over())
            }
        }
    }

    async fn swap(&self, swap: Swap) -> Result<(), Error> {
        let call = CallOptions::default();
        let outcome = self.store.compare_and_swap(&self.key, &swap, &call).await;
        match outcome {
            Ok(SwapOutcome::Swapped { revision }) => {
                self.state().known = Some(swap.value().map(|_| revision));
                Ok(())
            }
            Ok(SwapOutcome::Changed { .. }) => Err(self.taken_over()),
            Err(error) => {
                self.state().unanswered = Some(swap.value().unwrap_or_default().to_vec());
                Err(self.failed(error))
            }
        }
    }
}

#[async_trait]
impl CheckpointStore for ObjectCheckpoints<'_> {
    async fn load(&self) -> Result<Option<Vec<u8>>, Error> {
        self.look().await
    }

    async fn save(&self, bytes: &[u8]) -> Result<(), Error> {
        let value = bytes.to_vec();
        self.swap(match self.expected().await? {
            Some(expected) => Swap::Replace { expected, value },
            None => Swap::Create { value },
        })
        .await
    }

    async fn clear(&self) -> Result<(), Error> {
        match self.expected().await? {
            Some(expected) => self.swap(Swap::Delete { expected }).await,
            None => Ok(()),
        }
    }
}
