//! What is known of the key: pure state, fed with looks at the vault and with the time.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use kms_core::{Error, ErrorKind, Tick};

use super::algorithm::{AesMode, Algorithm};
use super::local::LocalKey;
use super::options::Operations;
use crate::activation::{Activation, Candidate, Decision, Fitness, Pending, Stop};
use crate::error::{Fault, Operation, VaultError};
use crate::key_url::{KeyUrl, KeyVersion};
use crate::vault::{KeyBundle, VersionFacts};

/// So many versions are remembered for what they are made of. That never changes.
const MAX_REMEMBERED: usize = 256;

/// A version that may wrap, ready for use.
#[derive(Debug)]
pub(super) struct ActiveKey {
    pub(super) bundle: KeyBundle,
    pub(super) algorithm: Algorithm,
    pub(super) local: Option<LocalKey>,
}

/// What was seen of one version, and when.
#[derive(Clone, Debug)]
struct Seen {
    facts: VersionFacts,
    at: Tick,
}

#[derive(Debug)]
pub(super) struct Board {
    key: KeyUrl,
    operations: Operations,
    aes: AesMode,
    stale_after: Duration,
    activation: Activation,
    /// The version that wraps, and those on their way.
    bundles: BTreeMap<KeyVersion, Arc<ActiveKey>>,
    /// Versions that cannot wrap, and why.
    unfit: BTreeMap<KeyVersion, Error>,
    seen: BTreeMap<KeyVersion, Seen>,
    newest: Option<VersionFacts>,
    success: Option<(Tick, SystemTime)>,
    failure: Option<Error>,
    next_look: Option<SystemTime>,
    /// How many looks have ended, with whatever outcome.
    looks: u64,
    last: Option<Decision>,
}

