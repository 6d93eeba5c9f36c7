//! A key in a vault as a [`KeyProvider`].
//!
//! # What is asked of the vault, and when
//!
//! | call | answered by |
//! |---|---|
//! | `current_key` | memory; the very first one waits for the first look |
//! | `wrap`, RSA | here, with the public key; no call |
//! | `wrap`, AES, or [`wrapping_remotely`](ProviderOptions::wrapping_remotely) | one `wrapKey` |
//! | `unwrap` | one `unwrapKey`, shared by all who ask for the same at once |
//! | `describe_key` | memory if the version was seen within a poll; else one `GET` |
//! | `list_keys` | one `GET` for each 25 versions |
//!
//! In the background the newest version is looked at every 5 minutes: one `GET`. When it has
//! changed, the versions are listed, and each that comes into use is looked at.
//!
//! Unwrapped DEKs are not cached here. The plugin server and the envelope have a cache each, which
//! is bounded and wiped; another copy of the same secrets would be one more to lose.
//!
//! # What is answered when something is wrong
//!
//! `current_key` and local `wrap` go by the last look, which is at most a poll old, or by what an
//! `unwrap` has just met. Expiry goes by the clock alone.
//!
//! | the vault, or the key | `current_key`, local `wrap` | remote `wrap` | `unwrap` |
//! |---|---|---|---|
//! | cannot be reached, for less than [`stale_after`](ProviderOptions::with_stale_after) | go on | unavailable | unavailable |
//! | cannot be reached, for longer | unavailable | unavailable | unavailable |
//! | throttles | go on | throttled | throttled |
//! | is slower than the caller's deadline | go on | deadline_exceeded | deadline_exceeded |
//! | something else answers in its place | go on as if it could not be reached | protocol | protocol |
//! | key expired | key_expired | key_expired | goes on |
//! | key not yet valid | key_not_yet_valid | key_not_yet_valid | goes on |
//! | active version disabled | key_disabled | key_disabled | key_disabled for its data |
//! | an older version disabled | go on | goes on | key_disabled for its data |
//! | key deleted, recoverable | key_disabled | key_disabled | key_disabled |
//! | key purged | key_not_found | key_not_found | key_not_found |
//! | role or policy taken away | permission_denied | permission_denied | permission_denied |
//! | identity refused | unauthenticated once it is looked at | unauthenticated | unauthenticated |
//! | `wrapKey` or `unwrapKey` not among the key's operations | permission_denied | permission_denied | permission_denied, if it is `unwrapKey` |
//!
//! None of it needs a restart to be over: failed looks are repeated after 5 to 30 seconds.

