//! Putting an envelope together.

use core::fmt;
use std::sync::Arc;

use futures_util::future::try_join_all;
use kms_core::{
    CallOptions, Clock, EncryptionContext, KeyProvider, OsRandom, SecretBytes, SecureRandom,
};

use super::{Envelope, Member};
use crate::cache::{Background, DekLimits, EncryptCache, UnwrapCache, UnwrapCacheOptions};
use crate::crypto::{CryptoBackend, RingBackend};
use crate::sealed::limits::MAX_RECIPIENTS;
use crate::sealed::{ContextDigest, Dek, DekMaterial, Recipient, Suite, is_provider_id};
use crate::{Error, ErrorKind};

/// How many bytes a DEK has.
const DEK_LEN: usize = 32;

type Spawn = dyn Fn(Background) + Send + Sync;

/// Puts an [`Envelope`] together.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use kms_envelope::Envelope;
/// use kms_envelope::cache::{DekLimits, UnwrapCacheOptions};
/// use kms_envelope::sealed::Suite;
/// # use kms_core::{KeyProvider, TokioClock};
/// # fn build(
/// #     east: Arc<dyn KeyProvider>,
/// #     west: Arc<dyn KeyProvider>,
/// # ) -> Result<Envelope, kms_envelope::Error> {
///
/// let minute = Duration::from_secs(60);
/// let envelope = Envelope::builder(Arc::new(TokioClock::new()))
///     // Either can open what is sealed. The names stand in every message.
///     .recipient("vault-east", east)
///     .recipient("vault-west", west)
///     .suite(Suite::ChaCha20Poly1305)
///     .dek_limits(DekLimits::default().with_max_age(5 * minute))
///     // A disabled KEK opens nothing for longer than this, whatever happens.
///     .unwrap_cache(
///         UnwrapCacheOptions::default()
///             .with_keep_for(5 * minute)
///             .with_serve_stale_for(15 * minute),
///     )
///     .spawner(|work| {
///         tokio::spawn(work);
///     })
///     .build()?;
/// # Ok(envelope)
/// # }
/// ```
pub struct EnvelopeBuilder {
    members: Vec<Member>,
    suite: Suite,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    backend: Arc<dyn CryptoBackend>,
    limits: DekLimits,
    unwraps: UnwrapCacheOptions,
    spawn: Option<Arc<Spawn>>,
}

