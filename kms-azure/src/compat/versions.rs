//! From upstream's key ids back to versions.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_core::{CallOptions, Clock, Error, ErrorKind, KeyId, KeyProvider, Tick, within};

use super::key_id::upstream_key_id;
use crate::key_url::KeyUrl;

/// Ids that are not known cost one listing in this time, however many there are. A new version
/// wraps nothing for minutes, so nothing real is missed.
const PAUSE: Duration = Duration::from_secs(10);
/// After a listing that failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The versions of one key, by upstream's ids. A hash cannot be turned round, so all versions are
/// listed and hashed.
pub(super) struct Versions {
    key: KeyUrl,
    source: Arc<dyn KeyProvider>,
    clock: Arc<dyn Clock>,
    budget: Duration,
    table: Mutex<Table>,
    /// One listing at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    /// Ours, by upstream's. As many as the key has versions.
    ours: BTreeMap<KeyId, KeyId>,
    /// The last listing, and why it failed.
    last: Option<(Tick, Option<Error>)>,
}

impl Versions {
    pub(super) fn new(
        key: KeyUrl,
        source: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        budget: Duration,
    ) -> Self {
        Self {
            key,
            source,
            clock,
            budget,
            table: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Upstream's id for one of ours; `None` if it is no version of this key.
    pub(super) fn upstream_of(&self, ours: &KeyId) -> Option<KeyId> {
        let url = self.key.of_answer(ours.as_str())?;
        upstream_key_id(&url).ok()
    }

    /// Our id for one of upstream's.
    pub(super) async fn ours_of(
        &self,
        upstream: &KeyId,
        call: &CallOptions,
    ) -> Result<KeyId, Error> {
        let end = call
            .deadline
            .unwrap_or_else(|| self.clock.now() + self.budget);
        let found = within(&*self.clock, end, self.find(upstream, call)).await;
        found.unwrap_or_else(|| {
            let late = "the key's versions are not listed by the deadline";
            let error = self.error(ErrorKind::DeadlineExceeded, late);
            Err(error.with_key_id(upstream.clone()))
        })
    }

    async fn find(&self, upstream: &KeyId, call: &CallOptions) -> Result<KeyId, Error> {
        if let Some(ours) = self.table().ours.get(upstream) {
            return Ok(ours.clone());
        }
        let _turn = self.turn.lock().await;
        if self.may_list() {
            let listed = self.source.list_keys(call).await;
            let mut table = self.table();
            let failure = match listed {
                Ok(keys) => {
                    let ids = keys.into_iter().map(|key| key.id);
                    table.ours = ids
                        .filter_map(|ours| Some((self.upstream_of(&ours)?, ours)))
                        .collect();
                    None
                }
                Err(error) => Some(error),
            };
            table.last = Some((self.clock.now(), failure));
        }
        let table = self.table();
        match (table.ours.get(upstream), &table.last) {
            (Some(ours), _) => Ok(ours.clone()),
            (None, Some((_, Some(failure)))) => Err(failure.clone()),
            (None, _) => Err(self
                .error(
                    ErrorKind::KeyNotFound,
                    "no version of this key has this hash for its id",
                )
                .with_key_id(upstream.clone())
                .with_remedy(
                    "check vault and name of the key, upper and lower case included: they must be \
                     those that the data was written with; or add the key it is under",
                )),
        }
    }

    fn may_list(&self) -> bool {
        let table = self.table();
        let Some((at, failure)) = &table.last else {
            return true;
        };
        let pause = if failure.is_some() {
            FAILURE_PAUSE
        } else {
            PAUSE
        };
        self.clock.now().since(*at) >= pause
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.source.to_string())
    }
}
