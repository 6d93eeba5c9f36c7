//! Reading and writing as kube-apiserver does with one list of providers.

mod builder;
mod opened;
mod read;
mod state;
mod write;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use kms_core::{CallOptions, Clock, KeyProvider, SecretBytes, SecureRandom};

pub use self::builder::TransformerBuilder;
pub use self::opened::Opened;
pub(crate) use self::opened::WrittenWith;
pub use self::state::KmsWriteState;
use super::dek_cache::DekCache;
use super::{DekSourceType, ProviderConfiguration, ProviderKind};
use crate::Error;

/// Reads and writes what kube-apiserver keeps in etcd, with one list of providers of an
/// [`EncryptionConfiguration`](super::EncryptionConfiguration).
///
/// # Order and staleness
///
/// Every provider whose prefix a value has is tried in order, and within it every key of the
/// value's key name; what fails does not end the search. The first provider and its first key
/// write. A value is stale, which is to say that kube-apiserver would write it anew at the next
/// update, if another provider or key than the first one read it; if it is KMS v1 data in the
/// AES-CBC form of Kubernetes 1.24 and before; or if it is KMS v2 data under another key id, or
/// with another source type, than would be written now.
///
/// # KMS v2
///
/// One seed serves many values. [`refresh`](Self::refresh) asks each KMS v2 provider for its
/// current key, and if that is a new one makes a new seed and has it wrapped; call it at the
/// start, then every minute, and every ten seconds after a failure. What it learns is good for
/// [`WRITE_STATE_TTL`](Self::WRITE_STATE_TTL) from the beginning of the call:
///
/// | condition | reads | writes |
/// |---|---|---|
/// | no refresh has succeeded yet | refused | refused |
/// | the KMS went down after a refresh | seeds that are known: yes; others: refused | for three minutes |
/// | the key id changed and wrapping fails, or names another key id | as before | with the old seed, for three minutes |
/// | only unwrapping fails | seeds that are known: yes; others: refused | yes |
///
/// Refused for want of a state is [`ErrorKind::NotReady`](crate::ErrorKind::NotReady).
///
/// A reader of backups has no use for a state: see
/// [`TransformerBuilder::read_only`].
///
/// # Keys in memory
///
/// Unwrapped seeds and DEKs are kept in a bounded cache and wiped when they leave it. Prepared
/// cipher keys are not kept, as `ring` does not wipe them; each call sets up its own. Several
/// reads that miss the cache at once each call the provider: wrap it in a coalescing layer if
/// that matters.
///
/// # Limits
///
/// `aescbc` and `secretbox` do not bind a value to its etcd key, and `aescbc` does not notice
/// changes at all. A KMS v1 value that was tampered with is tried as AES-CBC, as kube-apiserver
/// does; if its length allows that, one in some 256 opens as garbage, and is stale. One `aesgcm` key should write no more than 200,000 values, since its nonces are
/// random.
///
/// # Example
///
/// ```
/// # use std::{sync::Arc, time::SystemTime};
/// # use kms_core::{Clock, Sleep, Tick};
/// # #[derive(Debug)]
/// # struct Stopped;
/// # impl Clock for Stopped {
/// #     fn now(&self) -> Tick { Tick::ORIGIN }
/// #     fn wall_time(&self) -> SystemTime { SystemTime::UNIX_EPOCH }
/// #     fn sleep_until(&self, _: Tick) -> Sleep { Box::pin(core::future::pending()) }
/// # }
/// # futures_util::FutureExt::now_or_never(async {
/// # let clock = Arc::new(Stopped);
/// use kms_core::OsRandom;
/// use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
///
/// let configuration = EncryptionConfiguration::parse(r#"
/// apiVersion: apiserver.config.k8s.io/v1
/// kind: EncryptionConfiguration
/// resources:
///   - resources: [secrets]
///     providers:
///       - aesgcm:
///           keys:
///             - name: key1
///               secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
///       - identity: {}
/// "#)?;
/// let providers = configuration.providers_for("", "secrets");
/// let transformer = Transformer::builder(providers, clock, Arc::new(OsRandom)).build()?;
///
/// let etcd_key = b"/registry/secrets/default/token";
/// let opened = transformer.read(etcd_key, br#"{"kind":"Secret"}"#).await?;
/// assert!(opened.is_stale(), "it is in clear, and would be encrypted now");
/// let value = transformer.write(etcd_key, opened.plaintext()).await?;
/// assert!(value.starts_with(b"k8s:enc:aesgcm:v1:key1:"));
/// # Ok::<(), kms_envelope::Error>(())
/// # }).expect("nothing waits")?;
/// # Ok::<(), kms_envelope::Error>(())
/// ```
pub struct Transformer {
    entries: Vec<Entry>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    read_only: bool,
}

