//! What a KMS v2 provider writes with: one wrapped seed, and until when.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kms_core::{Clock, KeyId, SecretBytes, SecureRandom, Tick, WrapOptions, WrappedKey};

use super::write::no_randomness;
use super::{Kms, KmsV2, Transformer};
use crate::kubernetes::DekSourceType;
use crate::kubernetes::dek_cache::DekSource;
use crate::kubernetes::value::{aes_gcm, kms_v2};
use crate::{Error, ErrorKind};

const SEED_LEN: usize = 32;
const INFO_LEN: usize = 32;

/// The first counter in the nonces of one DEK, as upstream has it.
const FIRST_COUNTER: u64 = 1_000_000_001;

/// What a KMS v2 provider writes with now.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KmsWriteState {
    /// The key that the seed is wrapped with.
    pub key_id: KeyId,
    /// From this moment on of the transformer's clock writes are refused, unless a refresh
    /// confirms the key id before.
    pub expires: Tick,
}

/// A seed (or DEK), wrapped, and what is needed to write values with it.
#[derive(Debug)]
pub(super) struct WriteState {
    pub(super) source: Arc<DekSource>,
    kind: DekSourceType,
    key_id: KeyId,
    tail: kms_v2::Tail,
    /// For a DEK: nonces are this and a counter. A seed has random ones.
    nonce_start: [u8; 4],
    next_counter: AtomicU64,
}

impl WriteState {
    pub(super) fn seal(
        &self,
        prefix: &[u8],
        random: &dyn SecureRandom,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let secret = self.source.secret.expose();
        match self.kind {
            DekSourceType::HkdfSha256XnonceAesGcmSeed => {
                let mut bytes = [0; INFO_LEN + aes_gcm::NONCE_LEN];
                random.fill(&mut bytes).map_err(no_randomness)?;
                let (Some((info, _)), Some((_, nonce))) =
                    (bytes.split_first_chunk(), bytes.split_last_chunk())
                else {
                    return Err(Error::new(ErrorKind::Internal, "random bytes do not split"));
                };
                kms_v2::seal(
                    prefix,
                    &self.tail,
                    secret,
                    Some(info),
                    nonce,
                    aad,
                    plaintext,
                )
            }
            DekSourceType::AesGcmKey => {
                let counter = self
                    .next_counter
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |counter| {
                        counter.checked_add(1)
                    })
                    .map_err(|_| Error::new(ErrorKind::Internal, "the DEK has no nonce left"))?;
                let mut nonce = [0; aes_gcm::NONCE_LEN];
                let (start, count) = nonce.split_at_mut(self.nonce_start.len());
                start.copy_from_slice(&self.nonce_start);
                count.copy_from_slice(&counter.to_le_bytes());
                kms_v2::seal(prefix, &self.tail, secret, None, &nonce, aad, plaintext)
            }
        }
    }
}

/// What is known of a provider's key.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The state, expired or not.
    pub(super) state: Option<Arc<WriteState>>,
    /// The key that values are judged by: the state's; without a state that of the last Status.
    pub(super) key_id: Option<KeyId>,
}

#[derive(Debug, Default)]
struct Current {
    known: Known,
    expires: Tick,
    /// The poll that this came from.
    poll: u64,
}

/// The state of one provider. Its locks are never held while waiting for a provider.
#[derive(Debug, Default)]
pub(super) struct StateCell {
    current: RwLock<Current>,
    polls: AtomicU64,
}

impl StateCell {
    /// For reading: expired or not.
    pub(super) fn known(&self) -> Known {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.known.clone()
    }

    /// For writing: not expired.
    pub(super) fn for_writing(&self, now: Tick) -> Option<Arc<WriteState>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let state = current.known.state.as_ref()?;
        (now < current.expires).then(|| Arc::clone(state))
    }

    pub(super) fn describe(&self) -> Option<KmsWriteState> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let state = current.known.state.as_ref()?;
        Some(KmsWriteState {
            key_id: state.key_id.clone(),
            expires: current.expires,
        })
    }

    /// Takes over what a poll found, unless a poll that began later has already been heard:
    /// a slow answer must not bring an old key back.
    fn update(&self, poll: u64, change: impl FnOnce(&mut Current)) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if poll > current.poll {
            current.poll = poll;
            change(&mut current);
        }
    }
}

