//! A provider that knows only what a real plugin once answered.

use core::fmt;
use std::collections::BTreeMap;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState,
    SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};

/// Holds recorded unwraps: wrapped bytes and what they opened to. Wraps nothing.
#[derive(Debug)]
pub(super) struct ReplayProvider {
    current: KeyId,
    answers: BTreeMap<(Option<KeyId>, Vec<u8>), SecretBytes>,
}

impl ReplayProvider {
    /// An empty record whose Status named `current`.
    pub(super) const fn new(current: KeyId) -> Self {
        Self {
            current,
            answers: BTreeMap::new(),
        }
    }

    /// Adds one recorded unwrap; no key id where the format stores none.
    pub(super) fn record(&mut self, key_id: Option<KeyId>, wrapped: Vec<u8>, opened: SecretBytes) {
        self.answers.insert((key_id, wrapped), opened);
    }
}

impl fmt::Display for ReplayProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("replay")
    }
}

#[async_trait]
impl KeyProvider for ReplayProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_wraps(false)
            .with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new(self.current.clone(), KeyState::Enabled))
    }

    async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        let fault = "a record of past answers cannot wrap anything new";
        Err(Error::new(ErrorKind::Unsupported, fault).with_provider("replay"))
    }

    async fn unwrap(&self, wrapped: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        self.answers
            .get(&(wrapped.key_id().cloned(), wrapped.ciphertext().to_vec()))
            .map(|opened| SecretBytes::copy_from_slice(opened.expose()))
            .ok_or_else(|| {
                Error::new(ErrorKind::KeyNotFound, "no such unwrap was recorded")
                    .with_provider("replay")
            })
    }
}