impl EnvelopeBuilder {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            members: Vec::new(),
            suite: Suite::Aes256Gcm,
            clock,
            random: Arc::new(OsRandom),
            backend: Arc::new(RingBackend),
            limits: DekLimits::default(),
            unwraps: UnwrapCacheOptions::default(),
            spawn: None,
        }
    }

    /// Adds a provider that every message is sealed for. `id` is what the application calls it; it
    /// stands in messages and finds the provider again, so it must not change.
    #[must_use]
    pub fn recipient(mut self, id: impl Into<String>, provider: Arc<dyn KeyProvider>) -> Self {
        self.members.push(Member {
            id: id.into(),
            provider,
        });
        self
    }

    /// The cipher; AES-256-GCM unless told.
    #[must_use]
    pub const fn suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    /// Where DEKs and salts come from; the operating system unless told.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }

    /// The library of primitives; `ring` unless told.
    #[must_use]
    pub fn backend(mut self, backend: Arc<dyn CryptoBackend>) -> Self {
        self.backend = backend;
        self
    }

    /// How much and how long one DEK may encrypt.
    #[must_use]
    pub const fn dek_limits(mut self, limits: DekLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How unwrapped DEKs are kept, for each provider.
    #[must_use]
    pub const fn unwrap_cache(mut self, options: UnwrapCacheOptions) -> Self {
        self.unwraps = options;
        self
    }

    /// Where DEKs are made and refreshed ahead of time, such as `|work| { tokio::spawn(work); }`.
    /// Without it one caller at a time waits for that.
    #[must_use]
    pub fn spawner(mut self, spawn: impl Fn(Background) + Send + Sync + 'static) -> Self {
        self.spawn = Some(Arc::new(spawn));
        self
    }

    /// Builds the envelope. Calls no provider.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] unless there are 1 to 16 providers; if two have one id; if an id is not
    /// 1 to 64 bytes of `a`–`z`, `0`–`9`, `-`, `.`, `_`; or if a provider cannot wrap a DEK of 32
    /// bytes.
    pub fn build(self) -> Result<Envelope, Error> {
        let config = |message: String| Err(Error::new(ErrorKind::Config, message));
        if !(1..=MAX_RECIPIENTS).contains(&self.members.len()) {
            return config(format!(
                "the envelope has {} recipients, not 1 to {MAX_RECIPIENTS}",
                self.members.len()
            ));
        }
        for (index, member) in self.members.iter().enumerate() {
            let capabilities = member.provider.capabilities();
            if !is_provider_id(member.id.as_bytes()) {
                return config(format!(
                    "`{}` names no recipient: 1 to 64 of a-z 0-9 - . _ do",
                    member.id
                ));
            }
            if self
                .members
                .iter()
                .take(index)
                .any(|other| other.id == member.id)
            {
                return config(format!("two recipients are called `{}`", member.id));
            }
            if !capabilities.wraps || capabilities.max_plaintext_len < DEK_LEN {
                return config(format!(
                    "recipient `{}` cannot wrap a DEK of 32 bytes",
                    member.id
                ));
            }
        }
        let members: Arc<[Member]> = self.members.into();
        let opened = members.iter().map(|member| {
            let provider = Arc::clone(&member.provider);
            let (clock, options) = (Arc::clone(&self.clock), self.unwraps.clone());
            let backend = Arc::clone(&self.backend);
            let cache = UnwrapCache::preparing(provider, clock, options, move |secret| {
                Dek::new(Arc::clone(&backend), secret).map_err(|_| kms_core::Error::crypto())
            });
            match self.spawn.clone() {
                Some(spawn) => cache.with_spawner(move |work| spawn(work)),
                None => cache,
            }
        });
        let opened = opened.collect();
        let maker = Arc::new(Maker {
            members: Arc::clone(&members),
            backend: Arc::clone(&self.backend),
            random: Arc::clone(&self.random),
        });
        let live = EncryptCache::new(self.clock, self.limits, move |context| {
            let maker = Arc::clone(&maker);
            async move { maker.make(context).await }
        });
        let live = match self.spawn {
            Some(spawn) => live.with_spawner(move |work| spawn(work)),
            None => live,
        };
        Ok(Envelope {
            members,
            opened,
            live,
            suite: self.suite,
            backend: self.backend,
            random: self.random,
        })
    }
}

/// Makes DEKs and has them wrapped.
struct Maker {
    members: Arc<[Member]>,
    backend: Arc<dyn CryptoBackend>,
    random: Arc<dyn SecureRandom>,
}

impl Maker {
    async fn make(&self, context: EncryptionContext) -> Result<DekMaterial, kms_core::Error> {
        let secret = SecretBytes::random(&*self.random, DEK_LEN)?;
        let recipients = wrap_for_all(&self.members, &secret, &context).await?;
        let digest = ContextDigest::new(&*self.backend, &context);
        Dek::new(Arc::clone(&self.backend), secret)
            .and_then(|dek| DekMaterial::new(dek, digest, &recipients))
            .map_err(|error| {
                kms_core::Error::new(kms_core::ErrorKind::Unsupported, error.message().to_owned())
            })
    }
}

/// Wraps a DEK for every member, all at once.
pub(super) async fn wrap_for_all(
    members: &[Member],
    secret: &SecretBytes,
    context: &EncryptionContext,
) -> Result<Vec<Recipient>, kms_core::Error> {
    try_join_all(members.iter().map(|member| async move {
        let wrapped = member
            .provider
            .wrap(secret, &member.wrap_options(context))
            .await?;
        let version = version_of(member, &wrapped).await;
        Recipient::new(&member.id, wrapped)
            .and_then(|recipient| match version {
                Some(version) => recipient.with_key_version(version),
                None => Ok(recipient),
            })
            .map_err(|error| {
                let fault = format!("recipient `{}`: {}", member.id, error.message());
                kms_core::Error::new(kms_core::ErrorKind::Unsupported, fault)
            })
    }))
    .await
}

/// The provider's own name for the key version, for people. Not worth a failure.
async fn version_of(member: &Member, wrapped: &kms_core::WrappedKey) -> Option<String> {
    let key = member
        .provider
        .current_key(&CallOptions::default())
        .await
        .ok()?;
    if wrapped.key_id() == Some(&key.id) {
        key.version
    } else {
        None
    }
}

impl fmt::Debug for EnvelopeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeBuilder")
            .field("members", &self.members)
            .field("suite", &self.suite)
            .field("limits", &self.limits)
            .field("unwraps", &self.unwraps)
            .finish_non_exhaustive()
    }
}