mod algorithm;
mod board;
pub(crate) mod local;
mod options;
mod remote;
mod watch;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use kms_core::layer::{Coalesce, Retry, RetryPolicy, Timeout};
use kms_core::{
    CallOptions, Capabilities, ContextSupport, EncryptionContext, Error, ErrorKind, KeyId, KeyInfo,
    KeyProvider, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use tokio::task::AbortHandle;
use tracing::field::Empty;
use tracing::{Span, debug_span};

pub use algorithm::{AesMode, AesSize};
pub(crate) use options::DEFAULT_POLL;
pub use options::{Operations, ProviderOptions};

use crate::activation::Pending;
use crate::key_url::KeyUrl;
use crate::span::{request_id, traced};
use crate::vault::Vault;
use algorithm::MAX_DEK;
use remote::Remote;
use watch::Watch;

/// A key of Azure Key Vault or Managed HSM.
///
/// A key id without a version is followed: new versions become active by themselves, at the same
/// moment in all replicas ([`activation`](crate::activation)), and what older ones wrapped goes on
/// being opened. With a version, that version wraps, and every version of the key unwraps.
///
/// The key id beside wrapped data is the URL of the version. A key id of another vault or name is
/// refused with [`ErrorKind::KeyNotFound`] before any call; add a provider for that key by
/// [`layer::Union`](kms_core::layer::Union).
///
/// What is answered in which case is the subject of [the module](self). The background task ends
/// with the provider. For metrics wrap it in `kms_core::layer::Metered`.
pub struct KeyVaultProvider {
    watch: Arc<Watch>,
    remote: Timeout<Coalesce<Retry<Remote>>>,
    background: AbortHandle,
}

impl KeyVaultProvider {
    /// A provider over this key, which must be one of this vault's. Must be called within a tokio
    /// runtime. Looks at the key in the background at once; a vault that cannot be reached yet is
    /// no error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the key is of another vault, or for options that contradict
    /// each other.
    pub fn new(vault: Vault, key: KeyUrl, options: ProviderOptions) -> Result<Self, Error> {
        options.check()?;
        if key.host() != vault.host() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the key {key} is not of vault {vault}"),
            ));
        }
        let (clock, random) = (vault.clock(), vault.random());
        let watch = Arc::new(Watch::new(vault, key, options));
        let policy = RetryPolicy::default()
            .with_max_attempts(options.max_attempts)
            .with_budget(options.budget);
        let retry = Retry::new(Remote::new(Arc::clone(&watch)), clock.clone(), random);
        let shared = Coalesce::new(retry.with_policy(policy));
        let background = {
            let watch = Arc::clone(&watch);
            tokio::spawn(async move { watch.keep_up().await })
        };
        Ok(Self {
            watch,
            // A caller may allow more time than the budget; retries end within it.
            remote: Timeout::new(shared, clock, options.budget.saturating_add(GRACE)),
            background: background.abort_handle(),
        })
    }

    /// Looks at the key now, and returns when that is done: after a rotation that should not wait
    /// for the next poll, or to know at the start whether all is well.
    ///
    /// # Errors
    ///
    /// What keeps the vault from answering.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.watch.refresh().await
    }

    /// What is known of the key, from memory.
    #[must_use]
    pub fn health(&self) -> KeyHealth {
        let (now, wall) = (self.watch.clock.now(), self.watch.clock.wall_time());
        let mut board = self.watch.board();
        let active = board.current(now, wall);
        KeyHealth {
            expires: active
                .as_ref()
                .ok()
                .and_then(|key| key.bundle.facts.expires),
            active: active.map(|key| key.bundle.facts.url.clone()),
            pending: board.pending(wall),
            last_look: board.success().map(|(_, wall)| wall),
            next_look: board.next_look(),
            last_error: board.failure().cloned(),
            vault_is_left_alone: self.watch.vault.is_left_alone(),
        }
    }

    async fn wrap_under_active(
        &self,
        dek: &SecretBytes,
        options: &WrapOptions,
        span: &Span,
    ) -> Result<WrappedKey, Error> {
        self.check(&options.context)?;
        if dek.is_empty() || dek.len() > MAX_DEK {
            let message = format!("a DEK has 1 to {MAX_DEK} bytes, and this one {}", dek.len());
            return Err(self.error(ErrorKind::InvalidInput, &message));
        }
        let active = self.watch.current(options.call.deadline).await?;
        let local = active.local.as_ref();
        let local = local.filter(|_| self.watch.options.wraps_locally);
        let url = &active.bundle.facts.url;
        span.record("local", local.is_some());
        note_version(span, url);
        match local {
            Some(local) => WrappedKey::new(url.key_id()?, local.wrap(dek)?),
            None => self.remote.wrap(dek, options).await,
        }
    }

    async fn unwrap_under_its_own(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
        span: &Span,
    ) -> Result<SecretBytes, Error> {
        self.check(&options.context)?;
        let key = key_of(&self.watch.key, wrapped.key_id())?;
        note_version(span, &key);
        self.remote.unwrap(wrapped, options).await
    }

    async fn describe(
        &self,
        id: &KeyId,
        options: &CallOptions,
        span: &Span,
    ) -> Result<KeyInfo, Error> {
        let key = key_of(&self.watch.key, Some(id))?;
        note_version(span, &key);
        let seen = key
            .version()
            .and_then(|version| self.watch.fresh_facts(version));
        match seen {
            Some(facts) => facts.info(self.watch.clock.wall_time(), None),
            None => self.remote.describe_key(id, options).await,
        }
    }

    fn check(&self, context: &EncryptionContext) -> Result<(), Error> {
        if context.is_empty() || self.capabilities().context == ContextSupport::Native {
            return Ok(());
        }
        Err(self.error(
            ErrorKind::Unsupported,
            "RSA-OAEP and AES key wrap cannot bind a context",
        ))
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }
}

