//! What the suite needs to know and to do.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{Error, KeyId, KeyProvider, SecretBytes, WrappedKey};

use super::report::{Outcome, Violation};

/// Whether a hook did what it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HookOutcome {
    /// It is done, and the provider under test sees it from now on.
    Done,
    /// This harness has no such hook; the rules that need it are skipped.
    Absent,
}

/// The provider under test, and what can be done to its keys from outside.
///
/// Only [`provider`](Self::provider) is required. Each hook makes more rules apply. An error of a
/// hook is a violation of the rule that called it.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The provider under test: the same one each time.
    fn provider(&self) -> Arc<dyn KeyProvider>;

    /// A new instance over the same keys, such as a keyring file opened again.
    async fn reopen(&self) -> Result<Option<Arc<dyn KeyProvider>>, Error> {
        Ok(None)
    }

    /// Makes a new key current. Old keys go on unwrapping.
    async fn rotate(&self) -> Result<HookOutcome, Error> {
        Ok(HookOutcome::Absent)
    }

    /// Switches off a key that is not current.
    async fn disable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        let _ = id;
        Ok(HookOutcome::Absent)
    }

    /// Switches on again what [`disable`](Self::disable) has switched off.
    async fn enable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        let _ = id;
        Ok(HookOutcome::Absent)
    }

    /// Destroys a key that is not current.
    async fn destroy(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        let _ = id;
        Ok(HookOutcome::Absent)
    }

    /// Wraps under the provider's key by other means, with no context. Needed only for a
    /// provider that does not wrap.
    async fn wrap_elsewhere(&self, dek: &SecretBytes) -> Result<Option<WrappedKey>, Error> {
        let _ = dek;
        Ok(None)
    }

    /// A key id of the provider's own form that no key has.
    fn unknown_key_id(&self) -> Result<KeyId, Error> {
        KeyId::new("kms-testkit/no-such-key")
    }

    /// Secrets that must not show anywhere, such as the provider's keys and credentials.
    fn secrets(&self) -> Vec<SecretBytes> {
        Vec::new()
    }

    /// How long one rule may take, in real time, before it counts as hanging.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Wraps, by the provider or beside it; `Err` says why the rule does not apply or what is wrong.
pub(super) async fn wrap(
    harness: &dyn Harness,
    dek: &SecretBytes,
) -> Result<WrappedKey, Box<Outcome>> {
    let provider = harness.provider();
    let answer = if provider.capabilities().wraps {
        provider.wrap(dek, &Default::default()).await.map(Some)
    } else {
        harness.wrap_elsewhere(dek).await
    };
    match answer {
        Ok(Some(wrapped)) => Ok(wrapped),
        Ok(None) => Err(Box::new(super::report::skip(
            "the provider does not wrap and the harness has no wrap_elsewhere",
        ))),
        Err(error) => Err(Box::new(Err(Violation::new(format!(
            "a DEK of {} bytes does not wrap: {error:?}",
            dek.len()
        ))))),
    }
}