/// One provider of the list.
#[derive(Debug)]
struct Entry {
    /// What values start with; empty for `identity`.
    prefix: Box<[u8]>,
    cipher: EntryCipher,
}

#[derive(Debug)]
enum EntryCipher {
    Identity,
    Local(LocalKeys),
    KmsV1(KmsV1),
    KmsV2(KmsV2),
}

/// The keys of `aescbc`, `aesgcm` or `secretbox`.
#[derive(Debug)]
struct LocalKeys {
    kind: ProviderKind,
    keys: Vec<LocalKey>,
}

#[derive(Debug)]
struct LocalKey {
    name: Arc<str>,
    secret: SecretBytes,
}

/// What both versions of the KMS formats need.
#[derive(Debug)]
struct Kms {
    name: Arc<str>,
    provider: Arc<dyn KeyProvider>,
    timeout: Duration,
    cache: DekCache,
}

#[derive(Debug)]
struct KmsV1 {
    kms: Kms,
}

#[derive(Debug)]
struct KmsV2 {
    kms: Kms,
    /// The source type that is written.
    written: DekSourceType,
    judges_source_type: bool,
    state: state::StateCell,
}

impl Kms {
    fn call_options(&self, clock: &dyn Clock) -> CallOptions {
        CallOptions::default().with_deadline(clock.now() + self.timeout)
    }

    fn failed(&self, what: &str, source: kms_core::Error) -> Error {
        Error::provider(format!("KMS `{}`: {what} failed", self.name), source)
    }
}

impl Transformer {
    /// How long a seed may be written with after the last time the KMS confirmed its key id.
    pub const WRITE_STATE_TTL: Duration = Duration::from_secs(3 * 60);

    /// Starts to build one for a list of providers: those of one entry of a configuration, or what
    /// [`providers_for`](super::EncryptionConfiguration::providers_for) chose for a resource.
    #[must_use]
    pub fn builder<'a>(
        providers: impl IntoIterator<Item = &'a ProviderConfiguration>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> TransformerBuilder<'a> {
        TransformerBuilder::new(providers.into_iter().collect(), clock, random)
    }

    /// Asks every KMS v2 provider for its current key, all of them at once, and has a new seed
    /// wrapped where the key is a new one. Wipes seeds that have been kept for their time.
    ///
    /// A [read-only](TransformerBuilder::read_only) transformer asks and does not wrap.
    ///
    /// Each call is given the time-out of the configuration as its deadline. A provider that does
    /// not keep deadlines should be wrapped in one that does.
    ///
    /// # Errors
    ///
    /// The failure of the first provider in the list that failed:
    /// [`ErrorKind::Provider`](crate::ErrorKind::Provider), or
    /// [`ErrorKind::KeyIdMismatch`](crate::ErrorKind::KeyIdMismatch) if its Status tells another key
    /// than it encrypts with, as in the middle of a rotation;
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if its answer breaks a rule of the KMS
    /// API. The others were asked all the same.
    pub async fn refresh(&self) -> Result<(), Error> {
        let now = self.clock.now();
        for entry in &self.entries {
            match &entry.cipher {
                EntryCipher::KmsV1(KmsV1 { kms }) | EntryCipher::KmsV2(KmsV2 { kms, .. }) => {
                    kms.cache.remove_expired(now);
                }
                EntryCipher::Identity | EntryCipher::Local(_) => {}
            }
        }
        let polls = self
            .kms_v2()
            .map(|kms| kms.refresh(self.clock.as_ref(), self.random.as_ref(), self.read_only));
        futures_util::future::join_all(polls)
            .await
            .into_iter()
            .collect()
    }

    /// What a KMS v2 provider writes with now; `None` if there is none of this name or no refresh
    /// of it has succeeded.
    #[must_use]
    pub fn kms_write_state(&self, name: &str) -> Option<KmsWriteState> {
        self.kms_v2()
            .find(|kms| &*kms.kms.name == name)
            .and_then(|kms| kms.state.describe())
    }

    fn kms_v2(&self) -> impl Iterator<Item = &KmsV2> {
        self.entries.iter().filter_map(|entry| match &entry.cipher {
            EntryCipher::KmsV2(kms) => Some(kms),
            _ => None,
        })
    }
}

impl fmt::Debug for Transformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transformer")
            .field("entries", &self.entries)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
