//! What a server knows.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_cluster::embedded::EmbeddedStore;

use super::access::{Denial, Verb};
use super::encryption::Encryption;
use super::fault::Fault;
use super::place::Place;
use super::refusal::Refusal;
use super::schema::Resource;
use crate::loopback::script::Script;

pub(super) struct Shared {
    pub(super) store: Arc<EmbeddedStore>,
    pub(super) resources: Vec<Resource>,
    pub(super) changing: Mutex<Changing>,
    replicas: usize,
    turn: AtomicUsize,
    uids: AtomicU64,
}

/// What a test changes as it goes.
#[derive(Default)]
pub(super) struct Changing {
    /// Of each replica.
    pub(super) encryption: Vec<Encryption>,
    /// Users by token.
    pub(super) tokens: BTreeMap<String, String>,
    /// Users by certificate, in DER.
    pub(super) certificates: BTreeMap<Vec<u8>, String>,
    pub(super) denials: Vec<Denial>,
    /// What admission refuses: code and words.
    pub(super) refused: BTreeMap<Place, (u16, String)>,
    pub(super) faults: Script<Verb, Fault>,
    pub(super) calls: BTreeMap<Verb, u64>,
    /// Groups that answer 503, as an aggregated API without its server.
    pub(super) unserved: BTreeSet<String>,
}

impl Shared {
    pub(super) fn new(
        store: Arc<EmbeddedStore>,
        resources: Vec<Resource>,
        encryption: Vec<Encryption>,
    ) -> Self {
        Self {
            store,
            resources,
            replicas: encryption.len().max(1),
            changing: Mutex::new(Changing {
                encryption,
                ..Changing::default()
            }),
            turn: AtomicUsize::new(0),
            uids: AtomicU64::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replica whose turn it is.
    pub(super) fn next_replica(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(self.replicas).unwrap_or_default()
    }

    pub(super) fn encryption_of(&self, replica: usize) -> Encryption {
        self.lock()
            .encryption
            .get(replica)
            .cloned()
            .unwrap_or_default()
    }

    /// In the form of a UUID; unique within this server.
    pub(super) fn next_uid(&self) -> String {
        let number = self.uids.fetch_add(1, Ordering::Relaxed);
        format!("00000000-0000-4000-8000-{number:012x}")
    }

    pub(super) fn resource(&self, name: &str) -> Option<&Resource> {
        // The last one is the version that is preferred.
        self.resources.iter().rev().find(|it| it.name() == name)
    }

    pub(super) fn count(&self, verb: Verb) {
        let mut changing = self.lock();
        let calls = changing.calls.entry(verb).or_default();
        *calls = calls.saturating_add(1);
    }

    pub(super) fn may(&self, verb: Verb, resource: &str, namespace: Option<&str>) -> bool {
        let changing = self.lock();
        !changing
            .denials
            .iter()
            .any(|denial| denial.meets(verb, resource, namespace))
    }

    /// What admission says of a change.
    pub(super) fn admit(&self, place: &Place) -> Result<(), Refusal> {
        match self.lock().refused.get(place) {
            Some((code, why)) => Err(Refusal::admission(*code, &place.resource, &place.name, why)),
            None => Ok(()),
        }
    }
}

/// Without tokens.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}