fn note_version(span: &Span, key: &KeyUrl) {
    span.record("version", key.version().map(tracing::field::display));
}

/// What a caller's deadline may be over the budget before it is cut.
const GRACE: Duration = Duration::from_secs(1);

/// What is known of a key, for people, metrics and health checks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyHealth {
    /// The version that wraps, or why none does.
    pub active: Result<KeyUrl, Error>,
    /// When the active version expires. From then on nothing can be wrapped (R44).
    pub expires: Option<SystemTime>,
    /// A newer version that is not active yet.
    pub pending: Option<Pending>,
    /// When the vault was last looked at with success.
    pub last_look: Option<SystemTime>,
    /// When it will be looked at next. Long past, if the background task does not get to run.
    pub next_look: Option<SystemTime>,
    /// What was wrong at the last look, if anything was.
    pub last_error: Option<Error>,
    /// The vault has failed several times in a row and is left alone for some seconds.
    pub vault_is_left_alone: bool,
}

impl Drop for KeyVaultProvider {
    fn drop(&mut self) {
        self.background.abort();
    }
}

/// The key's URL, without its version.
impl fmt::Display for KeyVaultProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watch.key.without_version().fmt(f)
    }
}

impl fmt::Debug for KeyVaultProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyVaultProvider")
            .field("key", &self.watch.key)
            .field("options", &self.watch.options)
            .finish_non_exhaustive()
    }
}

/// What holds for every key this may become: a rotation may change size and kind.
fn capabilities(options: &ProviderOptions) -> Capabilities {
    let context = match options.aes {
        AesMode::KeyWrap(_) => ContextSupport::None,
        AesMode::Gcm(_) => ContextSupport::Native,
    };
    Capabilities::basic()
        .with_context(context)
        .with_max_plaintext_len(MAX_DEK)
        .with_describes_keys(true)
        .with_lists_keys(true)
}

/// The version that a key id names, if it is one of this key.
fn key_of(ours: &KeyUrl, id: Option<&KeyId>) -> Result<KeyUrl, Error> {
    let provider = || ours.without_version().to_string();
    let Some(id) = id else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a wrapped key without a key id is not opened here",
        )
        .with_provider(provider()));
    };
    ours.without_version()
        .of_answer(id.as_str())
        .ok_or_else(|| {
            Error::new(ErrorKind::KeyNotFound, "this is no version of the key")
                .with_provider(provider())
                .with_key_id(id.clone())
                .with_remedy("add the key that this data is under, as a further provider")
        })
}

#[async_trait]
impl KeyProvider for KeyVaultProvider {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.watch.options)
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.watch.current_info(options.deadline).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        let span = debug_span!(
            "wrap",
            key = %self,
            version = Empty,
            local = Empty,
            request_id = request_id(&options.call),
            outcome = Empty,
        );
        traced(&span, self.wrap_under_active(dek, options, &span)).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let span = debug_span!(
            "unwrap",
            key = %self,
            version = Empty,
            request_id = request_id(&options.call),
            outcome = Empty,
        );
        traced(&span, self.unwrap_under_its_own(wrapped, options, &span)).await
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        let span = debug_span!(
            "describe_key",
            key = %self,
            version = Empty,
            request_id = request_id(options),
            outcome = Empty,
        );
        traced(&span, self.describe(id, options, &span)).await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let request_id = request_id(options);
        let span = debug_span!("list_keys", key = %self, request_id, outcome = Empty);
        traced(&span, self.remote.list_keys(options)).await
    }
}
