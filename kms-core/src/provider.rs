//! The trait that everything else is built on.

use core::fmt;

use async_trait::async_trait;

use crate::{EncryptionContext, Error, KeyId, KeyInfo, SecretBytes, Tick, WrappedKey};

/// Something that holds key-encryption keys and wraps small secrets with them.
///
/// The keys never leave it. Implementations: an embedded keyring
/// ([`local::LocalProvider`](crate::local::LocalProvider)), a cloud vault, a plugin behind a
/// socket, and wrappers around any of these ([`layer`](crate::layer)).
///
/// What a provider can and cannot do it says in [`capabilities`](KeyProvider::capabilities); the
/// conformance suite in `kms-testkit` checks that this is true. `Display` names the provider in
/// errors and logs, and must not show credentials.
///
/// # Contract
///
/// - `wrap` uses the key that `current_key` describes, and its result names it. Between the two
///   calls the current key may change; a caller for whom that matters compares the ids.
/// - Two calls of `wrap` give different ciphertexts, even for one DEK.
/// - `unwrap` opens what any version that still exists has wrapped. It refuses a key id it does
///   not know with [`ErrorKind::KeyNotFound`](crate::ErrorKind::KeyNotFound) and everything that
///   was tampered with or is under another context with
///   [`ErrorKind::Crypto`](crate::ErrorKind::Crypto).
/// - A wrapped key without a key id ([`WrappedKey::without_key_id`]) is opened from its ciphertext
///   alone by a provider that has [`Capabilities::unwraps_without_key_id`]. One that has not
///   refuses it with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), or with
///   [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if it opens some data of this kind but not
///   this; it never guesses a key id.
/// - A call is cancelled by dropping its future, and leaves nothing half done.
/// - A call that has a deadline answers by then, or is stopped by whoever set the deadline
///   ([`Timeout`](crate::layer::Timeout)).
#[async_trait]
pub trait KeyProvider: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// What this provider can do. Never changes while the provider lives.
    fn capabilities(&self) -> Capabilities;

    /// Describes the key that `wrap` uses now.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::KeyNotFound`](crate::ErrorKind::KeyNotFound) if there is no key
    /// that may wrap.
    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error>;

    /// Wraps a DEK under the current key.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the DEK is empty
    /// or over [`Capabilities::max_plaintext_len`], and
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if a context is given that the
    /// provider cannot bind.
    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error>;

    /// Unwraps a DEK.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::KeyNotFound`](crate::ErrorKind::KeyNotFound) if the key id is not
    /// known, [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if anything was changed or the
    /// context is another, and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if a
    /// context is given that the provider cannot bind, or no key id is given and it needs one. See
    /// the contract above.
    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error>;

    /// Describes one key version.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::KeyNotFound`](crate::ErrorKind::KeyNotFound) if there is none of
    /// this id. A provider without [`Capabilities::describes_keys`] returns
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), which is the default.
    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        let _ = options;
        Err(unsupported(self, "describing a key version").with_key_id(id.clone()))
    }

    /// Lists every key version that is known, oldest first, destroyed ones included for as long
    /// as the provider remembers them.
    ///
    /// # Errors
    ///
    /// Any kind. A provider without [`Capabilities::lists_keys`] returns
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), which is the default.
    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let _ = options;
        Err(unsupported(self, "listing key versions"))
    }
}

fn unsupported<P: fmt::Display + ?Sized>(provider: &P, what: &str) -> Error {
    Error::new(
        crate::ErrorKind::Unsupported,
        format!("{what} is not supported"),
    )
    .with_provider(provider.to_string())
}

/// What a provider does with an [`EncryptionContext`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ContextSupport {
    /// Authenticates it with the wrapped key: another context does not unwrap.
    Native,
    /// Cannot take one, as RSA-OAEP and AES-KW cannot. A non-empty context is refused with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), never ignored; bind it to the
    /// payload instead.
    None,
}

/// What a provider can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether a context is bound.
    pub context: ContextSupport,
    /// The longest DEK that `wrap` takes, in bytes.
    pub max_plaintext_len: usize,
    /// Whether `wrap` works at all; a provider for old data may only unwrap.
    pub wraps: bool,
    /// Whether `unwrap` opens a [`WrappedKey::without_key_id`]: with neither key id **nor
    /// annotations**, from the ciphertext alone, since that is all that KMS v1 stores. A provider
    /// that needs its annotations must not announce it.
    pub unwraps_without_key_id: bool,
    /// Whether `describe_key` works.
    pub describes_keys: bool,
    /// Whether `list_keys` works.
    pub lists_keys: bool,
}

impl Capabilities {
    /// A provider that wraps and unwraps DEKs of up to 4,096 bytes, and nothing beyond.
    #[must_use]
    pub const fn basic() -> Self {
        Self {
            context: ContextSupport::None,
            max_plaintext_len: 4096,
            wraps: true,
            unwraps_without_key_id: false,
            describes_keys: false,
            lists_keys: false,
        }
    }

    /// Sets what is done with a context.
    #[must_use]
    pub const fn with_context(mut self, context: ContextSupport) -> Self {
        self.context = context;
        self
    }

    /// Sets the longest DEK, in bytes.
    #[must_use]
    pub const fn with_max_plaintext_len(mut self, bytes: usize) -> Self {
        self.max_plaintext_len = bytes;
        self
    }

    /// Sets whether `wrap` works.
    #[must_use]
    pub const fn with_wraps(mut self, yes: bool) -> Self {
        self.wraps = yes;
        self
    }

    /// Sets whether a wrapped key opens that has neither key id nor annotations.
    #[must_use]
    pub const fn with_unwraps_without_key_id(mut self, yes: bool) -> Self {
        self.unwraps_without_key_id = yes;
        self
    }

    /// Sets whether `describe_key` works.
    #[must_use]
    pub const fn with_describes_keys(mut self, yes: bool) -> Self {
        self.describes_keys = yes;
        self
    }

    /// Sets whether `list_keys` works.
    #[must_use]
    pub const fn with_lists_keys(mut self, yes: bool) -> Self {
        self.lists_keys = yes;
        self
    }
}

/// What every call can be told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CallOptions {
    /// When the caller stops waiting, by the clock that both share.
    pub deadline: Option<Tick>,
    /// An id for logs at both ends, such as the `uid` of the KMS v2 API. It decides nothing.
    pub request_id: Option<String>,
}

impl CallOptions {
    /// Sets the deadline.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Tick) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the id for logs.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}

/// How to wrap.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WrapOptions {
    /// What every call can be told.
    pub call: CallOptions,
    /// What the DEK is for. Must be given again to unwrap.
    pub context: EncryptionContext,
}

impl WrapOptions {
    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets what the DEK is for.
    #[must_use]
    pub fn with_context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }
}

/// How to unwrap.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnwrapOptions {
    /// What every call can be told.
    pub call: CallOptions,
    /// The context it was wrapped under.
    pub context: EncryptionContext,
}

impl UnwrapOptions {
    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets the context it was wrapped under.
    #[must_use]
    pub fn with_context(mut self, context: EncryptionContext) -> Self {
        self.context = context;
        self
    }
}
