//! The board and the workers as objects of a store.

use core::time::Duration;

use kms_core::object::{FetchOptions, LeaseId, LeaseStore, ObjectKey, Swap, SwapOutcome};
use kms_core::{CallOptions, ErrorKind as CoreErrorKind};

use super::board::Board;
use crate::{Error, ErrorKind};

/// Where workers meet: one board, and an object for each worker that hangs on its lease.
#[derive(Debug)]
pub(super) struct Place<'s> {
    pub(super) store: &'s dyn LeaseStore,
    prefix: String,
    me: String,
}

/// Swaps that may be lost to others before it is taken for a fault.
const ATTEMPTS: u32 = 1000;

impl<'s> Place<'s> {
    pub(super) fn new(store: &'s dyn LeaseStore, prefix: &str, me: &str) -> Self {
        Self {
            store,
            prefix: prefix.trim_end_matches('/').to_owned(),
            me: me.to_owned(),
        }
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    fn board_key(&self) -> Result<ObjectKey, Error> {
        key(format!("{}/board", self.prefix))
    }

    fn worker_key(&self, worker: &str) -> Result<ObjectKey, Error> {
        key(format!("{}/workers/{worker}", self.prefix))
    }

    /// Takes a lease, and hangs this worker's name on it. `None` if there is one of this name.
    pub(super) async fn register(
        &self,
        time_to_live: Duration,
    ) -> Result<Option<(LeaseId, Duration)>, Error> {
        let call = CallOptions::default();
        let granted = self.store.grant_lease(time_to_live, &call).await;
        let lease = granted.map_err(failed)?;
        let key = self.worker_key(&self.me)?;
        let created = self
            .store
            .create_with_lease(&key, b"{}".to_vec(), lease.id, &call)
            .await;
        match created.map_err(failed)? {
            SwapOutcome::Swapped { .. } => Ok(Some((lease.id, lease.time_to_live))),
            SwapOutcome::Changed { .. } => {
                self.leave(lease.id).await;
                Ok(None)
            }
        }
    }

    pub(super) async fn leave(&self, lease: LeaseId) {
        // Best effort: it runs out by itself.
        let _ = self
            .store
            .revoke_lease(lease, &CallOptions::default())
            .await;
    }

    /// Whether a worker's lease lives.
    pub(super) async fn is_alive(&self, worker: &str) -> Result<bool, Error> {
        let key = self.worker_key(worker)?;
        let found = self.store.fetch(&key, &FetchOptions::default()).await;
        Ok(found.map_err(failed)?.is_some())
    }

    pub(super) async fn load(&self) -> Result<Option<Board>, Error> {
        let key = self.board_key()?;
        let found = self.store.fetch(&key, &FetchOptions::default()).await;
        found
            .map_err(failed)?
            .map(|object| Board::parse(&object.value))
            .transpose()
    }

    /// Changes the board, on whatever is there; `change` may refuse by an error. What happened is
    /// known also if an answer was lost: each change bears a stamp.
    pub(super) async fn update<T>(
        &self,
        mut change: impl FnMut(Option<Board>) -> Result<(Board, T), Error>,
    ) -> Result<(Board, T), Error> {
        let key = self.board_key()?;
        let call = CallOptions::default();
        let mut number = 0;
        let mut made: Option<T> = None;
        for _ in 0..ATTEMPTS {
            let found = self.store.fetch(&key, &FetchOptions::default()).await;
            let found = found.map_err(failed)?;
            let expected = found.as_ref().map(|object| object.revision);
            let board = found
                .map(|object| Board::parse(&object.value))
                .transpose()?;
            let last = board.as_ref().map_or(0, |board| board.last_stamp(&self.me));
            match (made.take(), board.as_ref()) {
                (Some(result), Some(board)) if last == number => {
                    return Ok((board.clone(), result));
                }
                _ => number = last.saturating_add(1),
            }
            let (mut board, result) = change(board)?;
            board.stamp(&self.me, number);
            let value = board.to_json()?;
            let swap = match expected {
                Some(expected) => Swap::Replace { expected, value },
                None => Swap::Create { value },
            };
            match self.store.compare_and_swap(&key, &swap, &call).await {
                Ok(SwapOutcome::Swapped { .. }) => return Ok((board, result)),
                Ok(SwapOutcome::Changed { .. }) => made = Some(result),
                Err(error)
                    if matches!(
                        error.kind(),
                        CoreErrorKind::Unavailable | CoreErrorKind::DeadlineExceeded
                    ) =>
                {
                    made = Some(result);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Error::new(
            ErrorKind::Internal,
            "the board of the workers changes too often",
        ))
    }
}

fn key(text: String) -> Result<ObjectKey, Error> {
    ObjectKey::new(text).map_err(failed)
}

fn failed(error: kms_core::Error) -> Error {
    Error::provider("the board of the workers", error)
}
