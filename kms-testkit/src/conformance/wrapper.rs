//! A harness for wrappers.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{Error, KeyId, KeyProvider, KeyState, SecretBytes};

use super::harness::{Harness, HookOutcome};
use crate::StaticProvider;

const KEY: [u8; 32] = [0xA7; 32];

/// A harness with every hook, for a provider that wraps another: the other one is a
/// [`StaticProvider`].
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// use std::sync::Arc;
/// use kms_testkit::conformance::{self, WrapperHarness};
/// use kms_testkit::{FaultProvider, ManualClock};
///
/// let clock = Arc::new(ManualClock::new());
/// let harness = WrapperHarness::new(|keys| FaultProvider::new(keys, clock.clone()));
/// conformance::run_all(&harness).await.assert_complete();
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct WrapperHarness {
    keys: Arc<StaticProvider>,
    under_test: Arc<dyn KeyProvider>,
    second_instance: Arc<dyn KeyProvider>,
    patience: Duration,
}

impl WrapperHarness {
    /// Tests what `wrap` makes of a static provider. It is called twice, for the provider under
    /// test and for the second instance over the same keys.
    ///
    /// # Panics
    ///
    /// Never: the key id is a valid one.
    #[expect(clippy::expect_used, reason = "a constant of five letters is a key id")]
    #[must_use]
    pub fn new<P: KeyProvider>(mut wrap: impl FnMut(Arc<StaticProvider>) -> P) -> Self {
        let id = KeyId::new("first").expect("a valid key id");
        let keys = Arc::new(StaticProvider::new(id, KEY));
        Self {
            under_test: Arc::new(wrap(Arc::clone(&keys))),
            second_instance: Arc::new(wrap(Arc::clone(&keys))),
            keys,
            patience: Duration::from_secs(60),
        }
    }

    /// Sets how long one rule may take, in real time. The default is 60 seconds.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl fmt::Debug for WrapperHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrapperHarness")
            .field("under_test", &self.under_test)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Harness for WrapperHarness {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.under_test)
    }

    async fn reopen(&self) -> Result<Option<Arc<dyn KeyProvider>>, Error> {
        Ok(Some(Arc::clone(&self.second_instance)))
    }

    async fn rotate(&self) -> Result<HookOutcome, Error> {
        self.keys.rotate()?;
        Ok(HookOutcome::Done)
    }

    async fn disable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.keys.disable(id)?;
        Ok(HookOutcome::Done)
    }

    async fn enable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.keys.enable(id)?;
        Ok(HookOutcome::Done)
    }

    async fn destroy(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.keys.set_state(id, KeyState::Destroyed)?;
        Ok(HookOutcome::Done)
    }

    fn secrets(&self) -> Vec<SecretBytes> {
        vec![SecretBytes::copy_from_slice(&KEY)]
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}