impl Board {
    pub(super) fn new(
        key: KeyUrl,
        operations: Operations,
        aes: AesMode,
        activation_delay: Duration,
        stale_after: Duration,
    ) -> Self {
        Self {
            key,
            operations,
            aes,
            stale_after,
            activation: Activation::new(activation_delay),
            bundles: BTreeMap::new(),
            unfit: BTreeMap::new(),
            seen: BTreeMap::new(),
            newest: None,
            success: None,
            failure: None,
            next_look: None,
            looks: 0,
            last: None,
        }
    }

    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }

    pub(super) const fn success(&self) -> Option<(Tick, SystemTime)> {
        self.success
    }

    pub(super) const fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    pub(super) const fn next_look(&self) -> Option<SystemTime> {
        self.next_look
    }

    pub(super) fn will_look(&mut self, wall: SystemTime, pause: Duration) {
        self.next_look = wall.checked_add(pause);
    }

    /// Whether the newest version is another than at the look before, or has changed.
    pub(super) fn is_news(&self, newest: &VersionFacts) -> bool {
        self.newest.as_ref() != Some(newest)
    }

    pub(super) fn note_newest(&mut self, newest: VersionFacts) {
        self.newest = Some(newest);
    }

    /// Takes in one version with what it is made of.
    pub(super) fn note_bundle(
        &mut self,
        bundle: KeyBundle,
        all: bool,
        now: Tick,
        wall: SystemTime,
    ) {
        let Some(version) = bundle.facts.url.version().cloned() else {
            return;
        };
        let algorithm = Algorithm::of(&bundle.kind, self.aes);
        let candidate = self.candidate(&bundle.facts, Some((&bundle, &algorithm)));
        self.note_facts([bundle.facts.clone()], now);
        match algorithm {
            Ok(algorithm) => {
                let local = bundle.public_key.as_ref().and_then(LocalKey::new);
                let key = ActiveKey {
                    bundle,
                    algorithm,
                    local,
                };
                self.bundles.insert(version, Arc::new(key));
            }
            Err(error) => {
                if self.unfit.len() >= MAX_REMEMBERED {
                    self.unfit.pop_first();
                }
                self.unfit.insert(version, error);
            }
        }
        self.activation.observe(candidate, all, wall);
    }

    /// Takes in a list of all versions.
    pub(super) fn note_list(&mut self, list: &[VersionFacts], now: Tick, wall: SystemTime) {
        let candidates: Vec<Candidate> = list
            .iter()
            .filter_map(|facts| {
                let version = facts.url.version()?;
                if let Some(key) = self.bundles.get(version) {
                    return self.candidate(facts, Some((&key.bundle, &Ok(key.algorithm))));
                }
                let mut candidate = self.candidate(facts, None)?;
                if self.unfit.contains_key(version) {
                    candidate.fitness = Fitness::Unsuitable;
                }
                Some(candidate)
            })
            .collect();
        self.note_facts(list.iter().cloned(), now);
        self.activation.observe(candidates, true, wall);
    }

    /// Remembers what was seen of a version.
    pub(super) fn note_facts(&mut self, facts: impl IntoIterator<Item = VersionFacts>, now: Tick) {
        for facts in facts {
            if let Some(version) = facts.url.version().cloned() {
                self.seen.insert(version, Seen { facts, at: now });
            }
        }
    }

    /// A version that has not been looked at counts as one that can wrap; before it is used, it is
    /// looked at.
    fn candidate(
        &self,
        facts: &VersionFacts,
        looked_at: Option<(&KeyBundle, &Result<Algorithm, Error>)>,
    ) -> Option<Candidate> {
        let (allows_wrapping, fitness) = match looked_at {
            None => (true, Fitness::WrappingKey),
            Some((_, Err(_))) => (true, Fitness::Unsuitable),
            // What could be wrapped and never unwrapped again is not wrapped.
            Some((bundle, Ok(algorithm))) => (
                bundle.allows(algorithm.wrap_operation(self.operations))
                    && bundle.allows(algorithm.unwrap_operation(self.operations)),
                Fitness::WrappingKey,
            ),
        };
        Some(Candidate {
            version: facts.url.version()?.clone(),
            created: facts.created,
            updated: facts.updated,
            not_before: facts.not_before,
            expires: facts.expires,
            enabled: facts.enabled,
            allows_wrapping,
            fitness,
        })
    }

    /// A version that wraps or will, and has not been looked at; or none, if all have been that
    /// are known.
    pub(super) fn unlooked(&mut self, wall: SystemTime) -> Wanted {
        let decision = self.activation.decide(wall);
        let known = |version: &KeyVersion| {
            self.bundles.contains_key(version) || self.unfit.contains_key(version)
        };
        match &decision {
            Decision::Nothing => return Wanted::List,
            Decision::Active(version) | Decision::Stopped(version, _) if !known(version) => {
                return Wanted::Bundle(version.clone());
            }
            _ => {}
        }
        let coming = self.activation.on_their_way(wall);
        match coming.into_iter().find(|version| !known(version)) {
            Some(version) => Wanted::Bundle(version),
            None => Wanted::Nothing,
        }
    }

    /// The version that wraps, if it is not the newest, whose attributes each look brings.
    pub(super) fn active_behind_newest(&mut self, wall: SystemTime) -> Option<KeyVersion> {
        let (Decision::Active(version) | Decision::Stopped(version, _)) =
            self.activation.decide(wall)
        else {
            return None;
        };
        let newest = self.newest.as_ref().and_then(|facts| facts.url.version());
        (newest != Some(&version)).then_some(version)
    }

    pub(super) fn succeeded(&mut self, now: Tick, wall: SystemTime) {
        self.looks = self.looks.saturating_add(1);
        self.success = Some((now, wall));
        if self.failure.take().is_some() {
            tracing::info!(key = %self.key, "the key is confirmed again");
        }
        // What is old news is not kept for ever.
        let keep = self.stale_after;
        self.seen.retain(|_, seen| now.since(seen.at) <= keep);
        let active = self.activation.decide(wall);
        let coming = self.activation.on_their_way(wall);
        self.bundles.retain(|version, _| {
            matches!(&active, Decision::Active(it) | Decision::Stopped(it, _) if it == version)
                || coming.contains(version)
        });
    }

    pub(super) fn failed(&mut self, error: Error) {
        self.looks = self.looks.saturating_add(1);
        let known = self
            .failure
            .as_ref()
            .is_some_and(|known| known.kind() == error.kind());
        if !known {
            tracing::warn!(
                key = %self.key,
                kind = error.kind().as_str(),
                error = error.message(),
                remedy = error.remedy(),
                "the key could not be confirmed"
            );
        }
        self.failure = Some(error);
    }

    /// The version that wraps now, or why none does.
    pub(super) fn current(&mut self, now: Tick, wall: SystemTime) -> Result<Arc<ActiveKey>, Error> {
        self.check_confirmed(now)?;
        let decision = self.activation.decide(wall);
        self.tell(&decision);
        match decision {
            Decision::Active(version) => self.bundles.get(&version).cloned().ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "the active version has not been looked at yet",
                )
            }),
            Decision::Stopped(version, stop) => Err(self.stopped(&version, stop)),
            Decision::Nothing => Err(Error::new(
                ErrorKind::Unavailable,
                "the key has not been looked at yet",
            )),
        }
    }

    /// Whether the last look counts still.
    fn check_confirmed(&self, now: Tick) -> Result<(), Error> {
        let Some(failure) = &self.failure else {
            return Ok(());
        };
        let Some((success, _)) = self.success else {
            return Err(failure.clone());
        };
        let age = now.since(success);
        if is_about_the_key(failure.kind()) {
            return Err(failure.clone());
        }
        if age <= self.stale_after {
            return Ok(());
        }
        let message = format!(
            "the key has not been confirmed for {} s; the last look: {}",
            age.as_secs(),
            failure.message()
        );
        let error = Error::new(failure.kind(), message).with_remedy(failure.remedy());
        Err(error.with_provider(self.key.without_version().to_string()))
    }

    fn stopped(&self, version: &KeyVersion, stop: Stop) -> Error {
        let key = self.key.with_version(version.clone());
        let fault = match stop {
            Stop::Disabled => Fault::KeyDisabled,
            Stop::Expired => Fault::KeyExpired,
            Stop::NotYetValid => Fault::KeyNotYetValid,
            Stop::NotAllowed => Fault::KeyOperationForbidden,
            Stop::Unsuitable => {
                let error = match self.unfit.get(version) {
                    Some(error) => error.clone(),
                    None => Error::new(ErrorKind::Unsupported, "the key cannot wrap"),
                };
                return error.with_provider(self.key.without_version().to_string());
            }
        };
        VaultError::found(fault, Operation::WrapKey)
            .with_message("no older version is used instead")
            .about(&key, None)
    }

    /// What has changed, for the log.
    fn tell(&mut self, decision: &Decision) {
        if self.last.as_ref() == Some(decision) {
            return;
        }
        match decision {
            Decision::Active(version) => {
                tracing::info!(key = %self.key.name(), %version, "key version is active");
            }
            Decision::Stopped(version, stop) => {
                tracing::warn!(key = %self.key.name(), %version, ?stop, "wrapping has stopped");
            }
            Decision::Nothing => {}
        }
        self.last = Some(decision.clone());
    }

    /// What is known of a version, if it was seen lately.
    pub(super) fn fresh_facts(
        &self,
        version: &KeyVersion,
        now: Tick,
        at_most: Duration,
    ) -> Option<VersionFacts> {
        let seen = self.seen.get(version)?;
        let is_fresh = self.failure.is_none() && now.since(seen.at) <= at_most;
        is_fresh.then(|| seen.facts.clone())
    }

    /// The version that wraps or one on its way.
    pub(super) fn known(&self, version: &KeyVersion) -> Option<Arc<ActiveKey>> {
        self.bundles.get(version).cloned()
    }

    pub(super) fn pending(&self, wall: SystemTime) -> Option<Pending> {
        self.activation.pending(wall)
    }
}

/// Whether a failed look says something of the key or of the right to use it, so that what was seen
/// before counts no more. All else, such as an answer of something in between, says only that the
/// vault was not reached.
const fn is_about_the_key(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::KeyNotFound
            | ErrorKind::KeyDisabled
            | ErrorKind::KeyExpired
            | ErrorKind::KeyNotYetValid
            | ErrorKind::KeyDestroyed
            | ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
            | ErrorKind::Unsupported
    )
}

/// What a look still needs.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    List,
    Bundle(KeyVersion),
    Nothing,
}
