//! All that the listener and the handles share.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use kms_core::Clock;
use serde::Deserialize;

use super::access::{Access, Kind};
use super::admin::Admin;
use super::entra::{Directory, TokenKey};
use super::fault::Fault;
use super::material::KeyPool;
use super::names::Names;
use super::operation::Operation;
use super::store::{BackupKey, Store};
use super::throttle::Throttle;
use crate::loopback::script::Script;

/// One double: several stores and a token service behind one listener.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) names: Names,
    /// By host name.
    pub(super) stores: BTreeMap<String, Arc<Desk>>,
    pub(super) pool: KeyPool,
    pub(super) token_key: TokenKey,
    /// Signs service account tokens of a cluster that exists nowhere else.
    pub(super) cluster_key: TokenKey,
    pub(super) token_lifetime: Duration,
    pub(super) backup_key: BackupKey,
    /// How long a deletion takes.
    pub(super) deletion: Duration,
    pub(super) entra: Mutex<Entra>,
    /// If commands are taken over HTTP.
    pub(super) admin: Option<Admin>,
}

/// What changes in the token service.
#[derive(Debug, Default)]
pub(super) struct Entra {
    pub(super) directory: Directory,
    pub(super) tenants: Vec<String>,
    pub(super) faults: Script<Operation, Fault>,
    pub(super) calls: BTreeMap<Operation, u64>,
}

/// One vault or HSM, with everything that stands before its keys.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `NAME.ZONE`
    pub(super) host: String,
    /// The one of its kind that is always there.
    pub(super) is_default: bool,
    inner: Mutex<DeskState>,
}

#[derive(Debug)]
pub(super) struct DeskState {
    pub(super) store: Store,
    pub(super) access: Access,
    pub(super) throttle: Throttle,
    pub(super) network: Network,
    pub(super) tenant: String,
    pub(super) faults: Script<Operation, Fault>,
    pub(super) calls: BTreeMap<Operation, u64>,
}

/// From where a store can be reached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub enum Network {
    /// From everywhere.
    #[default]
    Public,
    /// From selected addresses, and this client's is none of them: `ForbiddenByFirewall`.
    SelectedAddresses,
    /// From private links alone, and this is none: `ForbiddenByConnection`.
    Private,
}

impl Desk {
    pub(super) const fn new(
        name: String,
        kind: Kind,
        host: String,
        is_default: bool,
        state: DeskState,
    ) -> Self {
        Self {
            name,
            kind,
            host,
            is_default,
            inner: Mutex::new(state),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DeskState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, operation: Operation) {
        let mut state = self.lock();
        let calls = state.calls.entry(operation).or_default();
        *calls = calls.saturating_add(1);
    }
}

impl Shared {
    /// Seconds since 1970, by the double's clock.
    pub(super) fn now(&self) -> i64 {
        let since = self
            .clock
            .wall_time()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// Nothing is disturbed any more.
    pub(super) fn clear_faults(&self) {
        self.entra().faults.clear();
        for desk in self.stores.values() {
            desk.lock().faults.clear();
        }
    }

    pub(super) fn entra(&self) -> MutexGuard<'_, Entra> {
        self.entra.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
