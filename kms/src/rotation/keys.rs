//! The versions of a key, of any provider.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{CallOptions, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState};
use kms_envelope::rotation::{Observation, ObservedKey, ProviderName};

use super::KeySource;

/// A [`KeySource`] over a key provider.
///
/// A provider that lists its versions is looked at as a whole; of another one only the current
/// version is seen, and that older ones are gone is never concluded.
#[derive(Debug)]
pub struct ProviderKeys {
    name: ProviderName,
    provider: Arc<dyn KeyProvider>,
    activation_delay: Option<Duration>,
}

impl ProviderKeys {
    /// The versions of this provider, whose replicas change over when it says so.
    #[must_use]
    pub fn new(name: ProviderName, provider: Arc<dyn KeyProvider>) -> Self {
        Self {
            name,
            provider,
            activation_delay: None,
        }
    }

    /// Says that a version becomes active this long after it was made and its start time has come,
    /// as with [`kms_azure::activation`]; the oldest one at once.
    #[must_use]
    pub fn with_activation_delay(mut self, delay: impl Into<Option<Duration>>) -> Self {
        self.activation_delay = delay.into();
        self
    }

    fn observed(&self, info: &KeyInfo, is_oldest: bool) -> ObservedKey {
        let begins = info.created.max(info.not_before);
        let delay = self.activation_delay.map(|delay| match is_oldest {
            true => Duration::ZERO,
            false => delay,
        });
        let active_at = begins
            .zip(delay)
            .and_then(|(at, delay)| at.checked_add(delay));
        ObservedKey::new(info.id.clone(), info.state).with_active_at(active_at)
    }
}

impl fmt::Display for ProviderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)
    }
}

#[async_trait]
impl KeySource for ProviderKeys {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn observe(&self, options: &CallOptions) -> Result<Observation, Error> {
        let current = current(&*self.provider, options).await?;
        if !self.provider.capabilities().lists_keys {
            let keys = current
                .iter()
                .map(|key| self.observed(key, false))
                .collect();
            return Ok(Observation::new(self.name.clone(), keys)
                .with_current(current.map(|key| key.id))
                .with_complete(false));
        }
        let listed = self.provider.list_keys(options).await?;
        let keys = listed
            .iter()
            .enumerate()
            .map(|(place, key)| self.observed(key, place == 0))
            .collect();
        Ok(Observation::new(self.name.clone(), keys).with_current(current.map(|key| key.id)))
    }
}

/// The version that the provider wraps with, or would; none if it does not say which.
async fn current(
    provider: &dyn KeyProvider,
    options: &CallOptions,
) -> Result<Option<KeyInfo>, Error> {
    match provider.current_key(options).await {
        Ok(info) => Ok(Some(info)),
        Err(error) => match state_told_by(error.kind()) {
            Some(state) => {
                let id = error.key_id().cloned();
                Ok(id.map(|id: KeyId| KeyInfo::new(id, state)))
            }
            None if error.kind() == ErrorKind::KeyNotFound => Ok(None),
            None => Err(error),
        },
    }
}

/// The state of the current version, if that is why it cannot be used.
const fn state_told_by(kind: ErrorKind) -> Option<KeyState> {
    match kind {
        ErrorKind::KeyDisabled => Some(KeyState::Disabled),
        ErrorKind::KeyExpired => Some(KeyState::Expired),
        ErrorKind::KeyNotYetValid => Some(KeyState::NotYetValid),
        ErrorKind::KeyDestroyed => Some(KeyState::Destroyed),
        _ => None,
    }
}