impl Kms {
    pub(super) fn no_state(&self) -> Error {
        Error::new(
            ErrorKind::NotReady,
            format!(
                "KMS `{}` has no valid state: none was ever established, or it has expired",
                self.name
            ),
        )
    }

    fn protocol(&self, what: &str) -> Error {
        Error::new(ErrorKind::Protocol, format!("KMS `{}`: {what}", self.name))
    }
}

impl KmsV2 {
    pub(super) async fn refresh(
        &self,
        clock: &dyn Clock,
        random: &dyn SecureRandom,
        read_only: bool,
    ) -> Result<(), Error> {
        let poll = self
            .state
            .polls
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        // Taken before any call: the time is to bound how long an old key is in use.
        let expires = clock.now() + Transformer::WRITE_STATE_TTL;
        let status = self
            .kms
            .provider
            .current_key(&self.kms.call_options(clock))
            .await
            .map_err(|error| self.kms.failed("Status", error))?;
        if read_only {
            self.state.update(poll, |current| {
                current.known.key_id = Some(status.id);
            });
            return Ok(());
        }
        let known = self.state.known();
        if known.state.is_some_and(|state| state.key_id == status.id) {
            self.state.update(poll, |current| {
                // Another poll may have changed the key meanwhile.
                if current.known.key_id.as_ref() == Some(&status.id) {
                    current.expires = expires;
                }
            });
            return Ok(());
        }
        let state = self.new_state(&status.id, clock, random).await?;
        let mut replaced = None;
        self.state.update(poll, |current| {
            current.expires = expires;
            current.known.key_id = Some(status.id);
            replaced = current.known.state.replace(state);
        });
        if let Some(old) = replaced {
            // Objects under it will still be read for a while.
            self.kms.cache.insert(Arc::clone(&old.source), clock.now());
        }
        Ok(())
    }

    /// A new seed under the key that Status named.
    async fn new_state(
        &self,
        status_key_id: &KeyId,
        clock: &dyn Clock,
        random: &dyn SecureRandom,
    ) -> Result<Arc<WriteState>, Error> {
        let secret = SecretBytes::random(random, SEED_LEN).map_err(no_randomness)?;
        let options = WrapOptions::default().with_call(self.kms.call_options(clock));
        let wrapped = self
            .kms
            .provider
            .wrap(&secret, &options)
            .await
            .map_err(|error| self.kms.failed("Encrypt", error))?;
        let key_id = self.check(&wrapped, status_key_id)?;
        let mut nonce_start = [0; 4];
        if self.written == DekSourceType::AesGcmKey {
            random.fill(&mut nonce_start).map_err(no_randomness)?;
        }
        Ok(Arc::new(WriteState {
            key_id,
            tail: kms_v2::Tail::new(&wrapped, self.written),
            source: Arc::new(DekSource {
                kind: Some(self.written),
                wrapped,
                secret,
            }),
            kind: self.written,
            nonce_start,
            next_counter: AtomicU64::new(FIRST_COUNTER),
        }))
    }

    /// The limits of the KMS API that `WrappedKey` and `KeyId` do not hold already.
    fn check(&self, wrapped: &WrappedKey, status_key_id: &KeyId) -> Result<KeyId, Error> {
        let Some(key_id) = wrapped.key_id() else {
            return Err(self.kms.protocol("Encrypt names no key id"));
        };
        if key_id != status_key_id {
            // kube-apiserver throws the answer away, too, and asks again at its next poll.
            return Err(Error::new(
                ErrorKind::KeyIdMismatch,
                format!(
                    "KMS `{}`: the key ids of Status and Encrypt differ",
                    self.kms.name
                ),
            ));
        }
        if wrapped.ciphertext().len() > kms_v2::MAX_DEK_SOURCE_LEN {
            return Err(self
                .kms
                .protocol("the ciphertext of Encrypt is over 1024 bytes"));
        }
        for name in wrapped.annotations().keys() {
            kms_v2::check_annotation_name(name)
                .map_err(|fault| self.kms.protocol(&format!("annotations {}", fault.problem)))?;
        }
        Ok(key_id.clone())
    }
}
