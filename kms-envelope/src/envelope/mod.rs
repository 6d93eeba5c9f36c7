//! Sealing and opening under key providers: the sealed format and the DEK caches, joined.

mod builder;
mod open;
mod seal;

use core::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use kms_core::{
    CallOptions, ContextSupport, EncryptionContext, KeyId, KeyProvider, SecureRandom,
    UnwrapOptions, WrapOptions,
};

pub use self::builder::EnvelopeBuilder;
use crate::cache::{CacheStats, EncryptCache, Partition, UnwrapCache};
use crate::crypto::CryptoBackend;
use crate::sealed::{ContextDigest, Dek, DekMaterial, Suite};

/// Seals and opens data under one or several key providers.
///
/// A message is sealed for every provider of the envelope, and each of them can open it alone: two
/// vaults in two regions, say, or an old provider and a new one. The format is
/// [`sealed`](crate::sealed), the keys come from the caches of [`cache`](crate::cache): a seal with a
/// live DEK makes no provider call and takes no async lock, and neither does opening what is under
/// a DEK that is known.
///
/// Say what data is for in two places. The **context** of a [`Purpose`] is coarse, a tenant and a
/// table: each has a DEK of its own, and providers that can bind it to the wrapped DEK. The **aad**
/// of each call is fine, such as the key of a record: it costs nothing.
///
/// **When a provider is down.** Opening needs one of them, and takes those that are cached before it
/// calls any. Sealing needs all of them, but only when a DEK is made: every message is for each. A
/// call that hangs holds up who waits for it, so give every provider an end of its own, such as
/// [`Timeout`](kms_core::layer::Timeout).
///
/// An envelope does not authenticate the writer: whoever can wrap can seal.
///
/// ```
/// use std::sync::Arc;
/// use kms_core::EncryptionContext;
/// use kms_envelope::{Envelope, Purpose};
/// # use kms_core::TokioClock;
/// # use kms_core::local::{LocalOptions, LocalProvider};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("keyring.json");
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let clock = Arc::new(TokioClock::new());
/// # let provider = Arc::new(LocalProvider::create(path, LocalOptions::new(clock.clone()))?);
/// let envelope = Envelope::builder(clock).recipient("main", provider).build()?;
/// let users = Purpose::new(EncryptionContext::new().with("table", "users")?);
///
/// let sealed = envelope.seal(&users, b"row 7", b"alice@example.com").await?;
/// assert_eq!(envelope.open(&users, b"row 7", &sealed).await?.expose(), b"alice@example.com");
/// assert!(envelope.open(&users, b"row 8", &sealed).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Envelope {
    members: Arc<[Member]>,
    opened: Vec<UnwrapCache<Dek>>,
    live: EncryptCache<DekMaterial>,
    suite: Suite,
    backend: Arc<dyn CryptoBackend>,
    random: Arc<dyn SecureRandom>,
}

/// What data is for: a context, and whose share of the caches it takes.
///
/// Two purposes with one context share nothing if their partitions differ, but either opens what
/// the other has sealed.
#[derive(Clone, Debug)]
pub struct Purpose {
    context: EncryptionContext,
    partition: Partition,
}

impl Purpose {
    /// A purpose in the common partition.
    #[must_use]
    pub fn new(context: EncryptionContext) -> Self {
        Self {
            context,
            partition: Partition::default(),
        }
    }

    /// Sets the partition, such as one for each tenant: no other partition can push its DEKs out
    /// of the caches.
    #[must_use]
    pub fn with_partition(mut self, partition: Partition) -> Self {
        self.partition = partition;
        self
    }

    /// The context.
    #[must_use]
    pub const fn context(&self) -> &EncryptionContext {
        &self.context
    }
}

/// A provider, and the application's name for it.
#[derive(Debug)]
struct Member {
    id: String,
    provider: Arc<dyn KeyProvider>,
}

impl Member {
    /// The context as far as this provider can bind it; the payload binds it in any case.
    fn context(&self, context: &EncryptionContext) -> EncryptionContext {
        match self.provider.capabilities().context {
            ContextSupport::Native => context.clone(),
            _ => EncryptionContext::new(),
        }
    }

    fn wrap_options(&self, context: &EncryptionContext) -> WrapOptions {
        WrapOptions::default().with_context(self.context(context))
    }

    fn unwrap_options(&self, context: &EncryptionContext) -> UnwrapOptions {
        UnwrapOptions::default().with_context(self.context(context))
    }
}

impl Envelope {
    /// Starts to build one. `clock` is the providers' clock.
    #[must_use]
    pub fn builder(clock: Arc<dyn kms_core::Clock>) -> EnvelopeBuilder {
        EnvelopeBuilder::new(clock)
    }

    /// Asks every provider for its current key. DEKs that are under another one are replaced when
    /// they are next used, and seal until the new one is there. Call it now and then, or let
    /// [`DekLimits::max_age`](crate::cache::DekLimits::max_age) do.
    ///
    /// # Errors
    ///
    /// The first provider's that fails; what the others say is noted all the same.
    pub async fn refresh(&self) -> Result<(), crate::Error> {
        let options = CallOptions::default();
        let members = self.members.iter();
        let answers = join_all(members.map(|member| member.provider.current_key(&options))).await;
        let mut current = Vec::new();
        let mut failure = Ok(());
        for (member, answer) in self.members.iter().zip(answers) {
            match answer {
                Ok(key) => current.push((&member.id, key.id)),
                Err(error) if failure.is_ok() => {
                    let asking = format!("asking `{}` for its key", member.id);
                    failure = Err(crate::Error::provider(asking, error));
                }
                Err(_) => {}
            }
        }
        self.live.note_rotation(|material| {
            let mut keys = current.iter();
            keys.all(|(provider_id, key_id)| seal::is_under(material, provider_id, key_id))
        });
        failure
    }

    /// Forgets every DEK that is under this KEK, since it is compromised: the next seal makes a
    /// new DEK, the next open asks the provider. Messages that exist stay under the DEK they have;
    /// seal them anew, as [`rewrap`](Self::rewrap) does not change it.
    pub fn purge_key(&self, key_id: &KeyId) {
        self.live.purge(|material| seal::names(material, key_id));
        self.opened.iter().for_each(|cache| cache.purge_key(key_id));
    }

    /// What the cache of DEKs that seal has done so far.
    #[must_use]
    pub fn seal_stats(&self) -> CacheStats {
        self.live.stats()
    }

    /// What the caches of unwrapped DEKs have done so far, by the name of the provider.
    pub fn open_stats(&self) -> impl Iterator<Item = (&str, CacheStats)> {
        let ids = self.members.iter().map(|member| member.id.as_str());
        ids.zip(self.opened.iter().map(UnwrapCache::stats))
    }

    fn digest(&self, purpose: &Purpose) -> ContextDigest {
        ContextDigest::new(&*self.backend, &purpose.context)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("members", &self.members)
            .field("suite", &self.suite)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
